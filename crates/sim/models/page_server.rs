//! The page server's process: the real leader, the log that it appends to, and what the driver of
//! the real one does in one turn. It dies and begins anew from what the log then holds.

use std::collections::BTreeSet;

use plurix_protocol::leader::{Command, Durability, Event, Leader};
use plurix_protocol::{ConnectionId, Span};
use plurix_wire::message::{Batch, Item, Request, ToLeader, ToStation};
use plurix_wire::record::{Body, Record};
use plurix_wire::{CommitId, CommitNumber, Incarnation};

use crate::cluster::{Cluster, Setup, Wrong};
use crate::demand;
use crate::log::Log;
use crate::process::Program;
use crate::rules::Rule;
use crate::shared::Shared;
use crate::wire::End;

/// The log never fills; what happens then is the simulator's to find out.
const ROOM: u64 = 1 << 20;
/// So long that every time that the leader has noted lies too far back.
const STALL: Span = Span::from_millis(10_000);

/// What has been told, for the rules to hold later steps against.
#[derive(Debug, Clone, Hash, Default)]
pub(crate) struct Watch {
    pub(crate) answered: BTreeSet<(CommitId, CommitNumber)>,
    pub(crate) refused: BTreeSet<CommitId>,
    /// The incarnations that were dropped, also those whose end a power cut took from the log.
    pub(crate) ended: BTreeSet<Incarnation>,
}

impl<P: Program> Cluster<P> {
    /// A leader begins on what the log holds.
    pub(crate) fn start_leader(&mut self, setup: &Setup<P>) {
        let log = self.log.get_mut();
        let mut leader = Leader::new(setup.leader.clone());
        for record in &log.records {
            let mut record = record.clone();
            if setup.wrong == Some(Wrong::ForgetsOutcomes)
                && let Body::Commit { id, .. } = &mut record.body
            {
                id.incarnation = Incarnation(0);
            }
            leader.replay(&record).expect("the log of a leader");
        }
        log.synced = log.records.len();
        log.term = log.term.next();
        leader.start(self.clock, log.term, None);
        *self.leader.get_mut() = leader;
        self.tell(setup, Event::Tick);
    }

    /// The leader's process dies; of what was not synced, `kept` says how much is left.
    pub(crate) fn crash_leader(&mut self, setup: &Setup<P>, kept: usize) {
        self.log.get_mut().records.truncate(kept);
        let log = self.log.get();
        let mut answered = self.watch.get().answered.iter();
        let stays = answered.all(|(id, number)| log.number_of(*id) == Some(*number));
        demand!(self, stays, Rule::Answered);
        for wire in &mut self.wires {
            if wire.get().leader_end == End::Open {
                wire.get_mut().close_leader_end(End::Lost);
            }
        }
        self.sweep();
        self.start_leader(setup);
    }

    /// A frame arrives at the leader.
    pub(crate) fn leader_takes(&mut self, setup: &Setup<P>, connection: ConnectionId) {
        let wire = self.wire_mut(connection).expect("a wire with a frame");
        let message = wire.to_leader.pop_front().expect("a frame under way");
        self.tell(
            setup,
            Event::Message {
                connection,
                message,
            },
        );
    }

    /// The leader's end of the connection is gone.
    pub(crate) fn leader_loses(&mut self, setup: &Setup<P>, connection: ConnectionId) {
        let wire = self.wire_mut(connection).expect("a wire to lose");
        let died = setup.local && wire.station_end == End::Died;
        wire.close_leader_end(End::Lost);
        self.sweep();
        self.tell(setup, Event::Closed { connection, died });
    }

    /// The disk has everything through `number`.
    pub(crate) fn sync(&mut self, setup: &Setup<P>, number: CommitNumber) {
        let log = self.log.get_mut();
        let through = log.records.iter().rposition(|r| r.stamp.number <= number);
        log.synced = log.synced.max(through.map_or(0, |last| last + 1));
        self.tell(setup, Event::Logged(number));
    }

    /// The leader was stalled: it excuses everybody, and says that it is alive.
    pub(crate) fn stall(&mut self, setup: &Setup<P>) {
        self.clock = self.clock + STALL;
        self.tell(setup, Event::Tick);
    }

