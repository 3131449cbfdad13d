//! A leader and stations joined without a network, and pages without transactions: what the engine
//! tests drive by hand.

use std::cell::RefCell;
use std::collections::BTreeMap;

use plurix_protocol::leader::{Command, Durability, Event, Leader, Settings};
use plurix_protocol::station::{Install, Outcome, Pages, Station};
use plurix_protocol::{ConnectionId, Time, station};
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
        let bytes = pages.get_mut(&section.page()).expect("a present page");
        for run in section.runs() {
            bytes[usize::from(run.offset)..][..run.bytes.len()].copy_from_slice(run.bytes);
        }
    }

    fn evict(&mut self, page: PageNumber) {
        let before = self.0.borrow_mut().remove(&page);
        assert!(before.is_some(), "only a present page is evicted");
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
    room: u64,
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
            room: 1 << 20,
        };
        for _ in 0..count {
            let mut station = Station::new(station::Settings::default());
            station.connected(pair.now);
            pair.stations.push(station);
            pair.memories.push(Memory::default());
            pair.slow.push(None);
            pair.run();
        }
        pair
    }

    /// Carries messages both ways until nothing is left to say.
    pub(crate) fn run(&mut self) {
        loop {
            let mut quiet = true;
            for index in 0..self.stations.len() {
                while let Some(message) = self.stations[index].poll().cloned() {
                    quiet = false;
                    self.leader.handle(self.now, Event::Room(self.room));
                    let connection = ConnectionId(index as u64);
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
                if let Command::Send {
                    connection,
                    message,
                } = command
                {
                    quiet = false;
                    self.hear(connection, message);
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
        let index = connection.0 as usize;
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
