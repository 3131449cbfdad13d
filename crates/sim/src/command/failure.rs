//! The report of a failure: what the oracle saw, the smallest run that shows it, the end of that
//! run's trace, and the commands that repeat it.

use std::io::IsTerminal as _;

use plurix_sim::{Options, Progress, Report, Stage, record, shrink};

use super::{now, write_story};
use crate::Runs;

/// Lines of the trace in the report.
const TAIL_LINES: usize = 40;

/// Prints the report to the standard error; shrinks the run first unless it `stays`, and writes
/// the chart of the shrunk run if a file is asked for.
pub(crate) fn explain(
    failed: Report,
    arguments: &Runs,
    options: &Options,
    stays: bool,
) -> anyhow::Result<()> {
    let Some(failure) = failed.failure.clone() else {
        return Ok(());
    };
    eprintln!("\nseed {} failed: {failure}", failed.seed);
    let as_run = command(&failed, arguments, options);
    // Two runs that differ need not fail a third time.
    let stays = stays || arguments.shrink.no_shrink || arguments.twice;
    let (before, report) = if stays {
        (None, failed)
    } else {
        (Some(size(&failed)), shrunk(failed, arguments, options))
    };
    let masked = Options {
        mask: report.mask.clone(),
        ..options.clone()
    };
    let last = arguments.output.trace_last.max(TAIL_LINES);
    let story = record(report.seed, &masked, last, false);
    eprintln!("\nThe end of its trace, times in milliseconds:");
    let lines: Vec<String> = story.lines().collect();
    for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
        eprintln!("{line}");
    }
    if let Some(failure) = &story.report.failure {
        eprintln!("VIOLATION {failure}");
    }
    if let Some(before) = before {
        eprintln!("\nShrunk from {before}\n       to   {}.", size(&report));
    }
    if let Some(file) = arguments.trace_file().filter(|_| !stays) {
        write_story(&story, file)?;
        eprintln!("{} shows the shrunk run.", file.display());
    }
    let shortest = command(&report, arguments, options);
    if shortest == as_run {
        eprintln!("\nRepeat it with\n  {as_run}");
    } else {
        eprintln!("\nRepeat the run that failed with\n  {as_run}");
        eprintln!("and the shrunk one with\n  {shortest}");
    }
    eprintln!("Add --trace to print every event, or --trace run.html for a chart.");
    Ok(())
}

/// The command that repeats exactly this run.
fn command(report: &Report, arguments: &Runs, options: &Options) -> String {
    // Only a build of its own has bugs to plant.
    let (program, canary) = match arguments.canary {
        Some(bug) => (
            "target/canary/quick/plurix-sim",
            format!(" --canary {}", bug.name()),
        ),
        None => ("cargo xtask sim", String::new()),
    };
    let twice = if arguments.twice { " --twice" } else { "" };
    let alone = if options.black_box_alone {
        " --black-box-alone"
    } else {
        ""
    };
    let commits = match options.commits {
        0 => String::new(),
        commits => format!(" --commits {commits}"),
    };
    let stage = match options.stage {
        Stage::Cluster => "",
        Stage::Team => " team",
    };
    let (seed, mask) = (report.seed, &report.mask);
    format!("{program}{stage} --seed {seed}{mask}{canary}{alone}{commits}{twice}")
}

fn size(report: &Report) -> String {
    let only = report.mask.stations.as_ref();
    let stations = only.map_or(report.stations, |only| only.0.len());
    let tally = &report.tally;
    format!(
        "{} events, {stations} stations, {} faults, {:.3} ms",
        tally.events,
        tally.faults,
        report.virtual_ns as f64 / 1e6
    )
}

fn shrunk(failed: Report, arguments: &Runs, options: &Options) -> Report {
    let (runs_max, time_max) = (arguments.shrink.shrink_runs, arguments.shrink.shrink_for);
    let started = now();
    let shown = std::io::stderr().is_terminal();
    let mut go_on = |progress: &Progress<'_>| {
        if shown {
            let runs = progress.runs;
            eprint!(
                "\r\x1b[Kshrinking, {runs} runs: {}",
                size(progress.smallest)
            );
        }
        progress.runs < runs_max && now() - started < time_max
    };
    eprintln!(
        "Shrinking it, by at most {runs_max} runs and {} s.",
        time_max.as_secs()
    );
    let report = shrink(failed, options, &mut go_on);
    if shown {
        eprint!("\r\x1b[K");
    }
    report
}
