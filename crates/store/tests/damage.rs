//! Flipped bits, truncated, missing, foreign and newer files, and garbage: each is reported with
//! its place, or was never promised and is cut off; none is loaded, none panics.

mod common;

use common::{Error, FIRST, Led, fill, lead, led, left, mix, options, replay};
use plurix_store::Durability::{Durable, Memory};
use plurix_store::simulated::{Granularity, Machine};
use plurix_store::{OpenError, ReplayError, Store};
use plurix_wire::record::Record;
use proptest::prelude::*;

const SECOND: &str = "log/0000000000000002.log";

/// A machine with a log of two segments, and its records. The last few were never synced, if
/// anything was.
fn small_log(durable: bool) -> (Machine, Vec<Record>) {
    let machine = Machine::new();
    let Led { mut store, .. } = led(&machine, if durable { Durable } else { Memory }, 1);
    fill(&mut store, 10, 700);
    if durable {
        store.sync().expect("the disk is sound");
    }
    store.append(&left(store.last())).expect("there is room");
    fill(&mut store, 4, 50);
    drop(store);
    machine.kill();
    let (_, records) = read(&machine, 1).expect("nothing is wrong yet");
    assert_eq!(records.len(), 16);
    (machine, records)
}

/// Another machine with the same files, all on disk.
fn copy(machine: &Machine) -> Machine {
    let other = Machine::new();
    for name in machine.names() {
        let bytes = machine.bytes(&name).expect("it was listed");
        other.put(&name, bytes);
    }
    other
}

fn read(machine: &Machine, boot: u8) -> Result<(plurix_store::Recovered, Vec<Record>), Error> {
    let mut store =
        Store::create_or_open(machine.disk(), options(Memory, boot)).map_err(Error::Open)?;
    replay(&mut store).map_err(Error::Replay)
}

/// Whether the error names `file`, and for damage in a segment a place that is not behind `bit`.
fn names(error: &Error, file: &str, bit: u64) -> bool {
    let path = std::path::Path::new("simulated:").join(file);
    match error {
        Error::Replay(ReplayError::Damaged { file, at, .. }) => *file == path && *at <= bit / 8,
        Error::Open(OpenError::IdentityDamaged { file, .. }) => *file == path,
        _ => false,
    }
}

/// The bytes of a file in which every bit means something: the file without its zero tail.
fn used(machine: &Machine, file: &str) -> u64 {
    let bytes = machine.bytes(file).expect("the file is there");
    bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last as u64 + 1)
}

#[test]
fn on_the_same_boot_every_flipped_bit_is_reported_with_its_place() {
    let (machine, records) = small_log(false);
    for file in ["cluster", FIRST, SECOND] {
        let used = used(&machine, file);
        for bit in 0..used * 8 {
            let machine = copy(&machine);
            machine.flip_bit(file, bit);
            match read(&machine, 1) {
                Err(error) => assert!(names(&error, file, bit), "{file} bit {bit}: {error:?}"),
                // The head of a segment has a few bytes that no version has used.
                Ok((_, read)) => panic!("{file} bit {bit} was not noticed: {}", read == records),
            }
        }
    }
}

#[test]
fn after_a_power_cut_a_flipped_bit_is_reported_or_cuts_off_what_was_not_promised() {
    let (machine, records) = small_log(true);
    let promised = 11;
    let mut cut_off = 0;
    for file in [FIRST, SECOND] {
        for bit in (0..used(&machine, file) * 8).step_by(3) {
            let machine = copy(&machine);
            machine.flip_bit(file, bit);
            match read(&machine, 2) {
                Err(error) => assert!(names(&error, file, bit), "{file} bit {bit}: {error:?}"),
                Ok((recovered, read)) => {
                    let torn = recovered.torn.expect("a flipped bit is noticed");
                    assert_eq!(torn.file, std::path::Path::new("simulated:").join(file));
                    assert!(read.len() >= promised, "{file} bit {bit}: {}", read.len());
                    assert_eq!(read, records[..read.len()]);
                    cut_off += 1;
                }
            }
        }
    }
    assert!(cut_off > 100, "{cut_off}");
}

