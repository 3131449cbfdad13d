//! Measures how fast the log grows: appends, and syncs against the disk's own speed. How fast it is
//! read again, the benchmark `replay` of plurix-lab tells.
//!
//! `cargo run --release -p plurix-store --example append -- [DIRECTORY]`, where the directory
//! chooses the file system; without one, that of the system's temporary files.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement takes time and settings from outside"
)]

use std::error::Error;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plurix_store::{Durability, Options, RealDisk, Store, boot_id};
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{
    ClusterId, CommitId, CommitSequence, Incarnation, PAGE_BYTES, PageNumber, WriteSetBuilder,
};

const COMMITS: u64 = 2_000_000;
const SYNCS: usize = 2000;
const HEAP_PAGES: u32 = 1024;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(parent)?;
    append(&directory.path().join("memory"))?;
    start(&directory.path().join("new"))?;
    sync(directory.path())
}

fn open(path: &Path, durability: Durability) -> Result<Store<RealDisk>> {
    let heap_bytes = u64::from(HEAP_PAGES) * PAGE_BYTES as u64;
    let options = Options {
        durability,
        ..Options::new(heap_bytes, ClusterId([1; 16]), boot_id()?)
    };
    Ok(Store::create_or_open(RealDisk::new(path), options)?)
}

fn nothing(_: &Record) -> std::result::Result<(), std::convert::Infallible> {
    Ok(())
}

/// Commits of two runs of eight bytes each; their stamps are yet to be set.
fn commits() -> Vec<Record> {
    let commit = |page: u32| {
        let mut builder = WriteSetBuilder::new();
        builder.push(PageNumber(page), 64, &[page as u8; 8]);
        builder.push(PageNumber(page), 640, &[page as u8; 8]);
        let body = Body::Commit {
            id: CommitId {
                incarnation: Incarnation(1),
                sequence: CommitSequence(1),
            },
            acknowledged: CommitSequence(0),
            writes: builder.finish(),
        };
        Record {
            stamp: Stamp::default(),
            body,
        }
    };
    (0..HEAP_PAGES).map(commit).collect()
}

fn append(path: &Path) -> Result<()> {
    let mut commits = commits();
    let mut store = open(path, Durability::Memory)?;
    store.replay(nothing)?;
    store.begin_term()?;
    let mut waited = Duration::ZERO;
    let begun = Instant::now();
    for number in 0..COMMITS {
        let record = &mut commits[(number % u64::from(HEAP_PAGES)) as usize];
        let last = store.last();
        record.stamp = Stamp {
            number: last.number.next(),
            ..last
        };
        if number % 64 == 0 {
            store.maintain(Duration::ZERO);
        }
        if store.room() < record.encoded_bytes() as u64 {
            let stopped = Instant::now();
            while store.room() < record.encoded_bytes() as u64 {
                store.maintain(Duration::ZERO);
            }
            waited += stopped.elapsed();
        }
        store.append(record)?;
    }
    let took = begun.elapsed() - waited;
    println!(
        "append: {:.0} ns a commit of {} bytes, {:.2} M/s (and {:.1} ms waiting for segments)",
        took.as_nanos() as f64 / COMMITS as f64,
        commits[0].encoded_bytes(),
        COMMITS as f64 / took.as_secs_f64() / 1e6,
        waited.as_secs_f64() * 1e3,
    );
    Ok(())
}

fn start(path: &Path) -> Result<()> {
    for what in ["a new store", "an empty log"] {
        let begun = Instant::now();
        let mut store = open(path, Durability::Memory)?;
        store.replay(nothing)?;
        store.begin_term()?;
        println!(
            "start with {what}: {:.1} ms",
            begun.elapsed().as_secs_f64() * 1e3
        );
    }
    Ok(())
}

/// One commit and one sync in turn with one raw overwrite and one raw sync, so that both meet the
/// same disk.
fn sync(directory: &Path) -> Result<()> {
    let mut commits = commits();
    let mut store = open(&directory.join("durable"), Durability::Durable)?;
    store.replay(nothing)?;
    store.begin_term()?;
    let raw = directory.join("raw");
    let raw = OpenOptions::new().create_new(true).write(true).open(raw)?;
    raw.write_all_at(&vec![1; 1 << 20], 0)?;
    raw.sync_all()?;
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for round in 0..SYNCS {
        let begun = Instant::now();
        raw.write_all_at(&[round as u8; 4096], 8192)?;
        raw.sync_data()?;
        floor.push(begun.elapsed());

        let record = &mut commits[round % HEAP_PAGES as usize];
        let last = store.last();
        record.stamp = Stamp {
            number: last.number.next(),
            ..last
        };
        let begun = Instant::now();
        store.append(record)?;
        store.sync()?;
        ours.push(begun.elapsed());
        store.maintain(Duration::ZERO);
    }
    let micros = |mut times: Vec<Duration>, percent: usize| {
        times.sort_unstable();
        times[times.len() * percent / 100].as_nanos() as f64 / 1e3
    };
    let (p50, raw_p50) = (micros(ours.clone(), 50), micros(floor.clone(), 50));
    println!(
        "sync: append + sync p50 {p50:.0} µs, p99 {:.0} µs; raw 4 KiB overwrite + fdatasync p50 \
         {raw_p50:.0} µs, p99 {:.0} µs; ratio {:.2}",
        micros(ours, 99),
        micros(floor, 99),
        p50 / raw_p50,
    );
    Ok(())
}
