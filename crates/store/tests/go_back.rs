//! Going back to an earlier checkpoint: the heap is as it was there or as it was before, whatever
//! happens meanwhile, and what was abandoned never comes back by itself.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use common::player::{Heap, Player, Restored, restore};
use common::{Error, mix, options};
use plurix_store::Durability::{self, Durable, Memory};
use plurix_store::simulated::{Granularity, Machine, SimulatedDisk};
use plurix_store::{Checkpoint, Disk, RealDisk, ReplayError, RestoreError, Store, Strategy};
use plurix_wire::{CheckpointId, CommitNumber, Generation};

fn reopened(
    machine: &Machine,
    durability: Durability,
    boot: u8,
) -> Result<Restored<SimulatedDisk>, Error> {
    restore(machine.disk(), options(durability, boot))
}

/// Commits, and takes a checkpoint after every tenth; answers the heap at each.
fn work<D: Disk>(player: &mut Player<D>, checkpoints: usize) -> Vec<(Checkpoint, Heap)> {
    let mut taken = Vec::new();
    for _ in 0..checkpoints {
        commit(player, 10);
        let checkpoint = player
            .checkpoint(Strategy::NonBlocking)
            .expect("nothing fails here");
        taken.push((checkpoint, player.visible()));
    }
    commit(player, 3);
    taken
}

fn commit<D: Disk>(player: &mut Player<D>, count: usize) {
    for _ in 0..count {
        let record = player.commit();
        while !player.append(&record) {
            std::thread::yield_now();
        }
    }
}

/// A machine whose store has four checkpoints and some commits behind them, and these.
fn machine(durability: Durability) -> (Machine, Vec<(Checkpoint, Heap)>, Heap) {
    let machine = Machine::new();
    let restored = reopened(&machine, durability, 1).expect("nothing fails here");
    let mut player = Player::lead(restored, 7).expect("nothing fails here");
    let taken = work(&mut player, 4);
    player.store.sync().expect("nothing fails here");
    let newest = player.visible();
    drop(player);
    machine.kill();
    (machine, taken, newest)
}

fn go_back<D: Disk>(
    disk: D,
    durability: Durability,
    to: Option<u32>,
) -> Result<Checkpoint, RestoreError> {
    let mut store = Store::create_or_open(disk, options(durability, 1)).expect("a store");
    store.go_back(to.map(CheckpointId))
}

#[test]
fn the_heap_is_that_of_the_checkpoint_and_goes_on_from_there() {
    for durability in [Memory, Durable] {
        let (machine, taken, _) = machine(durability);
        let (second, heap) = &taken[1];
        let restored = go_back(machine.disk(), durability, Some(2)).expect("nothing fails here");
        assert_eq!(
            (restored.id, restored.cut, restored.strategy, restored.pages),
            (
                CheckpointId(5),
                second.cut,
                Strategy::Restored,
                second.pages
            )
        );
        machine.kill();
        let mut back = reopened(&machine, durability, 1).expect("nothing fails here");
        assert!(back.heap == *heap);
        assert_eq!((back.last, back.records), (second.cut, 0));
        assert_eq!(back.generation, Some(second.cut.generation.next()));
        assert_eq!(back.state, second.cut.number.0.to_le_bytes());
        // Nothing of the log that was abandoned is left.
        back.store.drain();
        let segments = machine.names().into_iter();
        let segments = segments.filter(|name| name.starts_with("log/"));
        assert_eq!(segments.count(), 1);
        let mut player = Player::lead(back, 8).expect("nothing fails here");
        work(&mut player, 1);
        let newest = player.visible();
        drop(player);
        machine.kill();
        let again = reopened(&machine, durability, 1).expect("nothing fails here");
        assert!(again.heap == newest);
        assert_eq!(again.generation, None);
    }
}

