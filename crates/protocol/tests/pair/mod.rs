//! A leader and stations joined without a network, and pages without transactions: what the engine
//! tests drive by hand.

#![allow(dead_code, reason = "each test file uses its share")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use plurix_protocol::leader::{Command, Durability, Event, Leader, Settings};
use plurix_protocol::station::{Install, Outcome, Pages, Station};
use plurix_protocol::{ConnectionId, Span, Time, station};
use plurix_wire::message::{PageLines, ToStation};
use plurix_wire::{
    CommitNumber, LineMask, PAGE_BYTES, PageBytes, PageNumber, Section, Term, WriteSet,
    WriteSetBuilder,
};

pub(crate) const HEAP_BYTES: u64 = 64 * PAGE_BYTES as u64;

/// Pages in memory; a commit's own bytes are put into them when it is answered.
#[derive(Default)]
pub(crate) struct Memory(RefCell<BTreeMap<PageNumber, Box<PageBytes>>>);

impl Memory {
    pub(crate) fn byte(&self, page: u32, at: usize) -> Option<u8> {
        let pages = self.0.borrow();
        pages.get(&PageNumber(page)).map(|bytes| bytes[at])
    }

    pub(crate) fn pages(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Install for Memory {
    fn install(&self, page: PageNumber, bytes: &PageBytes) {
        let before = self.0.borrow_mut().insert(page, Box::new(*bytes));
        assert!(before.is_none(), "only an absent page is installed");
    }

    fn install_zero(&self, page: PageNumber) {
        self.install(page, &[0; PAGE_BYTES]);
    }
}

impl Pages for Memory {
    fn apply(&mut self, section: &Section<'_>) {
        let mut pages = self.0.borrow_mut();
        section.apply(pages.get_mut(&section.page()).expect("a present page"));
    }

    fn evict(&mut self, page: PageNumber) {
        let before = self.0.borrow_mut().remove(&page);
        assert!(before.is_some(), "only a present page is evicted");
    }

    /// The first ones: nobody keeps a record of what is used.
    fn unused(&mut self, most: usize) -> Vec<PageNumber> {
        self.0.borrow().keys().copied().take(most).collect()
    }

    fn finish(&mut self) {}

    fn rollback(&mut self) {}
}

/// A leader, and stations that are connected to it while `connections` says so.
pub(crate) struct Pair {
    pub(crate) now: Time,
    pub(crate) leader: Leader,
    pub(crate) stations: Vec<Station>,
    pub(crate) memories: Vec<Memory>,
    /// Batches wait here while a station's connection is slow.
    pub(crate) slow: Vec<Option<Vec<ToStation>>>,
    /// The connection that each station has, or had last.
    connections: Vec<ConnectionId>,
    room: u64,
    /// How often the leader wanted the log to be synced, as of which commit the last time.
    pub(crate) syncs: (u32, CommitNumber),
}

impl Pair {
    /// A leader of an empty heap and `count` stations that have joined.
    pub(crate) fn new(count: usize, adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(HEAP_BYTES, Durability::Memory);
        adjust(&mut settings);
        let mut leader = Leader::new(settings);
        leader.start(Time(0), Term(1), None);
        let mut pair = Self {
            now: Time(1),
            leader,
            stations: Vec::new(),
            memories: Vec::new(),
            slow: Vec::new(),
            connections: Vec::new(),
            room: 1 << 20,
            syncs: (0, CommitNumber(0)),
        };
        for _ in 0..count {
            pair.join(station::Settings::default());
        }
        pair
    }

    /// One more station joins.
    pub(crate) fn join(&mut self, settings: station::Settings) {
        let index = self.stations.len();
        self.stations.push(Station::new(settings));
        self.memories.push(Memory::default());
        self.slow.push(None);
        self.connections.push(ConnectionId(index as u64));
        self.stations[index].connected(self.now);
        self.run();
    }

    /// Nobody hears of a station for longer than the leader puts up with; the others live on.
    pub(crate) fn silence(&mut self, index: usize) {
        self.stations[index].disconnected();
        let connection = self.connections[index];
        let died = false;
        self.leader
            .handle(self.now, Event::Closed { connection, died });
        let end = self.now + Settings::new(HEAP_BYTES, Durability::Memory).resume_max + Span(1);
        while self.now <= end {
            for station in &mut self.stations {
                station.tick(self.now);
            }
            self.run();
            self.now = self.leader.next_timeout().max(self.now + Span(1));
            self.leader.handle(self.now, Event::Tick);
            self.run();
        }
    }

    /// A station makes a new connection.
    pub(crate) fn reconnect(&mut self, index: usize) {
        self.connections[index].0 += 100;
        self.stations[index].disconnected();
        self.stations[index].connected(self.now);
        self.run();
    }

    /// The leader hears of the end of a station's connection.
    pub(crate) fn close(&mut self, index: usize, died: bool) {
        self.stations[index].disconnected();
        let connection = self.connections[index];
        self.leader
            .handle(self.now, Event::Closed { connection, died });
    }

    /// Carries messages both ways until nothing is left to say.
    pub(crate) fn run(&mut self) {
        loop {
            let mut quiet = true;
            for index in 0..self.stations.len() {
                while let Some(message) = self.stations[index].poll().cloned() {
                    quiet = false;
                    self.leader.handle(self.now, Event::Room(self.room));
                    let connection = self.connections[index];
                    self.leader.handle(
                        self.now,
                        Event::Message {
                            connection,
                            message,
                        },
                    );
                }
            }
            while let Some(command) = self.leader.poll() {
                match command {
                    Command::Send {
                        connection,
                        message,
                    } => {
                        quiet = false;
                        self.hear(connection, message);
                    }
                    Command::Sync => self.syncs = (self.syncs.0 + 1, self.leader.number()),
                    _ => {}
                }
            }
            while let Some(connection) = self.leader.flushable(self.now) {
                quiet = false;
                if let Some(batch) = self.leader.batch(self.now, connection) {
                    self.hear(connection, batch);
                }
            }
            if quiet {
                break;
            }
        }
    }

    /// Lets so much time pass that what nobody waits for is sent too.
    pub(crate) fn settle(&mut self) {
        for _ in 0..4 {
            self.now = self.leader.next_timeout().max(self.now);
            self.leader.handle(self.now, Event::Tick);
            self.run();
        }
    }

    fn hear(&mut self, connection: ConnectionId, message: ToStation) {
        let index = self.connections.iter().position(|&its| its == connection);
        let index = index.expect("a connection of one of the stations");
        match &mut self.slow[index] {
            Some(waiting) => waiting.push(message),
            None => self.stations[index]
                .handle(self.now, message)
                .expect("an honest leader"),
        }
    }

    /// The slow connection of a station hands over its first `count` messages.
    pub(crate) fn hand_over(&mut self, index: usize, count: usize) {
        let waiting = self.slow[index].as_mut().expect("a slow connection");
        let messages: Vec<_> = waiting.drain(..count).collect();
        for message in messages {
            self.stations[index]
                .handle(self.now, message)
                .expect("an honest leader");
        }
    }

    pub(crate) fn begin(&mut self, index: usize) -> CommitNumber {
        self.stations[index]
            .begin(&mut self.memories[index])
            .expect("a member")
    }

    pub(crate) fn abort(&mut self, index: usize) {
        self.stations[index].abort(&mut self.memories[index]);
    }

    /// The disk has everything through this commit.
    pub(crate) fn on_disk(&mut self, number: u64) {
        let event = Event::Durable(CommitNumber(number));
        self.leader.handle(self.now, event);
        self.run();
    }

    /// A whole transaction that writes one byte blindly.
    pub(crate) fn write(&mut self, index: usize, page: u32, value: u8) -> Outcome {
        self.begin(index);
        self.stations[index].commit(Vec::new(), byte(page, value));
        self.run();
        self.stations[index].settle(&mut self.memories[index])
    }
}

/// The write set that puts `value` at the start of `page`.
pub(crate) fn byte(page: u32, value: u8) -> WriteSet {
    let mut builder = WriteSetBuilder::new();
    builder.push(PageNumber(page), 0, &[value]);
    builder.finish()
}

/// The first line of `page`, as read.
pub(crate) fn line(page: u32) -> Vec<PageLines> {
    vec![PageLines {
        page: PageNumber(page),
        lines: LineMask(1),
    }]
}
