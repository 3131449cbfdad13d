//! The team and its time: takes one event after the other and hands each to the member or the worker
//! that it happens to.
//!
//! ```text
//!   Life: members, memories, workers, oracles --a member dies--> (nobody) --a while later--> Life
//!     '--all have passed the last barrier--> all leave --> judged once more, done
//! ```

use std::collections::BTreeMap;
use std::fmt;

use plurix_protocol::team::{Command, Error, Member};
use plurix_protocol::{Span, Time};
use plurix_wire::message::peer::ToPeer;
use plurix_wire::{PageNumber, Rank, frame};

use super::forgery;
use super::lines::{LineEvent, Lines, StationLines};
use super::memory::Memory;
use super::network::{Link, Network};
use super::oracle::lines::Start;
use super::oracle::planted::PlantedRaces;
use super::oracle::{Oracles, copies, progress, refusals, results};
use super::plan::{Plan, Stroke};
use super::races::Races;
use super::script::{Scripts, Spot};
use super::worker::{State, Worker};
use crate::Options;
use crate::brief::{Brief, Told as _};
use crate::mask::Mask;
use crate::oracle::{Violation, demand};
use crate::queue::Queue;
use crate::random::{Purpose, Random};
use crate::tally::{Mark, Tally};
use crate::trace::{Kind, Lane, Recording, Trace};

/// Until a team that has lost a member begins again, in microseconds.
const AGAIN_US: std::ops::Range<u64> = 10..5_000;
/// Until a worker that was woken looks again, in nanoseconds.
const WAKE_NS: std::ops::Range<u64> = 100..3_000;

/// One thing that will happen. What happens to a team that has ended changes nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Deliver {
        life: u64,
        link: Link,
    },
    Step {
        life: u64,
        worker: usize,
    },
    Stroke(usize),
    /// Something breaks because keepers have sent so many messages.
    Trigger(Stroke),
    Begin,
    Line(LineEvent),
}

impl From<LineEvent> for Event {
    fn from(event: LineEvent) -> Self {
        Self::Line(event)
    }
}

/// A member, and its memory.
pub(super) struct Station {
    pub(super) member: Member,
    pub(super) memory: Memory,
    pub(super) lines: StationLines,
    frozen_until: Time,
    /// It has been told that the team has ended.
    is_told: bool,
}

/// One team, from its beginning to its end.
pub(super) struct Life {
    pub(super) number: u64,
    /// What it began from.
    pub(super) start: Start,
    pub(super) stations: Vec<Station>,
    pub(super) workers: Vec<Worker>,
    pub(super) oracles: Oracles,
    pub(super) races: Races,
    /// Who has given up.
    given_up: Option<usize>,
    pub(super) has_ended: bool,
}

/// All of it.
pub(crate) struct World {
    mask: Mask,
    pub(crate) now: Time,
    pub(super) queue: Queue<Event>,
    pub(super) plan: Plan,
    pub(super) scripts: Scripts,
    outcome: BTreeMap<Spot, u8>,
    network: Network,
    pub(super) life: Life,
    pub(super) lines: Option<Box<Lines>>,
    /// Whether a line is wanted.
    pub(super) chance_of_line: Random,
    pub(super) pace: Random,
    /// What faults do.
    chance: Random,
    pub(crate) strokes: u64,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
    /// Scripts have been cut off.
    pub(super) is_over: bool,
}

