//! The members of a run: each is a place that one process after the other takes.
//!
//! ```text
//!            start            says that it is ready
//!   (empty) ───────► starting ─────────────────────► member
//!      ▲                │ ends                          │ ends, is killed, crashes
//!      └────────────────┴───────────────────────────────┘
//! ```

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use plurix::net::Address;
use serde_json::{Map, Value};

use super::event::ProcessEvent;
use super::kills::Doing;
use super::plan::Who;
use super::process::{Process, cause};
use super::supervisor::Supervisor;
use super::tally::Death;
use crate::ready::Ready;
use crate::told::{MemberEvent, Told};
use crate::units::show_duration;

/// A process that ends sooner after its start died quickly.
const QUICK: Duration = Duration::from_secs(2);
/// So many quick deaths of its own in a row are a crash loop.
const QUICK_DEATHS_MAX: u32 = 5;

/// One member's place: its processes, one after the other.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) process: Option<Process>,
    lives: u32,
    /// It was killed on purpose.
    pub(super) is_killed: bool,
    /// The next process of this place is killed so long after its start.
    pub(super) again_after: Option<Duration>,
    /// The present process has said that it is ready.
    is_ready: bool,
    quick_deaths: u32,
    last_line: String,
    /// What it has not come back from yet: when, and which of the tally.
    death: Option<(Instant, usize)>,
}

impl Slot {
    /// What the present process does, that of `who`.
    pub(super) fn doing(&self, who: Who) -> Doing {
        match (self.is_ready, who) {
            (true, Who::Server) => Doing::Leading,
            (true, Who::Station(_)) => Doing::Working,
            (false, _) if self.lives > 1 => Doing::Recovering,
            (false, _) => Doing::Starting,
        }
    }
}

impl Supervisor {
    /// Starts a process for `who`.
    pub(super) fn launch(&mut self, who: Who) -> anyhow::Result<()> {
        let arguments = self.arguments(who)?;
        let slot = self.slots.entry(who).or_default();
        slot.lives += 1;
        (slot.is_killed, slot.is_ready) = (false, false);
        slot.last_line.clear();
        let events = self.events.clone();
        let process = Process::start(who, slot.lives, &self.program, &arguments, events);
        let program = self.program.display();
        let process =
            process.map_err(|error| anyhow!("cannot start {program} for {who}: {error}"))?;
        if slot.lives == 1 {
            self.record.started(who, process.pid(), process.started);
        }
        if let Some(after) = slot.again_after.take() {
            self.successors.push((process.started + after, who));
        }
        slot.process = Some(process);
        Ok(())
    }

