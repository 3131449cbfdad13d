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
use plurix::net::Credentials;
use plurix::{ErrorKind, Interrupt};
use plurix_apps::{App, AppError, Progress, Report};

use super::Options;
use super::chaos::Chaos;
use super::coordinator::Coordinator;
use super::event::{CoordinatorEvent, Event};
use super::kills::Kills;
use super::members::Slot;
use super::place::Place;
use super::plan::{Plan, Who};
use super::probe::Probe;
use super::progress::View;
use super::record::Record;
use super::summary::Summary;
use super::tally::Tally;
use crate::ready::ServerReady;
use crate::units::show_duration;
use crate::{output, signals};

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
    credentials: Credentials,
    pub(super) place: Place,
    pub(super) events: Sender<Event>,
    pub(super) inbox: Receiver<Event>,
    pub(super) slots: BTreeMap<Who, Slot>,
    pub(super) plan: Plan,
    pub(super) chaos: Option<Chaos>,
    pub(super) kills: Kills,
    /// Whose successors are killed, too, and when.
    pub(super) successors: Vec<(Instant, Who)>,
    /// Asks how kills heal; there if there is chaos.
    pub(super) probe: Option<Probe>,
    pub(super) record: Record,
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
    pub(super) fn start(mut options: Options, chaos: Option<Chaos>) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let timeline = options.timeline.take();
        timeline.as_ref().map_or(Ok(()), |file| file.check())?;
        let program = std::env::current_exe()
            .map_err(|error| anyhow!("cannot find this program's own file: {error}"))?;
        let place = Place::new(options.dir.take(), options.listen.take())?;
        let (events, inbox) = channel();
        let stop = events.clone();
        // After the end of the supervisor there is nothing to stop.
        signals::on_stop(move || drop(stop.send(Event::Stop)))?;
        Ok(Self {
            plan: Plan::new(std::mem::take(&mut options.kill)),
            chaos,
            kills: Kills::default(),
            successors: Vec::new(),
            probe: None,
            record: Record::new(timeline),
            view: View::new(options.quiet),
            credentials: options.settings.credentials()?,
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
        if !matches!(driven, Ok(Some(_))) {
            self.cut_short();
        }
        match driven? {
            Some(report) => {
                let summary = Summary::new(&self, report, wall);
                self.record
                    .write(summary.title(), Some(summary.to_string()));
                Ok(Outcome::Finished(Box::new(summary)))
            }
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

    /// What was seen of a run that has come to no result is told all the same.
    fn cut_short(&mut self) {
        let report = self.chaos_report().map(|report| report.to_string());
        report.iter().for_each(output::note);
        let app = self.options.app.name();
        let stations = self.options.stations;
        let title = format!("plurix run {app}, {stations} stations: cut short");
        self.record.write(title, report);
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
                Some(Event::Probe { asked, at, status }) => {
                    self.tally.status(&status);
                    self.kills.status(asked, at, &status);
                    self.saw_commit(at, status.commit);
                }
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
        options.set_credentials(self.credentials.clone());
        let coordinator = Coordinator {
            app,
            address: self.join_address()?,
            options,
            events: self.events.clone(),
        };
        coordinator.spawn()?;
        self.is_coordinated = true;
        if let Some(chaos) = &self.chaos {
            self.view.line(format_args!("chaos of seed {}", chaos.seed));
            let (address, events) = (self.join_address()?, self.events.clone());
            self.probe = Some(Probe::spawn(address, self.credentials.clone(), events)?);
        }
        Ok(())
    }

    fn coordinator_event(&mut self, event: CoordinatorEvent) {
        let now = Instant::now();
        match event {
            CoordinatorEvent::Joined(interrupt) => self.interrupt = Some(interrupt),
            CoordinatorEvent::SetUp(commit) => {
                if self.clock.set_up.is_none() {
                    self.clock.set_up = Some(now);
                    self.record.phase("work", now);
                    (self.first_commit, self.commit) = (commit, commit);
                }
            }
            CoordinatorEvent::Progress { progress, commit } => {
                self.progress = Some(progress);
                self.saw_commit(now, commit);
            }
            CoordinatorEvent::Status(status) => self.tally.status(&status),
            CoordinatorEvent::Worked => {
                self.clock.worked = Some(now);
                self.record.phase("finish", now);
            }
            CoordinatorEvent::Finished(_) => {}
        }
    }

    /// The coordinator may be behind the leader.
    fn saw_commit(&mut self, at: Instant, commit: u64) {
        self.commit = self.commit.max(commit);
        self.record.commit(at, self.commit);
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
        let kill = self.next_kill(now);
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
