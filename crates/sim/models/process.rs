//! A station's process: the real state machine, its memory, and a short program whose steps the
//! checker puts in every possible order with everything else.
//!
//! ```text
//!   Idle --Begin--> Running --Run--> Committing --Settle--> Idle
//!     |               |  ^
//!     |               v  | the page has arrived
//!     +--Leave-->     Missing
//!      Leaving
//! ```

use std::fmt::Debug;
use std::hash::Hash;

use plurix_protocol::ConnectionId;
use plurix_protocol::leader::Durability;
use plurix_protocol::station::{self, Miss, Outcome, State, Station};
use plurix_wire::message::{Request, SessionRefusal, ToLeader};
use plurix_wire::{CommitId, CommitNumber, Incarnation, PageNumber, StationId};

use crate::cluster::{Cluster, Setup};
use crate::demand;
use crate::memory::{Cell, Memory, Missing, Tx};
use crate::rules::Rule;
use crate::wire::{End, Wire};

/// What a station's program does; the models differ in it. A transaction that was refused, or whose
/// snapshot was too old, is told so and may be wished for again.
pub(crate) trait Program: Clone + Debug + Hash + Send + Sync + 'static {
    /// What a transaction's body tells its program.
    type Told: Clone + Debug + Hash + Send + Sync + 'static;

    fn wish(&self) -> Wish;

    /// Whether the next transaction shall find no page in memory.
    fn evicts(&self) -> bool {
        false
    }

    /// The transaction wished for. It is run anew after a miss, which it cannot notice.
    fn body(&self, tx: &mut Tx<'_>) -> Result<Self::Told, Missing>;

    /// The attempt has ended.
    fn ended(&mut self, how: How, told: Option<Self::Told>);

    /// The program of a process that replaces this one after its death.
    fn successor(&self) -> Self;
}

/// What a program wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Transaction,
    /// A transaction, once there is anything that the last one did not see.
    News,
    Leave,
    Nothing,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    OnlyRead,
    Committed,
    /// A conflict, or a snapshot too old.
    Again,
    Lost,
    Unknown,
}

/// Where the program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Idle,
    Running,
    Missing(PageNumber),
    Committing,
    Leaving,
}

/// A process.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Process<P: Program> {
    pub(crate) station: Station,
    pub(crate) memory: Memory,
    pub(crate) program: P,
    pub(crate) at: At,
    attempt: Attempt<P::Told>,
    /// The incarnation that the last attempt ran in.
    life: Option<Incarnation>,
    pub(crate) wire: Option<ConnectionId>,
    /// Connections made so far, by the processes before it too.
    connections: u64,
}

/// The attempt under way.
#[derive(Debug, Clone, Hash)]
struct Attempt<T> {
    /// The snapshot that it began with, also when a new life has begun since.
    snapshot: CommitNumber,
    id: Option<CommitId>,
    seen: Vec<(Cell, u64)>,
    told: Option<T>,
}

impl<T> Default for Attempt<T> {
    fn default() -> Self {
        Self {
            snapshot: CommitNumber(0),
            id: None,
            seen: Vec::new(),
            told: None,
        }
    }
}

impl<P: Program> Process<P> {
    pub(crate) fn new(settings: station::Settings, program: P) -> Self {
        Self {
            station: Station::new(settings),
            memory: Memory::default(),
            program,
            at: At::Idle,
            attempt: Attempt::default(),
            life: None,
            wire: None,
            connections: 0,
        }
    }

    pub(crate) fn can_begin(&self) -> bool {
        let wished = match self.program.wish() {
            Wish::Transaction => true,
            Wish::News => self.station.has_news() || self.station.incarnation() != self.life,
            Wish::Leave | Wish::Nothing => false,
        };
        wished && self.at == At::Idle && self.station.incarnation().is_some()
    }

    pub(crate) fn can_run(&self) -> bool {
        match self.at {
            At::Running => true,
            At::Missing(page) => self.station.has_arrived(page),
            _ => false,
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.at == At::Committing && self.station.is_answered()
    }

    pub(crate) fn can_leave(&self) -> bool {
        let active = self.station.state() == State::Active;
        active && self.at == At::Idle && self.program.wish() == Wish::Leave
    }

    /// Nothing is left to do but to listen, or it has left.
    pub(crate) fn is_done(&self) -> bool {
        match self.at {
            At::Leaving => self.wire.is_none(),
            At::Idle => {
                self.program.wish() == Wish::Nothing && self.station.state() == State::Active
            }
            _ => false,
        }
    }

    fn end(&mut self, how: How) {
        let attempt = std::mem::take(&mut self.attempt);
        self.at = At::Idle;
        self.program.ended(how, attempt.told);
    }

    fn abort(&mut self, how: How) {
        self.station.abort(&mut self.memory.lend());
        self.end(how);
    }
}

impl<P: Program> Cluster<P> {
    /// The process makes a connection, and says what it has to say first.
    pub(crate) fn connect(&mut self, index: usize) {
        let now = self.clock;
        let process = self.stations[index].get_mut();
        let id = ConnectionId(index as u64 * 1_000 + process.connections);
        process.connections += 1;
        process.wire = Some(id);
        process.station.connected(now);
        self.add_wire(Wire::new(id, index));
        self.say(index);
    }

