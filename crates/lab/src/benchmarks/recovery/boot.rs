//! A cluster that was shut down into a checkpoint starts again: until its first commit, until the page
//! server has loaded the whole heap, and until a station has read it.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use plurix::{Options, Ptr, Station};
use plurix_store::{Durability, RealDisk, Store, boot_id};
use plurix_wire::{ClusterId, PAGE_BYTES};

use crate::benchmarks::cells::cell;
use crate::benchmarks::{checkpoint, start};
use crate::disk;
use crate::figure::{Figure, Spread, Target, number};
use crate::process::{CheckpointKind, Server, ServerKind};
use crate::rounds::{Plan, monotonic_ns};
use crate::said::Strategy;

/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 11;
/// Pages that the station asks for at once.
const PIECE_PAGES: u64 = 256;
/// So many pieces are under way, the one that is waited for included.
const AHEAD_PIECES: u64 = 4;

const KIND: CheckpointKind = CheckpointKind {
    strategy: Strategy::Nonblocking,
    every: None,
    changed_pages: None,
    compress: crate::said::Compress::None,
};

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    checkpoint::prepare(directory.path(), plan, KIND)?;
    let heap = directory.path().join("heap");
    let mut rounds = Rounds::default();
    for _ in 0..plan.pairs.min(ROUNDS_MAX) {
        rounds.round(directory.path(), &heap, plan)?;
    }
    Ok(rounds.figures(plan))
}

/// What was measured, in milliseconds and in MB/s.
#[derive(Debug, Default)]
struct Rounds {
    cold: Vec<(f64, f64)>,
    warm: Vec<(f64, f64)>,
    loaded: Vec<(f64, f64)>,
    read: Vec<(f64, f64)>,
    store: Vec<(f64, f64)>,
    /// Of the cold start: the process, the page server's index, the rest until it listens, and the
    /// station.
    parts: [Vec<f64>; 4],
}

impl Rounds {
    fn round(&mut self, directory: &Path, heap: &Path, plan: &Plan) -> Result<()> {
        let floor = start_of_a_process()?;
        let disk = rate(|| {
            let images = images(heap)?;
            images.iter().map(|path| disk::read(path)).sum()
        })?;
        let bytes = plan.heap_pages * PAGE_BYTES as u64;
        forget(heap)?;
        let mut booted = Booted::boot(directory, false)?;
        self.cold.push((booted.ms(), floor));
        for (part, ms) in self.parts.iter_mut().zip(booted.parts()) {
            part.push(ms);
        }
        scan(&mut booted.station, plan.heap_pages)?;
        let took_ns = monotonic_ns() - booted.spawned_at_ns;
        self.read.push((bytes as f64 * 1e3 / took_ns as f64, disk));
        let heap_bytes = booted.server.ready.heap_bytes;
        booted.die()?;
        forget(heap)?;
        let mut booted = Booted::boot(directory, true)?;
        let took_ns = booted.server.preloaded_at_ns()? - booted.spawned_at_ns;
        self.loaded
            .push((bytes as f64 * 1e3 / took_ns as f64, disk));
        booted.die()?;
        forget(heap)?;
        let store = rate(|| read_by_store(heap, heap_bytes, plan.heap_pages))?;
        self.store.push((store, disk));
        for path in images(heap)? {
            black_box(fs::read(path)?);
        }
        let booted = Booted::boot(directory, false)?;
        self.warm.push((booted.ms(), floor));
        booted.die()
    }

    fn figures(self, plan: &Plan) -> Vec<Figure> {
        let heap = plan.heap();
        let process = "the same program, from spawn to its main function";
        let reading = "the images with O_DIRECT in pieces of 1 MiB";
        let [process_ms, index_ms, open_ms, station_ms] =
            self.parts.map(|part| number(Spread::of(part).median));
        let boot = |name, how, rounds: &[(f64, f64)]| {
            let what = format!(
                "from the page server's spawn to the first commit, {heap} in a checkpoint, {how}"
            );
            Figure::against(name, what, "ms", process, rounds, Target::ValueAtMost(30.0))
        };
        let cold = "cache dropped by posix_fadvise";
        let load = |name, what, rounds: &[(f64, f64)], target| {
            let what = format!("{what}, {heap}, {cold}");
            Figure::against(name, what, "MB/s", reading, rounds, target)
        };
        vec![
            boot("boot-cold", cold, &self.cold).note(format!(
                "the process {process_ms} ms, the index {index_ms} ms, the rest until the page server \
                 listens {open_ms} ms, to join and commit {station_ms} ms"
            )),
            boot("boot-warm", "all of it in the cache", &self.warm),
            load(
                "boot-loaded",
                "from the page server's spawn, with --preload, until all pages are in its memory",
                &self.loaded,
                Target::RatioAtLeast(0.7),
            ),
            load(
                "boot-read",
                "from the page server's spawn until a station has read all, page by page as it asks",
                &self.read,
                Target::None,
            ),
            load(
                "boot-store",
                "the store alone reads each page",
                &self.store,
                Target::None,
            ),
        ]
    }
}

