//! A page server's directory, damaged or forged: opening it answers a typed error or a history, and
//! the history is what was written, as far as it goes, and can be continued.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;

use plurix_protocol::Time;
use plurix_protocol::leader::{self, Leader};
use plurix_store::simulated::{Machine, SimulatedDisk};
use plurix_store::{AppendError, BootId, Durability, Options, ReplayError, Store};
use plurix_wire::message::Member;
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{
    ClusterId, CommitId, CommitSequence, Incarnation, PAGE_BYTES, PageNumber, StationId, Term,
    WriteSetBuilder,
};

use crate::input::Input;
use crate::record::{is_sealed, seal};

const HEAP_BYTES: u64 = 16 * PAGE_BYTES as u64;
const IDENTITY: &str = "cluster";
const SEGMENT_BYTES: u64 = 8192;
/// Where the records of a segment begin.
const RECORDS_AT: usize = 128;
/// More edits make an input slow, not better.
const EDITS_MAX: usize = 64;
/// Names that a file may get beside those that are there.
const NAMES: [&str; 5] = [
    "log/0000000000000003.log",
    "log/0000000000000002.log.new",
    "log/1.log",
    "cluster.new",
    "stray",
];

/// A directory, and what was written into its log.
struct Directory {
    files: Vec<(String, Vec<u8>)>,
    records: Vec<Record>,
}

fn options(durability: Durability, boot: u8) -> Options {
    Options {
        durability,
        segment_bytes: SEGMENT_BYTES,
        commit_bytes_max: 2048,
        ..Options::new(HEAP_BYTES, ClusterId([1; 16]), BootId([boot; 16]))
    }
}

/// The first byte decides how the directory is opened, and whether the checksum of the identity is
/// put right; the others are the identity.
pub(crate) fn check_identity(bytes: &[u8]) {
    let Some((mode, identity)) = bytes.split_first() else {
        return;
    };
    let mut identity = identity.to_vec();
    if mode & 1 == 1 {
        seal_head(&mut identity, usize::MAX);
    }
    let directory = original(mode >> 1 & 1);
    let machine = machine(&directory.files);
    machine.put(IDENTITY, identity);
    let boot = 1 + (mode >> 2 & 1);
    if let Some(records) = open(&machine, options(durability(mode >> 3), boot)) {
        assert!(directory.records.starts_with(&records));
    }
}

/// The bytes decide what is done to the files of a directory before it is opened.
pub(crate) fn check_log(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mode = input.byte();
    let directory = original(mode & 1);
    let mut files = directory.files.clone();
    let mut forged = false;
    for _ in 0..EDITS_MAX {
        if input.is_over() || files.is_empty() {
            break;
        }
        forged |= edit(&mut input, &mut files);
    }
    let machine = machine(&files);
    let boot = 1 + (mode >> 1 & 1);
    let Some(records) = open(&machine, options(durability(mode >> 2), boot)) else {
        return;
    };
    assert!(
        forged || directory.records.starts_with(&records),
        "what is read was written, in this order"
    );
    let mut whole = whole_records(&files).into_iter();
    for record in &records {
        let stamp = record.stamp;
        assert!(
            whole.any(|found| found == stamp),
            "{record:?} has no valid checksum"
        );
    }
}

fn durability(mode: u8) -> Durability {
    match mode & 1 {
        0 => Durability::Memory,
        _ => Durability::Durable,
    }
}

