//! `plurix run`: a program on a page server and several stations, all on this machine.
//!
//! ```text
//!   main thread: supervisor               events              threads
//!     starts and restarts processes  ◄──────────────  one a process: its lines, its end
//!     kills by plan and at random    ◄──────────────  coordinator: set up, progress, finish
//!     keeps time, and the timeline   ◄──────────────  probe: how kills heal
//!     shows progress and summary     ◄──────────────  signals
//! ```
//!
//! Nothing is saved here: the program's whole state is in the heap. Any process may die, this one
//! too, and whoever runs the same command on the same directory goes on from there.

mod chaos;
mod chaos_report;
mod checkpoints;
mod coordinator;
mod ending;
mod event;
mod kills;
mod members;
mod place;
mod plan;
mod probe;
mod process;
mod progress;
mod record;
mod striking;
mod summary;
mod supervisor;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use plurix::net::Address;
use plurix_apps::AppCommand;
use plurix_apps::team::Places;

use crate::logging::Logging;
use crate::restore::Restore;
use crate::server_settings::ServerSettings;
use crate::timeline::TimelineFile;
use crate::units::{parse_bytes, parse_duration};
use crate::{Exit, Usage, output};
use chaos::{AFTERMATH, ChaosOptions};
use plan::{Kill, Who};
use supervisor::{Outcome, Supervisor};

const EXAMPLES: &str = "\
Examples:
  plurix run raytrace --stations 3 --kill 2@1s --out balls.png
      three stations render a picture; after a second number 2 is killed, and replaced
  plurix run wordcount book.txt --stations 2 --json
  plurix run bank --stations 4 --kill server@500ms --durability durable
  plurix run bank --stations 3 --chaos 30s --timeline chaos.html
      random kills, a report of how each healed, and a page that shows it
  plurix run raytrace --dir heap --out balls.png
      keeps the heap; after Ctrl-C, or kill -9, the same command goes on
  plurix run raytrace --dir heap --restore 3 --out balls.png
      goes on from checkpoint 3 of 'plurix checkpoint list --dir heap'
  plurix run jacobi --stations 2 --iterations 5000 --kill 1@2s
      the team goes back to its last recovery line, and finds the same bits
  plurix run sor --stations 3 --iterations 5000 --kill 2@2s --spread
      the two that are left share the work of the third

Exit codes: 0 verified, 1 failed or not verified, 2 wrong usage, 130 interrupted.";

#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    next_help_heading = "Run",
    subcommand_value_name = "APP",
    subcommand_help_heading = "Apps"
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) app: AppCommand,
    /// The members log as the supervisor does.
    #[arg(skip)]
    pub(crate) logging: Logging,
    /// How many stations work.
    #[arg(
        long, global = true, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub(crate) stations: u32,
    /// Kill this station (or `server`) so long after the program was set up; may be given several
    /// times.
    #[arg(long, global = true, value_name = "STATION@TIME")]
    pub(crate) kill: Vec<Kill>,
    /// Replace no station that dies: the others take its work over. One is left at least.
    #[arg(long, global = true)]
    pub(crate) spread: bool,
    /// Keep the heap here, and continue with the one that is there [default: a temporary one].
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// Where the page server listens; stations of other machines can then join the run [default: a
    /// Unix socket in the heap's directory].
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<Address>,
    /// Memory of each station for pages of the heap; what was used the longest ago is given up for
    /// others [default: no limit].
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) station_cache_bytes: Option<u64>,
    /// Give up after this time.
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    restore: Restore,
    #[command(flatten)]
    chaos: ChaosOptions,
    /// Write what happened when to this file, also if the run fails or is interrupted: a page
    /// (.html), a picture (.svg), or a trace for ui.perfetto.dev and chrome://tracing (.json).
    #[arg(long, global = true, value_name = "FILE")]
    timeline: Option<TimelineFile>,
    /// Print the summary in JSON, on standard output.
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress, only the summary.
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(flatten)]
    settings: ServerSettings,
}

pub(crate) fn run(mut options: Options, logging: Logging) -> anyhow::Result<Exit> {
    options.logging = logging;
    for kill in &options.kill {
        if let Who::Station(number) = kill.who
            && !(1..=options.stations).contains(&number)
        {
            return Err(Usage(format!(
                "--kill {kill}: there are stations 1 to {}",
                options.stations
            ))
            .into());
        }
    }
    options.restore.check(options.dir.as_deref())?;
    let chaos = options.chaos.plan(options.stations)?;
    if let Some(time) = options.chaos.time() {
        options.app.work_for(time + AFTERMATH);
    }
    let places = Places {
        stations: options.stations,
        lines: match options.app.is_for_teams() {
            true => options.settings.line_options()?,
            false => None,
        },
        spread: options.spread,
    };
    let app = options.app.clone().into_app(places)?;
    let json = options.json;
    let outcome = Supervisor::start(options, chaos)?.supervise(app)?;
    match outcome {
        Outcome::Interrupted => Ok(Exit::Interrupted),
        Outcome::Finished(summary) => {
            if json {
                output::line(serde_json::to_string_pretty(&summary)?);
            } else {
                // Standard output may hold what the program has computed.
                output::note(&summary);
            }
            Ok(if summary.verified {
                Exit::Done
            } else {
                output::note("error: the program's own check of its result failed");
                Exit::Failed
            })
        }
    }
}