/// A page server that was started, and a station that has committed.
struct Booted {
    spawned_at_ns: u64,
    committed_at_ns: u64,
    server: Server,
    station: Station,
}

impl Booted {
    fn boot(directory: &Path, preloads: bool) -> Result<Self> {
        let spawned_at_ns = monotonic_ns();
        let kind = ServerKind {
            checkpoints: Some(KIND),
            preloads,
            ..ServerKind::default()
        };
        let server = Server::start(directory, kind)?;
        let mut station = Station::join(&server.address, Options::default())?;
        station.transaction(|tx| {
            *tx.get_mut(cell(0, 0))? += 1;
            Ok(())
        })?;
        Ok(Self {
            spawned_at_ns,
            committed_at_ns: monotonic_ns(),
            server,
            station,
        })
    }

    fn ms(&self) -> f64 {
        (self.committed_at_ns - self.spawned_at_ns) as f64 / 1e6
    }

    fn parts(&self) -> [f64; 4] {
        let ready = &self.server.ready;
        let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
        [
            ms(self.spawned_at_ns, ready.began_at_ns),
            ms(0, ready.load_ns),
            ms(ready.began_at_ns + ready.load_ns, ready.opened_at_ns),
            ms(ready.opened_at_ns, self.committed_at_ns),
        ]
    }

    /// Ends without a checkpoint, so that each round starts from the same one.
    fn die(self) -> Result<()> {
        drop(self.station);
        self.server.process.kill()
    }
}

fn start_of_a_process() -> Result<f64> {
    let (spawned, said) = start::stamps(&["nothing"])?;
    let [main] = said[..] else {
        bail!("an empty process says one time");
    };
    Ok(main.saturating_sub(spawned) as f64 / 1e6)
}

/// Reads all pages, and asks for those that come next before it waits.
fn scan(station: &mut Station, pages: u64) -> Result<()> {
    let words = PAGE_BYTES as u64 / 8;
    let mut page = 0;
    while page < pages {
        let slice = |count: u64| {
            let count = count.min(pages - page);
            Ptr::<[u64]>::slice_at(cell(page, 0).offset(), count * words)
        };
        station.transaction(|tx| {
            tx.prefetch(slice(AHEAD_PIECES * PIECE_PAGES));
            black_box(tx.get(slice(PIECE_PAGES))?);
            Ok(())
        })?;
        page += PIECE_PAGES;
    }
    Ok(())
}

/// Reads all pages without a page server; answers how many bytes they are.
fn read_by_store(heap: &Path, heap_bytes: u64, pages: u64) -> Result<u64> {
    let options = plurix_store::Options {
        durability: Durability::Memory,
        ..plurix_store::Options::new(heap_bytes, ClusterId([1; 16]), boot_id()?)
    };
    let mut store = Store::create_or_open(RealDisk::new(heap), options)?;
    store.base();
    let stored = store.stored_pages();
    let mut found = 0;
    for page in stored.pages() {
        found += u64::from(black_box(stored.read(page)?).is_some());
    }
    ensure!(found >= pages, "the checkpoint holds the whole heap");
    Ok(found * PAGE_BYTES as u64)
}

/// MB/s at which `read` reads the bytes that it answers.
fn rate(read: impl FnOnce() -> Result<u64>) -> Result<f64> {
    let begun = Instant::now();
    let bytes = read()?;
    Ok(bytes as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

fn images(heap: &Path) -> Result<Vec<PathBuf>> {
    disk::files(&heap.join("images"))
}

/// Has the kernel's cache forget the whole directory.
fn forget(heap: &Path) -> Result<()> {
    disk::files(heap)?
        .iter()
        .try_for_each(|path| disk::forget(path))
}
