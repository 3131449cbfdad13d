//! What this program plays when a benchmark starts it again as another process.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use plurix::net::Address;
use plurix::{
    CheckpointOptions, Durability, Options, PageServer, ServerOptions, Station, Stop, Transaction,
};
use plurix_wire::PAGE_BYTES;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::benchmarks::{cells, lines, programs, recovery, team};
use crate::echo;
use crate::frames::Sizes;
use crate::machine;
use crate::process::Waiting;
use crate::redis;
use crate::rounds::{Random, monotonic_ns};
use crate::said::{Compress, Ready, Strategy, Teller};

/// Longer than any pause of a measurement.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longer than any measurement.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// The roles. Each says a line when it is ready.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// A page server; says its address, and each checkpoint that it takes.
    #[command(hide = true)]
    Serve(Serve),
    /// A server that answers fixed messages with others; says its address.
    #[command(hide = true)]
    Echo(EchoServer),
    /// A station that increments random counters for as long as it is told.
    #[command(hide = true)]
    Increments(Counting),
    /// A client of Redis that does the same.
    #[command(hide = true)]
    RedisIncrements(Counting),
    /// A station that says when it began, when it had joined and when its commit was answered.
    #[command(hide = true)]
    FirstCommit(FirstCommit),
    /// A station that runs activities, of which those for it never end; says its number.
    #[command(hide = true)]
    Sit {
        /// The page server.
        #[arg(long)]
        join: Address,
    },
    /// A station of a team, of which the other one takes the times.
    #[command(hide = true)]
    TeamAsked(team::Asked),
    /// A station of a team that runs a whole program; says how many nanoseconds that took.
    #[command(hide = true)]
    ProgramMember(programs::Member),
    /// A station of a team that takes recovery lines.
    #[command(hide = true)]
    LineStation(lines::LineStation),
    /// A process that only says when it began.
    #[command(hide = true)]
    Nothing,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    listen: Address,
    #[arg(long)]
    spin_us: Option<u64>,
    #[arg(long)]
    durable: bool,
    /// How to take checkpoints; none are taken without.
    #[arg(long)]
    checkpoint: Option<Strategy>,
    #[arg(long, default_value = "none")]
    compress: Compress,
    /// From one checkpoint to the next.
    #[arg(long)]
    every_us: Option<u64>,
    /// A checkpoint is due when so many pages have changed.
    #[arg(long)]
    changed_pages: Option<u64>,
    #[arg(long)]
    silence_us: Option<u64>,
    /// Loads all pages after the start, and says when it has.
    #[arg(long)]
    preload: bool,
    #[arg(long)]
    processor: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct EchoServer {
    #[arg(long)]
    listen: Address,
    #[arg(long)]
    request: usize,
    #[arg(long)]
    reply: usize,
    #[arg(long)]
    spin: bool,
    #[arg(long)]
    processor: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Counting {
    /// A page server's address, or Redis's.
    #[arg(long)]
    join: Address,
    #[arg(long)]
    counters: u64,
    #[arg(long)]
    seed: u64,
    /// Redis: with as few round trips as can be.
    #[arg(long)]
    pipelined: bool,
    /// A station: without shared memory.
    #[arg(long)]
    socket_alone: bool,
    /// A station: with many transactions in flight.
    #[arg(long)]
    submit: bool,
    /// A station: its number.
    #[arg(long)]
    station: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct FirstCommit {
    /// The page server.
    #[arg(long)]
    join: Address,
    /// Whose place it takes.
    #[arg(long)]
    station: Option<u32>,
    /// Says a line, and joins when it is told.
    #[arg(long)]
    standby: bool,
}

impl Role {
    /// Plays the role to its end.
    pub(crate) fn play(self) -> Result<()> {
        // Whatever happens to the measurement, nothing of it stays behind.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        match self {
            Self::Serve(serve) => serve.run(),
            Self::Echo(echo) => echo.run(),
            Self::Increments(counting) => counting.run_station(),
            Self::RedisIncrements(counting) => counting.run_redis_client(),
            Self::FirstCommit(first_commit) => first_commit.run(),
            Self::Sit { join } => recovery::silence::sit(&join),
            Self::TeamAsked(asked) => asked.play(),
            Self::ProgramMember(member) => member.play(),
            Self::LineStation(station) => station.play(),
            Self::Nothing => {
                println!("{}", monotonic_ns());
                Ok(())
            }
        }
    }
}

impl Serve {
    fn run(self) -> Result<()> {
        let began_at_ns = monotonic_ns();
        self.processor.map_or(Ok(()), machine::pin)?;
        let checkpoint = self.checkpoint_options();
        let mut options = ServerOptions::new(self.dir, self.listen);
        // A measurement may stop server or stations for a while.
        options.silence_max = self.silence_us.map_or(SILENCE_MAX, Duration::from_micros);
        options.checkpoint = checkpoint;
        options.preload = self.preload;
        options.compression = self.compress.into();
        if let Some(spin) = self.spin_us {
            options.spin = Duration::from_micros(spin);
        }
        if self.durable {
            options.durability = Durability::Durable;
        }
        let mut server = PageServer::open(options)?;
        let address = server.addresses().pop().context("a server listens")?;
        let ready = Ready::new(address.to_string(), began_at_ns, server.started());
        println!("{}", ready.say()?);
        let mut teller = Teller::default();
        server.on_notice(move |notice| match teller.line(&notice) {
            Ok(line) => line.iter().for_each(|line| println!("{line}")),
            Err(error) => {
                eprintln!("error: {error}");
                std::process::exit(1);
            }
        });
        stop_with_input(server.stop_handle());
        Ok(server.run()?)
    }

    fn checkpoint_options(&self) -> Option<CheckpointOptions> {
        let mut options = CheckpointOptions::new(self.checkpoint?.into());
        options.every = self.every_us.map_or(NEVER, Duration::from_micros);
        options.changed_bytes = self
            .changed_pages
            .map_or(u64::MAX, |pages| pages * PAGE_BYTES as u64);
        Some(options)
    }
}

/// Ends the server in order once whoever started it closes its input.
fn stop_with_input(stop: Arc<Stop>) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stop.stop();
    });
}

