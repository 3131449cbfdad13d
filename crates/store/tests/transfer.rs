//! Checkpoints looked at from outside, exported, imported and pruned: what is imported is the heap of
//! the checkpoint, byte for byte, and of a file that is not what was written nothing is believed.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::path::{Path, PathBuf};

use common::player::{Heap, Player, Restored, restore};
use common::{mix, options};
use plurix_store::Durability::Memory;
use plurix_store::simulated::Machine;
use plurix_store::{
    Checkpoint, Compression, Disk, ExportOptions, ImageState, ImportError, ImportOptions, Imported,
    InspectError, Inspection, OpenError, Store, Strategy, import, prune,
};
use plurix_wire::{CheckpointId, ClusterId, Generation, PAGE_BYTES};
use tempfile::TempDir;

/// Commits, and takes this many checkpoints; answers each with the heap at it.
fn work<D: Disk>(restored: Restored<D>, checkpoints: usize) -> Vec<(Checkpoint, Heap)> {
    let mut player = Player::lead(restored, 7).expect("nothing fails here");
    let taken = (0..checkpoints).map(|_| {
        for _ in 0..10 {
            let record = player.commit();
            assert!(player.append(&record));
        }
        let checkpoint = player
            .checkpoint(Strategy::NonBlocking)
            .expect("nothing fails here");
        (checkpoint, player.visible())
    });
    taken.collect()
}

/// A machine whose store has so many checkpoints.
fn machine(checkpoints: usize) -> (Machine, Vec<(Checkpoint, Heap)>) {
    let machine = Machine::new();
    let restored = restore(machine.disk(), options(Memory, 1)).expect("nothing fails here");
    let taken = work(restored, checkpoints);
    machine.kill();
    (machine, taken)
}

fn exported(machine: &Machine, id: u32, compression: Compression) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("nothing fails here");
    let file = directory.path().join("heap.plurix");
    let found = Inspection::open(machine.disk()).unwrap();
    let how = ExportOptions {
        compression,
        ..ExportOptions::default()
    };
    let written = found.export(Some(CheckpointId(id)), &file, how, &mut |_, _| {});
    assert_eq!(
        written.expect("nothing fails here").bytes,
        std::fs::metadata(&file).expect("nothing fails here").len()
    );
    (directory, file)
}

fn imported(file: &Path, machine: &Machine) -> Result<Imported, ImportError> {
    let options = ImportOptions {
        cluster: None,
        segment_bytes: 64 << 20,
    };
    import(file, &mut machine.disk(), options, &mut |_, _| {})
}

#[test]
fn what_is_imported_is_the_heap_of_the_checkpoint() {
    let (original, taken) = machine(3);
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let (_directory, file) = exported(&original, 2, compression);
        let copy = Machine::new();
        let made = imported(&file, &copy).expect("nothing fails here");
        let (second, heap) = &taken[1];
        assert_eq!(
            (made.exported, made.checkpoint.cut),
            (second.id, second.cut)
        );
        assert_eq!(made.checkpoint.strategy, Strategy::Imported);
        assert_eq!(made.cluster, ClusterId([1; 16]));
        copy.kill();
        let back = restore(copy.disk(), options(Memory, 1)).expect("nothing fails here");
        assert!(back.heap == *heap);
        assert_eq!((back.last, back.records), (second.cut, 0));
        assert_eq!(back.generation, Some(Generation(1)));
        assert_eq!(back.state, second.cut.number.0.to_le_bytes());
        // It can be led on, and is one whole with what follows.
        let newer = work(back, 2);
        copy.kill();
        let again = restore(copy.disk(), options(Memory, 1)).expect("nothing fails here");
        assert!(again.heap == newer[1].1);
    }
}

#[test]
fn the_copy_goes_on_behind_all_that_the_original_had_used() {
    let (original, _) = machine(3);
    let mut store =
        Store::create_or_open(original.disk(), options(Memory, 1)).expect("nothing fails here");
    store
        .go_back(Some(CheckpointId(1)))
        .expect("nothing fails here");
    drop(store);
    original.kill();
    let (_directory, file) = exported(&original, 2, Compression::None);
    let copy = Machine::new();
    imported(&file, &copy).expect("nothing fails here");
    copy.kill();
    let back = restore(copy.disk(), options(Memory, 1)).expect("nothing fails here");
    // The first generation is due in the original.
    assert_eq!(back.generation, Some(Generation(2)));
}

