//! Runs one seed: with a summary, its trace, or what went wrong.

use std::process::ExitCode;

use plurix_sim::{Options, Report, Stage, record, run_twice};

use super::{failure, write_story};
use crate::Runs;

pub(crate) fn run(arguments: &Runs, options: &Options) -> anyhow::Result<ExitCode> {
    let report = trace_or_run(arguments, options)?;
    if arguments.output.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        match options.stage {
            Stage::Cluster => summarise(&report),
            Stage::Team => summarise_team(&report),
        }
    }
    if report.failure.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    // Who asks for a trace wants to see this very run.
    failure::explain(report, arguments, options, arguments.output.trace.is_some())?;
    Ok(ExitCode::FAILURE)
}

fn trace_or_run(arguments: &Runs, options: &Options) -> anyhow::Result<Report> {
    let seed = arguments.seeds.seed;
    if arguments.twice {
        return Ok(run_twice(seed, options));
    }
    let Some(file) = arguments.trace_file() else {
        return Ok(record(seed, options, 0, arguments.output.trace.is_some()).report);
    };
    let story = record(seed, options, arguments.output.trace_last, false);
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

fn summarise_team(report: &Report) {
    let tally = &report.tally;
    println!(
        "seed {}: trace {}, {} events, {:.3} ms virtual, {} stations, {} steps, {} misses, {} faults",
        report.seed,
        report.trace_hash,
        tally.events,
        report.virtual_ns as f64 / 1e6,
        report.stations,
        tally.scripts.values().sum::<u64>(),
        tally.misses,
        tally.faults
    );
}
