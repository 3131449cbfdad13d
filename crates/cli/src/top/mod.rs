//! `plurix top`: what stations and running teams do, again and again.
//!
//! ```text
//!  teams ──slots in the heap──► Observer ──► Overview ──┬─► lines ──┬─► the terminal
//!  stations ──► page server ──► (a thread)   HeapView   │           └─► plain tables
//!                                            (two looks)└─► JSON
//! ```

mod heap;
mod heap_lines;
mod lines;
mod model;
mod screen;
mod watch;

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use plurix::net::Address;
use serde::Serialize;

use crate::contact::Protection;
use crate::units::{parse_duration, show_duration};
use crate::{Exit, output, signals};
use heap::HeapView;
use lines::{Line, LineKind};
use model::Overview;
use screen::Left;
use watch::{Event, Look, Observer, Watch};

const EXAMPLES: &str = "\
Examples:
  plurix top 127.0.0.1:7700
  plurix top node-1:7700 --keys keys --every 5s
  plurix top unix:heap/socket --once
  plurix top node-1:7700 --json | jq '.teams[] | [.name, .phases, .imbalance]'
  plurix top node-1:7700 --json | jq '.stations[] | [.station, .recent.commits_per_s]'

On a terminal, q, Esc and Ctrl-C end it, v switches between stations, teams and both, s sorts stations by
another column, r reverses them; elsewhere it writes a table each time, until it is
interrupted or the page server ends. Of what was done between two looks it shows rates; the first look
tells them since each team began, or the page server, and so does that at a team which has ended.
Stations say four times a second what they did for a team, and once a second what else.";

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
    protection: Protection,
    /// How often to look.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_every)]
    every: Duration,
    /// What to show.
    #[arg(long, value_enum, default_value_t)]
    view: View,
    /// Look once.
    #[arg(long)]
    once: bool,
    /// Answer in JSON: a line for each look.
    #[arg(long)]
    json: bool,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum View {
    /// Stations and teams.
    #[default]
    All,
    /// The heap and its stations.
    Stations,
    /// Teams alone.
    Teams,
}

impl View {
    fn next(self) -> Self {
        match self {
            Self::All => Self::Stations,
            Self::Stations => Self::Teams,
            Self::Teams => Self::All,
        }
    }

    fn shows_stations(self) -> bool {
        self != Self::Teams
    }

    fn shows_teams(self) -> bool {
        self != Self::Stations
    }

    /// The lines of what it shows.
    fn lines(self, heap: &HeapView, teams: &Overview, commits: &[f64]) -> Vec<Line> {
        let mut shown = Vec::new();
        if self.shows_stations() {
            shown.extend(heap_lines::lines(heap, commits));
        }
        if self == Self::All {
            shown.push(Line {
                kind: LineKind::Plain,
                text: String::new(),
            });
        }
        if self.shows_teams() {
            shown.extend(lines::lines(teams));
        }
        shown
    }
}

/// A look in JSON.
#[derive(Debug, Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    heap: &'a HeapView,
    #[serde(flatten)]
    teams: &'a Overview,
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
    wished.set_credentials(options.protection.read()?);
    let mut observer = Observer::join(address.clone(), wished)?;
    if options.once {
        Printer::new(options).print(observer.look()?);
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
        print_all(Printer::new(options), &happened)
    } else {
        screen::show(address.to_string(), options, &happened)
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
                if !printer.print(*seen) {
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
    view: View,
    before: Option<Look>,
}

impl Printer {
    fn new(options: &Options) -> Self {
        Self {
            in_json: options.json,
            view: options.view,
            before: None,
        }
    }

    /// Answers whether anybody reads it.
    fn print(&mut self, seen: Look) -> bool {
        let before = self.before.as_ref();
        let teams_before = before.map_or(&[][..], |look| &look.teams);
        let teams = Overview::new(teams_before, &seen.teams);
        let heap = HeapView::new(before.map(|look| &look.status), &seen.status);
        let mut text = String::new();
        if self.in_json {
            text += &serde_json::to_string(&Told {
                heap: &heap,
                teams: &teams,
            })
            .expect("numbers and names are JSON");
            text.push('\n');
        } else {
            if before.is_some() {
                text.push('\n');
            }
            for line in self.view.lines(&heap, &teams, &[]) {
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
