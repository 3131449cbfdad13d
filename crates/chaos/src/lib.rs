//! Real processes under real faults, judged by the oracles of the simulator: what the simulator
//! leaves out is sockets, shared memory, signals, clocks, threads and the kernel's own idea of what
//! a dead process leaves behind.
//!
//! ```text
//!   seed --> plan: faults, transports, mix of programs
//!               |
//!               v
//!   conductor --starts, kills, freezes--> plurix page-server, and workers (this program again)
//!       |       --cuts, stalls, loses---> what they say to each other
//!       |                                    |
//!       |   each round: faults end,          | histories (one line a step), log
//!       v   everybody must finish            v
//!   judge: the log is the truth; every attempt, every answer and every effect must fit it
//! ```

mod archive;
mod chance;
mod cluster;
pub mod conductor;
pub mod history;
mod inspect;
pub mod judge;
mod machines;
pub mod namespace;
mod plan;
mod process;
mod proxy;
mod recorder;
pub mod tables;
pub mod worker;
mod workload;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use plurix_sim::oracle::Violation;

use conductor::Settings;
use judge::falsify::Lie;
use judge::{Judge, Tally};
use machines::Machines;
use plan::{Shape, Transport};

/// Which faults would strike when, a line for each.
#[must_use]
pub fn plan(settings: &Settings) -> Vec<String> {
    let shape = Shape::of(settings.seed, settings.networks, settings.workers);
    let mut lines = vec![format!("{shape:?}")];
    let rounds = settings.rounds();
    for round in 0..rounds {
        lines.push(format!("round {}", round + 1));
        let strikes = shape.strikes(settings.seed, round, settings.round);
        lines.extend(strikes.iter().map(ToString::to_string));
    }
    lines
}

/// What machines with networks of their own cannot have here.
///
/// # Errors
/// Why there cannot be any at all.
pub fn missing_on_networks() -> Result<Option<String>, String> {
    let machines = Machines::networks(&[Transport::Tcp])?;
    Ok(machines.no_netem().map(str::to_owned))
}

/// Judges what a run has left in `directory`, perhaps after telling a lie about it.
///
/// # Errors
/// If it cannot be read, or there is nothing that the lie could be about.
pub fn judge_again(directory: &Path, lie: Option<Lie>) -> Result<Result<Tally, Violation>> {
    let files = cluster::Files {
        root: directory.to_owned(),
    };
    let ground = fs::read(files.ground()).context("no run has left anything there")?;
    let mut judge = Judge::new(serde_json::from_slice(&ground)?);
    let mut evidence = judge.gather(&files.histories(), &files.judged())?;
    let told = lie.is_none_or(|lie| lie.tell(&mut evidence));
    ensure!(told, "there is nothing that {lie:?} could be about");
    Ok(judge.judge(&evidence).map(|()| judge.tally()))
}
