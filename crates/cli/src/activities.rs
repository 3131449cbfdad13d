//! `plurix activities`: what waits to be run, who runs what, and what has failed.

use clap::Args;
use plurix::activity::{Listed, ListedState};
use serde::Serialize;

use crate::observer::Target;
use crate::{Exit, output, table};

const EXAMPLES: &str = "\
Examples:
  plurix activities 127.0.0.1:7700
  plurix activities node-1:7700 --limit 1000 --json | jq '.list[] | select(.state == \"failed\")'

The heap knows no clock: since when an activity is claimed is told as a number of commits.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// So many at most of those that wait, of those that run, and of those that failed.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Told {
    pending: u64,
    claimed: u64,
    completed: u64,
    failed: u64,
    /// The newest commit that was looked at.
    commit: u64,
    list: Vec<Listed>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let mut station = options.target.observe()?;
    let progress = station.activities()?;
    let told = Told {
        pending: progress.pending,
        claimed: progress.claimed,
        completed: progress.completed,
        failed: progress.failed,
        list: station.list_activities(options.limit)?,
        commit: station.snapshot().0,
    };
    if options.json {
        output::line(serde_json::to_string_pretty(&told)?);
    } else {
        show(&told);
    }
    Ok(Exit::Done)
}

fn show(told: &Told) {
    output::line(format_args!(
        "{} wait, {} are being run, {} are done, {} have failed",
        told.pending, told.claimed, told.completed, told.failed
    ));
    if told.list.is_empty() {
        return;
    }
    let mut rows = vec![
        ["name", "state", "claims", "about"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(told.list.iter().map(|one| {
        let (state, claims, about) = match &one.state {
            ListedState::Pending { claims } => ("waits", claims.to_string(), String::new()),
            ListedState::Claimed {
                incarnation,
                is_alive,
                since,
                claims,
            } => {
                let state = if *is_alive { "runs" } else { "orphan" };
                let about = match since {
                    0 => format!("by i{incarnation}"),
                    _ => {
                        let ago = told.commit.saturating_sub(*since);
                        format!("by i{incarnation} since commit {since}, {ago} commits ago")
                    }
                };
                (state, claims.to_string(), about)
            }
            ListedState::Failed { why } => ("failed", String::new(), why.clone()),
            _ => ("other", String::new(), String::new()),
        };
        vec![one.name.clone(), state.to_owned(), claims, about]
    }));
    table::lines(&rows).iter().for_each(output::line);
}
