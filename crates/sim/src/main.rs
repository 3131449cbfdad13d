//! The simulator's command: runs one seed, or many until one fails; makes a failing run smaller,
//! says how to repeat it, and draws it.

mod canaries;
mod command;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, value_parser};
use plurix_sim::{Canary, Mask, Numbers, Options, Stage};
use signal_hook::consts::SIGPIPE;

const EXAMPLES: &str = "\
Examples:
  plurix-sim --seed 7                      one seed, with a summary
  plurix-sim --seed 7 --trace              the same run, every event printed
  plurix-sim --seed 7 --trace run.html     the same run as a chart, to be opened in a browser
  plurix-sim --seeds 1000 --from 5000      many seeds; stops at the first that fails
  plurix-sim --for 3m                      fresh seeds for three minutes
  plurix-sim --seeds 50 --twice            is every run the same, run twice?
  plurix-sim scale --stations 10,100,1000  what a commit costs with so many stations
  plurix-sim team --seeds 300              teams on weak memory, instead of clusters
  plurix-sim canaries                      is every planted bug noticed?

A failing run is made smaller before it is reported; the report ends with the command that repeats
it. Exit codes: 0 all passed, 1 a seed failed, 2 wrong arguments, 130 ended by Ctrl-C.";

const TEAM_EXAMPLES: &str = "\
Examples:
  plurix-sim team --seed 7 --trace         one team, every event printed
  plurix-sim team --seeds 300              many; stops at the first that fails, and makes it smaller
  plurix-sim team --seeds 50 --twice       is every run the same, run twice?

Of a team, --stations-only lets only these stations do more than come to barriers, and --until-event
cuts the scripts off.";

/// Runs a whole Plurix cluster in one thread, under a seed, with faults and oracles.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
    #[command(flatten)]
    runs: Runs,
    /// Judge what programs saw by the black-box check alone, in every seed.
    #[arg(long)]
    black_box_alone: bool,
    /// Let the faults go on until there have been so many commits, in a mix made quick.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    commits: Option<u64>,
}

/// Which seeds to run, of whatever is simulated, and what to make of them.
#[derive(Debug, clap::Args)]
struct Runs {
    #[command(flatten)]
    seeds: Seeds,
    #[command(flatten)]
    mask: MaskOptions,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    shrink: Shrink,
    /// Run each seed twice and compare the traces.
    #[arg(long)]
    twice: bool,
    /// Plant this bug; only in a build with `--cfg plurix_canary`.
    #[arg(long, value_name = "NAME", value_parser = canaries::parse)]
    canary: Option<Canary>,
}

#[derive(Debug, clap::Subcommand)]
enum Mode {
    /// Run teams of stations on weak memory.
    #[command(after_help = TEAM_EXAMPLES)]
    Team(Box<Runs>),
    /// Plant each bug in turn and see in how many seeds which oracle notices it.
    Canaries(canaries::Hunt),
    /// Measure what a commit costs as stations become more.
    Scale(command::scale::ScaleOptions),
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which seeds")]
struct Seeds {
    /// Run this seed.
    #[arg(long, default_value_t = 1, conflicts_with_all = ["seeds", "duration"])]
    seed: u64,
    /// Run so many seeds; stop at the first that fails.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Run fresh seeds for so long: 90s, 3m, 1h.
    #[arg(long = "for", value_name = "DURATION", value_parser = command::parse_duration)]
    duration: Option<Duration>,
    /// The first of many seeds; 1, or taken from the clock with --for.
    #[arg(long, value_name = "S", conflicts_with = "seed")]
    from: Option<u64>,
    /// Run so many at a time; the result does not depend on it. All cores by default.
    #[arg(long, value_name = "J")]
    jobs: Option<NonZeroUsize>,
}

impl Seeds {
    fn are_many(&self) -> bool {
        self.seeds.is_some() || self.duration.is_some()
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What of a run to leave out")]
struct MaskOptions {
    /// Let only these stations take part: 0,2,5-9.
    #[arg(long, value_name = "LIST", conflicts_with_all = ["seeds", "duration"])]
    stations_only: Option<Numbers>,
    /// Let only these faults happen, counted from 0: 3,17-20, or none.
    #[arg(long, value_name = "LIST", conflicts_with_all = ["seeds", "duration"])]
    faults_only: Option<Numbers>,
    /// End the faults and the random programs after this event.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "duration"])]
    until_event: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct Output {
    /// Print every event of one seed; or write the run to FILE: .html or .svg for a chart, .txt for
    /// lines. With many seeds, what is written is the shrunk run of the one that fails.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", value_parser = command::parse_trace)]
    trace: Option<PathBuf>,
    /// Write only the last N events to the file.
    #[arg(long, value_name = "N", default_value_t = 2000, requires = "trace")]
    trace_last: usize,
    /// Print JSON: an object for each run, and one for the sum of many.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Shrinking")]
struct Shrink {
    /// Report a failing run as it is.
    #[arg(long)]
    no_shrink: bool,
    /// Look for a smaller run in at most so many runs.
    #[arg(long, value_name = "N", default_value_t = 200)]
    shrink_runs: u64,
    /// Look for a smaller run for at most so long.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = command::parse_duration)]
    shrink_for: Duration,
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            black_box_alone: self.black_box_alone,
            commits: self.commits.unwrap_or(0),
            ..self.runs.options(Stage::Cluster)
        }
    }
}

impl Runs {
    fn options(&self, stage: Stage) -> Options {
        Options {
            stage,
            canary: self.canary,
            mask: Mask {
                stations: self.mask.stations_only.clone(),
                faults: self.mask.faults_only.clone(),
                until_event: self.mask.until_event,
            },
            ..Options::default()
        }
    }

    /// What of the arguments makes no sense together, beyond what their declarations say.
    fn contradiction(&self) -> Option<&'static str> {
        let prints = self.output.trace.is_some() && self.trace_file().is_none();
        match self.seeds.are_many() {
            true if prints => {
                Some("--trace prints one seed; with many, name a file for the one that fails")
            }
            false if self.seeds.from.is_some() => {
                Some("--from is the first of many seeds: say --seeds N or --for TIME, or --seed S")
            }
            _ => None,
        }
    }

    /// The file that the trace is wanted in, if it is.
    fn trace_file(&self) -> Option<&PathBuf> {
        let file = self.output.trace.as_ref();
        file.filter(|file| file.as_os_str() != "-")
    }
}

/// Ends as others do when nobody reads what is printed any more (`… --trace | head`), where Rust would
/// panic.
fn end_with_the_reader() -> std::io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_default(SIGPIPE, always).map(drop)
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    end_with_the_reader().context("cannot ask for SIGPIPE")?;
    match &arguments.mode {
        Some(Mode::Canaries(hunt)) => canaries::hunt(hunt),
        Some(Mode::Scale(options)) => command::scale::run(options),
        Some(Mode::Team(runs)) => run(runs, &runs.options(Stage::Team)),
        None => run(&arguments.runs, &arguments.options()),
    }
}

fn run(runs: &Runs, options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(what) = runs.contradiction() {
        let mut command = Arguments::command();
        command.error(ErrorKind::ArgumentConflict, what).exit();
    }
    plurix_sim::keep_panics_quiet();
    if runs.seeds.are_many() {
        command::many::run(runs, options)
    } else {
        command::one::run(runs, options)
    }
}
