//! A run from its beginning to its end, or to the first thing that is wrong.
//!
//! ```text
//!   set up ─► round: faults strike ─► faults end ─► everybody finishes ─► judge ─┐
//!                ▲                                                               │
//!                └───────────────────────────────────────────────────────────────┤
//!                                          end in order ◄── new station looks ◄──┘
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plurix::{HeapReport, Station};
use serde::Serialize;

use crate::cluster::{Cluster, Files, Making};
use crate::inspect;
use crate::judge::evidence::Ground;
use crate::judge::{Judge, Tally};
use crate::machines::Machines;
use crate::plan::Shape;
use crate::tables::Tables;
use crate::worker::Order;

/// Once nothing is broken any more, everybody must have finished within this time. A page server
/// that comes back is noticed within a second, a number is free again after the silence limit; the
/// rest is for machines that have something else to do.
const LIVENESS_MAX: Duration = Duration::from_secs(20);
/// How often the conductor looks what is due.
const TICK: Duration = Duration::from_millis(2);

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Decides everything that can be decided.
    pub seed: u64,
    /// How long faults strike, all rounds together.
    pub length: Duration,
    /// How long they strike before everything is judged.
    pub round: Duration,
    /// How many workers, if not the seed shall decide.
    pub workers: Option<usize>,
    /// Transactions of each worker in a second, about.
    pub rate: u64,
    /// Whether machines have networks of their own.
    pub networks: bool,
    /// The command under test.
    pub plurix: PathBuf,
    /// Where the files go; must be empty or not be there.
    pub directory: PathBuf,
}

impl Settings {
    /// How many rounds there are.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        let rounds = self.length.as_secs_f64() / self.round.as_secs_f64();
        (rounds.round() as u64).max(1)
    }
}

/// What a run has come to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was wrong, if anything was.
    pub failure: Option<String>,
    /// Whether the user ended it.
    pub interrupted: bool,
    /// Whether the page server synced every commit.
    pub durable: bool,
    /// How the page server took checkpoints: its options.
    pub checkpoints: String,
    /// How each worker was connected.
    pub transports: Vec<String>,
    /// Rounds that were judged.
    pub rounds: u64,
    /// How long faults struck, in seconds.
    pub seconds: f64,
    /// The longest time that it took everybody to finish once the faults had ended, in milliseconds.
    pub finished_ms_max: u64,
    /// Faults that hit something, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Processes that workers were.
    pub workers_started: u32,
    /// What was judged.
    pub judged: Tally,
    /// Pages that a new station has compared with the log.
    pub pages_compared: u64,
}

/// A run in progress.
struct Run<'a> {
    settings: &'a Settings,
    interrupted: &'a AtomicBool,
    report: &'a mut Report,
    begun: Instant,
    commits: Arc<AtomicU64>,
}

/// Runs what `settings` say; `interrupted` ends it early.
#[must_use]
pub fn run(settings: &Settings, interrupted: &AtomicBool) -> Report {
    let mut report = Report {
        seed: settings.seed,
        ..Report::default()
    };
    let mut run = Run {
        settings,
        interrupted,
        report: &mut report,
        begun: Instant::now(),
        commits: Arc::default(),
    };
    if let Err(error) = run.run() {
        report.interrupted = interrupted.load(Ordering::Acquire);
        if !report.interrupted {
            report.failure = Some(format!("{error:#}"));
        }
    }
    report
}