#[test]
fn a_copy_lacks_no_commits_before_it_was_led() {
    let (original, _) = machine(1);
    let (_directory, file) = exported(&original, 1, Compression::None);
    let copy = Machine::new();
    imported(&file, &copy).expect("nothing fails here");
    copy.kill();
    let on_boot = |boot| restore(copy.disk(), options(Memory, boot)).expect("nothing fails here");
    for boot in [1, 2] {
        let back = on_boot(boot);
        assert_eq!(back.generation, Some(Generation(1)));
        assert!(!back.store.was_led());
        drop(back);
        copy.kill();
    }
    work(on_boot(2), 0);
    copy.kill();
    let back = on_boot(3);
    assert_eq!(back.generation, Some(Generation(2)));
    assert!(back.store.was_led());
}

#[test]
fn a_file_with_any_byte_changed_or_missing_is_refused() {
    let (original, _) = machine(2);
    let (directory, file) = exported(&original, 2, Compression::Lz4);
    let whole = std::fs::read(&file).expect("nothing fails here");
    let damaged = directory.path().join("damaged");
    // Every byte of the ends, and some of each block between them.
    let ends = (0..256).chain(whole.len() - 4096..whole.len());
    let middle = (0..whole.len() as u64).step_by(97).map(|at| at as usize);
    for at in ends.chain(middle) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (mix(3, at as u64) % 8);
        std::fs::write(&damaged, &bytes).expect("nothing fails here");
        let copy = Machine::new();
        let refused = imported(&damaged, &copy);
        let Err(ImportError::File(error)) = refused else {
            panic!("byte {at} was not missed: {refused:?}");
        };
        assert!(error.to_string().contains("damaged"), "{error}");
        assert_eq!(copy.names(), [""; 0], "byte {at}");
    }
    for length in (0..whole.len()).step_by(1009) {
        std::fs::write(&damaged, &whole[..length]).expect("nothing fails here");
        let refused = imported(&damaged, &Machine::new());
        assert!(matches!(refused, Err(ImportError::File(_))), "{length}");
    }
}

#[test]
fn an_import_that_is_killed_leaves_no_store_or_the_whole_one() {
    let (original, taken) = machine(2);
    let (_directory, file) = exported(&original, 2, Compression::None);
    let whole = Machine::new();
    imported(&file, &whole).expect("nothing fails here");
    let (mut none, mut all) = (0, 0);
    for steps in 0..=whole.steps() {
        let machine = Machine::new();
        machine.kill_after(steps);
        let told = imported(&file, &machine);
        machine.kill();
        match restore(machine.disk(), options(Memory, 1)) {
            Ok(back) if back.heap == taken[1].1 => all += 1,
            // Nothing was there yet, so that it is a new store.
            Ok(back) => {
                assert!(told.is_err() && back.heap.is_empty(), "after {steps} steps");
                assert_eq!(back.last.number.0, 0, "after {steps} steps");
                none += 1;
            }
            Err(error) => {
                assert!(told.is_err(), "after {steps} steps: {error:?}");
                none += 1;
            }
        }
    }
    assert!(none > 5 && all > 0, "{none} none, {all} all");
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let (original, _) = machine(2);
    let (_directory, file) = exported(&original, 2, Compression::None);
    for free in [1 << 20, (64 << 20) + 5000] {
        let machine = Machine::new();
        machine.set_free_bytes(Some(free));
        let full = imported(&file, &machine).unwrap_err();
        assert!(full.to_string().contains("free some disk space"), "{full}");
        assert_eq!(machine.names(), [""; 0]);
    }
    let (taken, _) = machine(1);
    let refused = imported(&file, &taken).unwrap_err();
    assert!(matches!(refused, ImportError::NotEmpty { .. }), "{refused}");
}

#[test]
fn an_export_replaces_nothing_unasked_and_leaves_no_half() {
    let (original, _) = machine(2);
    let (directory, file) = exported(&original, 1, Compression::None);
    let before = std::fs::read(&file).expect("nothing fails here");
    let found = Inspection::open(original.disk()).expect("nothing fails here");
    let mut how = ExportOptions::default();
    let refused = found.export(None, &file, how, &mut |_, _| {});
    assert!(matches!(refused, Err(InspectError::Exists { .. })));
    // A page that cannot be read ends it in the middle.
    original.flip_bit("images/0000000002.image", 8 * 5000);
    how.replaces = true;
    let refused = found.export(None, &file, how, &mut |_, _| {});
    assert!(matches!(refused, Err(InspectError::Unusable { .. })));
    assert!(std::fs::read(&file).expect("nothing fails here") == before);
    original.flip_bit("images/0000000002.image", 8 * 5000);
    found
        .export(None, &file, how, &mut |_, _| {})
        .expect("nothing fails here");
    assert!(std::fs::read(&file).expect("nothing fails here") != before);
    assert_eq!(
        std::fs::read_dir(directory.path())
            .expect("nothing fails here")
            .count(),
        1
    );
}

