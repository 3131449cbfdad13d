//! Recovery lines of teams: what they cost who computes, how fast they are taken, and how soon a team
//! goes on from one when a station was killed.

mod cycles;
pub(super) mod death;
pub(super) mod overhead;
pub(super) mod speed;
pub(super) mod stop;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use plurix::net::Address;
use plurix::team::{LineOptions, Region, Report, Setup, TeamOptions, Worker};
use plurix::{Options, Station};
use plurix_wire::PAGE_BYTES;

use crate::process::{CheckpointKind, Place, Process, Server, ServerKind};
use crate::rounds::monotonic_ns;
use crate::said::Strategy;
use cycles::Cycles;
use death::Victims;
use speed::Whole;

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
                let cycles = Cycles::new(pages, run, every, lines);
                let report = station.run_team(&team, &cycles)?;
                said_lines(&report);
                cycles.say();
            }
            Kind::Whole => said_lines(&station.run_team(&team, &Whole { pages, lines })?),
            Kind::Victims => said_lines(&station.run_team(&team, &Victims { pages })?),
        }
        Ok(())
    }
}

fn said_lines<T>(report: &Report<T>) {
    say("lines", report.lines);
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

/// Memory for so many pages.
fn lay_out(setup: &mut Setup<'_, '_>, pages: usize) -> plurix::Result<Region<u8>> {
    setup.region(pages * PAGE_BYTES)
}

/// Writes all bytes of the worker's pages, which are kept at its station from then on.
fn fill(worker: &Worker<'_>, region: Region<u8>, pages: usize) -> plurix::Result<()> {
    for page in worker.part(pages) {
        let begin = page * PAGE_BYTES;
        // No page is all zeros, or as the next one.
        let value = page as u8 | 1;
        worker.write(region, begin..begin + PAGE_BYTES)?.fill(value);
    }
    Ok(())
}

fn ms(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e6
}