    /// Everybody but the member on `victim` is heard, until its silence is too long.
    pub(crate) fn silence(&mut self, setup: &Setup<P>, victim: ConnectionId) {
        self.stall(setup);
        self.tick_hearing_all_but(setup, Some(victim));
    }

    /// Who lost the connection has been away for too long.
    pub(crate) fn expire_lost(&mut self, setup: &Setup<P>) {
        self.stall(setup);
        self.tick_hearing_all_but(setup, None);
        self.tick_hearing_all_but(setup, None);
    }

    /// The next tick, on time. A heartbeat changes nothing but when a member was heard, so it
    /// overtakes nothing that matters.
    fn tick_hearing_all_but(&mut self, setup: &Setup<P>, victim: Option<ConnectionId>) {
        self.clock = self.clock + Span(setup.leader.heartbeat.0 / 2);
        let heard: Vec<ToHear> = self.wires.iter().filter_map(|w| to_hear(w.get())).collect();
        for (connection, message) in heard {
            if Some(connection) != victim {
                self.tell(
                    setup,
                    Event::Message {
                        connection,
                        message,
                    },
                );
            }
        }
        self.tell(setup, Event::Tick);
    }

    /// What was held back has waited long enough.
    pub(crate) fn end_delay(&mut self, setup: &Setup<P>) {
        self.clock = self.clock + setup.leader.stream_delay;
        self.carry_out(setup);
    }

    /// Whether the leader holds something back.
    pub(crate) fn is_delaying(&self, setup: &Setup<P>) -> bool {
        let timeout = self.leader.get().next_timeout();
        timeout <= self.clock + setup.leader.stream_delay
    }

    /// Whether a member has no connection.
    pub(crate) fn misses_somebody(&self) -> bool {
        let members = self.log.get().members();
        members.iter().any(|member| {
            let is_here = |wire: &crate::wire::Wire| {
                wire.leader_end == End::Open
                    && wire
                        .member
                        .is_some_and(|(life, _)| life == member.incarnation)
            };
            !self.wires.iter().any(|wire| is_here(wire.get()))
        })
    }

    /// One turn of the driver.
    fn tell(&mut self, setup: &Setup<P>, event: Event) {
        let leader = self.leader.get_mut();
        leader.handle(self.clock, Event::Room(ROOM));
        leader.handle(self.clock, event);
        self.carry_out(setup);
    }

    fn carry_out(&mut self, setup: &Setup<P>) {
        while let Some(command) = self.leader.get_mut().poll() {
            match command {
                Command::Append(record) => self.append(record),
                Command::Send {
                    connection,
                    message,
                } => self.send(setup, connection, message),
                Command::Close { connection } => {
                    if let Some(wire) = self.wire_mut(connection) {
                        wire.close_leader_end(End::Closed);
                    }
                    self.sweep();
                }
                Command::Sync
                | Command::BeginCheckpoint { .. }
                | Command::SendStatus { .. }
                | Command::SendCheckpoint { .. }
                | Command::Shutdown { .. } => {
                    unreachable!("no model asks for it")
                }
            }
        }
        if setup.wrong == Some(Wrong::AnswersEarly) {
            let number = self.leader.get().number();
            self.leader
                .get_mut()
                .handle(self.clock, Event::Logged(number));
        }
        while let Some(connection) = self.leader.get_mut().flushable(self.clock) {
            // It is named again once the station has taken what is under way.
            if setup.narrow && self.is_full(connection) {
                continue;
            }
            if let Some(batch) = self.leader.get_mut().batch(self.clock, connection) {
                self.send(setup, connection, batch);
            }
        }
    }

    fn is_full(&self, connection: ConnectionId) -> bool {
        let mut wires = self.wires.iter().map(Shared::get);
        wires.any(|wire| wire.id == connection && !wire.to_station.is_empty())
    }

    /// The station has taken what was under way: there is room for more.
    pub(crate) fn make_room(&mut self, setup: &Setup<P>, connection: ConnectionId) {
        let mut wires = self.wires.iter().map(Shared::get);
        let has_leader = wires.any(|wire| wire.id == connection && wire.leader_end == End::Open);
        if has_leader && !self.is_full(connection) {
            self.leader.get_mut().writable(connection);
            self.carry_out(setup);
        }
    }

