//! The whole cluster: takes one event after the other, in virtual time, and hands each to the
//! machine that it happens to.
//!
//! ```text
//!   Chaos: faults, random programs  --heal-->  Duties: no faults, everybody must commit
//!                                                        |
//!                             converged?  <-----------  Rest: nobody begins anything
//! ```

use std::fmt;

use plurix_protocol::{ConnectionId, Span, Time, leader};
use plurix_wire::frame;
use plurix_wire::{PAGE_BYTES, StationId};

use crate::Options;
use crate::brief::{Brief, Told};
use crate::clock::Clock;
use crate::history::History;
use crate::mask::Mask;
use crate::member::Member;
use crate::nemesis::{Pace, Traps};
use crate::network::{Network, Peer, Side};
use crate::oracle::{Oracles, Violation, convergence, progress};
use crate::plan::Plan;
use crate::program::At;
use crate::queue::{Event, Queue};
use crate::random::{Purpose, Random};
use crate::server::Server;
use crate::stranger::Strangers;
use crate::tally::Tally;
use crate::trace::{Class, Kind, Lane, Recording, Trace};

/// Commits that each station must get done once the faults are over.
pub(crate) const DUTIES: u32 = 3;
/// How long that may take, in virtual time.
const DUTIES_MAX: Span = Span::from_millis(30_000);
/// How long nothing is begun before everybody is looked at.
const REST: Span = Span::from_millis(2_000);

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Chaos,
    Duties,
    Rest,
}

/// Where a peer stands in the trace.
fn lane(peer: Peer) -> Lane {
    match peer {
        Peer::Member(member) => Lane::Station(member),
        Peer::Stranger => Lane::Stranger,
    }
}

/// A clock as the plan has it.
fn clock(plan: &Plan, random: &mut Random) -> Clock {
    let shown = Time(random.below(1 << 50));
    Clock::new(shown, random.within(plan.clock_permille.clone()))
}

