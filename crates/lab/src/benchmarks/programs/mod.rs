//! Whole programs of two stations with one worker each, against the same programs on two threads of one
//! process.
//!
//! ```text
//!   lab          threads of this process          memory of its own
//!   lab ───────┐
//!              ├── a team: each a process         weak memory
//!   lab member ┘        page server beside them
//! ```
//!
//! Both times begin before the first array is touched, and end when the result is known to all: that
//! includes the arrays' initialisation, their distribution and the checksum. What processes cost before,
//! to start and to find each other, is in neither.

mod program;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use plurix::net::Address;

use crate::figure::{Figure, Target};
use crate::process::{Place, Process, Server, ServerKind};
use crate::rounds::Plan;
use program::{Program, Run, Size};

/// Workers on either side.
const WORKERS: u16 = 2;

/// The station of a team that is not this process.
#[derive(Debug, Args)]
pub(crate) struct Member {
    #[arg(long)]
    join: Address,
    #[command(flatten)]
    size: Size,
}

impl Member {
    pub(crate) fn play(self) -> Result<()> {
        let run = Program::new(&self.size)?.by_team(&self.join, WORKERS)?;
        println!("{}", run.time.as_nanos());
        Ok(())
    }
}

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let sizes = program::sizes(&plan.programs, &directory.path().join("keys"))?;
    let measured = sizes
        .iter()
        .map(|(size, target)| measure(plan, size, *target));
    measured.collect()
}

fn measure(plan: &Plan, size: &Size, target: f64) -> Result<Figure> {
    let program = Program::new(size)?;
    let mut rounds = Vec::new();
    for _ in 0..plan.program_pairs {
        let threads = program.by_threads(WORKERS)?;
        let team = by_team(&program, size)?;
        ensure!(
            team.found == threads.found,
            "{}: the team has found {:x?}, and the threads {:x?}",
            program.what(),
            team.found,
            threads.found
        );
        // As rates, so that the ratio is that of the speeds.
        let rate = |run: &Run| 1.0 / run.time.as_secs_f64();
        rounds.push((rate(&team), rate(&threads)));
    }
    Ok(Figure::against(
        format!("program-{}", program.name()),
        format!("{}, 2 stations with 1 worker", program.what()),
        "runs/s",
        "the same by 2 threads of one process",
        &rounds,
        Target::RatioAtLeast(target),
    ))
}

/// One run by a team of two, of which this process is one, with a page server of its own.
fn by_team(program: &Program, size: &Size) -> Result<Run> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path(), ServerKind::default())?;
    let join = server.address.to_string();
    let mut arguments = vec!["program-member".to_owned(), "--join".to_owned(), join];
    arguments.extend(size.arguments());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut other = Process::role(&arguments, Place::Anywhere)?;
    let mut run = program.by_team(&server.address, WORKERS)?;
    let ns = other.line()?.parse().context("a time in nanoseconds")?;
    run.time = run.time.max(Duration::from_nanos(ns));
    other.end()?;
    Ok(run)
}
