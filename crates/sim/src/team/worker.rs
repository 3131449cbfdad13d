//! One step of a worker: what a thread of the program would do, with the protocol asked first wherever
//! a page could be closed.
//!
//! ```text
//!   Runs ──step──► Runs      (later: it thinks)
//!    │ ▲
//!    │ └── a message was handled here, or somebody here gave a lock back or raised a flag
//!    └── the protocol says: not now ──► Waits
//!   end of the script ──► AtBarrier ──released──► Runs the next one
//! ```

use std::fmt;

use plurix_protocol::Span;
use plurix_protocol::team::{Access, Error, Ticket};
use plurix_wire::SyncId;

use super::World;
use super::races;
use super::script::{Spot, Step};
use crate::oracle::{Violation, demand};
use crate::tally::Mark;

/// Where a worker stands.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) station: usize,
    pub(super) interval: usize,
    /// How many steps of the interval it has done.
    at: usize,
    pub(super) state: State,
    held: Vec<SyncId>,
    ticket: Option<Ticket>,
    /// What it last asked for was announced.
    has_heard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    Waits,
    AtBarrier,
    Done,
}

/// What came of a step.
enum End {
    Done,
    /// Done, after so long.
    After(Span),
    /// Not now.
    Waits,
    /// Whoever waits for a lock or a flag here must look again.
    GaveBack,
}

impl Worker {
    /// Begins with this interval.
    pub(super) fn new(station: usize, interval: usize) -> Self {
        Self {
            station,
            interval,
            at: 0,
            state: State::Runs,
            held: Vec::new(),
            ticket: None,
            has_heard: false,
        }
    }

    /// Begins its next interval.
    pub(super) fn go_on(&mut self) {
        self.interval += 1;
        self.at = 0;
        self.state = State::Runs;
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            station,
            interval,
            at,
            state,
            held,
            ..
        } = self;
        write!(
            f,
            "station {station} interval {interval} step {at} {state:?} with {held:?}"
        )
    }
}

fn refused(worker: usize, step: Step, error: &Error) -> Violation {
    Violation {
        oracle: "refusals",
        what: format!("worker {worker} may not {}: {error}", step.name()),
    }
}

impl World {
    /// A worker does its next step, if it can.
    pub(super) fn run_worker(&mut self, index: usize) -> Result<(), Violation> {
        let worker = &self.life.workers[index];
        if worker.state != State::Runs {
            return Ok(());
        }
        let steps = &self.scripts.steps[index];
        let Some(step) = steps[worker.interval].get(worker.at).copied() else {
            return self.come_to_barrier(index);
        };
        let is_out = self.is_left_out(index, step);
        let end = if is_out {
            End::Done
        } else {
            self.step(index, step)?
        };
        if matches!(end, End::Waits) {
            self.life.workers[index].state = State::Waits;
            return self.flush(self.life.workers[index].station);
        }
        if !is_out {
            let who = self.life.workers[index].station;
            self.note(format_args!("station {who} worker {index}: {step:?}"));
            *self.tally.scripts.entry(step.name()).or_default() += 1;
        }
        let worker = &mut self.life.workers[index];
        worker.at += 1;
        let station = worker.station;
        let span = match end {
            End::After(span) => span,
            _ => Span(self.pace.within(self.plan.weather.think_ns.clone())),
        };
        self.schedule_step(index, span);
        if matches!(end, End::GaveBack) {
            self.wake(station);
        }
        self.flush(station)
    }

    /// Steps that a mask leaves out; what a worker holds it gives back nevertheless.
    fn is_left_out(&self, index: usize, step: Step) -> bool {
        let worker = &self.life.workers[index];
        match step {
            Step::Release(lock) => !worker.held.contains(&lock),
            _ if worker.ticket.is_some() => false,
            Step::Await(_, other) if !self.takes_part(other) => true,
            _ => !self.takes_part(index) || self.is_over,
        }
    }