/// Changes one file; answers whether a checksum was computed anew.
fn edit(input: &mut Input<'_>, files: &mut Vec<(String, Vec<u8>)>) -> bool {
    let chosen = input.below(files.len());
    let length = files[chosen].1.len();
    let at = input.below(length.max(1));
    match input.below(9) {
        0..=2 => {
            let end = (at + 1 + input.below(8)).min(length);
            files[chosen].1[at.min(length)..end].fill_with(|| input.byte());
        }
        3 => files[chosen].1.truncate(at),
        4 => {
            let longer = (length + 1 + at).min(2 * SEGMENT_BYTES as usize);
            files[chosen].1.resize(longer, 0);
        }
        5 => drop(files.remove(chosen)),
        6 => {
            let (from, start) = (input.below(files.len()), at / 8 * 8);
            let piece = files[from]
                .1
                .iter()
                .skip(input.below(SEGMENT_BYTES as usize) / 8 * 8);
            let piece: Vec<u8> = piece.take(8 << input.below(10)).copied().collect();
            let end = (start + piece.len()).min(length);
            files[chosen].1[start.min(length)..end]
                .copy_from_slice(&piece[..end.max(start) - start]);
        }
        7 => {
            let name = NAMES[input.below(NAMES.len())];
            if files.iter().all(|(other, _)| other != name) {
                let copy = files[chosen].1.clone();
                files.push((name.to_owned(), copy));
            }
        }
        _ => {
            let (name, bytes) = &mut files[chosen];
            match index_of(name) {
                None => seal_head(bytes, usize::MAX),
                Some(_) if at < RECORDS_AT => seal_head(bytes, 64),
                Some(index) => seal(bytes, index, at / 8 * 8),
            }
            return true;
        }
    }
    false
}

/// Puts the checksum right that stands at byte 12 and covers the first `covered` bytes but itself.
fn seal_head(bytes: &mut [u8], covered: usize) {
    let covered = covered.min(bytes.len());
    if covered >= 16 {
        let right = crc32fast::hash(&[&bytes[..12], &bytes[16..covered]].concat());
        bytes[12..16].copy_from_slice(&right.to_le_bytes());
    }
}

fn index_of(name: &str) -> Option<u64> {
    name.strip_prefix("log/")?
        .strip_suffix(".log")?
        .parse()
        .ok()
}

/// The stamps of all records in the segments whose checksums are right, wherever they stand.
fn whole_records(files: &[(String, Vec<u8>)]) -> Vec<Stamp> {
    let mut segments: Vec<_> = files
        .iter()
        .filter_map(|(name, bytes)| Some((index_of(name)?, bytes)))
        .collect();
    segments.sort();
    let mut stamps = Vec::new();
    for (index, bytes) in segments {
        for at in (RECORDS_AT..bytes.len()).step_by(8) {
            if is_sealed(bytes, index, at).is_some() {
                let field = |offset| {
                    u64::from_le_bytes(*bytes[at + offset..].first_chunk().expect("a header"))
                };
                stamps.push(Stamp {
                    generation: plurix_wire::Generation((field(8) >> 32) as u32),
                    term: Term(field(16)),
                    number: plurix_wire::CommitNumber(field(24)),
                });
            }
        }
    }
    stamps
}

fn machine(files: &[(String, Vec<u8>)]) -> Machine {
    let machine = Machine::new();
    for (name, bytes) in files {
        machine.put(name, bytes.clone());
    }
    machine
}

/// Opens what is there; if that succeeds, leads it, adds to it, and reads all of it again. Answers
/// what was read first.
fn open(machine: &Machine, options: Options) -> Option<Vec<Record>> {
    let mut store = Store::create_or_open(machine.disk(), options.clone()).ok()?;
    let mut leader = Leader::new(leader::Settings::new(
        HEAP_BYTES,
        leader::Durability::Memory,
    ));
    let mut records = Vec::new();
    let recovered = store
        .replay(|record| {
            leader.replay(record)?;
            records.push(record.clone());
            Ok::<_, leader::ReplayError>(())
        })
        .ok()?;
    assert_eq!(recovered.records, records.len() as u64);
    let mut written = records.clone();
    if let Ok(term) = store.begin_term() {
        leader.start(Time(0), term, recovered.new_generation);
        written.push(record(
            Stamp {
                term,
                ..recovered.last
            },
            Body::Term,
        ));
        if append(&mut store, recovered.new_generation.is_some(), &mut written).is_err() {
            return Some(records);
        }
    }
    if !store.last().has_successor() {
        return Some(records); // Forged to be the last term or generation of all.
    }
    drop(store);
    machine.kill();
    let again = read(machine, options).expect("what was just written can be read");
    assert_eq!(again, written);
    Some(records)
}

