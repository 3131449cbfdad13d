//! A heap that is larger than the memory of all who work on it: all of it is written and verified, and
//! nobody takes more memory than was allowed.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::Member;
use plurix::net::Address;
use plurix::{Options, Ptr, Station};

const MIB: u64 = 1 << 20;
/// What a transaction writes or reads.
const PIECE_BYTES: u64 = MIB;
/// Far behind what a new heap uses.
const BASE: u64 = 1 << 34;

/// The most memory of its own that a process has had, files aside: those are the system's to take back.
struct Watch {
    most: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watch {
    fn on(process: u32) -> Self {
        let (most, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let watch = Self {
            most: most.clone(),
            over: over.clone(),
        };
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(memory_of(process), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        });
        watch
    }

    fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Bytes of anonymous and shared memory of a process.
fn memory_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let lines = status
        .lines()
        .filter(|line| line.starts_with("RssAnon:") || line.starts_with("RssShmem:"));
    let kib = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.sum::<u64>() << 10
}

fn piece(at: u64) -> Ptr<[u64]> {
    Ptr::slice_at(BASE + at, PIECE_BYTES / 8)
}

/// What stands in word `index` of the piece at `at`.
fn word(at: u64, index: u64) -> u64 {
    (at + 8 * index).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Writes a heap of `heap` bytes and reads it again, where everybody may have `cache` bytes; answers
/// the most memory that the page server and the process of the stations had, less what they had before.
fn write_and_verify(heap: u64, cache: u64) -> (u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "--cache-bytes {cache}B --every {}B --history-bytes 1MiB --segment-bytes 32MiB",
        cache / 4
    );
    let (server, address) = Member::server(&dir.path().join("heap"), &settings);
    let address: Address = address.parse().unwrap();
    let server_pid = server.pid().as_raw_nonzero().get() as u32;
    let before = (memory_of(server_pid), memory_of(std::process::id()));
    let watches = (Watch::on(server_pid), Watch::on(std::process::id()));
    let mut options = Options::default();
    options.cache_bytes = cache;
    let mut words = vec![0; PIECE_BYTES as usize / 8];
    let mut writer = Station::join(&address, options.clone()).unwrap();
    for at in (0..heap).step_by(PIECE_BYTES as usize) {
        for (index, value) in words.iter_mut().enumerate() {
            *value = word(at, index as u64);
        }
        writer
            .transaction(|tx| tx.set_slice(piece(at), &words))
            .unwrap();
    }
    drop(writer);
    let mut reader = Station::join(&address, options).unwrap();
    for at in (0..heap).step_by(PIECE_BYTES as usize) {
        let differs = reader.transaction(|tx| {
            let words = tx.get(piece(at))?.iter().enumerate();
            Ok(words
                .filter(|(index, value)| **value != word(at, *index as u64))
                .count())
        });
        assert_eq!(differs.unwrap(), 0, "piece at {at}");
    }
    (
        watches.0.most().saturating_sub(before.0),
        watches.1.most().saturating_sub(before.1),
    )
}

/// What the station may have: its cache, the piece that a transaction touches, what is asked for ahead
/// and is under way twice, and its tables of 17 bytes a page of the heap.
fn station_bytes_max(heap: u64, cache: u64) -> u64 {
    cache + cache / 5 + heap / 4096 * 17 + 16 * MIB
}

/// What the page server may have: its cache and half as much again for a checkpoint, tables of at most
/// 160 bytes a page, of the heap and of who holds it, and its buffers.
fn server_bytes_max(heap: u64, cache: u64) -> u64 {
    cache + cache / 2 + heap / 4096 * 160 + 48 * MIB
}

#[track_caller]
fn stays_within(heap: u64, cache: u64) {
    let (server, station) = write_and_verify(heap, cache);
    let in_mib = |bytes: u64| bytes / MIB;
    println!(
        "heap {} MiB, caches {} MiB: page server {} MiB, station {} MiB",
        in_mib(heap),
        in_mib(cache),
        in_mib(server),
        in_mib(station)
    );
    assert!(
        station <= station_bytes_max(heap, cache),
        "the station had {} MiB of {}",
        in_mib(station),
        in_mib(station_bytes_max(heap, cache))
    );
    assert!(
        server <= server_bytes_max(heap, cache),
        "the page server had {} MiB of {}",
        in_mib(server),
        in_mib(server_bytes_max(heap, cache))
    );
}

#[test]
fn a_heap_of_16_times_the_memory_is_written_and_verified() {
    stays_within(512 * MIB, 32 * MIB);
}

#[test]
#[ignore = "takes a minute, and 5 GiB of disk"]
fn a_heap_of_4_gib_is_written_and_verified_in_256_mib() {
    stays_within(4096 * MIB, 256 * MIB);
}
