//! Starts the processes of a run and keeps them alive until the program is done.
//!
//! ```text
//!   page server ready ──► stations and coordinator start ──► set up ──► worked ──► finished
//!                              any process ends: its successor starts at once, with the
//!                              same number or on the same directory
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use plurix::net::Address;
use plurix::{Interrupt, error::ErrorKind};
use plurix_apps::{App, AppError, Progress, Report};
use rustix::process::Signal;

use super::Options;
use super::coordinator::Coordinator;
use super::event::{CoordinatorEvent, Event, ProcessEvent};
use super::place::Place;
use super::plan::{Plan, Who};
use super::process::{Process, cause};
use super::progress::View;
use super::summary::{Recovery, Restarts, Summary};
use super::tally::{Death, Tally};
use crate::ready::{Ready, ServerReady};
use crate::signals;
use crate::units::show_duration;

/// A process that ends sooner after its start died quickly.
const QUICK: Duration = Duration::from_secs(2);
/// So many quick deaths of its own in a row are a crash loop.
const QUICK_DEATHS_MAX: u32 = 5;
/// The loop looks at its clocks at least this often.
const TICK: Duration = Duration::from_millis(100);

/// How the run ended.
pub(super) enum Outcome {
    Finished(Box<Summary>),
    Interrupted,
}

pub(super) struct Supervisor {
    options: Options,
    program: PathBuf,
    pub(super) place: Place,
    events: Sender<Event>,
    pub(super) inbox: Receiver<Event>,
    pub(super) slots: BTreeMap<Who, Slot>,
    plan: Plan,
    pub(super) view: View,
    tally: Tally,
    /// Of the coordinator.
    pub(super) interrupt: Option<Interrupt>,
    /// The coordinator runs.
    pub(super) is_coordinated: bool,
    /// What the page server said first.
    server: Option<ServerReady>,
    clock: Clock,
    progress: Option<Progress>,
    first_commit: u64,
    commit: u64,
}

/// When the stages of the run were reached.
struct Clock {
    begun: Instant,
    set_up: Option<Instant>,
    worked: Option<Instant>,
}

/// One member's place: its processes, one after the other.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) process: Option<Process>,
    lives: u32,
    /// It was killed by plan.
    is_killed: bool,
    quick_deaths: u32,
    last_line: String,
    /// What it has not come back from yet: when, and which of the tally.
    death: Option<(Instant, usize)>,
}