    /// Sends what the station has to say.
    fn say(&mut self, index: usize) {
        let process = self.stations[index].get_mut();
        let mut frames = Vec::new();
        while let Some(message) = process.station.poll() {
            frames.push(message.clone());
        }
        for frame in &frames {
            if let ToLeader::Request {
                incarnation,
                request: Request::Commit(commit),
                ..
            } = frame
            {
                let id = CommitId {
                    incarnation: *incarnation,
                    sequence: commit.sequence,
                };
                let before = process.attempt.id.replace(id);
                assert!(before.is_none_or(|before| before == id), "sent again by id");
            }
        }
        if let Some(wire) = process.wire.and_then(|id| self.wire_mut(id))
            && wire.leader_end == End::Open
        {
            wire.to_leader.extend(frames);
        }
    }

    /// A frame arrives at the station.
    pub(crate) fn station_takes(&mut self, setup: &Setup<P>, id: ConnectionId) {
        let now = self.clock;
        let wire = self.wire_mut(id).expect("a wire with a frame");
        let index = wire.station;
        let frame = wire.to_station.pop_front().expect("a frame under way");
        let process = self.stations[index].get_mut();
        let heard = process.station.handle(now, frame);
        demand!(self, heard.is_ok(), Rule::Honest);
        if let State::Ended(refusal) = self.stations[index].get().station.state() {
            let taken = matches!(refusal, SessionRefusal::StationTaken(_));
            demand!(self, taken, Rule::Honest);
        }
        self.ask_again(index);
        self.say(index);
        if setup.narrow {
            self.make_room(setup, id);
        }
    }

    /// A page that is waited for is asked for anew if the question was lost with its connection.
    fn ask_again(&mut self, index: usize) {
        let process = self.stations[index].get_mut();
        if let At::Missing(page) = process.at
            && !process.station.has_arrived(page)
        {
            let miss = process.station.miss(page, &process.memory.lend());
            assert_eq!(miss, Miss::Pending, "nothing has arrived");
        }
    }

    /// The station's end of the connection is gone; a process that goes on makes another one.
    pub(crate) fn station_loses(&mut self, id: ConnectionId, end: End) {
        let wire = self.wire_mut(id).expect("a wire to lose");
        let index = wire.station;
        wire.close_station_end(end);
        self.sweep();
        let process = self.stations[index].get_mut();
        process.wire = None;
        process.station.disconnected();
        let ended = matches!(process.station.state(), State::Ended(_));
        if process.at != At::Leaving && !ended {
            self.connect(index);
        }
    }

    /// The process dies, and another one takes its place.
    pub(crate) fn crash(&mut self, setup: &Setup<P>, index: usize) {
        let process = self.stations[index].get_mut();
        let number: Option<StationId> = process.station.station();
        let settings = station::Settings {
            station: number.filter(|_| setup.numbered),
            ..setup.station.clone()
        };
        let next = Process {
            connections: process.connections,
            ..Process::new(settings, process.program.successor())
        };
        let wire = std::mem::replace(process, next).wire;
        if let Some(wire) = wire.and_then(|id| self.wire_mut(id)) {
            wire.close_station_end(End::Died);
        }
        self.sweep();
        self.connect(index);
    }

    /// The number that the process wants may be free now.
    pub(crate) fn retry(&mut self, index: usize) {
        self.stations[index].get_mut().station.retry();
        self.connect(index);
    }

    pub(crate) fn leave(&mut self, index: usize) {
        let process = self.stations[index].get_mut();
        process.at = At::Leaving;
        process.station.leave();
        self.say(index);
    }

    pub(crate) fn begin(&mut self, index: usize) {
        let process = self.stations[index].get_mut();
        if process.program.evicts() {
            let held: Vec<PageNumber> = process.memory.pages.keys().copied().collect();
            process.station.evict(held, &mut process.memory.lend());
        }
        let begun = process.station.begin(&mut process.memory.lend());
        assert!(begun.is_some(), "it is in a session");
        process.life = process.station.incarnation();
        process.attempt.snapshot = process.station.snapshot();
        process.at = At::Running;
        self.check_memory(index);
        self.say(index);
    }

