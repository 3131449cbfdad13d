//! Durable commits. One station alone, against what no such commit can do without: one write that is
//! brought on disk, and one round trip. And sixteen stations, in threads of one process, that each
//! read and update random counters as fast as they are answered, against PostgreSQL's serializable
//! transactions with `synchronous_commit`, from as many clients of one pgbench. All write to the same
//! file system.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use plurix::{Options, Station};

use super::postgres::Postgres;
use super::{cells, commit};
use crate::echo::Floor;
use crate::figure::{Figure, Spread, Target, number};
use crate::machine::Pinned;
use crate::process::{Place, Server, ServerKind, Transport, Waiting};
use crate::rounds::{Latencies, Plan, Random};

const STATIONS: u64 = 16;
const COUNTERS: u64 = 10_000;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    Ok(vec![one(plan)?, sixteen(plan)?])
}

/// Commits of one station.
fn one(plan: &Plan) -> Result<Figure> {
    let _pinned = Pinned::to(0)?;
    let directory = tempfile::tempdir()?;
    let (transport, place) = (Transport::Shared, Place::On(1));
    let kind = ServerKind {
        durable: true,
        place,
        ..ServerKind::default()
    };
    let server = Server::start(directory.path(), kind)?;
    let sizes = commit::sizes()?;
    let waiting = Waiting::Spinning;
    let mut echo = Floor::start(directory.path(), transport, waiting, sizes, place)?;
    echo.process.pause()?;
    let mut station = Station::join(&server.address, Options::default())?;
    cells::read_all(&mut station, COUNTERS)?;
    let mut random = Random(1);
    let (mut rounds, mut parts) = (Vec::new(), (Vec::new(), Vec::new()));
    for _ in 0..plan.rounds {
        let operation = || increment(&mut station, &mut random);
        let (ours, round_trip) = echo.round(&server.process, plan, operation)?;
        let (sync, round_trip) = (sync(directory.path(), plan)?, round_trip.p50());
        rounds.push((ours.p50(), sync + round_trip));
        parts.0.push(sync);
        parts.1.push(round_trip);
    }
    let part = |samples| number(Spread::of(samples).median);
    Ok(Figure::against(
        "durable-one",
        "a durable commit of one station, shared memory, p50",
        "µs",
        "one 4 KiB overwrite + fdatasync, and a raw round trip, Unix socket, both spinning",
        &rounds,
        Target::RatioAtMost(1.2),
    )
    .note(format!(
        "of the floor, the disk {} µs, the round trip {} µs",
        part(parts.0),
        part(parts.1),
    )))
}

/// Commits of sixteen stations.
fn sixteen(plan: &Plan) -> Result<Figure> {
    let directory = tempfile::tempdir()?;
    let kind = ServerKind {
        durable: true,
        ..ServerKind::default()
    };
    let server = Server::start(directory.path(), kind)?;
    let mut stations = Vec::new();
    for _ in 0..STATIONS {
        let mut station = Station::join(&server.address, Options::default())?;
        cells::read_all(&mut station, COUNTERS)?;
        stations.push(station);
    }
    let postgres = Postgres::start(COUNTERS, STATIONS)?;
    rate(&mut stations, plan.throughput_round)?;
    let (mut ours, mut theirs, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.throughput_rounds {
        ours.push(rate(&mut stations, plan.throughput_round)?);
        if let Some(postgres) = &postgres {
            theirs.push(postgres.rate(plan.throughput_round)?);
        }
        syncs.push(sync(directory.path(), plan)?);
    }
    let name = "durable";
    let what = "durable commits of 16 stations, in threads of one process, shared memory";
    let target = Target::RatioAtLeast(5.0);
    let sync = Spread::of(syncs);
    let disk = format!(
        "one raw 4 KiB overwrite + fdatasync of this disk takes {} µs p50",
        number(sync.median)
    );
    let figure = if postgres.is_none() {
        Figure::new(name, what, "commits/s", ours, target)
            .note("PostgreSQL is not installed: nothing to compare with")
    } else {
        let rounds: Vec<(f64, f64)> = ours.into_iter().zip(theirs).collect();
        let floor = "PostgreSQL, serializable, synchronous_commit, pgbench prepared, 16 clients";
        Figure::against(name, what, "commits/s", floor, &rounds, target)
    };
    Ok(figure.note(disk))
}

/// Commits a second of all stations together.
fn rate(stations: &mut [Station], round: Duration) -> Result<f64> {
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let counted: Vec<Result<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..)
            .zip(stations)
            .map(|(seed, station)| {
                let stop = &stop;
                scope.spawn(move || increments(station, Random(seed), stop))
            })
            .collect();
        thread::sleep(round);
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let took = begun.elapsed();
    let mut commits = 0;
    for count in counted {
        commits += count?;
    }
    Ok(commits as f64 / took.as_secs_f64())
}

fn increments(station: &mut Station, mut random: Random, stop: &AtomicBool) -> Result<u64> {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        increment(station, &mut random)?;
        done += 1;
    }
    Ok(done)
}

fn increment(station: &mut Station, random: &mut Random) -> plurix::Result<()> {
    let counter = cells::dense(random.below(COUNTERS));
    station.transaction(|tx| {
        *tx.get_mut(counter)? += 1;
        Ok(())
    })
}

/// What this disk takes for one write that is alone, in microseconds.
fn sync(directory: &Path, plan: &Plan) -> Result<f64> {
    let path = directory.join("raw");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    file.write_all_at(&vec![1; 1 << 20], 0)?;
    file.sync_all()?;
    let latencies = Latencies::take(plan.warm_up() / 4, plan.round_trips / 8, || {
        file.write_all_at(&[2; 4096], 8192)?;
        file.sync_data()
    })?;
    Ok(latencies.p50())
}
