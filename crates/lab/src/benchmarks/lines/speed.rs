//! How fast a line of the whole memory of a team is in the heap of the page server, and on disk, while
//! nobody computes.

use std::io::BufRead as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plurix::team::{Turn, Worker};
use plurix_wire::PAGE_BYTES;

use super::{Kind, Own, heard, ms, say, server, start};
use crate::disk;
use crate::echo::Floor;
use crate::figure::{Figure, Target};
use crate::frames::Sizes;
use crate::process::{Place, Transport, Waiting};
use crate::rounds::{Plan, monotonic_ns};

/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 7;
/// Each barrier behind a phase is a cut.
const EVERY: Duration = Duration::from_millis(1);
/// What a raw transfer moves at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Images that nobody needs any more are removed meanwhile.
const CLEARING: Duration = Duration::from_millis(500);

/// Changes all of the worker's pages, each time that a line comes from its standard input, so often.
pub(super) fn phase(
    lines: u64,
    worker: &Worker<'_>,
    own: &Own,
    phase: u64,
) -> plurix::Result<Turn<()>> {
    // The first line is not measured.
    if phase == 0 {
        own.fill(worker)?;
        return Ok(Turn::Next);
    }
    let told = std::io::stdin().lock().read_line(&mut String::new());
    told.map_err(|error| worker.abort(error))?;
    if phase > lines {
        return Ok(Turn::Done(()));
    }
    own.touch(worker, phase as u8, |_| true)?;
    say("cut", monotonic_ns());
    Ok(Turn::Next)
}

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let mut server = server(directory.path())?;
    let rounds = plan.pairs.min(ROUNDS_MAX);
    let bytes = plan.heap_pages * PAGE_BYTES as u64;
    let mut stations = start(&server, Kind::Whole, plan.heap_pages, EVERY, rounds as u64)?;
    server.checkpoint()?;
    let sizes = Sizes {
        request: 1,
        reply: PIECE_BYTES,
    };
    let (transport, waiting) = (Transport::Unix, Waiting::Blocking);
    let mut floor = Floor::start(directory.path(), transport, waiting, sizes, Place::Anywhere)?;
    let (mut heap, mut disk) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        std::thread::sleep(CLEARING);
        stations.iter_mut().try_for_each(|it| it.tell("go"))?;
        let cuts = stations.iter_mut().map(|station| heard(station, "cut"));
        let cuts = cuts.collect::<Result<Vec<u64>>>()?;
        let cut_at_ns = cuts.into_iter().max().context("there are stations")?;
        let taken = server.checkpoint()?;
        let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
        std::thread::sleep(CLEARING);
        let begun = Instant::now();
        for _ in 0..bytes / PIECE_BYTES as u64 {
            floor.client.round_trip()?;
        }
        let sent = rate(begun.elapsed().as_secs_f64());
        let path = directory.path().join("raw");
        let begun = Instant::now();
        disk::write(&path, taken.bytes)?;
        let written = rate(begun.elapsed().as_secs_f64());
        std::fs::remove_file(path)?;
        // The page server begins a checkpoint as soon as it has the line.
        heap.push((rate(ms(cut_at_ns, taken.begun_at_ns) / 1e3), sent));
        disk.push((rate(ms(cut_at_ns, taken.taken_at_ns) / 1e3), written));
    }
    // They end together.
    stations.iter_mut().try_for_each(|it| it.tell("end"))?;
    stations.into_iter().try_for_each(|it| it.end().map(drop))?;
    let figure = |name, until, floor, rounds: &[(f64, f64)]| {
        let what = format!("from a cut until a line of {} is {until}", plan.heap());
        Figure::against(name, what, "MB/s", floor, rounds, Target::None)
    };
    Ok(vec![
        figure(
            "lines-speed-heap",
            "in the page server's heap, nobody computes",
            "as many bytes through one raw Unix socket, in pieces of 1 MiB",
            &heap,
        ),
        figure(
            "lines-speed-disk",
            "on disk",
            "the same bytes with O_DIRECT in pieces of 1 MiB, fdatasync",
            &disk,
        ),
    ])
}
