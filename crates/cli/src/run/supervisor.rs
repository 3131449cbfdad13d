//! Starts the processes of a run and keeps them alive until the program is done.
//!
//! ```text
//!   page server ready ──► stations and coordinator start ──► set up ──► worked ──► finished
//!                              any process ends: its successor starts at once, with the
//!                              same number or on the same directory
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use plurix::net::Secret;
use plurix::{ErrorKind, Interrupt};
use plurix_apps::{App, AppError, Progress, Report};
use rustix::process::Signal;

use super::Options;
use super::coordinator::Coordinator;
use super::event::{CoordinatorEvent, Event};
use super::members::Slot;
use super::place::Place;
use super::plan::{Plan, Who};
use super::progress::View;
use super::summary::Summary;
use super::tally::Tally;
use crate::ready::ServerReady;
use crate::signals;
use crate::units::show_duration;

/// The loop looks at its clocks at least this often.
const TICK: Duration = Duration::from_millis(100);

/// How the run ended.
pub(super) enum Outcome {
    Finished(Box<Summary>),
    Interrupted,
}

pub(super) struct Supervisor {
    pub(super) options: Options,
    pub(super) program: PathBuf,
    secret: Option<Secret>,
    pub(super) place: Place,
    pub(super) events: Sender<Event>,
    pub(super) inbox: Receiver<Event>,
    pub(super) slots: BTreeMap<Who, Slot>,
    pub(super) plan: Plan,
    pub(super) view: View,
    pub(super) tally: Tally,
    /// Of the coordinator.
    pub(super) interrupt: Option<Interrupt>,
    /// The coordinator runs.
    pub(super) is_coordinated: bool,
    /// What the page server said first.
    pub(super) server: Option<ServerReady>,
    pub(super) clock: Clock,
    progress: Option<Progress>,
    pub(super) first_commit: u64,
    pub(super) commit: u64,
}

/// When the stages of the run were reached.
pub(super) struct Clock {
    pub(super) begun: Instant,
    pub(super) set_up: Option<Instant>,
    pub(super) worked: Option<Instant>,
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
            secret: options.settings.secret()?,
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
            Some(report) => Ok(Outcome::Finished(Box::new(Summary::new(
                &self, report, wall,
            )))),
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
        options.secret.clone_from(&self.secret);
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

    pub(super) fn since_set_up(&self, at: Instant) -> Option<Duration> {
        self.clock
            .set_up
            .map(|set_up| at.saturating_duration_since(set_up))
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