#[test]
fn what_was_abandoned_can_be_gone_back_to() {
    let (machine, taken, _) = machine(Memory);
    go_back(machine.disk(), Memory, Some(1)).expect("nothing fails here");
    machine.kill();
    let mut player = Player::lead(
        reopened(&machine, Memory, 1).expect("nothing fails here"),
        8,
    )
    .unwrap();
    commit(&mut player, 5);
    drop(player);
    machine.kill();
    let (newest, heap) = taken.last().expect("nothing fails here");
    go_back(machine.disk(), Memory, Some(4)).expect("nothing fails here");
    machine.kill();
    let back = reopened(&machine, Memory, 1).expect("nothing fails here");
    assert!(back.heap == *heap);
    assert_eq!(back.last, newest.cut);
    // Generation 1 began behind the first checkpoint.
    assert_eq!(back.generation, Some(Generation(2)));
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new() {
    for power in [None, Some(Granularity::Word), Some(Granularity::Block)] {
        let (whole, ..) = machine(Durable);
        let before = whole.steps();
        go_back(whole.disk(), Durable, Some(2)).expect("nothing fails here");
        let (mut old, mut new) = (0, 0);
        for steps in 0..=whole.steps() - before {
            let (machine, taken, newest) = machine(Durable);
            let disk = machine.disk();
            machine.kill_after(steps);
            let mut store = match Store::create_or_open(disk, options(Durable, 1)) {
                Ok(store) => store,
                Err(_) => continue,
            };
            let told = store.go_back(Some(CheckpointId(2)));
            drop(store);
            match power {
                None => machine.kill(),
                Some(granularity) => {
                    machine.power_cut(granularity, |_, at| mix(steps, at).is_multiple_of(2))
                }
            }
            let boot = if power.is_some() { 2 } else { 1 };
            let context = format!("{power:?} after {steps} steps");
            let restored = reopened(&machine, Durable, boot);
            let restored = restored.unwrap_or_else(|error| panic!("{context}: {error:?}"));
            let has_gone_back = restored.last.number == taken[1].0.cut.number;
            assert!(has_gone_back || told.is_err(), "{context}: it said so");
            if has_gone_back {
                assert!(restored.heap == taken[1].1, "{context}");
                assert!(
                    restored.generation.is_some(),
                    "{context}: numbers come again"
                );
                new += 1;
            } else {
                assert!(restored.heap == newest, "{context}");
                old += 1;
            }
            // Either can be led on.
            let mut player = Player::lead(restored, 3).expect(&context);
            commit(&mut player, 5);
            player.checkpoint(Strategy::NonBlocking).expect(&context);
            commit(&mut player, 2);
            let heap = player.visible();
            drop(player);
            machine.kill();
            let again = reopened(&machine, Durable, boot).expect(&context);
            assert!(again.heap == heap, "{context}");
        }
        assert!(old > 5 && new > 1, "{old} old, {new} new");
    }
}

#[test]
fn damage_never_leads_back_to_what_was_abandoned() {
    let (original, taken, _) = machine(Memory);
    go_back(original.disk(), Memory, Some(2)).expect("nothing fails here");
    original.kill();
    let copy = || {
        let copy = Machine::new();
        for name in original.names() {
            copy.put(&name, original.bytes(&name).expect("nothing fails here"));
        }
        copy
    };
    // The image that it wrote, and one of those that it is made of.
    for image in ["images/0000000005.image", "images/0000000001.image"] {
        for boot in [1, 2] {
            let machine = copy();
            machine.remove(image);
            let refused = reopened(&machine, Memory, boot);
            let Err(Error::Replay(ReplayError::CutOff { why })) = refused.map(drop) else {
                panic!("{image} was not missed");
            };
            assert!(why.contains(image), "{why}");
        }
    }
    // Either manifest alone says that the heap went back.
    for manifest in ["manifest.0", "manifest.1"] {
        for boot in [1, 2] {
            let machine = copy();
            machine.flip_bit(manifest, 999);
            let restored = reopened(&machine, Memory, boot).expect("nothing fails here");
            assert!(restored.heap == taken[1].1, "{manifest}");
        }
    }
    // What is newer than it falls back to it, and to the log behind it.
    let machine = copy();
    let mut player = Player::lead(
        reopened(&machine, Memory, 1).expect("nothing fails here"),
        8,
    )
    .unwrap();
    let newer = work(&mut player, 1);
    let heap = player.visible();
    drop(player);
    machine.kill();
    machine.remove(&format!("images/{:010}.image", newer[0].0.id.0));
    let restored = reopened(&machine, Memory, 1).expect("nothing fails here");
    assert_eq!(restored.passed_over, 1);
    assert!(restored.heap == heap);
}

#[test]
fn another_whole_checkpoint_can_be_gone_back_to_from_a_damaged_one() {
    let (machine, taken, _) = machine(Memory);
    go_back(machine.disk(), Memory, Some(2)).expect("nothing fails here");
    machine.kill();
    machine.remove("images/0000000005.image");
    assert!(reopened(&machine, Memory, 1).is_err());
    machine.kill();
    go_back(machine.disk(), Memory, Some(3)).expect("nothing fails here");
    machine.kill();
    assert!(
        reopened(&machine, Memory, 1)
            .expect("nothing fails here")
            .heap
            == taken[2].1
    );
}

#[test]
fn what_cannot_be_gone_back_to_is_refused_and_changes_nothing() {
    let (machine, _, newest) = machine(Memory);
    machine.flip_bit("images/0000000002.image", 8 * 5000);
    let unknown = go_back(machine.disk(), Memory, Some(9)).unwrap_err();
    assert!(unknown.to_string().contains("1, 2, 3, 4"), "{unknown}");
    machine.kill();
    let damaged = go_back(machine.disk(), Memory, Some(2)).unwrap_err();
    assert!(
        matches!(damaged, RestoreError::Unusable { .. }),
        "{damaged}"
    );
    machine.kill();
    machine.set_free_bytes(Some(6000));
    let full = go_back(machine.disk(), Memory, Some(1)).unwrap_err();
    assert!(full.to_string().contains("free some disk space"), "{full}");
    machine.kill();
    machine.set_free_bytes(None);
    machine.flip_bit("images/0000000002.image", 8 * 5000);
    let restored = reopened(&machine, Memory, 1).expect("nothing fails here");
    assert!(restored.heap == newest);
    let empty = Machine::new();
    let none = go_back(empty.disk(), Memory, None).unwrap_err();
    assert!(matches!(none, RestoreError::NoSuch(_)), "{none}");
}

#[test]
fn a_real_directory_goes_back_as_well() {
    let directory = tempfile::tempdir().expect("nothing fails here");
    let disk = || RealDisk::new(directory.path().join("store"));
    let mut wished = options(Memory, 1);
    wished.segment_bytes = 64 << 10;
    let restored = restore(disk(), wished.clone()).expect("nothing fails here");
    let mut player = Player::lead(restored, 5).expect("nothing fails here");
    let taken = work(&mut player, 3);
    drop(player);
    let mut store = Store::create_or_open(disk(), wished.clone()).expect("nothing fails here");
    store
        .go_back(Some(CheckpointId(2)))
        .expect("nothing fails here");
    drop(store);
    let back = restore(disk(), wished).expect("nothing fails here");
    assert_eq!(back.last.number, CommitNumber(20));
    assert!(back.heap == taken[1].1);
}
