//! Recovery lines of teams: what they cost who computes, how fast they are taken, and how soon a team
//! goes on from one when a station was killed.

mod cycles;
pub(super) mod death;
pub(super) mod overhead;
pub(super) mod speed;
pub(super) mod stop;

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use plurix::net::Address;
use plurix::team::{LineOptions, Program, Region, Setup, TeamOptions, Turn, Worker};
use plurix::{Options, Station};
use plurix_wire::PAGE_BYTES;

use crate::process::{CheckpointKind, Place, Process, Server, ServerKind};
use crate::rounds::monotonic_ns;
use crate::said::Strategy;
use cycles::Cycles;

/// The one team of a page server.
const TEAM: &str = "lines";
const STATIONS: u16 = 2;

/// What a team does to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A fifth of the pages changes between two lines, in runs of 64 pages.
    Runs,
    /// The same, and no two of these pages are neighbours.
    Scattered,
    /// All pages change before each line, and it is said when.
    Whole,
    /// There is a line, and the team waits for one of its stations to die.
    Victims,
}

/// A station of such a team, with one worker.
#[derive(Debug, Args)]
pub(crate) struct LineStation {
    #[arg(long)]
    join: Address,
    #[arg(long)]
    kind: Kind,
    /// Of the team's memory.
    #[arg(long)]
    pages: usize,
    /// From one line to the next, at least.
    #[arg(long)]
    every_us: u64,
    /// How many lines are measured.
    #[arg(long)]
    lines: u64,
}

impl LineStation {
    pub(crate) fn play(self) -> Result<()> {
        say("began", monotonic_ns());
        let mut station = Station::join(&self.join, Options::default())?;
        say("joined", monotonic_ns());
        let every = Duration::from_micros(self.every_us);
        let mut team = TeamOptions::new(TEAM).stations(STATIONS);
        team.lines = Some(LineOptions::every(every));
        let (pages, lines) = (self.pages, self.lines);
        match self.kind {
            Kind::Runs | Kind::Scattered => {
                let run = if self.kind == Kind::Runs { 64 } else { 1 };
                let cycles = Cycles::new(run, every, lines);
                run_team(&mut station, &team, pages, |worker, own, phase| {
                    cycles.phase(worker, own, phase)
                })?;
                cycles.say();
            }
            Kind::Whole => run_team(&mut station, &team, pages, |worker, own, phase| {
                speed::phase(lines, worker, own, phase)
            })?,
            Kind::Victims => run_team(&mut station, &team, pages, death::phase)?,
        }
        Ok(())
    }
}

/// Lives in a team whose memory is so many pages, and says how many lines there were.
fn run_team(
    station: &mut Station,
    team: &TeamOptions,
    pages: usize,
    phase: impl Fn(&mut Worker<'_>, &Own, u64) -> plurix::Result<Turn<()>> + Sync,
) -> Result<()> {
    let report = station.run_team(team, &OnPages { pages, phase })?;
    say("lines", report.lines);
    Ok(())
}

/// A program on so many pages, and what a worker does in a phase.
struct OnPages<F> {
    pages: usize,
    phase: F,
}

impl<F> Program for OnPages<F>
where
    F: Fn(&mut Worker<'_>, &Own, u64) -> plurix::Result<Turn<()>> + Sync,
{
    type Data = Region<u8>;
    type Output = ();

    fn setup(&self, setup: &mut Setup<'_, '_>) -> plurix::Result<Region<u8>> {
        setup.region(self.pages * PAGE_BYTES)
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        region: &Region<u8>,
        phase: u64,
    ) -> plurix::Result<Turn<()>> {
        let own = Own {
            region: *region,
            pages: worker.part(self.pages),
        };
        (self.phase)(worker, &own, phase)
    }
}

/// A worker's pages of the team's memory.
struct Own {
    region: Region<u8>,
    pages: Range<usize>,
}

impl Own {
    fn bytes(&self) -> Range<usize> {
        self.pages.start * PAGE_BYTES..self.pages.end * PAGE_BYTES
    }

    /// Writes all of their bytes: they are kept at the worker's station from then on.
    fn fill(&self, worker: &Worker<'_>) -> plurix::Result<()> {
        for page in self.pages.clone() {
            let begin = page * PAGE_BYTES;
            // No page is all zeros, or as the next one.
            let value = page as u8 | 1;
            let mut bytes = worker.write(self.region, begin..begin + PAGE_BYTES)?;
            bytes.fill(value);
        }
        Ok(())
    }

    /// Stores a byte to each of those that are chosen by their number.
    fn touch(
        &self,
        worker: &Worker<'_>,
        value: u8,
        is_chosen: impl Fn(usize) -> bool,
    ) -> plurix::Result<()> {
        let mut bytes = worker.write(self.region, self.bytes())?;
        for (at, page) in self.pages.clone().enumerate() {
            if is_chosen(page) {
                bytes[at * PAGE_BYTES] = value | 1;
            }
        }
        Ok(())
    }
}

fn say(what: &str, number: u64) {
    println!("{what} {number}");
}

/// Starts both stations of a team on `server`.
fn start(
    server: &Server,
    kind: Kind,
    pages: u64,
    every: Duration,
    lines: u64,
) -> Result<[Process; 2]> {
    let start = || start_one(server, kind, pages, every, lines);
    Ok([start()?, start()?])
}

fn start_one(
    server: &Server,
    kind: Kind,
    pages: u64,
    every: Duration,
    lines: u64,
) -> Result<Process> {
    let value = kind.to_possible_value().context("a kind has a name")?;
    let arguments = [
        "line-station".to_owned(),
        format!("--join={}", server.address),
        format!("--kind={}", value.get_name()),
        format!("--pages={pages}"),
        format!("--every-us={}", every.as_micros()),
        format!("--lines={lines}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::role(&arguments, Place::Anywhere)
}

/// The number that a station says under this name, after whatever else.
fn heard(station: &mut Process, name: &str) -> Result<u64> {
    loop {
        let line = station.line()?;
        if let Some((_, number)) = line.split_once(' ').filter(|(what, _)| *what == name) {
            return number
                .parse()
                .with_context(|| format!("a station said: {line}"));
        }
    }
}

/// A page server that takes a checkpoint of each line, and none by time.
fn server(directory: &std::path::Path) -> Result<Server> {
    let kind = ServerKind {
        checkpoints: Some(CheckpointKind::at_end(Strategy::Nonblocking)),
        ..ServerKind::default()
    };
    Server::start(directory, kind)
}

fn ms(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e6
}
