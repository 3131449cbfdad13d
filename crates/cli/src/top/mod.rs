//! `plurix top`: what running teams do, again and again.
//!
//! ```text
//!  stations ──slots in the heap──► Observer ──► Overview ──┬─► lines ──┬─► the terminal
//!                                  (a thread)   (two looks)│           └─► plain tables
//!                                                          └─► JSON
//! ```

mod lines;
mod model;
mod screen;
mod watch;

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use plurix::net::Address;
use plurix::team::TeamStatistics;

use crate::contact::SecretFile;
use crate::units::{parse_duration, show_duration};
use crate::{Exit, output, signals};
use model::Overview;
use screen::Left;
use watch::{Event, Observer, Watch};

const EXAMPLES: &str = "\
Examples:
  plurix top 127.0.0.1:7700
  plurix top node-1:7700 --secret-file secret --every 5s
  plurix top unix:heap/socket --once
  plurix top node-1:7700 --json | jq '.teams[] | [.name, .phases, .imbalance]'

On a terminal, q, Esc and Ctrl-C end it; elsewhere it writes a table each time, until it is
interrupted or the page server ends. Of what was done between two looks it shows rates; the first look
tells them since each team began, and so does that at a team which has ended. Stations say four times
a second what they did.";

/// Stations tell no more often.
const EVERY_MIN: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The page server: HOST:PORT, or unix:PATH.
    #[arg(value_name = "ADDRESS", required_unless_present = "join")]
    address: Option<Address>,
    /// The page server, as other commands are told of it.
    #[arg(long, value_name = "ADDR", conflicts_with = "address")]
    join: Option<Address>,
    #[command(flatten)]
    secret: SecretFile,
    /// How often to look.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_every)]
    every: Duration,
    /// Look once.
    #[arg(long)]
    once: bool,
    /// Answer in JSON: a line for each look.
    #[arg(long)]
    json: bool,
}

fn parse_every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text)?;
    if every < EVERY_MIN {
        let least = show_duration(EVERY_MIN);
        return Err(format!(
            "stations tell what they do every {least}; give at least that"
        ));
    }
    Ok(every)
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let address = options.address.clone().or_else(|| options.join.clone());
    let address = address.expect("the grammar asks for one of them");
    let mut wished = plurix::Options::default();
    wished.secret = options.secret.read()?;
    let mut observer = Observer::join(address.clone(), wished)?;
    if options.once {
        Printer::new(options.json).print(observer.look()?);
        return Ok(Exit::Done);
    }
    let (events, happened) = mpsc::channel();
    let stop = events.clone();
    signals::on_stop(move || {
        // It has ended already if nobody hears it.
        let _ = stop.send(Event::Stop);
    })?;
    let _watch = Watch::begin(observer, options.every, events).context("cannot start a thread")?;
    let left = if options.json || !std::io::stdout().is_terminal() {
        print_all(Printer::new(options.json), &happened)
    } else {
        screen::show(address.to_string(), options.every, &happened)
            .context("cannot draw on this terminal; try --once")?
    };
    match left {
        Left::By(exit) => Ok(exit),
        Left::With(Event::Failed(error)) => Err(error.into()),
        Left::With(_) => {
            output::note("the page server has ended");
            Ok(Exit::Done)
        }
    }
}

/// Prints what is seen, until there is no more of it or nobody reads it.
fn print_all(mut printer: Printer, happened: &Receiver<Event>) -> Left {
    for event in happened {
        match event {
            Event::Seen(seen) => {
                if !printer.print(seen) {
                    return Left::By(Exit::Done);
                }
            }
            Event::Stop => return Left::By(Exit::Interrupted),
            Event::Ended | Event::Failed(_) => return Left::With(event),
        }
    }
    // The watch has failed; what it printed says why.
    Left::By(Exit::Failed)
}

/// Writes looks to standard output.
struct Printer {
    in_json: bool,
    before: Option<Vec<TeamStatistics>>,
}

impl Printer {
    fn new(in_json: bool) -> Self {
        Self {
            in_json,
            before: None,
        }
    }

    /// Answers whether anybody reads it.
    fn print(&mut self, seen: Vec<TeamStatistics>) -> bool {
        let before = self.before.as_deref();
        let overview = Overview::new(before.unwrap_or_default(), &seen);
        let mut text = String::new();
        if self.in_json {
            text += &serde_json::to_string(&overview).expect("numbers and names are JSON");
            text.push('\n');
        } else {
            if before.is_some() {
                text.push('\n');
            }
            for line in lines::lines(&overview) {
                text += line.text.trim_end();
                text.push('\n');
            }
        }
        self.before = Some(seen);
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_ok()
    }
}
