//! Runs many seeds until one fails, their number or the time is up, or somebody presses Ctrl-C.

use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use plurix_sim::{Options, Report, run_twice};

use super::summary::{Sum, progress_line};
use super::{failure, pool};
use crate::{Runs, Seeds};

/// What a shell expects of a command that was ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

pub(crate) fn run(arguments: &Runs, options: &Options) -> anyhow::Result<ExitCode> {
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone())
        .context("cannot watch for Ctrl-C")?;
    let seeds = seeds(&arguments.seeds);
    let jobs = jobs(&arguments.seeds);
    let run = |seed| match arguments.twice {
        true => run_twice(seed, options),
        false => plurix_sim::run(seed, options),
    };
    let mut sum = Sum::new(seeds.clone(), jobs, options.stage);
    let mut failed = None;
    let turn = |report: Option<Report>| -> ControlFlow<()> {
        let Some(report) = report else {
            let is_late = |most| sum.elapsed() >= most;
            let is_over = arguments.seeds.duration.is_some_and(is_late)
                || interrupted.load(Ordering::Relaxed);
            progress_line(&mut sum, arguments.output.json);
            return if is_over {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        };
        sum.add(&report);
        if arguments.output.json
            && let Ok(line) = serde_json::to_string(&report)
        {
            println!("{line}");
        }
        if report.failure.is_some() {
            failed = Some(report);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    pool::run(seeds, jobs, run, turn);
    sum.print(failed.is_some(), arguments.output.json)?;
    if let Some(report) = failed {
        failure::explain(report, arguments, options, false)?;
        return Ok(ExitCode::FAILURE);
    }
    if interrupted.load(Ordering::Relaxed) {
        eprintln!("ended by Ctrl-C");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}

fn seeds(wanted: &Seeds) -> Range<u64> {
    let from = match (wanted.from, wanted.duration) {
        (Some(from), _) => from,
        (None, None) => 1,
        (None, Some(_)) => {
            let from = fresh();
            eprintln!("fresh seeds, from {from}; the same again with --from {from}");
            from
        }
    };
    from..from.saturating_add(wanted.seeds.unwrap_or(u64::MAX))
}

/// A seed that hardly anybody has tried before, short enough to be typed.
#[allow(
    clippy::disallowed_methods,
    reason = "which seeds are run is chosen here; what they do is not"
)]
fn fresh() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_millis() as u64 % 1_000_000_000 * 1000
}

fn jobs(wanted: &Seeds) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    wanted.jobs.map_or_else(cores, NonZeroUsize::get)
}