impl Supervisor {
    pub(super) fn start(mut options: Options) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let program = std::env::current_exe()
            .map_err(|error| anyhow!("cannot find this program's own file: {error}"))?;
        let place = Place::new(options.dir.take(), options.listen.take())?;
        let (events, inbox) = channel();
        let stop = events.clone();
        // After the end of the supervisor there is nothing to stop.
        signals::on_stop(move || drop(stop.send(Event::Stop)))?;
        Ok(Self {
            plan: Plan::new(std::mem::take(&mut options.kill)),
            view: View::new(options.quiet),
            options,
            program,
            place,
            events,
            inbox,
            slots: BTreeMap::new(),
            tally: Tally::default(),
            interrupt: None,
            is_coordinated: false,
            server: None,
            clock: Clock {
                begun,
                set_up: None,
                worked: None,
            },
            progress: None,
            first_commit: 0,
            commit: 0,
        })
    }

    /// Runs `app` to its end, and ends all processes.
    pub(super) fn supervise(mut self, app: Box<dyn App>) -> anyhow::Result<Outcome> {
        let driven = self.drive(app);
        self.view.clear();
        let wall = self.clock.begun.elapsed();
        self.end();
        match driven? {
            Some(report) => Ok(Outcome::Finished(Box::new(self.summary(report, wall)))),
            None => {
                if self.place.is_kept {
                    let heap = self.place.heap.display();
                    self.view.line(format_args!(
                        "interrupted; the heap is in {heap}, and the same command goes on with it"
                    ));
                }
                Ok(Outcome::Interrupted)
            }
        }
    }

    /// The program's report, or `None` if the user wants no more of it.
    fn drive(&mut self, app: Box<dyn App>) -> anyhow::Result<Option<Report>> {
        let mut app = Some(app);
        self.launch(Who::Server)?;
        loop {
            match self.inbox.recv_timeout(self.until_due()).ok() {
                Some(Event::Stop) => return Ok(None),
                Some(Event::Coordinator(CoordinatorEvent::Finished(result))) => {
                    self.is_coordinated = false;
                    return Ok(Some(result.map_err(explain)?));
                }
                Some(Event::Coordinator(event)) => self.coordinator_event(event),
                Some(Event::Process {
                    who,
                    life,
                    at,
                    what,
                }) => self.process_event(who, life, at, what)?,
                None => {}
            }
            if self.server.is_some()
                && let Some(app) = app.take()
            {
                self.launch_others(app)?;
            }
            self.kill_due();
            self.show();
            self.check_timeout()?;
        }
    }

    fn launch_others(&mut self, app: Box<dyn App>) -> anyhow::Result<()> {
        for number in 1..=self.options.stations {
            self.launch(Who::Station(number))?;
        }
        let mut options = plurix::Options::default();
        options.observer = true;
        options.secret = self.options.settings.secret()?;
        let coordinator = Coordinator {
            app,
            address: self.join_address()?,
            options,
            events: self.events.clone(),
        };
        coordinator.spawn()?;
        self.is_coordinated = true;
        Ok(())
    }

    /// Starts a process for `who`.
    fn launch(&mut self, who: Who) -> anyhow::Result<()> {
        let arguments = self.arguments(who)?;
        let slot = self.slots.entry(who).or_default();
        slot.lives += 1;
        slot.is_killed = false;
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
    fn join_address(&self) -> anyhow::Result<Address> {
        let addresses = self.server.iter().flat_map(|server| &server.addresses);
        // Beside a TCP port it may have made a Unix socket, which it names first.
        let wanted = addresses
            .last()
            .ok_or_else(|| anyhow!("the page server listens nowhere"))?;
        Ok(wanted.parse()?)
    }

    fn process_event(
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

    fn coordinator_event(&mut self, event: CoordinatorEvent) {
        let now = Instant::now();
        match event {
            CoordinatorEvent::Joined(interrupt) => self.interrupt = Some(interrupt),
            CoordinatorEvent::SetUp(commit) => {
                if self.clock.set_up.is_none() {
                    self.clock.set_up = Some(now);
                    (self.first_commit, self.commit) = (commit, commit);
                }
            }
            CoordinatorEvent::Progress { progress, commit } => {
                self.progress = Some(progress);
                self.commit = self.commit.max(commit);
            }
            CoordinatorEvent::Status(status) => self.tally.status(&status),
            CoordinatorEvent::Worked => self.clock.worked = Some(now),
            CoordinatorEvent::Finished(_) => {}
        }
    }

    fn kill_due(&mut self) {
        let Some(since) = self.since_set_up(Instant::now()) else {
            return;
        };
        while let Some(who) = self.plan.take_due(since) {
            let slot = self.slots.entry(who).or_default();
            slot.is_killed = true;
            if let Some(process) = &slot.process {
                process.signal(Signal::KILL);
            }
        }
    }

    fn show(&mut self) {
        if let Some(progress) = &self.progress
            && let Some(since) = self.clock.set_up.map(|at| at.elapsed())
        {
            let restarts = self.tally.restarts_total();
            self.view.update(progress, self.commit, restarts, since);
        }
    }

    fn check_timeout(&self) -> anyhow::Result<()> {
        if let Some(limit) = self.options.timeout
            && self.clock.begun.elapsed() >= limit
        {
            let limit = show_duration(limit);
            bail!("the run was not over after {limit}; raise --timeout (--dir keeps the heap)");
        }
        Ok(())
    }

    /// How long nothing is to be done unless something happens.
    fn until_due(&self) -> Duration {
        let now = Instant::now();
        let kill = self.plan.next().zip(self.since_set_up(now));
        let kill = kill.map(|(at, since)| at.saturating_sub(since));
        let timeout = self.options.timeout;
        let timeout = timeout.map(|limit| limit.saturating_sub(self.clock.begun.elapsed()));
        [kill, timeout]
            .into_iter()
            .flatten()
            .fold(TICK, Duration::min)
    }

    fn since_set_up(&self, at: Instant) -> Option<Duration> {
        self.clock
            .set_up
            .map(|set_up| at.saturating_duration_since(set_up))
    }

    fn summary(&self, report: Report, wall: Duration) -> Summary {
        let Clock {
            begun,
            set_up,
            worked,
        } = self.clock;
        let end = begun + wall;
        let (set_up, worked) = (set_up.unwrap_or(end), worked.unwrap_or(end));
        let work_s = worked.duration_since(set_up).as_secs_f64();
        let commits = self.commit.saturating_sub(self.first_commit);
        let stations = (1..=self.options.stations).map(Who::Station);
        let recovery = self.tally.recovery().map(|(median, most)| Recovery {
            p50_ms: median.as_secs_f64() * 1e3,
            max_ms: most.as_secs_f64() * 1e3,
        });
        Summary {
            app: self.options.app.name(),
            order: report.facts.iter().map(|(name, _)| name.clone()).collect(),
            facts: report.facts.into_iter().collect(),
            verified: report.verified,
            stations: self.options.stations,
            cluster: self
                .server
                .as_ref()
                .map_or_else(String::new, |s| s.cluster.clone()),
            wall_s: wall.as_secs_f64(),
            setup_s: set_up.duration_since(begun).as_secs_f64(),
            work_s,
            finish_s: end.duration_since(worked).as_secs_f64(),
            commits,
            commits_per_s: if work_s > 0.0 {
                commits as f64 / work_s
            } else {
                0.0
            },
            conflicts: self.tally.conflicts(),
            restarts: Restarts {
                server: self.tally.restarts(Who::Server),
                stations: stations.map(|who| self.tally.restarts(who)).collect(),
            },
            recovery,
            deaths: self.tally.deaths.clone(),
            kills_missed: self.plan.rest(),
        }
    }
}

/// What a user can make of the coordinator's error.
fn explain(error: AppError) -> anyhow::Error {
    match &error {
        AppError::Heap(heap) if matches!(heap.kind(), ErrorKind::Gone { .. }) => {
            anyhow!("the page server did not come back: {error}")
        }
        _ => error.into(),
    }
}
