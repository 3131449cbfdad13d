//! The page server is killed while two stations commit, long after its newest checkpoint; another
//! one is started at once, and replays the log.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use plurix::{Options, Station};

use crate::benchmarks::bank::Bank;
use crate::benchmarks::checkpoint;
use crate::figure::{Figure, Spread, Target, number};
use crate::process::{CheckpointKind, Server, ServerKind};
use crate::rounds::{Plan, monotonic_ns};
use crate::said::{Ready, Strategy};

const STATIONS: u64 = 2;
/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 7;
/// Commits since the checkpoint, for each page of the heap: 1 M for 1 GiB.
const COMMITS_A_PAGE: u64 = 4;
/// The stations end.
const END: u64 = u64::MAX;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let kind = CheckpointKind::at_end(Strategy::Nonblocking);
    checkpoint::prepare(directory.path(), plan, kind)?;
    let kind = ServerKind {
        checkpoints: Some(kind),
        ..ServerKind::default()
    };
    let server = Server::start(directory.path(), kind)?;
    let mut stations = Vec::new();
    for _ in 0..STATIONS {
        stations.push(Station::join(&server.address, Options::default())?);
    }
    let (begun, deaths) = (AtomicU64::new(0), AtomicU64::new(0));
    let failovers = thread::scope(|scope| {
        let mut first_commits = Vec::new();
        for (seed, station) in (0..).zip(&mut stations) {
            let (tell, told) = channel();
            first_commits.push(told);
            let bank = Bank::new(plan.heap_pages, seed);
            let worker = Worker {
                bank,
                begun: &begun,
                commits: plan.heap_pages * COMMITS_A_PAGE,
                deaths: &deaths,
                tell,
            };
            scope.spawn(move || worker.work(station));
        }
        let failovers = fail(
            directory.path(),
            kind,
            server,
            &deaths,
            &first_commits,
            plan,
        );
        // Also if it went wrong.
        deaths.store(END, Ordering::Relaxed);
        failovers
    })?;
    Ok(vec![figure(plan, &failovers)])
}

/// Who makes transfers.
struct Worker<'a> {
    bank: Bank,
    /// Transfers of all that were begun before the first death.
    begun: &'a AtomicU64,
    /// How many these are to be.
    commits: u64,
    /// How often the page server has died.
    deaths: &'a AtomicU64,
    tell: Sender<u64>,
}

impl Worker<'_> {
    /// Makes its share of the transfers and says so; then says, after each death, when the first
    /// transfer was committed that began after it.
    fn work(mut self, station: &mut Station) -> plurix::Result<()> {
        while self.begun.fetch_add(1, Ordering::Relaxed) < self.commits {
            self.bank.transfer(station)?;
        }
        // Whoever waits for this is there, or has failed.
        let _ = self.tell.send(monotonic_ns());
        let mut seen = 0;
        loop {
            let deaths = self.deaths.load(Ordering::Relaxed);
            if deaths == END {
                return Ok(());
            }
            self.bank.transfer(station)?;
            if deaths != seen {
                seen = deaths;
                let _ = self.tell.send(monotonic_ns());
            }
        }
    }
}

/// One death of the page server.
struct Failover {
    killed_at_ns: u64,
    gone_at_ns: u64,
    ready: Ready,
    /// All stations had.
    committed_at_ns: u64,
}

/// Kills and replaces the page server again and again.
fn fail(
    directory: &Path,
    kind: ServerKind,
    mut server: Server,
    deaths: &AtomicU64,
    first_commits: &[Receiver<u64>],
    plan: &Plan,
) -> Result<Vec<Failover>> {
    let all = || -> Result<u64> {
        let mut last = 0;
        for told in first_commits {
            last = last.max(told.recv().context("a station could not go on")?);
        }
        Ok(last)
    };
    all()?;
    let mut failovers = Vec::new();
    for _ in 0..plan.pairs.min(ROUNDS_MAX) {
        let killed_at_ns = monotonic_ns();
        server.process.kill()?;
        let gone_at_ns = monotonic_ns();
        deaths.fetch_add(1, Ordering::Relaxed);
        server = Server::start(directory, kind)?;
        failovers.push(Failover {
            killed_at_ns,
            gone_at_ns,
            ready: server.ready.clone(),
            committed_at_ns: all()?,
        });
    }
    // The page server goes last: who commits to nobody does not notice the end.
    deaths.store(END, Ordering::Relaxed);
    first_commits
        .iter()
        .for_each(|told| while told.recv().is_ok() {});
    Ok(failovers)
}

fn figure(plan: &Plan, failovers: &[Failover]) -> Figure {
    let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    let median =
        |value: &dyn Fn(&Failover) -> f64| Spread::of(failovers.iter().map(value).collect()).median;
    let part = |value: &dyn Fn(&Failover) -> f64| number(median(value));
    let load = |failover: &Failover| failover.ready.load_ns as f64 / 1e6;
    let replay = |failover: &Failover| failover.ready.replay_ns as f64 / 1e6;
    let open = |failover: &Failover| {
        let Ready {
            began_at_ns,
            opened_at_ns,
            ..
        } = failover.ready;
        ms(began_at_ns, opened_at_ns) - load(failover) - replay(failover)
    };
    let took = failovers
        .iter()
        .map(|failover| ms(failover.killed_at_ns, failover.committed_at_ns));
    Figure::new(
        "failover",
        format!(
            "from the kill of the page server until both of two stations commit again, {}, {} M \
             records since the checkpoint",
            plan.heap(),
            number(median(&|failover| failover.ready.records as f64 / 1e6)),
        ),
        "ms",
        took.collect(),
        Target::ValueAtMost(1000.0),
    )
    .note(format!(
        "its end {} ms, its successor's process {} ms, index {} ms, replay {} ms, the rest of its \
         opening {} ms, from there to the commits {} ms",
        part(&|failover| ms(failover.killed_at_ns, failover.gone_at_ns)),
        part(&|failover| ms(failover.gone_at_ns, failover.ready.began_at_ns)),
        part(&load),
        part(&replay),
        part(&open),
        part(&|failover| ms(failover.ready.opened_at_ns, failover.committed_at_ns)),
    ))
}