impl EchoServer {
    fn run(self) -> Result<()> {
        self.processor.map_or(Ok(()), machine::pin)?;
        let sizes = Sizes {
            request: self.request,
            reply: self.reply,
        };
        let waiting = if self.spin {
            Waiting::Spinning
        } else {
            Waiting::Blocking
        };
        echo::serve(&self.listen, sizes, waiting)
    }
}

impl Counting {
    fn run_station(self) -> Result<()> {
        let mut options = Options::default();
        options.shared_memory = !self.socket_alone;
        options.station = self.station;
        let mut station = Station::join(&self.join, options)?;
        cells::read_all(&mut station, self.counters)?;
        let mut random = Random(self.seed);
        let increment = |station: &mut Station| {
            let counter = cells::dense(random.below(self.counters));
            let body = move |tx: &mut Transaction<'_>| {
                *tx.get_mut(counter)? += 1;
                Ok(())
            };
            if self.submit {
                // An error is told by the flush.
                drop(station.submit(body));
                Ok(())
            } else {
                Ok(station.transaction(body)?)
            }
        };
        self.take_orders(&mut station, increment, |station| Ok(station.flush()?))
    }

    fn run_redis_client(self) -> Result<()> {
        let mut client = redis::Client::connect(&self.join)?;
        let mut random = Random(self.seed);
        let increment = |client: &mut redis::Client| {
            client.increment(random.below(self.counters), self.pipelined)
        };
        self.take_orders(&mut client, increment, |_| Ok(()))
    }

    /// For each number of milliseconds that is read, increments for so long, and says how often.
    fn take_orders<C>(
        &self,
        client: &mut C,
        mut increment: impl FnMut(&mut C) -> Result<()>,
        mut finish: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        println!("ready");
        for order in std::io::stdin().lock().lines() {
            let end = Instant::now() + Duration::from_millis(order?.parse()?);
            let mut done = 0u64;
            while Instant::now() < end {
                increment(client)?;
                done += 1;
            }
            finish(client)?;
            println!("{done}");
        }
        Ok(())
    }
}

impl FirstCommit {
    fn run(self) -> Result<()> {
        if self.standby {
            println!("ready");
            std::io::stdin().lock().read_line(&mut String::new())?;
        }
        let began = monotonic_ns();
        let mut options = Options::default();
        options.station = self.station;
        let mut station = Station::join(&self.join, options)?;
        let joined = monotonic_ns();
        station.transaction(|tx| {
            *tx.get_mut(cells::dense(0))? += 1;
            Ok(())
        })?;
        let committed = monotonic_ns();
        println!("{began} {joined} {committed}");
        std::io::stdout().flush()?;
        Ok(())
    }
}