impl Life {
    fn new(number: u64, plan: &Plan, scripts: &Scripts, start: Start) -> Self {
        let station = |rank| {
            let rank = Rank(rank as u16);
            let mut member = Member::new(rank, plan.stations as u16, plan.settings.clone());
            if let Some(marks) = &start.marks {
                member.go_on_from(marks.clone());
            }
            for region in &plan.regions {
                assert!(member.add_region(region.clone()), "regions are apart");
            }
            Station {
                member,
                memory: Memory::new(plan.heap_pages()),
                lines: StationLines::new(rank, plan, &start),
                frozen_until: Time(0),
                is_told: false,
            }
        };
        let first = start.phase;
        let workers = plan.worker_at.iter();
        let workers = workers.map(|station| Worker::new(*station, first));
        let planted = PlantedRaces::new(scripts.race);
        Self {
            number,
            stations: (0..plan.stations).map(station).collect(),
            workers: workers.collect(),
            oracles: Oracles::new(planted, plan.worker_at.len(), &start),
            races: Races::new(plan.worker_at.len()),
            given_up: None,
            has_ended: false,
            start,
        }
    }

    fn waiting(&self) -> String {
        let waiting = self.workers.iter().filter(|w| w.state != State::Done);
        let waiting: Vec<String> = waiting.map(ToString::to_string).collect();
        waiting.join("; ")
    }
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options, recording: Recording) -> Self {
        let plan = Plan::of(seed);
        let scripts = Scripts::of(seed, &plan);
        let mask = options.mask.clone();
        let outcome = scripts.outcome(|worker| mask.has_station(plan.worker_at[worker]));
        let mut trace = Trace::new(recording);
        trace.note(Time(0), format_args!("seed {seed}: {plan}"));
        trace.note(Time(0), format_args!("{plan:?}"));
        let lines = plan.lines.clone();
        let lines = lines.map(|lines| Lines::new(seed, lines, plan.stations));
        Self {
            mask,
            now: Time(0),
            queue: Queue::default(),
            network: Network::new(seed, Purpose::Team(2), plan.weather.clone()),
            life: Life::new(0, &plan, &scripts, Start::default()),
            lines: lines.map(Box::new),
            chance_of_line: Random::new(seed, Purpose::Team(8)),
            pace: Random::new(seed, Purpose::Team(3)),
            chance: Random::new(seed, Purpose::Team(4)),
            strokes: 0,
            trace,
            tally: Tally::default(),
            is_over: false,
            plan,
            scripts,
            outcome,
        }
    }

    pub(crate) fn stations(&self) -> usize {
        self.plan.stations
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        for stroke in 0..self.plan.strokes.len() {
            let time = self.plan.strokes[stroke].0;
            self.queue.push(time, Event::Stroke(stroke));
        }
        self.start_server()?;
        self.begin_life(0)?;
        while let Some((time, event)) = self.queue.pop() {
            if let Some(later) = self.deferred(time, event) {
                self.queue.push(later, event);
                continue;
            }
            self.now = time;
            self.tally.events += 1;
            if !self.is_over && self.mask.ends_chaos(self.tally.events) {
                self.is_over = true;
                // Nobody raises a flag any more.
                (0..self.plan.stations).for_each(|station| self.wake(station));
            }
            if self.tally.events > progress::EVENTS_MAX {
                return Err(progress::endless(&self.life.waiting()));
            }
            match event {
                Event::Deliver { life, link } if life == self.life.number => self.deliver(link)?,
                Event::Step { life, worker } if life == self.life.number => {
                    if !self.life.has_ended && self.life.given_up.is_none() {
                        self.run_worker(worker)?;
                    }
                }
                Event::Deliver { .. } | Event::Step { .. } => {}
                Event::Stroke(stroke) => self.strike(self.plan.strokes[stroke].1)?,
                Event::Trigger(stroke) => self.strike(stroke)?,
                Event::Begin => self.begin_life(self.life.number + 1)?,
                Event::Line(event) => self.take_line_event(event)?,
            }
            if self.is_done() {
                return self.judge();
            }
        }
        Err(progress::stuck(&self.life.waiting()))
    }

    /// When something happens to a station that notices nothing now.
    fn deferred(&self, time: Time, event: Event) -> Option<Time> {
        let (life, station) = match event {
            Event::Deliver { life, link } => (life, link.1),
            Event::Step { life, worker } => (life, self.plan.worker_at[worker]),
            Event::Line(event) => self.line_event_of(event)?,
            Event::Stroke(_) | Event::Trigger(_) | Event::Begin => return None,
        };
        let until = self.life.stations[station].frozen_until;
        (life == self.life.number && until > time).then_some(until)
    }

    fn begin(&mut self) {
        let life = self.life.number;
        self.tell(Kind::Note, format_args!("team {life} begins"));
        for worker in 0..self.life.workers.len() {
            self.wake_worker(worker);
        }
    }

    /// A team begins, from the newest line if there is one.
    fn begin_life(&mut self, number: u64) -> Result<(), Violation> {
        let Some(start) = self.gather()? else {
            let again = self.pace.micros(AGAIN_US);
            self.queue.push(self.now + again, Event::Begin);
            return Ok(());
        };
        if number > 0 {
            self.tally.mark(Mark::TeamBeganAgain);
        }
        if start.marks.is_some() {
            let (line, phase) = (start.number, start.phase);
            self.note(format_args!(
                "the team goes on from line {line} in interval {phase}"
            ));
            self.tally.mark(Mark::WentOnFromLine);
        }
        self.life = Life::new(number, &self.plan, &self.scripts, start);
        self.begin();
        Ok(())
    }

    /// All members are dropped, with all that they know.
    pub(super) fn end(&mut self) {
        self.life.has_ended = true;
        self.end_keepers();
        self.network.clear();
        // What is under way is of the life before.
        self.life.number += 1;
        let again = self.pace.micros(AGAIN_US);
        self.queue.push(self.now + again, Event::Begin);
    }

    /// Whether a worker's script is run at all.
    pub(super) fn takes_part(&self, worker: usize) -> bool {
        self.mask.has_station(self.plan.worker_at[worker])
    }

    pub(super) fn note(&mut self, text: fmt::Arguments<'_>) {
        self.trace.note(self.now, text);
    }

    pub(super) fn tell(&mut self, kind: Kind, text: fmt::Arguments<'_>) {
        self.trace.tell(self.now, kind, text);
    }

    pub(super) fn schedule_step(&mut self, worker: usize, span: Span) {
        let life = self.life.number;
        self.queue
            .push(self.now + span, Event::Step { life, worker });
    }

    fn wake_worker(&mut self, worker: usize) {
        let span = Span(self.pace.within(WAKE_NS));
        self.schedule_step(worker, span);
    }

    /// Whoever waits at a station looks again.
    pub(super) fn wake(&mut self, station: usize) {
        for worker in 0..self.life.workers.len() {
            let it = &mut self.life.workers[worker];
            if it.station == station && it.state == State::Waits {
                it.state = State::Runs;
                self.wake_worker(worker);
            }
        }
    }

    /// Sends what a member wants to say, and sees whether its barrier has opened.
    pub(super) fn flush(&mut self, station: usize) -> Result<(), Violation> {
        while let Some(command) = self.life.stations[station].member.poll() {
            match command {
                Command::Tell(to, message) => self.send((station, usize::from(to.0)), &message),
                Command::Open => {
                    let here = &mut self.life.stations[station];
                    let opened = here.member.open_barrier(&mut here.memory.view);
                    refusals::honest(station, station, opened)?;
                }
                Command::Load(run) => self.load_of_line(station, run),
                Command::Cut { cut, marks, .. } => self.begin_line(station, cut, marks),
            }
        }
        let here = &self.life.stations[station];
        if here.lines.held_up.is_some() {
            return Ok(());
        }
        let interval = self.life.start.phase + here.member.interval().0 as usize;
        let workers = self.life.workers.iter();
        let mut here = workers.filter(|worker| worker.station == station);
        match here.next() {
            Some(worker) if worker.interval < interval && worker.state != State::Done => {
                self.open_barrier(station, interval - 1)
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self, link: Link, message: &ToPeer) {
        self.mark(message);
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).expect("the protocol bounds its messages");
        self.trace.bytes(&bytes);
        self.tally.bytes += bytes.len() as u64;
        let (number, arrival) = self.network.send(self.now, link, bytes);
        let kind = Kind::Sent {
            frame: Some(number),
            from: Lane::Station(link.0),
            to: Lane::Station(link.1),
            class: message.class(),
        };
        self.tell(kind, format_args!("{}", Brief(message)));
        let life = self.life.number;
        self.queue.push(arrival, Event::Deliver { life, link });
    }

    fn mark(&mut self, message: &ToPeer) {
        match message {
            ToPeer::Release(release) if !release.moved.is_empty() => {
                self.tally.mark(Mark::PageMoved);
            }
            ToPeer::Revoke(_) => self.tally.mark(Mark::LockRevoked),
            ToPeer::Grant { written, .. } if !written.is_empty() => {
                self.tally.mark(Mark::GrantWithPages);
            }
            ToPeer::Changes(_) => self.tally.mark(Mark::ChangesSent),
            _ => {}
        }
    }

    /// The next message of a connection reaches its station.
    fn deliver(&mut self, (from, to): Link) -> Result<(), Violation> {
        let Some((number, bytes)) = self.network.take((from, to)) else {
            return Ok(());
        };
        let lane = Lane::Station(to);
        self.tell(
            Kind::Delivered {
                frame: number,
                to: lane,
            },
            format_args!(""),
        );
        let message: ToPeer = frame::decode(&bytes).map_err(|error| Violation {
            oracle: "refusals",
            what: format!("what station {from} says to {to} cannot be read: {error}"),
        })?;
        let station = &mut self.life.stations[to];
        if let ToPeer::Fetch { interval, .. } = message
            && interval > station.member.interval()
        {
            self.tally.mark(Mark::FetchBeforeRelease);
        }
        if station.is_told {
            return Ok(());
        }
        let rank = Rank(from as u16);
        let answer = station
            .member
            .handle(rank, message, &mut station.memory.view);
        if let (Err(Error::GivenUp(who)), Some(given_up)) = (&answer, self.life.given_up) {
            let is_right = usize::from(who.0) == given_up;
            demand!(
                is_right,
                "refusals",
                "station {to} thinks that {who} gave up"
            );
            return self.hear_of_end(to);
        }
        refusals::honest(to, from, answer)?;
        self.flush(to)?;
        self.wake(to);
        self.look_at_copies()
    }

    fn hear_of_end(&mut self, station: usize) -> Result<(), Violation> {
        self.life.stations[station].is_told = true;
        if self.life.stations.iter().all(|station| station.is_told) {
            self.bury_all()?;
            self.end();
        }
        Ok(())
    }

    fn open_barrier(&mut self, station: usize, interval: usize) -> Result<(), Violation> {
        self.note(format_args!(
            "station {station} leaves the barrier of interval {interval}"
        ));
        let brought = self.life.stations[station].member.brought().clone();
        let brings = &self.scripts.brings[interval];
        let barriers = &self.life.oracles.barriers;
        barriers.left(station, interval, brings, &brought)?;
        let is_last = interval + 1 == self.scripts.brings.len();
        if self.holds_up(station, is_last) {
            self.life.stations[station].lines.held_up = Some(interval);
            return Ok(());
        }
        self.leave_barrier(station, interval)
    }

    /// Workers of a station go on behind a barrier.
    pub(super) fn leave_barrier(
        &mut self,
        station: usize,
        interval: usize,
    ) -> Result<(), Violation> {
        let is_last = interval + 1 == self.scripts.brings.len();
        for worker in 0..self.life.workers.len() {
            if self.life.workers[worker].station != station {
                continue;
            }
            if is_last {
                self.life.workers[worker].state = State::Done;
            } else {
                self.life.workers[worker].go_on();
                self.wake_worker(worker);
            }
        }
        if is_last {
            self.life.stations[station].member.leave();
            return self.flush(station);
        }
        Ok(())
    }

    pub(super) fn look_at_copies(&self) -> Result<(), Violation> {
        let accesses: Vec<_> = self
            .life
            .stations
            .iter()
            .map(|station| |page: PageNumber| station.memory.view.access(page))
            .collect();
        let members = self.life.stations.iter().zip(&accesses);
        let held: Vec<copies::Held<'_>> = members
            .map(|(station, access)| (&station.member, access as _))
            .collect();
        copies::check(self.plan.pages(), &held)
    }

    fn is_done(&self) -> bool {
        let mut workers = self.life.workers.iter();
        !self.life.has_ended
            && workers.all(|worker| worker.state == State::Done)
            && !self.network.is_busy()
    }

    /// All have left.
    fn judge(&mut self) -> Result<(), Violation> {
        for station in &self.life.stations {
            let others = (0..self.plan.stations as u16).map(Rank);
            let mut others = others.filter(|rank| *rank != station.member.rank());
            let stays = others.find(|rank| !station.member.has_left(*rank));
            let rank = station.member.rank();
            demand!(
                stays.is_none(),
                "progress",
                "{rank} waits for {stays:?} to leave"
            );
        }
        self.life.oracles.counters.finish()?;
        self.life.oracles.planted.finish()?;
        if self.mask.until_event.is_none() {
            let raced = self.scripts.race.map(|race| race.spot);
            results::check(&self.life.oracles.values, &self.outcome, raced)?;
        }
        Ok(())
    }

    /// Something breaks, if there is a team.
    fn strike(&mut self, stroke: Stroke) -> Result<(), Violation> {
        let number = self.strokes;
        self.strokes += 1;
        let is_idle = self.life.has_ended || self.life.given_up.is_some();
        if !self.mask.has_stroke(number) || is_idle || self.is_over {
            return Ok(());
        }
        self.tally.faults += 1;
        *self.tally.struck.entry(stroke.name()).or_default() += 1;
        let station = self.chance.below(self.plan.stations as u64) as usize;
        let text = format_args!("{} at station {station}", stroke.name());
        self.tell(Kind::Fault { stroke: number }, text);
        match stroke {
            Stroke::Part => self.end(),
            Stroke::KillServer => self.kill_server(),
            Stroke::BreakLine => self.break_line(station),
            Stroke::Kill => {
                self.bury(station)?;
                self.tell(
                    Kind::Ended(Lane::Station(station)),
                    format_args!(", killed"),
                );
                self.end();
            }
            Stroke::GiveUp => {
                self.life.given_up = Some(station);
                self.life.stations[station].member.give_up();
                self.flush(station)?;
                self.hear_of_end(station)?;
            }
            Stroke::Freeze(span) => {
                let until = self.now + span;
                self.life.stations[station].frozen_until = until;
                let lane = Lane::Station(station);
                self.tell(Kind::Frozen { lane, until }, format_args!(""));
            }
            Stroke::Forge => self.forge(station)?,
        }
        Ok(())
    }

    /// A member hears what nobody may say. It cannot go on, and so the team cannot.
    fn forge(&mut self, station: usize) -> Result<(), Violation> {
        let size = self.plan.stations as u64;
        if size < 2 {
            return Ok(());
        }
        let from = Rank(((station as u64 + self.chance.within(1..size)) % size) as u16);
        let here = &mut self.life.stations[station];
        let interval = here.member.interval();
        let (message, what) = forgery::forge(&mut self.chance, interval, size as u16);
        let answer = here.member.handle(from, message, &mut here.memory.view);
        self.note(format_args!(
            "station {station} hears from {from}: {what}: {answer:?}"
        ));
        refusals::forged(from, what, &answer)?;
        self.bury_all()?;
        self.end();
        Ok(())
    }
}
