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

use super::event::ProcessEvent;
use super::plan::Who;
use super::process::{Process, cause};
use super::supervisor::Supervisor;
use super::tally::Death;
use crate::ready::Ready;
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
    /// It was killed by plan.
    pub(super) is_killed: bool,
    quick_deaths: u32,
    last_line: String,
    /// What it has not come back from yet: when, and which of the tally.
    death: Option<(Instant, usize)>,
}

impl Supervisor {
    /// Starts a process for `who`.
    pub(super) fn launch(&mut self, who: Who) -> anyhow::Result<()> {
        let arguments = self.arguments(who)?;
        let slot = self.slots.entry(who).or_default();
        slot.lives += 1;
        slot.is_killed = false;
        slot.last_line.clear();
        let events = self.events.clone();
        let process = Process::start(who, slot.lives, &self.program, &arguments, events);
        let program = self.program.display();
        slot.process =
            Some(process.map_err(|error| anyhow!("cannot start {program} for {who}: {error}"))?);
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
            }
            Who::Station(number) => {
                arguments.extend(["station".into(), "--json".into()]);
                arguments.push(format!("--station={number}").into());
                arguments.push(format!("--join={}", self.join_address()?).into());
                arguments.extend(self.options.settings.secret_arguments());
            }
        }
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
                Ok(ready) => self.ready(who, at, ready),
                Err(_) => {
                    self.view.line(format_args!("{who}: {line}"));
                    slot.last_line = line;
                }
            },
        }
        Ok(())
    }

    /// A process has ended: records it and starts its successor.
    fn died(&mut self, who: Who, at: Instant) -> anyhow::Result<()> {
        let since = self.since_set_up(at);
        let slot = self.slots.entry(who).or_default();
        let Some(process) = slot.process.take() else {
            return Ok(());
        };
        let lived = at.duration_since(process.started);
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
        let when = since.map_or("before the program was set up".to_owned(), |since| {
            format!("at {:.2} s", since.as_secs_f64())
        });
        self.view.line(format_args!("{who} died ({cause}) {when}"));
        self.launch(who)
    }

    /// A process says that it is ready.
    fn ready(&mut self, who: Who, at: Instant, ready: Ready) {
        let (incarnation, told) = match &ready {
            Ready::PageServer(server) => {
                let (term, records) = (server.term, server.records);
                let replay = show_duration(server.replay());
                let told = format!("in term {term}, {records} records replayed in {replay}");
                (None, told)
            }
            Ready::Station(station) => {
                let incarnation = station.incarnation;
                (Some(incarnation), format!("as incarnation i{incarnation}"))
            }
        };
        let death = self.slots.entry(who).or_default().death.take();
        if let Some((died, index)) = death {
            let after = at.duration_since(died);
            let death = &mut self.tally.deaths[index];
            death.back_after_ms = Some(after.as_secs_f64() * 1e3);
            death.incarnation = incarnation;
            let after = show_duration(after);
            self.view
                .line(format_args!("{who} is back after {after} {told}"));
        }
        if let Ready::PageServer(server) = ready {
            if self.server.is_none() {
                self.view.line(&server);
            }
            self.server = Some(server);
        }
    }
}
