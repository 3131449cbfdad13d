//! A worker: one station in a process of its own that runs its program until it is told otherwise,
//! over its standard input, and says on its standard output what it has come to.
//!
//! ```text
//!   go ──► works      pause ──► "paused"      drain ──► "drained"      stop ──► leaves
//! ```

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use plurix::net::{Address, Secret};
use plurix::{ErrorKind, Options, Station};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::history::Journal;
use crate::tables::Tables;
use crate::workload::{Program, Task};

/// A page server that cannot be joined for so long will never be there.
const JOINING_MAX: Duration = Duration::from_secs(30);
/// The pause between two attempts to join.
const JOINING_PAUSE: Duration = Duration::from_millis(50);
/// How often a paused worker looks for orders.
const ORDERS_PERIOD: Duration = Duration::from_millis(5);

/// How a worker is started.
#[derive(Debug, Args)]
pub struct Worker {
    /// The page server.
    #[arg(long)]
    join: Address,
    /// The cluster's secret.
    #[arg(long)]
    secret_file: PathBuf,
    /// The station's number.
    #[arg(long)]
    station: u32,
    /// How many processes it was before, from one.
    #[arg(long)]
    life: u32,
    /// The seed of the run.
    #[arg(long)]
    seed: u64,
    /// Where to write its history.
    #[arg(long)]
    history: PathBuf,
    /// Does not share memory with the page server.
    #[arg(long)]
    socket_alone: bool,
    /// Transactions each second, about.
    #[arg(long)]
    rate: u64,
}

/// What a worker is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Begin nothing new.
    Pause,
    /// Work.
    Go,
    /// Finish all activities and catch up.
    Drain,
    /// Leave the cluster and end.
    Stop,
}

impl Order {
    const ALL: [Self; 4] = [Self::Pause, Self::Go, Self::Drain, Self::Stop];

    /// As it is told.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Go => "go",
            Self::Drain => "drain",
            Self::Stop => "stop",
        }
    }
}

impl Worker {
    /// Works until it is told to stop.
    ///
    /// # Errors
    /// Whatever must not happen to a station in such a run.
    pub fn run(self) -> Result<()> {
        // Whatever happens to who started it, nothing stays behind.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let orders = listen()?;
        let journal = Journal::create(&self.history).context("cannot begin the history")?;
        let mut station = self.join()?;
        let tables = Tables::find(&mut station)?;
        Task::register(&mut station, &journal, tables);
        let mut program = Program::new(self.seed, self.station, self.life, journal.clone(), tables);
        println!("joined");
        let mut told = None;
        loop {
            let order = Order::ALL[usize::from(orders.load(Ordering::Acquire))];
            let worked = match order {
                Order::Stop => return Ok(()),
                Order::Go => self.work(&mut program, &mut station),
                Order::Drain if told != Some(order) => program
                    .drain(&mut station)
                    .and_then(|()| program.audit(&mut station, true)),
                Order::Drain | Order::Pause => {
                    thread::sleep(ORDERS_PERIOD);
                    Ok(())
                }
            };
            match worked {
                Ok(()) if told != Some(order) => {
                    println!("{}", order.word());
                    told = Some(order);
                }
                Ok(()) => {}
                // The station has a new life, unless it was cut off for good.
                Err(error) if matches!(error.kind(), ErrorKind::OutcomeUnknown) => {}
                Err(error) => bail!("station {}: {error}", self.station),
            }
        }
    }

    fn work(&self, program: &mut Program, station: &mut Station) -> plurix::Result<()> {
        let begin = Instant::now();
        program.step(station)?;
        let due = Duration::from_secs(1) / u32::try_from(self.rate.max(1)).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_sub(begin.elapsed()));
        Ok(())
    }

    /// Joins, also if the page server is only just being started again.
    fn join(&self) -> Result<Station> {
        let begin = Instant::now();
        loop {
            let mut options = Options::default();
            options.station = Some(self.station);
            options.shared_memory = !self.socket_alone;
            options.secret = Some(Secret::from_file(&self.secret_file)?);
            // The networks are those of the test.
            options.insecure_plain = true;
            let error = match Station::join(&self.join, options) {
                Ok(station) => return Ok(station),
                Err(error) => error,
            };
            let passes = matches!(
                error.kind(),
                // A predecessor behind a broken link is noticed when it has been silent for long.
                ErrorKind::Connect(_) | ErrorKind::Gone { .. } | ErrorKind::Refused(_)
            );
            if !passes || begin.elapsed() > JOINING_MAX {
                bail!("cannot join: {error}");
            }
            thread::sleep(JOINING_PAUSE);
        }
    }
}

/// Hears orders, one a line; whoever gives them ends the process by ending the lines.
fn listen() -> Result<Arc<AtomicU8>> {
    let orders = Arc::new(AtomicU8::new(Order::Pause as u8));
    let heard = Arc::clone(&orders);
    thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let order = Order::ALL.into_iter().find(|order| order.word() == line);
                heard.store(order.unwrap_or(Order::Stop) as u8, Ordering::Release);
            }
            heard.store(Order::Stop as u8, Ordering::Release);
        })?;
    Ok(orders)
}