impl Run<'_> {
    fn run(&mut self) -> Result<()> {
        let mut cluster = self.start()?;
        let (tables, ground, heap) = set_up(&mut cluster.observer()?)?;
        fs::write(cluster.files.ground(), serde_json::to_vec(&ground)?)?;
        let mut judge = Judge::new(ground);
        self.watch(&cluster);
        cluster.start_workers()?;
        for round in 0..self.settings.rounds() {
            self.round(&mut cluster, round)?;
            self.judge(&mut cluster, &mut judge)?;
        }
        let mut station = cluster.observer()?;
        station.latest()?;
        self.report.pages_compared = inspect::compare(&mut station, &judge)?;
        inspect::clear(&mut station, &tables, &judge, &heap)?;
        drop(station);
        cluster.stop(LIVENESS_MAX)
    }

    fn start(&mut self) -> Result<Cluster> {
        let settings = self.settings;
        let shape = Shape::of(settings.seed, settings.networks, settings.workers);
        let machines = if settings.networks {
            let machines = Machines::networks(&shape.workers);
            machines.map_err(|why| anyhow::anyhow!("no networks: {why}"))?
        } else {
            Machines::one(&shape.workers)?
        };
        self.report.durable = shape.durable;
        self.report.checkpoints = shape.checkpoints.join(" ");
        let transports = shape.workers.iter();
        self.report.transports = transports
            .map(|t| format!("{t:?}").to_lowercase())
            .collect();
        Cluster::start(Making {
            files: Files {
                root: settings.directory.clone(),
            },
            shape,
            seed: settings.seed,
            rate: settings.rate,
            plurix: settings.plurix.clone(),
            machines,
        })
    }

    /// Lets faults strike while the workers work.
    fn round(&mut self, cluster: &mut Cluster, round: u64) -> Result<()> {
        let length = self.settings.round;
        let strikes = cluster.shape.strikes(self.settings.seed, round, length);
        let mut strikes = strikes.iter().peekable();
        cluster.tell(Order::Go);
        let begin = Instant::now();
        let mut shown = Instant::now();
        while begin.elapsed() < length {
            if self.interrupted.load(Ordering::Acquire) {
                bail!("interrupted");
            }
            while let Some(strike) = strikes.next_if(|strike| strike.at <= begin.elapsed()) {
                if cluster.strike(strike)? {
                    *self.report.faults.entry(strike.fault.name()).or_default() += 1;
                }
            }
            cluster.repair(false)?;
            cluster.keep_log()?;
            cluster.check_processes()?;
            if shown.elapsed() >= Duration::from_secs(1) {
                shown = Instant::now();
                self.show(round);
            }
            thread::sleep(TICK);
        }
        self.report.seconds += begin.elapsed().as_secs_f64();
        Ok(())
    }

    /// Ends all faults, waits until everybody has finished, and judges.
    fn judge(&mut self, cluster: &mut Cluster, judge: &mut Judge) -> Result<()> {
        let begin = Instant::now();
        cluster.repair(true)?;
        // Nobody spawns anything any more while activities are run to their end.
        for order in [Order::Pause, Order::Drain] {
            cluster.tell(order);
            let late = cluster.wait(LIVENESS_MAX)?;
            let workers: Vec<_> = late.iter().map(|index| index + 1).collect();
            if !late.is_empty() {
                bail!(
                    "progress: {} s after the last fault workers {workers:?} have not come to '{}'",
                    begin.elapsed().as_secs(),
                    order.word()
                );
            }
        }
        self.report.workers_started = cluster.lives();
        let finished = begin.elapsed().as_millis() as u64;
        self.report.finished_ms_max = self.report.finished_ms_max.max(finished);
        let status = cluster.status()?;
        let connected = status.stations.iter().filter(|s| s.connected).count();
        let members = cluster.shape.workers.len();
        if connected != members {
            bail!("membership: {connected} stations are connected instead of {members}");
        }
        cluster.copy_heap()?;
        let files = &cluster.files;
        let evidence = judge.gather(&files.histories(), &files.judged())?;
        let verdict = judge.judge(&evidence);
        self.report.judged = judge.tally();
        self.report.rounds += 1;
        verdict.context("the judge")
    }

    /// Keeps count of the commits, which a frozen page server does not tell.
    fn watch(&self, cluster: &Cluster) {
        let (commits, files) = (Arc::clone(&self.commits), cluster.files.clone());
        // It ends with the run: nobody else keeps the counter then.
        thread::spawn(move || {
            while Arc::strong_count(&commits) > 1 {
                if let Ok(status) = files.status() {
                    commits.store(status.commit, Ordering::Release);
                }
                thread::sleep(Duration::from_millis(500));
            }
        });
    }

    fn show(&self, round: u64) {
        let faults: u64 = self.report.faults.values().sum();
        let elapsed = self.begun.elapsed().as_secs_f64();
        let commits = self.commits.load(Ordering::Acquire);
        let rate = commits as f64 / elapsed;
        eprint!(
            "\r{elapsed:6.0} s  round {:2}  {commits:8} commits, {rate:5.0} a second  {faults:4} faults ",
            round + 1
        );
    }
}

/// Makes the tables, and remembers what the heap was like before the workers came.
pub(crate) fn set_up(station: &mut Station) -> Result<(Tables, Ground, HeapReport)> {
    let tables = Tables::create(station)?;
    let heap = station.check_heap()?;
    Ok((tables, Ground::of(station.snapshot().0, &tables), heap))
}
