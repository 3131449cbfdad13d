//! `plurix station`: a member that runs the activities of all programs.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use plurix::{ErrorKind, Interrupt, Station};
use rustix::process::Signal;

use crate::contact::Contact;
use crate::join::{is_lost_session, is_shutdown, join};
use crate::ready::{Ready, StationReady};
use crate::supervised::Supervised;
use crate::timeline::{Lane, TimelineFile};
use crate::told::{MemberEvent, Voice};
use crate::units::{parse_bytes, parse_duration};
use crate::{Exit, signals};

const EXAMPLES: &str = "\
Examples:
  plurix station --join 127.0.0.1:7700
  plurix station --join node-1:7700 --keys keys --station 2
  plurix station --join unix:/run/plurix.sock --patience 10min
  plurix station --join node-1:7700 --cache-bytes 256MiB

It ends with exit code 0 on SIGINT or SIGTERM, and when the page server ends in order. Killing it
does no harm: others do its work again.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    contact: Contact,
    /// Take this number over, that of a predecessor [default: the smallest free one].
    #[arg(long, value_name = "N")]
    station: Option<u32>,
    /// How long to wait for a page server that is away, now or later.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    patience: Duration,
    /// Memory for pages of the heap; what was used the longest ago is given up for others. A
    /// transaction that touches more has it until it ends [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    cache_bytes: Option<u64>,
    /// Write what happened when to this file at the end: a page (.html), a picture (.svg), or a trace
    /// for ui.perfetto.dev (.json).
    #[arg(long, value_name = "FILE")]
    timeline: Option<TimelineFile>,
    /// Say in JSON that it is ready.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    supervised: Supervised,
}

/// What SIGINT and SIGTERM do to the station.
#[derive(Debug, Default)]
struct Ending {
    asked: AtomicBool,
    /// Of the present life.
    interrupt: Mutex<Option<Interrupt>>,
}

impl Ending {
    fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        match &*self
            .interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Some(interrupt) => interrupt.interrupt(),
            // Not a member yet: nobody will miss it.
            None => exit(0),
        }
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    fn set(&self, station: &Station) {
        let mut interrupt = self
            .interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *interrupt = Some(station.interrupt_handle());
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    options.supervised.end_with_supervisor(Signal::KILL)?;
    let mut wished = plurix::Options::default();
    wished.station = options.station;
    wished.patience = options.patience;
    wished.cache_bytes = options.cache_bytes.unwrap_or(u64::MAX);
    // Ending would make no room; the page server says what is the matter.
    wished.log_full_patience = Duration::MAX;
    wished.set_credentials(options.contact.credentials()?);
    let ending = Arc::new(Ending::default());
    let handler = Arc::clone(&ending);
    signals::on_stop(move || handler.ask())?;
    let lane = Lane::Station(options.station.unwrap_or_default());
    let voice = options.supervised.voice(lane, options.timeline.as_ref())?;
    let lived = live_on(options, &wished, &ending, &voice);
    let written = voice.end();
    lived?;
    written?;
    Ok(Exit::Done)
}

/// One membership after the other, until the end is asked for.
fn live_on(
    options: &Options,
    wished: &plurix::Options,
    ending: &Ending,
    voice: &Voice,
) -> plurix::Result<()> {
    while !ending.is_asked() {
        match live(options, wished, ending, voice) {
            Err(error) if ending.is_asked() && matches!(error.kind(), ErrorKind::Interrupted) => {
                break;
            }
            Err(error) if is_shutdown(&error) => break,
            Err(error) if is_lost_session(&error) => voice.lost(error),
            result => return result,
        }
    }
    Ok(())
}

/// One membership, from the join to its end.
fn live(
    options: &Options,
    wished: &plurix::Options,
    ending: &Ending,
    voice: &Voice,
) -> plurix::Result<()> {
    let waits = |error: &plurix::Error| {
        voice.say(MemberEvent::notice(format_args!("waiting: {error}")));
    };
    let mut station = join(&options.contact.address, wished, waits)?;
    ending.set(&station);
    plurix_apps::register_all(&mut station);
    voice.ready(&Ready::Station(StationReady::of(&station)), options.json);
    station.serve(|_| Ok(ending.is_asked()))
}
