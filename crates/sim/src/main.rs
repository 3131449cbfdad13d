//! The simulator's command: runs one seed, or many until one fails, and says how to repeat it.

mod canaries;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use plurix_sim::{Canary, Options, Report, Tally, run};

const EXAMPLES: &str = "\
Examples:
  plurix-sim --seed 7                   one seed, with a summary
  plurix-sim --seed 7 --trace           the same run, every event printed
  plurix-sim --seeds 1000 --from 5000   many seeds; stops at the first that fails
  plurix-sim --seed 7 --canary drop-tail   with a planted bug, in a build that has them
  plurix-sim canaries                   is every planted bug noticed?";

/// Runs a whole Plurix cluster in one thread, under a seed, with faults and oracles.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    /// Run this seed.
    #[arg(long, default_value_t = 1, conflicts_with = "seeds")]
    seed: u64,
    /// Run so many seeds; stop at the first that fails.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first of many seeds.
    #[arg(long, default_value_t = 1, requires = "seeds", value_name = "S")]
    from: u64,
    /// Print every event.
    #[arg(long)]
    trace: bool,
    /// Print the summary as JSON, one object for each run.
    #[arg(long)]
    json: bool,
    /// Plant this bug; only in a build with `--cfg plurix_canary`.
    #[arg(long, value_name = "NAME", value_parser = canaries::parse)]
    canary: Option<Canary>,
    /// Judge what programs saw by the black-box check alone, in the seeds that it judges.
    #[arg(long)]
    black_box_alone: bool,
    /// Let the faults go on until there have been so many commits.
    #[arg(long, default_value_t = 0, value_name = "N")]
    commits: u64,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Plant each bug in turn and see in how many seeds which oracle notices it.
    Canaries(canaries::Hunt),
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Task::Canaries(hunt)) = &arguments.task {
        return canaries::hunt(hunt);
    }
    let options = Options {
        canary: arguments.canary,
        print: arguments.trace,
        black_box_alone: arguments.black_box_alone,
        commits: arguments.commits,
    };
    let (first, count) = match arguments.seeds {
        Some(count) => (arguments.from, count),
        None => (arguments.seed, 1),
    };
    let started = now();
    let (mut total, mut virtual_ns) = (Tally::default(), 0u64);
    for (done, seed) in (1..).zip(first..first.saturating_add(count)) {
        let report = run(seed, &options);
        total.events += report.tally.events;
        total.commits += report.tally.commits;
        total.faults += report.tally.faults;
        total.explained += report.tally.explained;
        total.undecided += report.tally.undecided;
        virtual_ns += report.virtual_ns;
        if arguments.json {
            println!("{}", serde_json::to_string(&report)?);
        } else if arguments.seeds.is_none() {
            summarise(&report);
        }
        if let Some(failure) = &report.failure {
            explain(&report, failure, &arguments);
            return Ok(ExitCode::FAILURE);
        }
        if arguments.seeds.is_some() && !arguments.json {
            progress(done, count, seed, started, &total, virtual_ns);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[allow(
    clippy::disallowed_methods,
    reason = "how fast the simulator is, is not part of what it simulates"
)]
fn now() -> Instant {
    Instant::now()
}

fn summarise(report: &Report) {
    let tally = &report.tally;
    println!(
        "seed {}: trace {}, {} events, {:.3} s virtual, {} attempts, {} commits, {} conflicts, \
         {} misses, {} faults, {} leader ends, {} crashes, histories: {} explained, {} undecided, \
         {} not judged",
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
        tally.crashes,
        tally.explained,
        tally.undecided,
        tally.went_back
    );
    println!("  scripts: {:?}", tally.scripts);
    println!("  faults: {:?}", tally.struck);
}

fn explain(report: &Report, failure: &str, arguments: &Arguments) {
    for line in &report.tail {
        eprintln!("{line}");
    }
    eprintln!("seed {} failed: {failure}", report.seed);
    let canary = arguments.canary.map_or(String::new(), |canary| {
        format!(" --canary {}", canary.name())
    });
    eprintln!(
        "repeat it with: cargo run --release -p plurix-sim -- --seed {}{canary} --trace",
        report.seed
    );
}

fn progress(done: u64, count: u64, seed: u64, started: Instant, total: &Tally, virtual_ns: u64) {
    let every = if std::io::stderr().is_terminal() {
        10
    } else {
        1000
    };
    if done != count && !done.is_multiple_of(every) {
        return;
    }
    let real = (now() - started).as_secs_f64().max(1e-9);
    eprintln!(
        "{done}/{count} seeds (to {seed}): {} events, {} commits, {} faults, {} histories explained, \
         {} undecided, {:.0} events/s, {:.1} s virtual per second",
        total.events,
        total.commits,
        total.faults,
        total.explained,
        total.undecided,
        total.events as f64 / real,
        virtual_ns as f64 / 1e9 / real
    );
}