#[test]
fn a_flipped_bit_behind_the_log_changes_nothing_or_is_reported() {
    let (machine, records) = small_log(false);
    let end = used(&machine, SECOND).next_multiple_of(8) * 8;
    for bit in end..end + 1024 {
        let machine = copy(&machine);
        machine.flip_bit(SECOND, bit);
        match read(&machine, 1) {
            Err(error) => assert!(names(&error, SECOND, bit), "bit {bit}: {error:?}"),
            Ok((_, read)) => assert_eq!(read, records),
        }
        // What was there is cleared, so that the log can go on over it.
        if let Ok(Led { mut store, .. }) = lead(machine.disk(), options(Memory, 1)) {
            let more = fill(&mut store, 2, 5);
            drop(store);
            let (_, read) = read(&machine, 1).expect("nothing is left of the flipped bit");
            assert_eq!(read[records.len() + 1..], more);
        }
    }
}

#[test]
fn a_block_that_was_synced_and_is_lost_is_damage_on_every_boot() {
    let (machine, _) = small_log(true);
    let mut bytes = machine.bytes(FIRST).expect("it is there");
    bytes[4096..].fill(0);
    machine.put(FIRST, bytes);
    for boot in [1, 2] {
        let error = read(&copy(&machine), boot).err();
        assert!(
            matches!(&error, Some(Error::Replay(ReplayError::Damaged { .. }))),
            "boot {boot}: {error:?}"
        );
    }
}

#[test]
fn a_segment_begun_behind_one_that_is_not_sealed_is_reported() {
    let (machine, _) = small_log(false);
    let mut first = machine.bytes(FIRST).expect("it is there");
    first[120..128].fill(0);
    machine.put(FIRST, first);
    let mut second = machine.bytes(SECOND).expect("it is there");
    second[128..].fill(0);
    machine.put(SECOND, second);
    let error = read(&machine, 1).err();
    assert!(
        matches!(error, Some(Error::Replay(ReplayError::Damaged { .. }))),
        "{error:?}"
    );
}

#[test]
fn every_truncation_is_reported() {
    let (machine, _) = small_log(true);
    for boot in [1, 2] {
        for file in [FIRST, SECOND, "cluster"] {
            let whole = machine.bytes(file).expect("it is there");
            for length in (0..whole.len()).step_by(if file == "cluster" { 1 } else { 61 }) {
                let machine = copy(&machine);
                machine.put(file, whole[..length].to_vec());
                let error = read(&machine, boot).err();
                let reported = matches!(
                    error,
                    Some(
                        Error::Replay(ReplayError::Length { .. })
                            | Error::Open(OpenError::IdentityDamaged { .. })
                    )
                );
                assert!(reported, "{file} of {length} bytes: {error:?}");
            }
        }
    }
}

#[test]
fn a_missing_file_is_reported() {
    let (machine, _) = small_log(true);
    for boot in [1, 2] {
        // Also the last one: the segment before it says that it was sealed.
        for file in [FIRST, SECOND] {
            let machine = copy(&machine);
            machine.remove(file);
            let Err(Error::Replay(ReplayError::Missing { file: named, .. })) = read(&machine, boot)
            else {
                panic!("{file} is missing unnoticed");
            };
            assert_eq!(named, std::path::Path::new("simulated:").join(file));
        }
    }
    let no_segments = copy(&machine);
    no_segments.remove(FIRST);
    no_segments.remove(SECOND);
    let error = read(&no_segments, 1).err();
    assert!(
        matches!(error, Some(Error::Replay(ReplayError::Missing { .. }))),
        "{error:?}"
    );
    machine.remove("cluster");
    let error = read(&machine, 1).err();
    assert!(
        matches!(error, Some(Error::Open(OpenError::IdentityMissing { .. }))),
        "{error:?}"
    );
}