#[test]
fn what_differs_is_found_line_by_line() {
    let (machine, taken) = machine(3);
    let found = Inspection::open(machine.disk()).expect("nothing fails here");
    let ids = [taken[0].0.id, taken[2].0.id];
    let difference = found
        .diff(ids[0], ids[1], &mut |_, _| {})
        .expect("nothing fails here");
    let page = |heap: &Heap, page: u32| heap.get(&page).copied().unwrap_or([0; PAGE_BYTES]);
    let mut bytes = 0;
    for page_number in 0..64 {
        let (a, b) = (
            page(&taken[0].1, page_number),
            page(&taken[2].1, page_number),
        );
        let differing: Vec<usize> = (0..PAGE_BYTES).filter(|at| a[*at] != b[*at]).collect();
        let told = difference
            .changed
            .iter()
            .find(|it| it.page.0 == page_number);
        assert_eq!(told.map_or(0, |it| it.bytes as usize), differing.len());
        let lines = differing
            .iter()
            .fold(0u64, |lines, at| lines | 1 << (at / 64));
        assert_eq!(told.map_or(0, |it| it.lines.0), lines);
        bytes += differing.len();
    }
    assert!(bytes > 0);
    let same = found
        .diff(ids[0], ids[0], &mut |_, _| {})
        .expect("nothing fails here");
    assert_eq!(same.changed, []);
}

#[test]
fn a_verification_names_what_is_damaged_and_what_is_gone() {
    let (machine, taken) = machine(3);
    let states = |found: &Inspection<_>| -> Vec<bool> {
        let all: Vec<&Checkpoint> = found.checkpoints().iter().collect();
        let verdicts = found.verify(&all, &mut |_, _| {});
        let is_whole = |state: &ImageState| matches!(state, ImageState::Whole);
        verdicts
            .iter()
            .map(|verdict| is_whole(&verdict.state))
            .collect()
    };
    let found = Inspection::open(machine.disk()).expect("nothing fails here");
    assert_eq!(states(&found), [true; 3]);
    machine.flip_bit("images/0000000002.image", 8 * 5000);
    assert_eq!(states(&found), [true, false, true]);
    machine.flip_bit("images/0000000002.image", 8 * 5000);
    // A page server goes on, and removes what nobody needs.
    let restored = restore(machine.disk(), options(Memory, 1)).expect("nothing fails here");
    let first = taken[0].0.id;
    work(restored, 40);
    machine.kill();
    let found_now = Inspection::open(machine.disk()).expect("nothing fails here");
    assert!(found_now.checkpoint(Some(first)).is_err());
    let all: Vec<&Checkpoint> = found.checkpoints().iter().collect();
    let verdicts = found.verify(&all, &mut |_, _| {});
    let removed =
        |verdict: &plurix_store::ImageVerdict| matches!(verdict.state, ImageState::Removed);
    assert!(verdicts.iter().any(removed));
    assert!(
        !verdicts
            .iter()
            .any(|verdict| matches!(verdict.state, ImageState::Damaged(_)))
    );
    let directory = tempfile::tempdir().expect("nothing fails here");
    let file = directory.path().join("file");
    let gone = found.export(Some(first), &file, ExportOptions::default(), &mut |_, _| {});
    assert!(
        matches!(gone, Err(InspectError::Removed { .. })),
        "{gone:?}"
    );
    assert!(!file.exists());
}

#[test]
fn pruning_keeps_the_newest_and_the_heap() {
    let (machine, taken) = machine(4);
    let holder = machine.disk();
    let store = Store::create_or_open(holder, options(Memory, 1)).expect("nothing fails here");
    let refused = prune(&mut machine.disk(), 2).unwrap_err();
    let in_use = matches!(refused, InspectError::Open(OpenError::Locked { .. }));
    assert!(in_use, "{refused}");
    drop(store);
    let pruned = prune(&mut machine.disk(), 2).expect("nothing fails here");
    let ids = |all: &[Checkpoint]| all.iter().map(|one| one.id.0).collect::<Vec<_>>();
    assert_eq!(
        (ids(&pruned.removed), ids(&pruned.left)),
        (vec![1, 2], vec![3, 4])
    );
    let back = restore(machine.disk(), options(Memory, 1)).expect("nothing fails here");
    assert!(back.heap == taken[3].1);
    drop(back);
    // There is nothing to be done any more.
    let again = prune(&mut machine.disk(), 2).expect("nothing fails here");
    assert_eq!((again.removed.len(), again.freed_bytes), (0, 0));
    let none = prune(&mut Machine::new().disk(), 2).unwrap_err();
    assert!(matches!(none, InspectError::NoStore { .. }), "{none}");
}
