//! A station is killed while it works; a successor takes over its number. What counts is the
//! successor's first commit: as a new process, and as one that was waiting for its turn.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::benchmarks::start;
use crate::figure::{Figure, Target};
use crate::process::{Place, Process, Server, ServerKind};
use crate::rounds::{Plan, monotonic_ns};

/// Which station dies.
const NUMBER: &str = "1";
/// The victim works until it is killed.
const WORK_MS: &str = "600000";
/// It is killed after so long.
const WORKS_FOR: Duration = Duration::from_millis(5);

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path(), ServerKind::default())?;
    let address = server.address.to_string();
    let (mut new, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..plan.starts {
        let (spawned, said) = start::stamps(&["nothing"])?;
        let [main] = said[..] else {
            bail!("an empty process says one time");
        };
        let floor = main.saturating_sub(spawned) as f64 / 1e6;
        new.push((succeed(&address, false)?, floor));
        waiting.push((succeed(&address, true)?, floor));
    }
    let floor = "the same program, from spawn to its main function";
    Ok(vec![
        Figure::against(
            "station-death",
            "from the kill of a station to the first commit of a successor, a new process, p50",
            "ms",
            floor,
            &new,
            Target::ValueAtMost(10.0),
        ),
        Figure::against(
            "station-death-standby",
            "the same, and the successor's process waits already",
            "ms",
            floor,
            &waiting,
            Target::None,
        ),
    ])
}

/// Milliseconds from the kill of a station at work to its successor's first commit.
fn succeed(address: &str, stands_by: bool) -> Result<f64> {
    let counters = "1000";
    let arguments = ["--join", address, "--station", NUMBER];
    let mut victim = ["increments", "--counters", counters, "--seed", "1"].to_vec();
    victim.extend(arguments);
    let mut victim = Process::role(&victim, Place::Anywhere)?;
    victim.line()?;
    victim.tell(WORK_MS)?;
    let mut successor = vec!["first-commit"];
    successor.extend(arguments);
    let mut standby = None;
    if stands_by {
        successor.push("--standby");
        let mut process = Process::role(&successor, Place::Anywhere)?;
        process.line()?;
        standby = Some(process);
    }
    std::thread::sleep(WORKS_FOR);
    let killed = monotonic_ns();
    victim.kill()?;
    let mut process = match standby {
        Some(mut process) => {
            process.tell("join")?;
            process
        }
        None => Process::role(&successor, Place::Anywhere)?,
    };
    let said = process.line()?;
    let committed = said.split_whitespace().last();
    let committed: u64 = committed.context("a station says three times")?.parse()?;
    process.end()?;
    Ok(committed.saturating_sub(killed) as f64 / 1e6)
}