    /// All pages in memory are as of the snapshot.
    fn check_memory(&mut self, index: usize) {
        let process = self.stations[index].get();
        let (log, at) = (self.log.get(), process.station.snapshot());
        let same = at <= log.number()
            && process
                .memory
                .pages
                .iter()
                .all(|(page, bytes)| **bytes == log.page(*page, at));
        demand!(self, same, Rule::Memory);
    }

    /// The program goes on until it misses a page or wants to commit.
    pub(crate) fn run(&mut self, index: usize, setup: &Setup<P>) {
        let process = self.stations[index].get_mut();
        if let At::Missing(page) = process.at {
            match process.station.miss(page, &process.memory.lend()) {
                Miss::Installed => {}
                Miss::Pending => return,
                Miss::SnapshotTooOld => {
                    setup.tally.too_old();
                    return process.abort(How::Again);
                }
                Miss::Lost => return process.abort(How::Lost),
            }
        }
        let mut tx = Tx::new(&mut process.memory, &process.station);
        let (done, at) = (process.program.body(&mut tx), process.attempt.snapshot);
        let (reads, writes) = (tx.read_set(), tx.write_set());
        let (seen, dead) = (tx.seen, tx.dead);
        match done {
            Err(Missing(page)) => {
                process.memory.rollback();
                process.at = At::Missing(page);
                if process.station.has_arrived(page) {
                    // It is at hand, or never will be: the next step tells.
                } else if process.station.miss(page, &process.memory.lend()) != Miss::Pending {
                    unreachable!("nothing has arrived");
                }
            }
            Ok(told) => {
                process.attempt.told = Some(told);
                process.attempt.seen.clone_from(&seen);
                if writes.is_empty() {
                    process.abort(How::OnlyRead);
                } else {
                    process.station.commit(reads, writes);
                    process.at = At::Committing;
                }
            }
        }
        self.check_reads(at, &seen, dead);
        self.say(index);
    }

    /// What an attempt saw, also one that will not commit, is the heap at its snapshot.
    fn check_reads(
        &mut self,
        at: CommitNumber,
        seen: &[(Cell, u64)],
        dead: impl IntoIterator<Item = Incarnation>,
    ) {
        let log = self.log.get();
        let opaque = seen
            .iter()
            .all(|(cell, value)| log.value(*cell, at) == *value);
        let silent = dead
            .into_iter()
            .all(|life| log.last_commit_of(life).is_none_or(|last| last <= at));
        demand!(self, opaque, Rule::Opacity);
        demand!(self, silent, Rule::Dead);
    }

    /// The program learns what became of its commit.
    pub(crate) fn settle(&mut self, index: usize, setup: &Setup<P>) {
        let process = self.stations[index].get_mut();
        let outcome = process.station.settle(&mut process.memory.lend());
        let (id, life) = (process.attempt.id, process.life);
        let seen = std::mem::take(&mut process.attempt.seen);
        let goes_on = process.station.incarnation() == life;
        process.end(match outcome {
            Outcome::Committed(_) => How::Committed,
            Outcome::Refused(_) => How::Again,
            Outcome::Lost => How::Lost,
            Outcome::Unknown => How::Unknown,
        });
        let log = self.log.get();
        let logged = id.and_then(|id| log.number_of(id));
        match outcome {
            Outcome::Committed(number) => {
                let before = CommitNumber(number.0.saturating_sub(1));
                let serial = seen.iter().all(|(cell, v)| log.value(*cell, before) == *v);
                demand!(self, logged == Some(number), Rule::Answered);
                demand!(self, serial, Rule::Serial);
                if setup.leader.durability == Durability::Durable {
                    // A kill takes nothing from the log.
                    self.watch
                        .get_mut()
                        .answered
                        .extend(id.map(|id| (id, number)));
                }
            }
            Outcome::Refused(_) => {
                setup.tally.refused();
                demand!(self, logged.is_none(), Rule::Refused);
                self.watch.get_mut().refused.extend(id);
            }
            Outcome::Lost => demand!(self, logged.is_none(), Rule::Unknown),
            Outcome::Unknown => {
                setup.tally.unknown();
                let lives = log.members().iter().any(|m| Some(m.incarnation) == life);
                let ended = life.is_some_and(|life| self.watch.get().ended.contains(&life));
                demand!(self, ended || !lives, Rule::Unknown);
            }
        }
        if goes_on {
            self.check_memory(index);
        }
        self.say(index);
    }
}