    fn step(&mut self, index: usize, step: Step) -> Result<End, Violation> {
        match step {
            Step::Store(spot, value) => self.store(index, step, spot, |_| value),
            Step::Add(spot, value) => {
                self.store(index, step, spot, |found| found.wrapping_add(value))
            }
            Step::Load(spot) => Ok(match self.load(index, step, spot)? {
                Some(_) => End::Done,
                None => End::Waits,
            }),
            Step::Ask(spot) => Ok(match self.load(index, step, spot)? {
                Some(found) => {
                    self.life.workers[index].has_heard = found != 0;
                    End::Done
                }
                None => End::Waits,
            }),
            Step::Heed(spot) => match std::mem::take(&mut self.life.workers[index].has_heard) {
                false => Ok(End::Done),
                true => match self.load(index, step, spot)? {
                    Some(_) => {
                        self.tally.mark(Mark::AnnouncementHeeded);
                        Ok(End::Done)
                    }
                    None => {
                        self.life.workers[index].has_heard = true;
                        Ok(End::Waits)
                    }
                },
            },
            Step::Acquire(lock) => self.acquire(index, step, lock),
            Step::Release(lock) => self.give_back(index, step, lock),
            Step::Raise(flag) => self.raise(index, step, flag),
            Step::Await(flag, _) => self.wait(index, step, flag),
            Step::Count(counter, value) => self.count(index, step, counter, value),
            Step::Prefetch(run) => {
                let station = self.life.workers[index].station;
                self.life.stations[station].member.prefetch(run);
                Ok(End::Done)
            }
            Step::Compute(span) => Ok(End::After(span)),
        }
    }

    /// Whether a page is open to a worker; asks for it if it is not.
    fn open(
        &mut self,
        index: usize,
        step: Step,
        spot: Spot,
        wants: Access,
    ) -> Result<bool, Violation> {
        let station = &mut self.life.stations[self.life.workers[index].station];
        if station.memory.view.access(spot.page) >= wants {
            return Ok(true);
        }
        let answer = station
            .member
            .access(spot.page, wants, &mut station.memory.view);
        let is_open = answer.map_err(|error| refused(index, step, &error))?;
        self.tally.misses += u64::from(!is_open);
        Ok(is_open)
    }

    fn load(&mut self, index: usize, step: Step, spot: Spot) -> Result<Option<u8>, Violation> {
        if !self.open(index, step, spot, Access::Read)? {
            return Ok(None);
        }
        self.watch_access(index, spot, false)?;
        let station = &self.life.stations[self.life.workers[index].station];
        let found = station.memory.load(spot)?;
        if self.is_judged(spot) {
            let who = format_args!("worker {index}");
            self.life.oracles.values.loaded(spot, found, &who)?;
        }
        Ok(Some(found))
    }

    fn store(
        &mut self,
        index: usize,
        step: Step,
        spot: Spot,
        value: impl Fn(u8) -> u8,
    ) -> Result<End, Violation> {
        if !self.open(index, step, spot, Access::Write)? {
            return Ok(End::Waits);
        }
        let is_add = matches!(step, Step::Add(..));
        if is_add && self.load(index, step, spot)?.is_none() {
            return Ok(End::Waits);
        }
        self.watch_access(index, spot, true)?;
        let station = &mut self.life.stations[self.life.workers[index].station];
        let value = value(station.memory.load(spot)?);
        station.memory.store(spot, value)?;
        self.life.oracles.values.stored(spot, value);
        Ok(End::Done)
    }

    /// Tells the detector of races.
    fn watch_access(&mut self, index: usize, spot: Spot, stores: bool) -> Result<(), Violation> {
        let access = races::Access {
            worker: index,
            interval: self.life.workers[index].interval,
            stores,
        };
        let (region, page) = self.plan.place(spot.page);
        let offset = u64::from(page) * plurix_wire::PAGE_BYTES as u64 + u64::from(spot.at);
        self.life.oracles.planted.accessed(access, spot);
        let race = self.life.races.access(access, spot, (region, offset));
        if let Some(race) = race {
            self.note(format_args!("RACE {race}"));
            self.life.oracles.planted.reported(&race)?;
            self.tally.mark(Mark::RaceNamed);
        }
        Ok(())
    }