#[test]
fn a_segment_in_anothers_place_is_reported() {
    let (machine, _) = small_log(true);
    let second = machine.bytes(SECOND).expect("it is there");
    let twice = copy(&machine);
    twice.put(FIRST, second.clone());
    assert!(matches!(
        read(&twice, 1).err(),
        Some(Error::Replay(ReplayError::Foreign { .. }))
    ));

    let foreign = Machine::new();
    let mut other = options(Memory, 1);
    other.cluster = plurix_wire::ClusterId([2; 16]);
    drop(lead(foreign.disk(), other));
    foreign.put(SECOND, second);
    let error = read(&foreign, 1).err();
    // Segment 1 is not sealed, so its own end is looked behind.
    assert!(
        matches!(error, Some(Error::Replay(ReplayError::Foreign { .. }))),
        "{error:?}"
    );
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let (machine, _) = small_log(true);
    let newer = copy(&machine);
    let mut bytes = newer.bytes(SECOND).expect("it is there");
    bytes[8] = 2;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..64]);
    let crc = hasher.finalize().to_le_bytes();
    bytes[12..16].copy_from_slice(&crc);
    newer.put(SECOND, bytes);
    let error = read(&newer, 1).err();
    assert!(
        matches!(
            error,
            Some(Error::Replay(ReplayError::NewerVersion { found: 2, .. }))
        ),
        "{error:?}"
    );
    let mut bytes = machine.bytes("cluster").expect("it is there");
    bytes[8] = 2;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    let crc = hasher.finalize().to_le_bytes();
    bytes[12..16].copy_from_slice(&crc);
    machine.put("cluster", bytes);
    let error = read(&machine, 1).err();
    assert!(
        matches!(
            error,
            Some(Error::Open(OpenError::NewerVersion { found: 2, .. }))
        ),
        "{error:?}"
    );
}

#[test]
fn a_power_cut_during_the_repair_of_another_changes_nothing() {
    for seed in 0..100 {
        let machine = Machine::new();
        let Led { mut store, .. } = led(&machine, Durable, 1);
        fill(&mut store, 8, 700);
        store.sync().expect("the disk is sound");
        fill(&mut store, 25, 700);
        drop(store);
        machine.power_cut(Granularity::Word, |_, at| {
            !mix(seed, at).is_multiple_of(100)
        });
        let undisturbed = copy(&machine);
        let (_, whole) = read(&undisturbed, 2).expect("it is only torn");
        // The last steps remove segments, the many before them clear words.
        for back in (0..8).chain([100, 500, 900]) {
            let machine = copy(&machine);
            machine.kill_after(undisturbed.steps().saturating_sub(back));
            drop(read(&machine, 2));
            machine.power_cut(Granularity::Word, |_, at| mix(!seed, at).is_multiple_of(2));
            let (_, again) = read(&machine, 3)
                .unwrap_or_else(|error| panic!("seed {seed}, {back} steps early: {error:?}"));
            assert_eq!(whole, again, "seed {seed}, {back} steps early");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn garbage_in_place_of_a_file_never_panics(
        which in 0..3_usize,
        garbage in proptest::collection::vec(any::<u8>(), 0..20_000),
        same_boot: bool,
    ) {
        let (machine, _) = small_log(true);
        machine.put(["cluster", FIRST, SECOND][which], garbage);
        let loaded = read(&machine, 2 - u8::from(same_boot)).is_ok();
        prop_assert!(!loaded);
    }

    #[test]
    fn garbage_written_over_the_log_is_reported_or_cut_off(
        second: bool,
        at in 0..8100_usize,
        garbage in proptest::collection::vec(any::<u8>(), 1..3000),
        same_boot: bool,
    ) {
        let (machine, records) = small_log(true);
        let file = if second { SECOND } else { FIRST };
        let mut bytes = machine.bytes(file).expect("it is there");
        let end = (at + garbage.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&garbage[..end - at]);
        machine.put(file, bytes);
        if let Ok((_, read)) = read(&machine, 2 - u8::from(same_boot)) {
            prop_assert!(read.len() >= 11);
            prop_assert_eq!(&read[..], &records[..read.len()]);
        }
    }
}
