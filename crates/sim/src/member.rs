//! A station's machine: the process that drives a station as the real library does, and its
//! connection.
//!
//! ```text
//!   down --start--> connecting --> connected --+--> crashed: all is lost, a successor is started
//!                       ^              |       +--> frozen: everything comes late
//!                       +--- closed ---+
//! ```

use plurix_memory::HeapMemory;
use plurix_protocol::station::{Settings, State, Station};
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_wire::message::{Request, SessionRefusal, ToLeader, ToStation};
use plurix_wire::{CommitId, Generation, StationId, frame};

use crate::clock::Clock;
use crate::library::Library;
use crate::nemesis::Pace;
use crate::network::{Peer, Side};
use crate::oracle::bounds::{self, Cached};
use crate::oracle::session::Sight;
use crate::oracle::{Violation, demand};
use crate::program::Program;
use crate::queue::Event;
use crate::random::{Purpose, Random};
use crate::tally::Mark;
use crate::trace::{Kind, Lane};
use crate::world::World;

const ORACLE: &str = "station";
/// So often a station asks for a number that somebody else has before it takes any.
const REFUSALS_MAX: u32 = 20;

/// One station's machine.
pub(crate) struct Member {
    /// The process, if it runs scripts on the bare protocol.
    pub(crate) process: Option<Process>,
    /// The process, if it runs the library.
    pub(crate) library: Option<Library>,
    /// Counts processes, to tell a dead one's events.
    pub(crate) life: u64,
    pub(crate) frozen_until: Time,
    pub(crate) pace: Pace,
    pub(crate) clock: Clock,
    pub(crate) role: Role,
    /// The number that its successor asks for, if any.
    number: Option<StationId>,
    pub(crate) random: Random,
    /// Chance in what its machine does, apart from the program.
    pub(crate) chance: Random,
    /// Transactions begun, over all lives.
    pub(crate) attempts: u64,
    /// Commits since the faults ended.
    pub(crate) duties_done: u32,
}

/// What a station is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    /// It says that it is an observer, but writes like a worker.
    Observer,
    /// An observer that never writes.
    Reader,
}

/// The running station.
pub(crate) struct Process {
    pub(crate) station: Station,
    pub(crate) memory: HeapMemory,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) program: Program,
    pub(crate) sight: Sight,
    /// The generation of the newest welcome.
    pub(crate) generation: Generation,
    tick_at: Option<Time>,
    /// Whether it asked for a number.
    numbered: bool,
    refusals: u32,
    /// The most pages it has had so far.
    pages_max: usize,
    /// What it had when its transaction began.
    pub(crate) cached: Cached,
}

impl Member {
    pub(crate) fn new(
        number: Option<StationId>,
        role: Role,
        clock: Clock,
        [seed, index]: [u64; 2],
    ) -> Self {
        Self {
            process: None,
            library: None,
            life: 0,
            frozen_until: Time(0),
            pace: Pace::default(),
            clock,
            role,
            number,
            random: Random::new(seed, Purpose::Program(index as usize)),
            chance: Random::new(seed, Purpose::Machine(index as usize)),
            attempts: 0,
            duties_done: 0,
        }
    }

    pub(crate) fn number(&self) -> Option<StationId> {
        self.number
    }

    fn is_up(&self) -> bool {
        self.process.is_some() || self.library.is_some()
    }
}

impl World {
    /// Starts a station's process; it connects at once.
    pub(crate) fn start_member(&mut self, index: usize) -> Result<(), Violation> {
        if self.members[index].is_up() {
            return Ok(());
        }
        if let Some(kind) = self.plan.library {
            return self.start_library(index, kind);
        }
        let member = &mut self.members[index];
        let settings = Settings {
            station: member.number,
            observer: member.role != Role::Worker,
            ..self.plan.station.clone()
        };
        member.life += 1;
        member.process = Some(Process {
            station: Station::new(settings),
            memory: HeapMemory::emulated(self.plan.leader.heap_bytes)
                .expect("a small heap can be allocated"),
            connection: None,
            program: Program::default(),
            sight: Sight::default(),
            generation: Generation(0),
            tick_at: None,
            numbered: member.number.is_some(),
            refusals: 0,
            pages_max: 0,
            cached: Cached::default(),
        });
        let life = member.life;
        let role = member.role;
        let starts = Kind::Started(Lane::Station(index));
        self.tell(starts, format_args!(" as {role:?}"));
        self.queue.push(
            self.now,
            Event::Connect {
                member: index,
                life,
            },
        );
        self.wake_after(index, Span(0));
        Ok(())
    }

    /// Kills a station's process; the leader may or may not hear of its death at once.
    pub(crate) fn crash_member(&mut self, index: usize) {
        self.program_is_gone(index);
        if !self.members[index].is_up() {
            return;
        }
        let connection = self.kill_library(index);
        let process = self.members[index].process.take();
        let connection = connection.or(process.and_then(|process| process.connection));
        self.tally.crashes += 1;
        if let Some(connection) = connection {
            let lossy = self.chance.chance(50);
            if self.chance.chance(50) {
                self.network.prove_death(connection);
            }
            self.close(connection, Side::Station, lossy);
        }
        let crashes = Kind::Ended(Lane::Station(index));
        self.tell(crashes, format_args!(": crash"));
        self.succeed(index);
    }

