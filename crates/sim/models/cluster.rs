//! One state of a model, the steps that lead out of it, and the bounds that make them finitely
//! many.
//!
//! What is abstracted, and why nothing is lost by it:
//!
//! - **Time.** The protocol compares times in four places: when a delay ends, when a member was
//!   silent or away for too long, and when somebody must say that he is alive. Each is a step of
//!   its own here, possible at any moment. The clock itself is not part of a state's identity: a
//!   step that depends on it first lets the leader be stalled, after which all times are alike.
//! - **Heartbeats** are not under way; what they could do is part of the steps of silence.
//! - **A process that connects anew** does so in the step in which it loses its connection, and a
//!   new leader begins in the step in which the old one dies: while nobody is connected, nobody
//!   hears of the difference, and every frame may still be under way for any time.
//! - **Connections** are numbered by process, and never share a number.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use plurix_protocol::leader::{self, Durability, Leader};
use plurix_protocol::station::{self, State};
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_wire::{CommitNumber, PAGE_BYTES};
use stateright::{Model, Property};

use crate::check::Tally;
use crate::log::Log;
use crate::page_server::Watch;
use crate::process::{At, Process, Program};
use crate::rules::{self, Rule};
use crate::shared::Shared;
use crate::wire::{End, Wire};

/// How often each fault may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    pub(crate) leader_crashes: u8,
    pub(crate) station_crashes: u8,
    /// One end notices that a connection is lost, without anybody's death.
    pub(crate) losses: u8,
    /// The leader gives up a member on a connection that seems to work.
    pub(crate) silences: u8,
    /// The leader is stalled, and everybody is told that it lives.
    pub(crate) stalls: u8,
}

impl Bounds {
    /// No fault at all.
    pub(crate) const NONE: Self = Self {
        leader_crashes: 0,
        station_crashes: 0,
        losses: 0,
        silences: 0,
        stalls: 0,
    };
}

/// A defect put in on purpose, for the checker to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The driver reports commits as logged when they are appended.
    AnswersEarly,
    /// The log does not tell a new leader whose commits it holds.
    ForgetsOutcomes,
    /// A page is served newer than it says.
    ServesNewer,
}

/// A model: programs, settings and bounds.
#[derive(Debug, Clone)]
pub(crate) struct Setup<P> {
    pub(crate) leader: leader::Settings,
    pub(crate) station: station::Settings,
    /// The end of a connection proves the end of the process, as on one host.
    pub(crate) local: bool,
    /// A new process insists on the number of the one before it.
    pub(crate) numbered: bool,
    /// All stations are members when the model begins; else they have only connected.
    pub(crate) joined: bool,
    /// A program begins, goes on and settles as soon as it can: nothing arrives in between but
    /// while it waits for a page or an answer.
    pub(crate) hasty: bool,
    /// A connection takes nothing more for a station that has not taken what is under way.
    pub(crate) narrow: bool,
    pub(crate) bounds: Bounds,
    pub(crate) programs: Vec<P>,
    /// Whether the log holds, at rest, what the programs should have done.
    pub(crate) goal: fn(&Log, &[P]) -> bool,
    pub(crate) wrong: Option<Wrong>,
    pub(crate) tally: Arc<Tally>,
}

impl<P> Setup<P> {
    pub(crate) fn new(durability: Durability, programs: Vec<P>) -> Self {
        let mut leader = leader::Settings::new(8 * PAGE_BYTES as u64, durability);
        // So that a tick on time comes too late for one who was silent since the last, two for one
        // who was away, and the leader's heartbeat is due only after it was stalled.
        leader.heartbeat = Span::from_millis(50);
        leader.silence_max = Span::from_millis(10);
        leader.resume_max = Span::from_millis(40);
        leader.stream_delay = Span(1);
        leader.recent_pages = 8;
        leader.history_bytes_max = 4096;
        let station = station::Settings {
            read_ahead: 1,
            ..station::Settings::default()
        };
        Self {
            leader,
            station,
            local: false,
            numbered: false,
            joined: false,
            hasty: false,
            narrow: false,
            bounds: Bounds::NONE,
            programs,
            goal: |_, _| true,
            wrong: None,
            tally: Arc::default(),
        }
    }
}

/// A state.
#[derive(Debug, Clone)]
pub(crate) struct Cluster<P: Program> {
    pub(crate) leader: Shared<Leader>,
    pub(crate) log: Shared<Log>,
    pub(crate) stations: Vec<Shared<Process<P>>>,
    /// Ascending by connection.
    pub(crate) wires: Vec<Shared<Wire>>,
    pub(crate) watch: Shared<Watch>,
    pub(crate) left: Bounds,
    pub(crate) broken: Option<Rule>,
    pub(crate) clock: Time,
}

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    LeaderTakes(ConnectionId),
    StationTakes(ConnectionId),
    LeaderLoses(ConnectionId),
    StationLoses(ConnectionId),
    LeaderLearns(ConnectionId),
    StationLearns(ConnectionId),
    CrashLeader { kept: usize },
    CrashStation(usize),
    Silence(ConnectionId),
    ExpireLost,
    Stall,
    EndDelay,
    Sync(CommitNumber),
    Begin(usize),
    Run(usize),
    Settle(usize),
    Leave(usize),
    Retry(usize),
}

