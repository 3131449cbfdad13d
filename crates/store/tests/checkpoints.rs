//! Checkpoints: what is restored from images and log is the heap at the newest commit, byte for byte,
//! whatever happened to the process, the power and the files meanwhile.

mod common;

use common::player::{Heap, Player, Restored, restore};
use common::{Error, mix, options};
use plurix_store::Durability::{self, Durable, Memory};
use plurix_store::simulated::{Granularity, Machine, SimulatedDisk};
use plurix_store::{CheckpointError, Compression, RealDisk, Strategy};
use plurix_wire::CommitNumber;

const STRATEGIES: [Strategy; 3] = [Strategy::Blocking, Strategy::NonBlocking, Strategy::Log];

fn reopened(
    machine: &Machine,
    durability: Durability,
    boot: u8,
) -> Result<Restored<SimulatedDisk>, Error> {
    restore(machine.disk(), options(durability, boot))
}

/// The heap after each commit, and what was certain when the run ended.
#[derive(Default)]
struct Told {
    heaps: Vec<Heap>,
    appended: usize,
    checkpoints: usize,
}

/// Leads a while with checkpoints under way, until the machine dies.
fn lead(machine: &Machine, durability: Durability, strategy: Strategy, commits: usize) -> Told {
    let mut told = Told::default();
    machine.set_job_polls(1);
    machine.set_sync_polls(1);
    let Ok(restored) = reopened(machine, durability, 1) else {
        return told;
    };
    told.heaps.push(restored.heap.clone());
    let Some(mut player) = Player::lead(restored, 7) else {
        return told;
    };
    for round in 0..commits {
        let record = player.commit();
        // The commit may be in the log although the process died while it was appended.
        let mut next = player.visible();
        common::player::apply(&mut next, &record);
        next.retain(|_, bytes| bytes.iter().any(|byte| *byte != 0));
        told.heaps.push(next);
        if !player.append(&record) || machine.is_dead() {
            return told;
        }
        told.appended = told.heaps.len() - 1;
        if round % 9 == 4 && !player.store.is_checkpointing() {
            player.begin(strategy);
        }
        if let Some(outcome) = player.poll() {
            match outcome {
                Ok(_) => told.checkpoints += 1,
                Err(_) => assert!(machine.is_dead(), "nothing else fails here"),
            }
        }
        if machine.is_dead() {
            return told;
        }
    }
    told
}

#[test]
fn a_heap_is_restored_from_images_and_log() {
    for strategy in STRATEGIES {
        let machine = Machine::new();
        let told = lead(&machine, Memory, strategy, 120);
        assert!(told.checkpoints > 5, "{} checkpoints", told.checkpoints);
        machine.kill();
        let restored = reopened(&machine, Memory, 1).unwrap();
        assert_eq!(restored.last.number, CommitNumber(120));
        assert_eq!(restored.passed_over, 0);
        assert!(
            restored.records < 40,
            "{} records replayed",
            restored.records
        );
        let cut = u64::from_le_bytes(restored.state.try_into().unwrap());
        assert!(cut > 80, "cut at {cut}");
        assert!(restored.heap == told.heaps[120], "{strategy:?}");
    }
}

#[test]
fn the_log_and_the_images_stay_bounded() {
    let machine = Machine::new();
    let mut most = 0;
    for _ in 0..6 {
        lead(&machine, Memory, Strategy::NonBlocking, 150);
        machine.kill();
        let names = machine.names();
        let bytes: usize = names
            .iter()
            .map(|name| machine.bytes(name).unwrap().len())
            .sum();
        most = most.max(bytes);
        let images = names
            .iter()
            .filter(|name| name.starts_with("images/"))
            .count();
        assert!(images <= 40, "{images} images");
    }
    assert!(most < 4 << 20, "{most} bytes for a heap of 120 KiB");
}

/// Kills and power cuts after every so many steps of a run.
fn crash(durability: Durability, strategy: Strategy, power: Option<Granularity>, stride: u64) {
    let commits = 40;
    let whole = Machine::new();
    lead(&whole, durability, strategy, commits);
    for steps in (0..whole.steps()).step_by(stride as usize) {
        let machine = Machine::new();
        machine.kill_after(steps);
        let told = lead(&machine, durability, strategy, commits);
        let context = format!("{durability:?} {strategy:?} {power:?} after {steps} steps");
        match power {
            None => machine.kill(),
            Some(granularity) => {
                let mut asked = 0;
                machine.power_cut(granularity, |_, _| {
                    asked += 1;
                    mix(steps, asked).is_multiple_of(2)
                });
            }
        }
        let boot = if power.is_some() { 2 } else { 1 };
        let restored = match reopened(&machine, durability, boot) {
            Ok(restored) => restored,
            Err(error) => panic!("{context}: {error:?}"),
        };
        assert_eq!(restored.passed_over, 0, "{context}");
        let number = restored.last.number.0 as usize;
        assert!(number < told.heaps.len().max(1), "{context}: {number}");
        if power.is_none() {
            assert!(number >= told.appended, "{context}: {number}");
        }
        if let Some(heap) = told.heaps.get(number) {
            assert!(
                restored.heap == *heap,
                "{context}: the heap of {number} differs"
            );
        }
        drop(restored);
        // What is there can be led on.
        machine.kill();
        let restored = reopened(&machine, durability, boot).expect(&context);
        let mut player = Player::lead(restored, 3).expect("the machine lives");
        for _ in 0..5 {
            let record = player.commit();
            assert!(player.append(&record), "{context}");
        }
        player
            .checkpoint(strategy)
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        let heap = player.visible();
        drop(player);
        machine.kill();
        let restored = reopened(&machine, durability, boot).expect(&context);
        assert!(restored.heap == heap, "{context}");
    }
}

