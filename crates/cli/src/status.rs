//! `plurix status`: how a page server and its stations stand.

use std::time::Duration;

use clap::Args;
use plurix::Status;
use serde::Serialize;

use crate::checkpoint::{age_ms, brief};
use crate::contact::Contact;
use crate::units::{show_bytes, show_duration};
use crate::{Exit, output, table};

const EXAMPLES: &str = "\
Examples:
  plurix status --join 127.0.0.1:7700
  plurix status --join node-1:7700 --keys keys --json | jq .stations";

const PAGE_BYTES: u64 = 4096;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    contact: Contact,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let credentials = options.contact.credentials()?;
    let status = plurix::status(&options.contact.address, credentials)?;
    if options.json {
        let told = Told {
            checkpoint_age_ms: status.checkpoint.as_ref().map(age_ms),
            status,
        };
        output::line(serde_json::to_string_pretty(&told)?);
    } else {
        show(&status);
    }
    Ok(Exit::Done)
}

/// The status in JSON.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    status: Status,
    checkpoint_age_ms: Option<u64>,
}

fn show(status: &Status) {
    let uptime = show_duration(Duration::from_millis(status.uptime_ms));
    output::line(format_args!("cluster   {}", status.cluster));
    output::line(format_args!(
        "leader    term {}, generation {}, up {uptime}, durability {}",
        status.term, status.generation, status.durability
    ));
    output::line(format_args!(
        "commits   newest {}, durable through {}; in this term {}, and refused {} for conflicts, {} for \
         a full log",
        status.commit, status.durable, status.commits, status.conflicts, status.log_full
    ));
    output::line(format_args!(
        "heap      {}, {} of it written, {} in memory; {} pages served; log {}",
        show_bytes(status.heap_bytes),
        show_bytes(status.pages * PAGE_BYTES),
        show_bytes(status.cached_pages * PAGE_BYTES),
        status.fetches,
        show_bytes(status.log_bytes)
    ));
    output::line(format_args!(
        "restart   from {}",
        match &status.checkpoint {
            Some(newest) => format!("{}, and the log behind it", brief(newest)),
            None => "the log alone; there is no checkpoint yet".to_owned(),
        }
    ));
    if status.generation > 0 {
        output::line(format_args!(
            "went back to commit {}; {} commits are known to be lost",
            status.cut, status.lost
        ));
    }
    let head = [
        "station",
        "incarnation",
        "state",
        "commits",
        "conflicts",
        "pages",
        "backlog",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(status.stations.iter().map(|station| {
        let state = match (station.connected, station.observer) {
            (false, _) => "lost",
            (true, true) => "observes",
            (true, false) => "works",
        };
        vec![
            station.station.to_string(),
            format!("i{}", station.incarnation),
            state.to_owned(),
            station.commits.to_string(),
            station.conflicts.to_string(),
            station.pages.to_string(),
            show_bytes(station.backlog_bytes),
        ]
    }));
    table::lines(&rows).iter().for_each(output::line);
}
