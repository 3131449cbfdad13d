//! The measurement's cluster: events in the order of virtual time, frames as on the wire, and
//! counters at the leader's door.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use plurix_protocol::leader::{self, Leader};
use plurix_protocol::{ConnectionId, Time};
use plurix_wire::frame;
use plurix_wire::message::{Item, ToStation};

use super::member::{Member, Turn};
use super::replay::{Input, begin, encode, event, replay, take};
use super::{Clock, DELAY, Figures, Heap};

/// What happens next.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A frame reaches the leader, from a station.
    ToLeader(usize, Vec<u8>),
    /// A frame reaches a station.
    ToStation(usize, Vec<u8>),
    /// A program's pause is over.
    Wake(usize),
    /// A station's protocol looks at the time.
    StationTick(usize),
    /// The leader looks at the time.
    LeaderTick,
}

pub(super) struct Cluster {
    now: Time,
    /// By time, then in the order in which they were scheduled.
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
    leader: Leader,
    members: Vec<Member>,
    /// When each station's next tick is scheduled, and the leader's.
    ticks: Vec<Option<Time>>,
    leader_tick: Option<Time>,
    settings: leader::Settings,
    /// Everything that the leader took.
    inputs: Vec<(Time, Input)>,
    figures: Figures,
    /// Whether programs run, or stations still fetch their pages.
    measures: bool,
}

impl Cluster {
    pub(super) fn new(stations: usize, heap: Heap, settings: leader::Settings) -> Self {
        let figures = Figures {
            stations,
            pages: heap.pages(),
            ..Figures::default()
        };
        Self {
            now: Time(0),
            queue: BinaryHeap::new(),
            order: 0,
            leader: begin(settings.clone()),
            settings,
            inputs: Vec::new(),
            members: (0..stations).map(|at| Member::new(at, heap)).collect(),
            ticks: vec![None; stations],
            leader_tick: None,
            figures,
            measures: false,
        }
    }

    /// Lets all stations join and fetch their pages.
    pub(super) fn fill(&mut self) {
        for index in 0..self.members.len() {
            self.members[index].station.connected(self.now);
            self.member_acts(index);
        }
        while !self.members.iter().all(Member::is_full) {
            self.step();
        }
    }

    /// Lets programs run until there are so many commits.
    pub(super) fn measure(mut self, commits: u64, clock: Clock<'_>) -> Figures {
        self.measures = true;
        let skip = self.inputs.len();
        for index in 0..self.members.len() {
            self.pause(index);
        }
        let (stations, pages) = (self.figures.stations, self.figures.pages);
        self.figures = Figures {
            stations,
            pages,
            ..Figures::default()
        };
        let begun = self.now;
        while self.figures.commits < commits {
            self.step();
        }
        let cost = replay(self.settings, &self.inputs, skip, clock);
        assert_eq!(
            cost.messages, self.figures.to_stations.messages,
            "a leader repeats itself"
        );
        self.figures.leader_ns = cost.leader.as_nanos() as u64;
        self.figures.codec_ns = cost.codec.as_nanos() as u64;
        self.figures.virtual_ns = self.now.since(begun).0;
        self.figures
    }

    fn push(&mut self, time: Time, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((time, self.order, event)));
    }

    fn pause(&mut self, index: usize) {
        let until = self.now + self.members[index].pause();
        self.push(until, Event::Wake(index));
    }

    fn step(&mut self) {
        let Some(Reverse((time, _, event))) = self.queue.pop() else {
            panic!("somebody always waits for the time");
        };
        self.now = time;
        match event {
            Event::ToLeader(index, bytes) => {
                self.leader_takes(Input::Frame(ConnectionId(index as u64), bytes));
            }
            Event::ToStation(index, bytes) => {
                let message: ToStation = frame::decode(&bytes).expect("a frame of ours");
                let heard = self.members[index].station.handle(self.now, message);
                heard.expect("an honest leader");
                self.member_acts(index);
            }
            Event::Wake(index) => {
                self.members[index].begin();
                self.member_acts(index);
            }
            Event::StationTick(index) => {
                self.ticks[index] = None;
                let gives_up = self.members[index].station.tick(self.now);
                assert!(!gives_up, "the leader is never silent");
                self.member_acts(index);
            }
            Event::LeaderTick => {
                self.leader_tick = None;
                self.leader_takes(Input::Tick);
            }
        }
    }

    /// The program goes on, and what the station has to say is sent.
    fn member_acts(&mut self, index: usize) {
        let member = &mut self.members[index];
        if !self.measures {
            member.fill();
        }
        match member.settle() {
            Turn::Waits => {}
            turn => {
                self.figures.commits += u64::from(turn == Turn::Committed);
                self.figures.conflicts += u64::from(turn == Turn::Conflicted);
                self.pause(index);
            }
        }
        let mut frames = Vec::new();
        while let Some(message) = self.members[index].station.poll() {
            let mut bytes = Vec::new();
            frame::encode(message, &mut bytes).expect("the protocol bounds its messages");
            frames.push(bytes);
        }
        for bytes in frames {
            self.figures.to_leader.messages += 1;
            self.figures.to_leader.bytes += bytes.len() as u64;
            self.push(self.now + DELAY, Event::ToLeader(index, bytes));
        }
        let due = self.members[index].next_timeout().max(self.now);
        if self.ticks[index].is_none_or(|tick| due < tick) {
            self.ticks[index] = Some(due);
            self.push(due, Event::StationTick(index));
        }
    }

    /// The leader takes an event and says everything that it has to say.
    fn leader_takes(&mut self, input: Input) {
        let mut said = Vec::new();
        take(&mut self.leader, self.now, event(&input), &mut said);
        self.inputs.push((self.now, input));
        let due = self.leader.next_timeout().max(self.now);
        for (connection, message) in said {
            self.leader_says(connection, &message);
        }
        if self.leader_tick.is_none_or(|tick| due < tick) {
            self.leader_tick = Some(due);
            self.push(due, Event::LeaderTick);
        }
    }

    fn leader_says(&mut self, connection: ConnectionId, message: &ToStation) {
        if let ToStation::Batch(batch) = message {
            let deltas = batch
                .items
                .iter()
                .filter(|item| matches!(item, Item::Delta(_)));
            self.figures.deltas += deltas.count() as u64;
            self.figures.batches += 1;
        }
        let bytes = encode(message);
        self.figures.to_stations.messages += 1;
        self.figures.to_stations.bytes += bytes.len() as u64;
        let index = connection.0 as usize;
        self.push(self.now + DELAY, Event::ToStation(index, bytes));
    }
}