/// Adds the generation that is due, and a commit if there is room.
fn append(
    store: &mut Store<SimulatedDisk>,
    is_due: bool,
    written: &mut Vec<Record>,
) -> Result<(), AppendError> {
    if is_due {
        store.begin_generation(store.last().number)?;
        written.push(record(store.last(), Body::Generation));
    }
    let next = commit(store.last());
    store.maintain(Duration::ZERO);
    if store.room() >= next.encoded_bytes() as u64 {
        store.append(&next)?;
        written.push(next);
    }
    Ok(())
}

fn read(machine: &Machine, options: Options) -> Result<Vec<Record>, ReplayError> {
    let mut store = Store::create_or_open(machine.disk(), options).expect("it was opened before");
    let mut records = Vec::new();
    store.replay(|record| {
        records.push(record.clone());
        Ok::<_, Infallible>(())
    })?;
    Ok(records)
}

fn record(stamp: Stamp, body: Body) -> Record {
    Record { stamp, body }
}

/// The commit that follows `last`.
fn commit(last: Stamp) -> Record {
    let mut builder = WriteSetBuilder::new();
    let number = last.number.next();
    let length = 1 + (number.0 as usize * 97) % 900;
    builder.push(PageNumber(3), 8, &vec![number.0 as u8; length]);
    let body = Body::Commit {
        id: CommitId {
            incarnation: Incarnation::of(Term(1), 1),
            sequence: CommitSequence(number.0),
        },
        acknowledged: CommitSequence(number.0 - 1),
        writes: builder.finish(),
    };
    record(Stamp { number, ..last }, body)
}

/// A directory with a log of two segments and two terms; `which` says whether it ended in order.
fn original(which: u8) -> &'static Directory {
    static ORIGINALS: [OnceLock<Directory>; 2] = [OnceLock::new(), OnceLock::new()];
    ORIGINALS[usize::from(which)].get_or_init(|| make(which == 1).expect("the disk is sound"))
}

fn make(clean: bool) -> Result<Directory, AppendError> {
    let machine = Machine::new();
    let mut records = Vec::new();
    for term in 1..=2 {
        let mut store = Store::create_or_open(machine.disk(), options(Durability::Memory, 1))
            .expect("a new directory can be opened");
        let replayed = store.replay(|_| Ok::<_, Infallible>(()));
        replayed.expect("nothing is wrong with the log");
        store.begin_term()?;
        let member = Member {
            station: StationId(1),
            incarnation: Incarnation::of(Term(term), 1),
            observer: false,
        };
        store.append(&record(store.last(), Body::Joined(member)))?;
        for number in 0..12 {
            store.maintain(Duration::ZERO);
            store.append(&commit(store.last()))?;
            if number == 8 {
                store.sync()?;
            }
        }
        store.append(&record(store.last(), Body::Left(member.incarnation)))?;
        if clean && term == 2 {
            store.close_clean()?;
        } else {
            drop(store);
        }
        machine.kill();
    }
    let read = read(&machine, options(Durability::Memory, 1));
    records.extend(read.expect("nothing is wrong with the log"));
    let names = machine.names().into_iter();
    let files = names.filter_map(|name| Some((name.clone(), machine.bytes(&name)?)));
    Ok(Directory {
        files: files.collect(),
        records,
    })
}

pub(crate) fn identity_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let files = &original(0).files;
    let identity = files.iter().find(|(name, _)| name == IDENTITY);
    let (_, identity) = identity.expect("every directory has an identity");
    let with = |mode: u8| [&[mode], &identity[..]].concat();
    vec![
        ("whole", with(0)),
        ("sealed", with(1)),
        ("rebooted", with(0b1101)),
    ]
}

pub(crate) fn log_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let edits = [[0; 8], [1, 200, 1, 8, 9, 10, 11, 12]].concat();
    let with = |mode: u8| [&[mode], &edits[..]].concat();
    vec![
        ("untouched", vec![0]),
        ("same-boot", with(0)),
        ("other-boot", with(0b111)),
    ]
}