#[test]
fn kills_lose_nothing() {
    for strategy in STRATEGIES {
        crash(Memory, strategy, None, 37);
        crash(Durable, strategy, None, 211);
    }
}

#[test]
fn power_cuts_leave_the_heap_of_one_commit() {
    for strategy in STRATEGIES {
        crash(Memory, strategy, Some(Granularity::Word), 101);
        crash(Memory, strategy, Some(Granularity::Block), 307);
        crash(Durable, strategy, Some(Granularity::Word), 409);
    }
}

#[test]
fn a_disk_that_is_full_or_fails_costs_one_checkpoint_only() {
    let machine = Machine::new();
    let restored = reopened(&machine, Memory, 1).unwrap();
    let mut player = Player::lead(restored, 11).unwrap();
    for round in 0..6 {
        let record = player.commit();
        assert!(player.append(&record));
        match round % 3 {
            0 => drop(player.checkpoint(Strategy::NonBlocking).unwrap()),
            1 => {
                machine.set_free_bytes(Some(5000 + 1000 * round));
                let failed = player.checkpoint(Strategy::NonBlocking);
                assert!(
                    matches!(failed, Err(CheckpointError::NoSpace { .. })),
                    "{failed:?}"
                );
                machine.set_free_bytes(None);
            }
            _ => {
                machine.fail_writes(true);
                let failed = player.checkpoint(Strategy::NonBlocking);
                assert!(
                    matches!(failed, Err(CheckpointError::Io { .. })),
                    "{failed:?}"
                );
                machine.fail_writes(false);
            }
        }
    }
    let unfinished = machine.names().iter().any(|name| name.ends_with(".new"));
    assert!(!unfinished, "a failed image is removed");
    let heap = player.visible();
    drop(player);
    machine.kill();
    assert!(reopened(&machine, Memory, 1).unwrap().heap == heap);
}

#[test]
fn a_flipped_bit_is_passed_over_or_refused_and_never_believed() {
    let machine = Machine::new();
    let told = lead(&machine, Memory, Strategy::NonBlocking, 100);
    machine.kill();
    let expected = &told.heaps[100];
    let (mut passed, mut refused) = (0, 0);
    let files = machine.names();
    let files = files
        .iter()
        .filter(|name| !name.starts_with("log/") && *name != "cluster");
    for file in files {
        let bits = 8 * machine.bytes(file).unwrap().len() as u64;
        for draw in 0..60 {
            let bit = mix(bits, draw) % bits;
            let copy = Machine::new();
            for name in machine.names() {
                copy.put(&name, machine.bytes(&name).unwrap());
            }
            copy.flip_bit(file, bit);
            match reopened(&copy, Memory, 1) {
                Ok(restored) => {
                    passed += usize::from(restored.passed_over > 0);
                    assert!(restored.heap == *expected, "bit {bit} of {file}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(passed > 20, "{passed} were passed over");
    assert!(refused > 20, "{refused} were refused");
}

#[test]
fn a_missing_or_shorter_image_is_passed_over() {
    let machine = Machine::new();
    let told = lead(&machine, Memory, Strategy::NonBlocking, 100);
    machine.kill();
    let store = reopened(&machine, Memory, 1).unwrap().store;
    let newest = store.checkpoints().last().unwrap().id.0;
    let newest = format!("images/{newest:010}.image");
    drop(store);
    machine.kill();
    let mut bytes = machine.bytes(&newest).unwrap();
    bytes.truncate(bytes.len() - 4096);
    for damaged in [Some(bytes), None] {
        match damaged {
            Some(bytes) => machine.put(&newest, bytes),
            None => machine.remove(&newest),
        }
        let restored = reopened(&machine, Memory, 1).unwrap();
        assert_eq!(restored.passed_over, 1);
        assert!(restored.heap == told.heaps[100]);
        drop(restored);
        machine.kill();
    }
}

#[test]
fn a_real_directory_holds_the_same() {
    for (strategy, compression) in [
        (Strategy::Blocking, Compression::None),
        (Strategy::NonBlocking, Compression::Lz4),
        (Strategy::Log, Compression::Zstd),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let mut wished = options(Memory, 1);
            wished.compression = compression;
            wished.segment_bytes = 64 << 10;
            restore(RealDisk::new(directory.path().join("store")), wished).unwrap()
        };
        let mut player = Player::lead(open(), 5).unwrap();
        player.pages = 200;
        for round in 0..400 {
            let record = player.commit();
            while !player.append(&record) {
                std::thread::yield_now();
            }
            if round % 50 == 49 {
                let taken = player.checkpoint(strategy).unwrap();
                assert_eq!(
                    (taken.strategy, taken.cut.number),
                    (strategy, player.number())
                );
            }
        }
        let heap = player.visible();
        drop(player);
        let restored = open();
        assert!(restored.heap == heap);
        assert_eq!(restored.store.checkpoints().len(), 4);
    }
}
