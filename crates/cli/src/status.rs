//! `plurix status`: how a page server and its stations stand.

use std::time::Duration;

use clap::Args;
use plurix::Status;

use crate::contact::Contact;
use crate::units::{show_bytes, show_duration};
use crate::{Exit, output, table};

const EXAMPLES: &str = "\
Examples:
  plurix status --join 127.0.0.1:7700
  plurix status --join node-1:7700 --secret-file secret --json | jq .stations";

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
    let secret = options.contact.secret()?;
    let status = plurix::status(&options.contact.address, secret.as_ref())?;
    if options.json {
        output::line(serde_json::to_string_pretty(&status)?);
    } else {
        show(&status);
    }
    Ok(Exit::Done)
}

fn show(status: &Status) {
    let uptime = show_duration(Duration::from_millis(status.uptime_ms));
    output::line(format_args!("cluster   {}", status.cluster));
    output::line(format_args!(
        "leader    term {}, generation {}, up {uptime}, durability {}",
        status.term, status.generation, status.durability
    ));
    output::line(format_args!(
        "commits   newest {}; in this term {}, and refused {} for conflicts, {} for a full log",
        status.commit, status.commits, status.conflicts, status.log_full
    ));
    output::line(format_args!(
        "heap      {}, {} of it written; {} pages served; log {}",
        show_bytes(status.heap_bytes),
        show_bytes(status.pages * PAGE_BYTES),
        status.fetches,
        show_bytes(status.log_bytes)
    ));
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