    fn arguments(&self, who: Who) -> anyhow::Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = Vec::new();
        match who {
            Who::Server => {
                arguments.extend(["page-server".into(), "--json".into(), "--dir".into()]);
                arguments.push(self.place.heap.clone().into());
                // A port that was left to the system stays the same for the successor.
                let listen = match &self.server {
                    Some(_) => self.join_address()?,
                    None => self.place.listen.clone(),
                };
                arguments.push(format!("--listen={listen}").into());
                arguments.extend(self.options.settings.to_arguments());
                // Its successors go on from where it was.
                let is_first = self.server.is_none();
                arguments.extend(self.options.restore.to_arguments().filter(|_| is_first));
            }
            Who::Station(number) => {
                arguments.extend(["station".into(), "--json".into()]);
                arguments.push(format!("--station={number}").into());
                let cache = self.options.station_cache_bytes;
                arguments.extend(cache.map(|bytes| format!("--cache-bytes={bytes}").into()));
                arguments.push(format!("--join={}", self.join_address()?).into());
                arguments.extend(self.options.settings.protection_arguments());
            }
        }
        arguments.extend(self.options.logging.to_arguments());
        Ok(arguments)
    }

    /// Where the page server listens indeed.
    pub(super) fn join_address(&self) -> anyhow::Result<Address> {
        let addresses = self.server.iter().flat_map(|server| &server.addresses);
        // Beside a TCP port it may have made a Unix socket, which it names first.
        let wanted = addresses
            .last()
            .ok_or_else(|| anyhow!("the page server listens nowhere"))?;
        Ok(wanted.parse()?)
    }

    pub(super) fn process_event(
        &mut self,
        who: Who,
        life: u32,
        at: Instant,
        what: ProcessEvent,
    ) -> anyhow::Result<()> {
        let slot = self.slots.entry(who).or_default();
        if slot
            .process
            .as_ref()
            .is_none_or(|process| process.life != life)
        {
            return Ok(());
        }
        match what {
            ProcessEvent::Ended => self.died(who, at)?,
            ProcessEvent::Line(line) => match serde_json::from_str(&line) {
                Ok(Told::Ready(ready)) => self.ready(who, at, ready),
                Ok(Told::Event(event)) => {
                    self.record.told(who, &event);
                    self.tally.checkpoints.told(&event);
                    if let MemberEvent::Notice { text, .. } = event {
                        self.said(who, text);
                    }
                }
                Err(_) => match serde_json::from_str::<Map<String, Value>>(&line) {
                    Ok(logged) => self.view.logged(who, logged),
                    Err(_) => self.said(who, line),
                },
            },
        }
        Ok(())
    }

    /// A process has said something that is for people.
    fn said(&mut self, who: Who, text: String) {
        self.view.line(format_args!("{who}: {text}"));
        self.slots.entry(who).or_default().last_line = text;
    }

    /// A process has ended: records it and starts its successor, unless others take its work over.
    fn died(&mut self, who: Who, at: Instant) -> anyhow::Result<()> {
        let since = self.since_set_up(at);
        let slot = self.slots.entry(who).or_default();
        let Some(process) = slot.process.take() else {
            return Ok(());
        };
        let (lived, pid) = (at.duration_since(process.started), process.pid());
        let cause = cause(process.wait()?);
        let is_quick = lived < QUICK && !slot.is_killed;
        slot.quick_deaths = if is_quick { slot.quick_deaths + 1 } else { 0 };
        let last = slot
            .last_line
            .strip_prefix("error: ")
            .unwrap_or(&slot.last_line);
        let said = if last.is_empty() { &cause } else { last };
        if who == Who::Server && self.server.is_none() {
            bail!("{said}");
        }
        if slot.quick_deaths >= QUICK_DEATHS_MAX {
            bail!(
                "{who} died {QUICK_DEATHS_MAX} times soon after its start; the last time: {said}"
            );
        }
        // One that died again before it was back is still away since the first time.
        if slot.death.is_none() {
            slot.death = Some((at, self.tally.deaths.len()));
            self.tally.deaths.push(Death {
                who,
                at_s: since.map(|since| since.as_secs_f64()),
                cause: cause.clone(),
                back_after_ms: None,
                incarnation: None,
            });
        }
        self.record.died(who, pid, &cause, slot.is_killed, at);
        let when = since.map_or("before the program was set up".to_owned(), |since| {
            format!("at {:.2} s", since.as_secs_f64())
        });
        self.view.line(format_args!("{who} died ({cause}) {when}"));
        let is_missed = !self.options.spread || who == Who::Server || !self.has_station();
        if is_missed { self.launch(who) } else { Ok(()) }
    }

    /// Whether some station has a process.
    fn has_station(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|(who, slot)| *who != Who::Server && slot.process.is_some())
    }

    /// A process says that it is ready.
    fn ready(&mut self, who: Who, at: Instant, ready: Ready) {
        let (incarnation, told) = match &ready {
            Ready::PageServer(server) => {
                let (term, records) = (server.term, server.records);
                let replay = show_duration(server.replay());
                let from = match server.checkpoint {
                    Some(id) => format!("from checkpoint {id}, "),
                    None => String::new(),
                };
                let told = format!("in term {term}: {from}{records} records replayed in {replay}");
                for passed in &server.passed_over {
                    self.view.line(format_args!("{who}: warning: {passed}"));
                }
                (None, told)
            }
            Ready::Station(station) => {
                let incarnation = station.incarnation;
                (Some(incarnation), format!("as incarnation i{incarnation}"))
            }
        };
        let slot = self.slots.entry(who).or_default();
        slot.is_ready = true;
        let death = slot.death.take();
        let pid = slot.process.as_ref().map(Process::pid);
        self.record.ready(who, pid, &ready, at);
        if let Some((died, index)) = death {
            let after = at.duration_since(died);
            let death = &mut self.tally.deaths[index];
            death.back_after_ms = Some(after.as_secs_f64() * 1e3);
            death.incarnation = incarnation;
            let after = show_duration(after);
            self.view
                .line(format_args!("{who} is back after {after} {told}"));
        }
        let term = match &ready {
            Ready::PageServer(server) => server.term,
            Ready::Station(_) => self.server.as_ref().map_or(0, |server| server.term),
        };
        self.kills.back(who, at, &ready, term);
        if let Ready::PageServer(server) = ready {
            if self.server.is_none() {
                self.view.line(&server);
            }
            if server.rolled_back {
                self.commit = server.commit;
            }
            self.server = Some(server);
        }
    }
}