    fn append(&mut self, record: Record) {
        let (log, watch) = (self.log.get(), self.watch.get());
        let number = record.stamp.number;
        match &record.body {
            Body::Commit { id, .. } => {
                let dense = number == log.number().next();
                let mut members = log.members().into_iter();
                let lives = members.any(|member| member.incarnation == id.incarnation);
                let twice = log.number_of(*id).is_some();
                let refused = watch.refused.contains(id);
                demand!(self, dense && lives, Rule::Numbers);
                demand!(self, !twice, Rule::Twice);
                demand!(self, !refused, Rule::Refused);
            }
            Body::Left(life) => {
                let life = *life;
                self.watch.get_mut().ended.insert(life);
            }
            _ => demand!(self, number == log.number(), Rule::Numbers),
        }
        self.log.get_mut().records.push(record);
    }

    fn send(&mut self, setup: &Setup<P>, connection: ConnectionId, mut message: ToStation) {
        let log = self.log.get();
        let promised = match setup.leader.durability {
            Durability::Memory => log.number(),
            Durability::Durable => log.synced_number(),
        };
        let revealed = match &message {
            ToStation::Welcome(welcome) => welcome.through,
            ToStation::Batch(batch) => newest_of(batch),
            _ => CommitNumber(0),
        };
        if let ToStation::Batch(batch) = &mut message {
            setup.tally.batch(batch, log.number());
            spoil(setup, batch);
        }
        let answers = self.answers_truly(connection, &message, log);
        demand!(self, revealed <= promised, Rule::Revealed);
        demand!(self, answers, Rule::Answered);
        let Some(wire) = self.wire_mut(connection) else {
            return;
        };
        if let ToStation::Welcome(welcome) = &message {
            wire.member = Some((welcome.incarnation, welcome.generation));
        }
        if wire.station_end == End::Open {
            wire.to_station.push_back(message);
        }
    }

    /// Whether every commit that the message answers is in the log as it says.
    fn answers_truly(&self, connection: ConnectionId, message: &ToStation, log: &Log) -> bool {
        let ToStation::Batch(batch) = message else {
            return true;
        };
        let wire = self.wires.iter().find(|wire| wire.get().id == connection);
        let Some((incarnation, _)) = wire.and_then(|wire| wire.get().member) else {
            return false; // A batch for nobody.
        };
        batch.items.iter().all(|item| {
            let logged = |sequence: &_| {
                log.number_of(CommitId {
                    incarnation,
                    sequence: *sequence,
                })
            };
            match item {
                Item::Committed { sequence, number } => logged(sequence) == Some(*number),
                Item::Refused { sequence, .. } => logged(sequence).is_none(),
                _ => true,
            }
        })
    }
}

type ToHear = (ConnectionId, ToLeader);

/// The heartbeat that the member on this wire may have sent before anything that is under way.
fn to_hear(wire: &crate::wire::Wire) -> Option<ToHear> {
    let (incarnation, generation) = wire.member?;
    let request = Request::Heartbeat;
    (wire.leader_end == End::Open).then_some((
        wire.id,
        ToLeader::Request {
            incarnation,
            generation,
            request,
        },
    ))
}

/// The newest commit of which a batch tells anything.
fn newest_of(batch: &Batch) -> CommitNumber {
    let told = batch.items.iter().map(|item| match item {
        Item::Committed { number, .. } => *number,
        Item::Delta(delta) => delta.number,
        Item::Page(page) => page.base.max(page.held_from),
        Item::Lines(lines) => lines.number,
        Item::Refused { .. } | Item::Joined(_) | Item::Left(_) | Item::Latest | Item::Token => {
            CommitNumber(0)
        }
    });
    told.max().unwrap_or(CommitNumber(0)).max(batch.through)
}

/// Makes the leader wrong, where a test wants that found.
fn spoil<P: Program>(setup: &Setup<P>, batch: &mut Batch) {
    if setup.wrong == Some(Wrong::ServesNewer) {
        for item in &mut batch.items {
            if let Item::Page(page) = item {
                page.base = CommitNumber(0);
            }
        }
    }
}