impl<P: Program> Cluster<P> {
    fn new(setup: &Setup<P>) -> Self {
        let process = |program: &P| Process::new(setup.station.clone(), program.clone());
        let mut cluster = Self {
            leader: Shared::new(Leader::new(setup.leader.clone())),
            log: Shared::new(Log::default()),
            stations: setup
                .programs
                .iter()
                .map(process)
                .map(Shared::new)
                .collect(),
            wires: Vec::new(),
            watch: Shared::new(Watch::default()),
            left: setup.bounds,
            broken: None,
            clock: Time(1),
        };
        cluster.start_leader(setup);
        for index in 0..setup.programs.len() {
            cluster.connect(index);
            let id = cluster.stations[index].get().wire;
            while setup.joined
                && let Some(frame) = id.and_then(|id| cluster.next_frame(id))
            {
                cluster.take(setup, frame);
            }
        }
        cluster.seal();
        cluster
    }

    /// A frame that can arrive on this connection.
    fn next_frame(&self, id: ConnectionId) -> Option<Step> {
        let wire = self.wires.iter().find(|wire| wire.get().id == id)?.get();
        let to_leader = !wire.to_leader.is_empty();
        let to_station = !wire.to_station.is_empty();
        to_leader
            .then_some(Step::LeaderTakes(id))
            .or(to_station.then_some(Step::StationTakes(id)))
    }

    fn seal(&mut self) {
        self.leader.seal();
        self.log.seal();
        self.watch.seal();
        self.stations.iter_mut().for_each(Shared::seal);
        self.wires.iter_mut().for_each(Shared::seal);
    }

    pub(crate) fn add_wire(&mut self, wire: Wire) {
        let at = self.wires.partition_point(|other| other.get().id < wire.id);
        self.wires.insert(at, Shared::new(wire));
    }

    pub(crate) fn wire_mut(&mut self, id: ConnectionId) -> Option<&mut Wire> {
        let wire = self.wires.iter_mut().find(|wire| wire.get().id == id)?;
        Some(wire.get_mut())
    }

    /// Forgets the connections that neither end knows of.
    pub(crate) fn sweep(&mut self) {
        self.wires.retain(|wire| !wire.get().is_gone());
    }

