//! From the start of a station's process to its first commit: what a station that replaces a dead
//! one costs.

use std::process::Command;

use anyhow::{Context, Result, bail};
use plurix_memory::HeapMemory;

use crate::figure::{Figure, Spread, Target, number};
use crate::process::{Server, ServerKind};
use crate::rounds::{Plan, monotonic_ns};

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path(), ServerKind::default())?;
    let address = server.address.to_string();
    let mut rounds = Vec::new();
    let (mut exec, mut join, mut commit) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.starts {
        let (spawned, said) = stamps(&["nothing"])?;
        let [floor] = said[..] else {
            bail!("an empty process says one time");
        };
        let (spawn, said) = stamps(&["first-commit", "--join", &address])?;
        let [began, joined, committed] = said[..] else {
            bail!("a station says three times");
        };
        let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
        rounds.push((ms(spawn, committed), ms(spawned, floor)));
        exec.push(ms(spawn, began));
        join.push(ms(began, joined));
        commit.push(ms(joined, committed));
    }
    let part = |samples| number(Spread::of(samples).median);
    Ok(vec![
        Figure::against(
            "start",
            "station process, from spawn to its first commit, shared memory, p50",
            "ms",
            "the same program, from spawn to its main function",
            &rounds,
            Target::ValueAtMost(5.0),
        )
        .note(format!(
            "exec {} ms, join {} ms, commit {} ms; of the join, reserving the heap takes {} ms",
            part(exec),
            part(join),
            part(commit),
            part(reservations(plan)?),
        )),
    ])
}

/// When a role was started, and the times that it says.
pub(super) fn stamps(arguments: &[&str]) -> Result<(u64, Vec<u64>)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    let spawned = monotonic_ns();
    let output = command.output().context("cannot start a process")?;
    if !output.status.success() {
        bail!("a process of the measurement failed: {arguments:?}");
    }
    let text = String::from_utf8(output.stdout)?;
    let times: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    Ok((spawned, times?))
}

/// Milliseconds that reserving the usual heap takes.
fn reservations(plan: &Plan) -> Result<Vec<f64>> {
    (0..plan.starts)
        .map(|_| {
            let before = monotonic_ns();
            let heap = HeapMemory::reserve(1 << 40)?;
            let after = monotonic_ns();
            drop(heap);
            Ok((after - before) as f64 / 1e6)
        })
        .collect()
}