/// The cluster.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) mask: Mask,
    pub(crate) now: Time,
    pub(crate) queue: Queue<Event>,
    pub(crate) plan: Plan,
    pub(crate) network: Network,
    pub(crate) server: Server,
    pub(crate) members: Vec<Member>,
    pub(crate) oracles: Oracles,
    /// Collected in some seeds, until it is judged.
    pub(crate) history: Option<History>,
    /// What happens by chance and is nobody's in particular; during a fault, what it does.
    pub(crate) chance: Random,
    /// When faults strike.
    pub(crate) schedule: Random,
    /// Faults that have struck or were masked out.
    pub(crate) strokes: u64,
    pub(crate) disk: Random,
    pub(crate) audit: Random,
    pub(crate) clocks: Random,
    pub(crate) decay: Random,
    pub(crate) traps: Traps,
    pub(crate) strangers: Strangers,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
    pub(crate) phase: Phase,
    /// Whether faults still strike.
    pub(crate) chaos: bool,
    /// Faults go on until there have been so many commits.
    pub(crate) commits_least: u64,
    /// Whether syncs fail at present.
    pub(crate) disk_fails: bool,
    phase_ends: Time,
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options, recording: Recording) -> Self {
        let mut plan = Plan::of(seed);
        if options.commits > 0 {
            plan.hasten();
        }
        if options.black_box_alone {
            plan.collect_history();
        }
        let mut trace = Trace::new(recording);
        trace.note(Time(0), format_args!("seed {seed}: {plan}"));
        trace.note(Time(0), format_args!("{plan:?}"));
        let mut clocks = Random::new(seed, Purpose::Clocks);
        let members = (0..plan.stations)
            .map(|index| {
                let number = plan.numbered.then_some(StationId(index as u32 + 1));
                let clock = clock(&plan, &mut clocks);
                Member::new(number, plan.role(index), clock, [seed, index as u64])
            })
            .collect();
        let clock = clock(&plan, &mut clocks);
        let weather = plan.weather.clone();
        Self {
            seed,
            mask: options.mask.clone(),
            now: Time(0),
            queue: Queue::default(),
            network: Network::new(weather, seed),
            server: Server::new(&plan, clock),
            members,
            oracles: Oracles {
                deaf: options.black_box_alone,
                ..Oracles::default()
            },
            history: plan.workload.aligned.then(History::default),
            chance: Random::new(seed, Purpose::Faults),
            schedule: Random::new(seed, Purpose::Schedule),
            strokes: 0,
            disk: Random::new(seed, Purpose::Disk),
            audit: Random::new(seed, Purpose::Audit),
            clocks,
            decay: Random::new(seed, Purpose::Decay),
            traps: Traps::default(),
            strangers: Strangers::new(Random::new(seed, Purpose::Strangers)),
            trace,
            tally: Tally::default(),
            phase: Phase::Chaos,
            chaos: true,
            commits_least: options.commits,
            disk_fails: false,
            phase_ends: Time(0),
            plan,
        }
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        self.queue.push(self.now, Event::StartLeader);
        for member in 0..self.members.len() {
            let span = self.chance.around(Span::from_millis(5));
            if self.mask.has_station(member) {
                let start = Event::StartMember { member };
                self.queue.push(self.now + span, start);
            }
        }
        self.unleash();
        self.queue.push(self.now + self.plan.chaos, Event::Heal);
        let mut at_once = 0;
        while let Some((time, event)) = self.queue.pop() {
            if let Some(later) = self.deferred(time, &event) {
                self.queue.push(later, event);
                continue;
            }
            at_once = if time > self.now { 0 } else { at_once + 1 };
            progress::time_goes_on(at_once, &event)?;
            self.now = time;
            self.tally.events += 1;
            self.dispatch(event)?;
            self.judge_full_history()?;
            for frame in self.network.take_vanished() {
                self.tell(Kind::Vanished { frame }, format_args!(""));
            }
            if self.phase == Phase::Chaos && self.mask.ends_chaos(self.tally.events) {
                self.heal();
            }
            if self.phase_is_over()? {
                self.judge_history()?;
                return self.look_at_everybody();
            }
        }
        Err(progress::silence())
    }

    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    /// Tells the trace what happened; the text is put together only if somebody reads it.
    pub(crate) fn tell(&mut self, kind: Kind, text: fmt::Arguments<'_>) {
        self.trace.tell(self.now, kind, text);
    }

    pub(crate) fn send<M: Told>(&mut self, connection: ConnectionId, to: Side, message: &M) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).expect("the protocol bounds its messages");
        let text = format_args!("{}", Brief(message));
        self.send_frame(connection, to, bytes, message.class(), text);
    }

    pub(crate) fn send_frame(
        &mut self,
        connection: ConnectionId,
        to: Side,
        bytes: Vec<u8>,
        class: Class,
        text: fmt::Arguments<'_>,
    ) {
        let Some(peer) = self.network.peer(connection) else {
            return;
        };
        self.trace.bytes(&bytes);
        self.tally.bytes += bytes.len() as u64;
        let sent = self.network.send(self.now, connection, to, bytes);
        let (from, towards) = match to {
            Side::Leader => (lane(peer), Lane::Leader),
            Side::Station => (Lane::Leader, lane(peer)),
        };
        let kind = Kind::Sent {
            frame: sent.map(|(frame, _)| frame),
            from,
            to: towards,
            class,
        };
        self.tell(kind, text);
        if let Some((_, Some(arrival))) = sent {
            self.queue.push(arrival, Event::Deliver(connection, to));
        }
    }

    /// One end closes a connection; the other one will learn it.
    pub(crate) fn close(&mut self, connection: ConnectionId, side: Side, lossy: bool) {
        if let Some(when) = self.network.close(self.now, connection, side, lossy) {
            self.queue
                .push(when, Event::Closed(connection, side.other()));
        }
    }

    fn dispatch(&mut self, event: Event) -> Result<(), Violation> {
        self.takes_time(&event);
        match event {
            Event::Deliver(connection, side) => self.deliver(connection, side),
            Event::Closed(connection, side) => self.closed(connection, side),
            Event::Connect { member, life } if self.lives(member, life) => self.connect(member),
            Event::Wake {
                member,
                life,
                token,
            } if self.lives(member, life) && self.members[member].library.is_some() => {
                self.wake_library(member, token)
            }
            Event::Wake {
                member,
                life,
                token,
            } if self.lives(member, life) => self.wake(member, token),
            Event::Service { member, life } if self.lives(member, life) => {
                self.attend_library(member)
            }
            Event::MemberTick { member, life } if self.lives(member, life) => {
                self.member_tick(member)
            }
            Event::LeaderTick { life } if life == self.server.life => self.leader_tick(),
            Event::Synced { life } if life == self.server.life => self.leader_synced(),
            Event::SyncedAside { life } if life == self.server.life => self.leader_synced_aside(),
            Event::LeaderJob { life } if life == self.server.life => self.leader_job(),
            Event::Crash { member } => {
                if self.chaos {
                    self.crash_member(member);
                }
                Ok(())
            }
            Event::StartMember { member } => self.start_member(member),
            Event::StartLeader => self.start_leader(),
            Event::DiskFree => {
                self.mend_disk();
                Ok(())
            }
            Event::Fault(fault) => self.fault(fault),
            Event::Heal if self.phase != Phase::Chaos => Ok(()),
            Event::Heal if self.tally.commits < self.commits_least => {
                self.queue.push(self.now + self.plan.chaos, Event::Heal);
                Ok(())
            }
            Event::Heal => {
                self.heal();
                Ok(())
            }
            // Events of a process that is dead.
            Event::Connect { .. }
            | Event::Wake { .. }
            | Event::Service { .. }
            | Event::MemberTick { .. }
            | Event::LeaderTick { .. }
            | Event::Synced { .. }
            | Event::SyncedAside { .. }
            | Event::LeaderJob { .. } => Ok(()),
        }
    }

    fn lives(&self, member: usize, life: u64) -> bool {
        self.members[member].life == life
    }

    /// The process that the event happens to: until when it is frozen, and how slow it is.
    fn victim(&mut self, event: &Event) -> Option<(Time, &mut Pace)> {
        let member = match *event {
            Event::Deliver(_, Side::Leader)
            | Event::Closed(_, Side::Leader)
            | Event::LeaderTick { .. }
            | Event::Synced { .. }
            | Event::SyncedAside { .. }
            | Event::LeaderJob { .. } => {
                return Some((self.server.frozen_until, &mut self.server.pace));
            }
            Event::Deliver(connection, Side::Station)
            | Event::Closed(connection, Side::Station) => match self.network.peer(connection)? {
                Peer::Member(member) => member,
                Peer::Stranger => return None,
            },
            Event::Connect { member, .. }
            | Event::Wake { member, .. }
            | Event::Service { member, .. }
            | Event::MemberTick { member, .. } => member,
            _ => return None,
        };
        let member = &mut self.members[member];
        Some((member.frozen_until, &mut member.pace))
    }

    /// When the process that the event happens to will notice it, if it is not now.
    fn deferred(&mut self, now: Time, event: &Event) -> Option<Time> {
        if let Event::Deliver(connection, side) = *event
            && let Some(later) = self.network.held_until(now, connection, side)
        {
            return Some(later);
        }
        let (frozen_until, pace) = self.victim(event)?;
        let later = frozen_until.max(pace.busy_until());
        (later > now).then_some(later)
    }

    fn takes_time(&mut self, event: &Event) {
        let now = self.now;
        if let Some((_, pace)) = self.victim(event) {
            pace.took(now);
        }
    }

    fn deliver(&mut self, connection: ConnectionId, side: Side) -> Result<(), Violation> {
        let Some(peer) = self.network.peer(connection) else {
            return Ok(());
        };
        let Some((frame, bytes)) = self.network.receive(connection, side) else {
            return Ok(());
        };
        let to = match side {
            Side::Leader => Lane::Leader,
            Side::Station => lane(peer),
        };
        self.tell(Kind::Delivered { frame, to }, format_args!(""));
        match (side, peer) {
            (Side::Leader, Peer::Member(_)) => return self.leader_receives(connection, &bytes),
            (Side::Leader, Peer::Stranger) => {
                return self.leader_hears_stranger(connection, &bytes);
            }
            (Side::Station, Peer::Member(member)) if self.plan.library.is_some() => {
                self.library_hears(member, connection, Some(bytes))?;
            }
            (Side::Station, Peer::Member(member)) => {
                self.member_receives(connection, member, &bytes)?;
            }
            (Side::Station, Peer::Stranger) => self.stranger_receives(connection, &bytes)?,
        }
        self.leader_writable(connection)
    }

    fn closed(&mut self, connection: ConnectionId, side: Side) -> Result<(), Violation> {
        let Some(peer) = self.network.peer(connection) else {
            return Ok(());
        };
        let Some(died) = self.network.closed(connection, side) else {
            return Ok(());
        };
        match (side, peer) {
            (Side::Leader, _) => self.tell_leader(leader::Event::Closed { connection, died }),
            (Side::Station, Peer::Member(member)) if self.plan.library.is_some() => {
                self.library_hears(member, connection, None)
            }
            (Side::Station, Peer::Member(member)) => self.member_closed(connection, member),
            (Side::Station, Peer::Stranger) => {
                self.strangers.forget(connection);
                Ok(())
            }
        }
    }

    /// From here on, everybody has duties.
    pub(crate) fn begin_duties(&mut self) {
        self.phase = Phase::Duties;
        self.phase_ends = self.now + DUTIES_MAX;
    }

    /// The members whose stations are not masked out.
    fn participants(&self) -> impl Iterator<Item = &Member> {
        let members = self.members.iter().enumerate();
        members
            .filter(|(index, _)| self.mask.has_station(*index))
            .map(|(_, member)| member)
    }

    /// Moves on to the next phase when it is time; answers whether the last one is over.
    fn phase_is_over(&mut self) -> Result<bool, Violation> {
        match self.phase {
            Phase::Chaos => {}
            Phase::Duties => {
                let done: Vec<u32> = self.participants().map(|m| m.duties_done).collect();
                if done.iter().all(|done| *done >= DUTIES) {
                    self.note(format_args!("everybody has done its duty"));
                    self.phase = Phase::Rest;
                    self.phase_ends = self.now + REST;
                }
                if self.now >= self.phase_ends {
                    progress::duties(&done, DUTIES, DUTIES_MAX)?;
                }
            }
            Phase::Rest => return Ok(self.now >= self.phase_ends),
        }
        Ok(false)
    }

    /// Everything has come to rest: all must see the same.
    fn look_at_everybody(&mut self) -> Result<(), Violation> {
        let Some(process) = &self.server.process else {
            return Err(progress::nobody_leads());
        };
        let leader = &process.leader;
        let pages = self.plan.leader.heap_bytes / PAGE_BYTES as u64;
        convergence::leader(&self.oracles.model, leader, pages)?;
        let members = self.members.iter_mut().enumerate();
        for (index, member) in members.filter(|(index, _)| self.mask.has_station(*index)) {
            if let Some(library) = &member.library {
                progress::has_seen_all(index, library.is_done)?;
                continue;
            }
            let process = member.process.as_mut();
            let state = process.as_ref().map(|process| process.station.state());
            let is_idle = process
                .as_ref()
                .is_some_and(|p| p.program.at == At::Idle && !p.station.awaits_durable());
            progress::stands(index, state, is_idle)?;
            let Some(process) = process else {
                continue;
            };
            let snapshot = process.station.begin(&mut process.memory);
            let held = process.station.pages_held();
            process.station.abort(&mut process.memory);
            let snapshot = snapshot.unwrap_or_default();
            convergence::station(leader, &process.memory, held, snapshot)?;
        }
        Ok(())
    }
}
