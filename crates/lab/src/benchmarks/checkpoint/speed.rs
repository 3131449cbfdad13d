//! How fast a checkpoint of the whole heap is on disk while nobody works, against the same bytes
//! written to the same directory past the kernel's cache.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use plurix::{Options, Station};

use crate::benchmarks::bank;
use crate::disk;
use crate::figure::{Figure, Target};
use crate::process::{CheckpointKind, Server, ServerKind};
use crate::rounds::Plan;
use crate::said::Strategy;

/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 7;
/// Images that nobody needs any more are removed meanwhile.
const CLEARING: Duration = Duration::from_millis(500);

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let kind = ServerKind {
        // So that a checkpoint finds the log on disk.
        durable: true,
        checkpoints: Some(CheckpointKind {
            changed_pages: Some(plan.heap_pages),
            ..CheckpointKind::at_end(Strategy::Blocking)
        }),
        ..ServerKind::default()
    };
    let mut server = Server::start(directory.path(), kind)?;
    let mut station = Station::join(&server.address, Options::default())?;
    let mut rounds = Vec::new();
    for round in 0..plan.pairs.min(ROUNDS_MAX) {
        bank::fill(&mut station, plan.heap_pages, round as u64)?;
        let taken = server.checkpoint()?;
        let rate = |seconds: f64| taken.bytes as f64 / 1e6 / seconds;
        sleep(CLEARING);
        let raw = write(directory.path(), taken.bytes)?;
        rounds.push((rate(taken.seconds()), rate(raw)));
    }
    Ok(vec![Figure::against(
        "checkpoint-speed",
        format!("a checkpoint of all of {}, nobody works", plan.heap()),
        "MB/s",
        "the same bytes with O_DIRECT in pieces of 1 MiB, fdatasync",
        &rounds,
        Target::RatioAtLeast(0.7),
    )])
}

/// Seconds that it takes to write `bytes` bytes to a new file.
fn write(directory: &Path, bytes: u64) -> Result<f64> {
    let path = directory.join("raw");
    let begun = Instant::now();
    disk::write(&path, bytes)?;
    let took = begun.elapsed();
    std::fs::remove_file(path)?;
    Ok(took.as_secs_f64())
}