    /// A station's process ends in order; one comes back in its place.
    pub(crate) fn leave_member(&mut self, index: usize) -> Result<(), Violation> {
        self.program_is_gone(index);
        if let Some(process) = &mut self.members[index].process {
            process.station.leave();
        }
        self.send_requests(index)?;
        if let Some(process) = self.members[index].process.take() {
            if let Some(connection) = process.connection {
                self.close(connection, Side::Station, false);
            }
            self.tally.leaves += 1;
            let leaves = Kind::Ended(Lane::Station(index));
            self.tell(leaves, format_args!(" in order"));
            self.succeed(index);
        }
        Ok(())
    }

    /// After the end of a station's process another one is started later.
    fn succeed(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.life += 1;
        member.frozen_until = Time(0);
        if self.plan.strangers && self.chance.chance(80) {
            member.number = None;
        }
        let span = self.chance.around(Span::from_millis(30));
        self.queue
            .push(self.now + span, Event::StartMember { member: index });
    }

    /// A station tries to connect.
    pub(crate) fn connect(&mut self, index: usize) -> Result<(), Violation> {
        if self.server.process.is_none() {
            self.connect_later(index);
            return Ok(());
        }
        if let Some(until) = self.network.walled_until(self.now, index) {
            self.connect_in_vain(index, until);
            return Ok(());
        }
        let member = &mut self.members[index];
        let now = member.clock.at(self.now);
        let Some(process) = &mut member.process else {
            return Ok(());
        };
        if process.connection.is_some() {
            return Ok(());
        }
        let connection = self.network.connect(Peer::Member(index));
        process.connection = Some(connection);
        process.station.connected(now);
        let connects = Kind::Remark(Lane::Station(index));
        self.tell(connects, format_args!("connects"));
        self.opening(index);
        self.member_acts(index)
    }

    /// The leader cannot be reached: the attempt fails at once, or hangs until it times out or the
    /// network is whole again.
    fn connect_in_vain(&mut self, index: usize, until: Time) {
        let cannot = Kind::Remark(Lane::Station(index));
        self.tell(cannot, format_args!("cannot reach the leader"));
        if self.members[index].chance.chance(50) {
            return self.connect_later(index);
        }
        let patience = self.now + self.plan.station.silence_max;
        let life = self.members[index].life;
        let event = Event::Connect {
            member: index,
            life,
        };
        self.queue.push(until.min(patience), event);
    }

    pub(crate) fn connect_later(&mut self, index: usize) {
        let member = &mut self.members[index];
        // Some are back at once, and some when others have long gone on.
        let span = Span::from_micros(member.chance.log_within(100..100_000));
        let life = member.life;
        self.queue.push(
            self.now + span,
            Event::Connect {
                member: index,
                life,
            },
        );
    }

    /// A frame has arrived at a station's end.
    pub(crate) fn member_receives(
        &mut self,
        connection: ConnectionId,
        index: usize,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let member = &mut self.members[index];
        let now = member.clock.at(self.now);
        let Some(process) = &mut member.process else {
            return Ok(());
        };
        if process.connection != Some(connection) {
            return Ok(());
        }
        let message: ToStation = frame::decode(bytes).map_err(|error| Violation {
            oracle: ORACLE,
            what: error.to_string(),
        })?;
        let incarnation = process.station.incarnation();
        let mark = match &message {
            ToStation::Welcome(welcome) if Some(welcome.incarnation) == incarnation => {
                Some(Mark::SessionResumed)
            }
            ToStation::Refused(SessionRefusal::UnknownIncarnation) => {
                Some(Mark::IncarnationUnknown)
            }
            ToStation::Refused(SessionRefusal::RolledBack { .. }) => Some(Mark::RolledBack),
            ToStation::Refused(SessionRefusal::StationTaken(_)) => Some(Mark::NumberTaken),
            _ => None,
        };
        mark.into_iter().for_each(|mark| self.tally.mark(mark));
        if let ToStation::Refused(SessionRefusal::RolledBack { .. }) = message {
            process.sight = Sight::default();
        }
        let heard = process.station.handle(now, message);
        demand!(
            heard.is_ok(),
            ORACLE,
            "station {index} gives up an honest leader: {heard:?}"
        );
        if let Some(generation) = process.station.generation() {
            process.generation = generation;
        }
        if let State::Ended(refusal) = process.station.state() {
            self.ended(index, refusal)?;
        }
        self.member_acts(index)
    }