    /// Of bytes that are raced for, anything may be found.
    fn is_judged(&self, spot: Spot) -> bool {
        self.scripts.race.is_none_or(|race| race.spot != spot)
    }

    fn acquire(&mut self, index: usize, step: Step, lock: SyncId) -> Result<End, Violation> {
        let worker = &mut self.life.workers[index];
        let station = &mut self.life.stations[worker.station];
        let answer = station.member.acquire(lock, &mut station.memory.view);
        if !answer.map_err(|error| refused(index, step, &error))? {
            return Ok(End::Waits);
        }
        worker.held.push(lock);
        self.life.oracles.locks.acquired(index, lock)?;
        self.life.races.acquire(index, lock);
        Ok(End::Done)
    }

    fn give_back(&mut self, index: usize, step: Step, lock: SyncId) -> Result<End, Violation> {
        let worker = &mut self.life.workers[index];
        worker.held.retain(|held| *held != lock);
        self.life.oracles.locks.released(lock);
        self.life.races.release(index, lock);
        let station = &mut self.life.stations[worker.station];
        let answer = station.member.unlock(lock, &mut station.memory.view);
        answer.map_err(|error| refused(index, step, &error))?;
        Ok(End::GaveBack)
    }

    fn raise(&mut self, index: usize, step: Step, flag: SyncId) -> Result<End, Violation> {
        self.life.races.release(index, flag);
        self.life.oracles.flags.insert(flag, 1);
        let station = &mut self.life.stations[self.life.workers[index].station];
        let answer = station.member.raise(flag, 1, &mut station.memory.view);
        answer.map_err(|error| refused(index, step, &error))?;
        Ok(End::GaveBack)
    }

    fn wait(&mut self, index: usize, step: Step, flag: SyncId) -> Result<End, Violation> {
        let station = &mut self.life.stations[self.life.workers[index].station];
        let answer = station.member.is_raised(flag, 1, &mut station.memory.view);
        if !answer.map_err(|error| refused(index, step, &error))? {
            return Ok(End::Waits);
        }
        self.life.races.acquire(index, flag);
        self.tally.mark(Mark::FlagSeen);
        Ok(End::Done)
    }

    fn count(
        &mut self,
        index: usize,
        step: Step,
        counter: SyncId,
        value: u64,
    ) -> Result<End, Violation> {
        let worker = &mut self.life.workers[index];
        let station = &mut self.life.stations[worker.station];
        let ticket = match worker.ticket {
            Some(ticket) => ticket,
            None => {
                let answer = station.member.add(counter, value, &mut station.memory.view);
                answer.map_err(|error| refused(index, step, &error))?
            }
        };
        worker.ticket = Some(ticket);
        let Some(before) = station.member.before(ticket) else {
            return Ok(End::Waits);
        };
        worker.ticket = None;
        self.life.oracles.counters.added(counter, before, value);
        Ok(End::Done)
    }

    /// A worker has come to the end of its interval; the last one of a station makes it arrive.
    fn come_to_barrier(&mut self, index: usize) -> Result<(), Violation> {
        let worker = &mut self.life.workers[index];
        demand!(worker.held.is_empty(), "script", "{worker} at a barrier");
        worker.state = State::AtBarrier;
        let (station, interval) = (worker.station, worker.interval);
        if self.life.oracles.barriers.arrived(index) {
            self.life.races.barrier();
            if let Some(lines) = &mut self.lines {
                lines.model.barrier(self.life.oracles.snapshot());
            }
        }
        let mut others = self.life.workers.iter().filter(|w| w.station == station);
        if !others.all(|worker| worker.state == State::AtBarrier) {
            return Ok(());
        }
        self.note(format_args!(
            "station {station} is at the barrier of interval {interval}"
        ));
        let brings = self.scripts.brings[interval][station].clone();
        let boundary = self.boundary(station, interval);
        let here = &mut self.life.stations[station];
        let answer = here.member.arrive(brings, boundary, &mut here.memory.view);
        answer.map_err(|error| Violation {
            oracle: "refusals",
            what: format!("station {station} may not arrive: {error}"),
        })?;
        self.flush(station)
    }
}
