//! A store that format version 1 left behind: every later version must find the same in it.
//!
//! `fixtures/version-1.zst` holds its files, `fixtures/version-1.txt` what was in them when they were
//! written. Both were made by the test that is ignored here; a later version of the format gets a
//! fixture of its own beside them, and these stay as they are.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::options;
use common::player::{Player, Restored, restore};
use plurix_store::simulated::Machine;
use plurix_store::{Compression, Disk, Durability, Options, RealDisk, Strategy};

/// How the pages of the fixture's images are stored, one run of the page server after the other.
const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];
/// Checkpoints of each run: together so many images that pages of old ones are carried.
const CHECKPOINTS: usize = 13;
const STRATEGIES: [Strategy; 3] = [Strategy::NonBlocking, Strategy::Blocking, Strategy::Log];

fn fixture(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    directory.join(name)
}

fn wished(compression: Compression) -> Options {
    Options {
        compression,
        ..options(Durability::Memory, 1)
    }
}

/// Everything that a store says of itself when it is opened, for people and for comparison.
fn describe<D: Disk>(restored: &Restored<D>) -> String {
    let mut text = String::new();
    let mut line = |said: String| writeln!(text, "{said}").expect("a string takes everything");
    let last = restored.last;
    let (generation, term, number) = (last.generation.0, last.term.0, last.number.0);
    line(format!(
        "last: generation {generation}, term {term}, commit {number}"
    ));
    line(format!(
        "state {:?}, and {} records behind it",
        restored.state, restored.records
    ));
    for checkpoint in restored.store.checkpoints() {
        line(format!(
            "checkpoint {} of commit {}, {:?}: {} pages, {} changed, {} carried, images {:?}",
            checkpoint.id.0,
            checkpoint.cut.number.0,
            checkpoint.strategy,
            checkpoint.pages,
            checkpoint.changed,
            checkpoint.carried,
            checkpoint
                .images
                .iter()
                .map(|image| image.0)
                .collect::<Vec<_>>()
        ));
    }
    for (page, bytes) in &restored.heap {
        line(format!("page {page} {:08x}", crc32fast::hash(bytes)));
    }
    text
}

/// A name and bytes, each behind its length.
fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    for part in files
        .iter()
        .flat_map(|(name, bytes)| [name.as_bytes(), bytes])
    {
        packed.extend_from_slice(&(part.len() as u32).to_le_bytes());
        packed.extend_from_slice(part);
    }
    zstd::encode_all(&packed[..], 19).expect("memory takes everything")
}

fn unpack(packed: &[u8]) -> Vec<(String, Vec<u8>)> {
    let packed = zstd::decode_all(packed).expect("the fixture is whole");
    let mut rest = &packed[..];
    let mut part = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (part, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        rest = behind;
        Some(part.to_vec())
    };
    let mut files = Vec::new();
    while let Some(name) = part() {
        let name = String::from_utf8(name).expect("a name is text");
        files.push((name, part().expect("a name has bytes behind it")));
    }
    files
}

/// A copy of the fixture in a directory of its own.
fn copy() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("the fixture is there");
    let packed = fs::read(fixture("version-1.zst")).expect("the fixture is there");
    for (name, bytes) in unpack(&packed) {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("the fixture is there"))
            .expect("the fixture is whole");
        fs::write(path, bytes).expect("the fixture is there");
    }
    directory
}

fn expected() -> String {
    fs::read_to_string(fixture("version-1.txt")).expect("the fixture is there")
}

fn open(directory: &tempfile::TempDir) -> Restored<RealDisk> {
    restore(RealDisk::new(directory.path()), wished(Compression::None))
        .expect("the fixture is there")
}

#[test]
fn a_store_of_version_1_holds_what_was_written() {
    let directory = copy();
    let restored = open(&directory);
    assert_eq!(restored.passed_over, 0);
    assert_eq!(describe(&restored), expected());
    // It can be led on, and read again.
    let mut player = Player::lead(restored, 5).expect("the fixture is there");
    for strategy in STRATEGIES {
        let record = player.commit();
        assert!(player.append(&record));
        player.checkpoint(strategy).expect("the fixture is whole");
    }
    let heap = player.visible();
    drop(player);
    assert!(open(&directory).heap == heap);
}

#[test]
fn its_older_manifest_and_checkpoint_lead_to_the_same_heap() {
    let whole = open(&copy());
    for damaged in ["manifest.0", "manifest.1", "newest image"] {
        let directory = copy();
        let path = match damaged {
            "newest image" => {
                let newest = whole
                    .store
                    .checkpoints()
                    .last()
                    .expect("the fixture is whole")
                    .id
                    .0;
                directory.path().join(format!("images/{newest:010}.image"))
            }
            manifest => directory.path().join(manifest),
        };
        let mut bytes = fs::read(&path).expect("the fixture is whole");
        let middle = bytes.len() - 70;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("the fixture is whole");
        let restored = open(&directory);
        assert_eq!(restored.passed_over, 1, "{damaged}");
        assert!(restored.heap == whole.heap, "{damaged}");
    }
}

/// Runs of a page server, one for each compression, that leave a log behind their last checkpoint.
fn make() -> Machine {
    let machine = Machine::new();
    for (seed, compression) in (1..).zip(COMPRESSIONS) {
        let restored = restore(machine.disk(), wished(compression)).expect("the fixture is whole");
        let mut player = Player::lead(restored, seed).expect("the fixture is whole");
        player.pages = 200;
        for round in 0..CHECKPOINTS {
            for _ in 0..4 {
                let record = player.commit();
                assert!(player.append(&record));
            }
            player
                .checkpoint(STRATEGIES[round % 3])
                .expect("the fixture is whole");
        }
        if seed == COMPRESSIONS.len() as u64 {
            for _ in 0..40 {
                let record = player.commit();
                assert!(player.append(&record));
            }
        }
        drop(player);
        machine.kill();
    }
    machine
}

#[test]
#[ignore = "writes the fixture of the newest version anew"]
fn write_the_fixture() {
    let machine = make();
    let names = machine.names().into_iter();
    let files: Vec<_> = names
        .map(|name| {
            let bytes = machine.bytes(&name).expect("the fixture is whole");
            (name, bytes)
        })
        .collect();
    let restored =
        restore(machine.disk(), wished(Compression::None)).expect("the fixture is whole");
    let newest = restored
        .store
        .checkpoints()
        .last()
        .expect("the fixture is whole");
    assert!(newest.images.len() > 20 && newest.carried > 0, "{newest:?}");
    fs::write(fixture("version-1.zst"), pack(&files)).expect("the fixture is whole");
    fs::write(fixture("version-1.txt"), describe(&restored)).expect("the fixture is whole");
}