    /// Everything that can happen here.
    pub(crate) fn steps(&self, setup: &Setup<P>) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.broken.is_some() {
            return steps;
        }
        for wire in &self.wires {
            self.steps_of_wire(setup, wire.get(), &mut steps);
        }
        for (index, process) in self.stations.iter().enumerate() {
            self.steps_of_process(index, process.get(), &mut steps);
        }
        self.steps_of_leader(setup, &mut steps);
        steps
    }

    fn steps_of_wire(&self, setup: &Setup<P>, wire: &Wire, steps: &mut Vec<Step>) {
        let id = wire.id;
        let mut step = |possible: bool, step: Step| steps.extend(possible.then_some(step));
        let leader_listens = wire.leader_end == End::Open && !wire.to_leader.is_empty();
        step(leader_listens, Step::LeaderTakes(id));
        let station_listens = wire.station_end == End::Open && !wire.to_station.is_empty();
        step(station_listens, Step::StationTakes(id));
        step(wire.leader_can_learn(setup.local), Step::LeaderLearns(id));
        step(wire.station_can_learn(), Step::StationLearns(id));
        let loses = self.left.losses > 0 && !setup.local && wire.is_open();
        step(loses, Step::LeaderLoses(id));
        step(loses, Step::StationLoses(id));
        let silent = self.left.silences > 0 && wire.member.is_some();
        step(silent && wire.leader_end == End::Open, Step::Silence(id));
    }

    fn steps_of_process(&self, index: usize, process: &Process<P>, steps: &mut Vec<Step>) {
        let mut step = |possible: bool, step: Step| steps.extend(possible.then_some(step));
        step(process.can_begin(), Step::Begin(index));
        step(process.can_run(), Step::Run(index));
        step(process.is_answered(), Step::Settle(index));
        step(process.can_leave(), Step::Leave(index));
        let dies = self.left.station_crashes > 0 && process.at != At::Leaving;
        step(dies, Step::CrashStation(index));
        // Before the leader has noticed the end of the process before it, it would only be refused.
        let awaited = self.wires.iter().any(|wire| wire.get().station == index);
        let refused = matches!(process.station.state(), State::Ended(_)) && process.wire.is_none();
        step(refused && !awaited, Step::Retry(index));
    }

    fn steps_of_leader(&self, setup: &Setup<P>, steps: &mut Vec<Step>) {
        let log = self.log.get();
        if self.left.leader_crashes > 0 {
            let all = log.records.len();
            let least = match setup.leader.durability {
                Durability::Memory => all,
                Durability::Durable => log.synced,
            };
            steps.extend((least..=all).map(|kept| Step::CrashLeader { kept }));
        }
        if self.leader.get().awaits_log() {
            let unsynced = log.synced_number().0 + 1..=log.number().0;
            steps.extend(unsynced.map(|number| Step::Sync(CommitNumber(number))));
        }
        let mut step = |possible: bool, step: Step| steps.extend(possible.then_some(step));
        step(self.left.stalls > 0, Step::Stall);
        step(self.is_delaying(setup), Step::EndDelay);
        step(self.misses_somebody(), Step::ExpireLost);
    }

    fn take(&mut self, setup: &Setup<P>, step: Step) {
        match step {
            Step::LeaderTakes(id) => self.leader_takes(setup, id),
            Step::StationTakes(id) => self.station_takes(setup, id),
            Step::LeaderLoses(id) => {
                self.left.losses -= 1;
                self.leader_loses(setup, id);
            }
            Step::StationLoses(id) => {
                self.left.losses -= 1;
                self.station_loses(id, End::Lost);
            }
            Step::LeaderLearns(id) => self.leader_loses(setup, id),
            Step::StationLearns(id) => self.station_loses(id, End::Closed),
            Step::CrashLeader { kept } => {
                self.left.leader_crashes -= 1;
                self.crash_leader(setup, kept);
            }
            Step::CrashStation(index) => {
                self.left.station_crashes -= 1;
                self.crash(setup, index);
            }
            Step::Silence(id) => {
                self.left.silences -= 1;
                self.silence(setup, id);
            }
            Step::ExpireLost => self.expire_lost(setup),
            Step::Stall => {
                self.left.stalls -= 1;
                self.stall(setup);
            }
            Step::EndDelay => self.end_delay(setup),
            Step::Sync(number) => self.sync(setup, number),
            Step::Begin(index) => self.begin(index),
            Step::Run(index) => self.run(index, setup),
            Step::Settle(index) => self.settle(index, setup),
            Step::Leave(index) => self.leave(index),
            Step::Retry(index) => self.retry(index),
        }
        if setup.hasty {
            self.hurry(setup);
        }
        if self.broken.is_none() && self.steps(setup).is_empty() {
            let programs: Vec<P> = self
                .stations
                .iter()
                .map(|s| s.get().program.clone())
                .collect();
            let reached = (setup.goal)(self.log.get(), &programs);
            crate::demand!(self, reached, Rule::Goal);
        }
    }

    /// Lets every program go on that is in the middle of something and could.
    fn hurry(&mut self, setup: &Setup<P>) {
        for index in 0..self.stations.len() {
            while self.broken.is_none() && self.stations[index].get().is_answered() {
                self.settle(index, setup);
            }
            while self.broken.is_none() && self.stations[index].get().can_run() {
                self.run(index, setup);
            }
        }
    }

    /// Everybody that has not left is a member, and has nothing left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.stations.iter().all(|process| process.get().is_done()) && !self.misses_somebody()
    }
}

impl<P: Program> Model for Setup<P> {
    type State = Cluster<P>;
    type Action = Step;

    fn init_states(&self) -> Vec<Cluster<P>> {
        vec![Cluster::new(self)]
    }

    fn actions(&self, state: &Cluster<P>, steps: &mut Vec<Step>) {
        steps.extend(state.steps(self));
    }

    fn next_state(&self, state: &Cluster<P>, step: Step) -> Option<Cluster<P>> {
        let mut next = state.clone();
        let taken = catch_unwind(AssertUnwindSafe(|| next.take(self, step)));
        if taken.is_err() {
            next = state.clone();
            next.broken = Some(Rule::Panics);
        }
        next.seal();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        rules::properties()
    }
}

impl<P: Program> Hash for Cluster<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            leader,
            log,
            stations,
            wires,
            watch,
            left,
            broken,
            clock: _,
        } = self;
        (leader.fingerprint(), log.fingerprint(), watch.fingerprint()).hash(state);
        stations
            .iter()
            .for_each(|part| part.fingerprint().hash(state));
        wires.iter().for_each(|part| part.fingerprint().hash(state));
        (left, broken).hash(state);
    }
}

impl<P: Program> PartialEq for Cluster<P> {
    fn eq(&self, other: &Self) -> bool {
        let parts = |cluster: &Self| {
            let mut hasher = std::hash::DefaultHasher::new();
            cluster.hash(&mut hasher);
            hasher.finish()
        };
        parts(self) == parts(other)
    }
}
