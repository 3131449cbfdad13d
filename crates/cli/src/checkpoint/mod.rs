//! `plurix checkpoint`: takes checkpoints, and looks at, moves and removes those of a directory.
//!
//! ```text
//!   now ──asks──► page server ──writes──► DIR ◄──reads── list, show, verify, diff
//!                                          │ ▲
//!                             FILE ◄─export┘ └─prune, if no page server runs there
//!                               └──import──► NEWDIR
//! ```

pub(crate) mod calendar;
mod compare;
mod listing;
mod progress;
mod transfer;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use plurix::CheckpointId;

use crate::contact::Contact;
use crate::units::parse_duration;
use crate::{Exit, output};
pub(crate) use listing::{age_ms, brief};
use progress::Waiting;

const EXAMPLES: &str = "\
Examples:
  plurix checkpoint now --join 127.0.0.1:7700
  plurix checkpoint list --dir heap
  plurix checkpoint diff 16 17 --dir heap
  plurix page-server --dir heap --restore 16
      the heap goes back to checkpoint 16
  plurix checkpoint export heap.plurix --dir heap
  plurix checkpoint import heap.plurix --dir copy
      the same heap in another directory, or on another machine

Exit codes: 0 done, 1 failed or damaged, 2 wrong usage.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Have a page server take a checkpoint now; answers when it is on disk.
    Now(NowOptions),
    /// List the checkpoints of a directory.
    List(Place),
    /// Show all there is to know of one checkpoint.
    Show(ShowOptions),
    /// Read every byte of checkpoints, and compare the checksums.
    Verify(VerifyOptions),
    /// Show which pages differ between two checkpoints.
    Diff(compare::DiffOptions),
    /// Remove all but the newest checkpoints of a directory that no page server uses.
    Prune(transfer::PruneOptions),
    /// Write a checkpoint as one file that needs nothing else.
    Export(transfer::ExportOptions),
    /// Make a directory of an exported checkpoint, from which a page server can start.
    Import(transfer::ImportOptions),
}

const NOW_EXAMPLES: &str = "\
Examples:
  plurix checkpoint now --join 127.0.0.1:7700
  plurix checkpoint now --join node-1:7700 --keys keys --json | jq .id

It holds everything that was committed before the command. If nothing was since the newest one, that
is the answer.";

#[derive(Debug, Args)]
#[command(after_help = NOW_EXAMPLES)]
struct NowOptions {
    #[command(flatten)]
    contact: Contact,
    /// How long to wait for it.
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = parse_duration)]
    timeout: Duration,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// The directory, and how to answer.
#[derive(Debug, Args)]
struct Place {
    /// The page server's directory; it may be running.
    #[arg(long)]
    dir: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ShowOptions {
    /// Which one [default: the newest].
    #[arg(value_name = "N", value_parser = parse_id)]
    id: Option<CheckpointId>,
    #[command(flatten)]
    place: Place,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  plurix checkpoint verify --dir heap
      reads the images of all checkpoints, each once
  plurix checkpoint verify 17 --dir heap --json

Exit code 1 says that something is damaged.";

#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
struct VerifyOptions {
    /// Which one [default: all].
    #[arg(value_name = "N", value_parser = parse_id)]
    id: Option<CheckpointId>,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    match &options.what {
        What::Now(options) => now(options),
        What::List(place) => listing::list(place),
        What::Show(options) => listing::show(options),
        What::Verify(options) => listing::verify(options),
        What::Diff(options) => compare::diff(options),
        What::Prune(options) => transfer::prune(options),
        What::Export(options) => transfer::export(options),
        What::Import(options) => transfer::import(options),
    }
}

fn now(options: &NowOptions) -> anyhow::Result<Exit> {
    let credentials = options.contact.credentials()?;
    let waiting = Waiting::start("taking a checkpoint");
    let taken = plurix::checkpoint(&options.contact.address, credentials, options.timeout);
    waiting.end();
    let taken = taken?;
    if options.json {
        output::line(serde_json::to_string_pretty(&listing::Row::of(taken))?);
    } else {
        listing::table(&[taken]);
    }
    Ok(Exit::Done)
}

fn parse_id(text: &str) -> Result<CheckpointId, String> {
    match text.parse() {
        Ok(id @ 1..) => Ok(CheckpointId(id)),
        _ => Err(format!(
            "'{text}' is no number of a checkpoint; 'plurix checkpoint list' shows them"
        )),
    }
}
