//! Runs one seed: with a summary, its trace, or what went wrong.

use std::process::ExitCode;

use plurix_sim::{Report, record, run_twice};

use super::{failure, write_story};
use crate::Arguments;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let report = trace_or_run(arguments)?;
    if arguments.output.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        summarise(&report);
    }
    if report.failure.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    // Who asks for a trace wants to see this very run.
    failure::explain(report, arguments, arguments.output.trace.is_some())?;
    Ok(ExitCode::FAILURE)
}

fn trace_or_run(arguments: &Arguments) -> anyhow::Result<Report> {
    let (seed, options) = (arguments.seeds.seed, arguments.options());
    if arguments.twice {
        return Ok(run_twice(seed, &options));
    }
    let Some(file) = arguments.trace_file() else {
        return Ok(record(seed, &options, 0, arguments.output.trace.is_some()).report);
    };
    let story = record(seed, &options, arguments.output.trace_last, false);
    write_story(&story, file)?;
    eprintln!("{} shows the run", file.display());
    Ok(story.report)
}

fn summarise(report: &Report) {
    let tally = &report.tally;
    println!(
        "seed {}: trace {}, {} events, {:.3} s virtual, {} attempts, {} commits, {} conflicts, \
         {} misses, {} faults, {} leader ends, {} crashes",
        report.seed,
        report.trace_hash,
        tally.events,
        report.virtual_ns as f64 / 1e9,
        tally.attempts,
        tally.commits,
        tally.conflicts,
        tally.misses,
        tally.faults,
        tally.leader_ends,
        tally.crashes
    );
}
