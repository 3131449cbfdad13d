//! Reading a log of small commits again: by the store alone, with the bytes put into a flat heap,
//! and by a leader that starts.

use std::convert::Infallible;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use plurix_protocol::leader::{Leader, Settings};
use plurix_store::{Durability, Options, RealDisk, Store, boot_id};
use plurix_wire::message::Member;
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{
    ClusterId, CommitId, CommitSequence, Incarnation, PAGE_BYTES, PageNumber, StationId, Term,
    WriteSet, WriteSetBuilder,
};

use crate::figure::{Figure, Target};
use crate::machine::Pinned;
use crate::rounds::{Computing, Plan, Random};

/// Pages that the commits change.
const PAGES: u64 = 4096;
/// Different commits; the log repeats them.
const COMMITS: u64 = 8192;
const HEAP_BYTES: u64 = PAGES * PAGE_BYTES as u64;
/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 7;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let _pinned = Pinned::to(0)?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("heap");
    let each = write(&path, plan.log_commits)?;
    let rate = |took: Duration| plan.log_commits as f64 / took.as_secs_f64();
    let (mut alone, mut led) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds.min(ROUNDS_MAX) {
        let floor = checksum(&path)? / each as f64;
        alone.push((rate(by_store(&path, plan.log_commits)?), floor));
        led.push((rate(by_leader(&path, plan.log_commits)?), floor));
    }
    let log = format!(
        "{} M commits of two 8-byte runs in {PAGES} pages, {each} bytes of log each",
        plan.log_commits as f64 / 1e6,
    );
    let floor = "to read the files and compute their CRC-32";
    let target = Target::ValueAtLeast(1.5e6);
    let figure = |name, what, rounds: &[(f64, f64)]| {
        Figure::against(name, what, "commits/s", floor, rounds, target).note(&log)
    };
    Ok(vec![
        figure(
            "replay-store",
            "replay by the store, into a flat heap",
            &alone,
        ),
        figure("replay-leader", "replay by the store and the leader", &led),
    ])
}

fn open(path: &Path) -> Result<Store<RealDisk>> {
    let options = Options {
        durability: Durability::Memory,
        ..Options::new(HEAP_BYTES, ClusterId([1; 16]), boot_id()?)
    };
    Ok(Store::create_or_open(RealDisk::new(path), options)?)
}

/// Writes a log of `count` commits of one station; answers the bytes of one.
fn write(path: &Path, count: u64) -> Result<u64> {
    let mut store = open(path)?;
    store.replay(|_| Ok::<_, Infallible>(()))?;
    let term = store.begin_term()?;
    let incarnation = Incarnation::of(term, 1);
    let member = Member {
        station: StationId(1),
        incarnation,
        observer: false,
    };
    append(&mut store, Body::Joined(member))?;
    let writes = write_sets();
    let mut each = 0;
    for number in 1..=count {
        let sequence = CommitSequence(number);
        let body = Body::Commit {
            id: CommitId {
                incarnation,
                sequence,
            },
            acknowledged: CommitSequence(number - 1),
            writes: writes[(number % COMMITS) as usize].clone(),
        };
        each = append(&mut store, body)?;
    }
    Ok(each)
}

/// Appends a record; answers its bytes.
fn append(store: &mut Store<RealDisk>, body: Body) -> Result<u64> {
    let mut stamp: Stamp = store.last();
    if matches!(body, Body::Commit { .. }) {
        stamp.number = stamp.number.next();
    }
    let record = Record { stamp, body };
    let bytes = record.encoded_bytes() as u64;
    store.maintain(Duration::ZERO);
    while store.room() < bytes {
        store.maintain(Duration::ZERO);
    }
    store.append(&record)?;
    Ok(bytes)
}

fn write_sets() -> Vec<WriteSet> {
    let mut random = Random(11);
    let mut builder = WriteSetBuilder::new();
    (0..COMMITS)
        .map(|_| {
            let page = PageNumber(random.below(PAGES) as u32);
            let at = random.below(PAGE_BYTES as u64 / 16) as usize * 8;
            builder.push(page, at, &random.next().to_le_bytes());
            builder.push(page, at + PAGE_BYTES / 2, &random.next().to_le_bytes());
            builder.finish()
        })
        .collect()
}

/// Bytes a second at which the files of the log can be read and their checksum computed.
fn checksum(path: &Path) -> Result<f64> {
    let begun = Computing::begin();
    let mut bytes = 0;
    for entry in fs::read_dir(path.join("log"))? {
        let segment = fs::read(entry?.path())?;
        black_box(crc32fast::hash(&segment));
        bytes += segment.len();
    }
    Ok(bytes as f64 / begun.elapsed().as_secs_f64())
}

fn by_store(path: &Path, count: u64) -> Result<Duration> {
    let mut heap = vec![1u8; HEAP_BYTES as usize];
    let mut store = open(path)?;
    let begun = Computing::begin();
    let recovered = store.replay(|record| {
        let Body::Commit { writes, .. } = &record.body else {
            return Ok(());
        };
        for section in writes.sections() {
            let page = section.page().offset() as usize;
            for run in section.runs() {
                let at = page + usize::from(run.offset);
                let target = heap.get_mut(at..at + run.bytes.len());
                target
                    .ok_or("a page beyond the heap")?
                    .copy_from_slice(run.bytes);
            }
        }
        Ok::<_, &str>(())
    })?;
    let took = begun.elapsed();
    black_box(&heap);
    ensure!(
        recovered.last.number.0 == count,
        "the whole log is replayed"
    );
    Ok(took)
}

fn by_leader(path: &Path, count: u64) -> Result<Duration> {
    let durability = plurix_protocol::leader::Durability::Memory;
    let mut leader = Leader::new(Settings::new(HEAP_BYTES, durability));
    let mut store = open(path)?;
    let begun = Computing::begin();
    store.replay(|record| leader.replay(record))?;
    let took = begun.elapsed();
    ensure!(leader.number().0 == count, "the whole log is replayed");
    ensure!(leader.term() >= Term(1), "a term wrote the log");
    Ok(took)
}