    /// The leader wants no session with this station.
    fn ended(&mut self, index: usize, refusal: SessionRefusal) -> Result<(), Violation> {
        match refusal {
            SessionRefusal::ShuttingDown => {}
            SessionRefusal::Full(most) => {
                demand!(
                    most == self.plan.leader.stations_max,
                    ORACLE,
                    "the leader says that it is full with {most} stations"
                );
                self.tally.full += 1;
            }
            SessionRefusal::StationTaken(_) => {
                let member = &mut self.members[index];
                let Some(process) = &mut member.process else {
                    return Ok(());
                };
                demand!(
                    process.numbered,
                    ORACLE,
                    "station {index} insists on a number that it never asked for"
                );
                process.refusals += 1;
                if process.refusals > REFUSALS_MAX {
                    // A stranger has taken the number while this one was away.
                    member.number = None;
                    self.crash_member(index);
                    return Ok(());
                }
            }
            other => {
                let what = format!("station {index} is honest, and refused: {other}");
                return Err(Violation {
                    oracle: ORACLE,
                    what,
                });
            }
        }
        self.hang_up(index);
        Ok(())
    }

    /// A station closes its connection and makes another one later.
    fn hang_up(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Some(process) = &mut member.process else {
            return;
        };
        if let Some(connection) = process.connection.take() {
            process.station.disconnected();
            let lossy = member.chance.chance(50);
            self.close(connection, Side::Station, lossy);
            self.connect_later(index);
        }
    }

    /// A station learns that its connection is closed.
    pub(crate) fn member_closed(
        &mut self,
        connection: ConnectionId,
        index: usize,
    ) -> Result<(), Violation> {
        let Some(process) = &mut self.members[index].process else {
            return Ok(());
        };
        if process.connection == Some(connection) {
            process.connection = None;
            process.station.disconnected();
            let cut_off = Kind::Remark(Lane::Station(index));
            self.tell(cut_off, format_args!("is cut off"));
            self.connect_later(index);
            self.member_acts(index)?;
        }
        Ok(())
    }

    /// What is due by a station's clock may be due sooner than was thought.
    pub(crate) fn look_at_clock(&mut self, index: usize) {
        let member = &mut self.members[index];
        if let Some(process) = &mut member.process {
            process.tick_at = None;
            let life = member.life;
            let event = Event::MemberTick {
                member: index,
                life,
            };
            self.queue.push(self.now, event);
        }
    }

    pub(crate) fn member_tick(&mut self, index: usize) -> Result<(), Violation> {
        let member = &mut self.members[index];
        let now = member.clock.at(self.now);
        let Some(process) = &mut member.process else {
            return Ok(());
        };
        if process.tick_at.is_some_and(|tick| tick > self.now) {
            return Ok(()); // Another one was scheduled since.
        }
        process.tick_at = None;
        if process.connection.is_some() && process.station.tick(now) {
            let gives_up = Kind::Remark(Lane::Station(index));
            self.tell(gives_up, format_args!("gives the leader up"));
            self.tally.mark(Mark::LeaderGivenUp);
            self.hang_up(index);
        }
        self.member_acts(index)
    }

    /// After anything happened to a station: its program goes on if it can, and what the station
    /// has to say is sent.
    pub(crate) fn member_acts(&mut self, index: usize) -> Result<(), Violation> {
        self.advance(index)?;
        self.send_requests(index)?;
        let now = self.now;
        let (station, leader) = (&self.plan.station, &self.plan.leader);
        let member = &mut self.members[index];
        let Some(process) = &mut member.process else {
            return Ok(());
        };
        let pages = process.station.pages_held() + process.station.pages_arrived();
        process.pages_max = process.pages_max.max(pages);
        bounds::station(&process.station, process.pages_max, station, leader)?;
        let present = process.memory.present_count();
        bounds::cache(&process.station, present, process.cached, station)?;
        let most = station.cache_pages_max;
        let is_exceeded = pages > most.saturating_add(2 * station.read_ahead as usize);
        is_exceeded.then(|| self.tally.mark(Mark::CacheExceeded));
        if let Some(number) = process.station.station() {
            member.number = Some(number);
        }
        if process.connection.is_some() {
            let due = member.clock.when(process.station.next_timeout()).max(now);
            if process.tick_at.is_none_or(|tick| due < tick) {
                process.tick_at = Some(due);
                let life = member.life;
                self.queue.push(
                    due,
                    Event::MemberTick {
                        member: index,
                        life,
                    },
                );
            }
        }
        Ok(())
    }

    fn send_requests(&mut self, index: usize) -> Result<(), Violation> {
        while let Some(process) = &mut self.members[index].process {
            let Some(connection) = process.connection else {
                break;
            };
            let Some(message) = process.station.poll().cloned() else {
                break;
            };
            if let ToLeader::Request {
                incarnation,
                request: Request::Commit(commit),
                ..
            } = &message
            {
                let id = CommitId {
                    incarnation: *incarnation,
                    sequence: commit.sequence,
                };
                self.oracles.numbering.asked(id, &commit.writes)?;
                let is_logged = self.oracles.model.number_of(id).is_some();
                if process.program.asked(id, is_logged)? {
                    self.tally.mark(Mark::CommitRetried);
                }
            }
            if !self.loses_commit(connection, &message) {
                self.send(connection, Side::Leader, &message);
            }
        }
        Ok(())
    }
}
