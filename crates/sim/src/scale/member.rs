//! One station of the measurement, and its program: a transaction, a pause, a transaction.

use std::cell::RefCell;

use plurix_protocol::station::{Install, Miss, Outcome, Pages, Settings, State, Station};
use plurix_protocol::{Span, Time};
use plurix_wire::message::PageLines;
use plurix_wire::{LINE_BYTES, LINES_PER_PAGE, LineMask, LineNumber, PageBytes, PageNumber};
use plurix_wire::{Section, WriteSet, WriteSetBuilder};
use rustc_hash::FxHashSet;

use super::{Heap, PAUSE, PRIVATE_PAGES, READS, SHARED_ONE_IN, WRITES};
use crate::random::{Purpose, Random};

/// Bytes of a write.
const WRITE_BYTES: usize = 8;

/// Knows which pages a station has, and nothing of what is in them.
#[derive(Debug, Default)]
pub(super) struct Presence(RefCell<FxHashSet<PageNumber>>);

impl Install for Presence {
    fn install(&self, page: PageNumber, _: &PageBytes) {
        self.install_zero(page);
    }

    fn install_zero(&self, page: PageNumber) {
        self.0.borrow_mut().insert(page);
    }
}

impl Pages for Presence {
    fn apply(&mut self, _: &Section<'_>) {}

    fn evict(&mut self, page: PageNumber) {
        self.0.borrow_mut().remove(&page);
    }

    fn finish(&mut self) {}

    fn rollback(&mut self) {}
}

/// What became of a program's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It waits for the leader.
    Waits,
    Committed,
    Conflicted,
}

/// A station and its program.
pub(super) struct Member {
    pub(super) station: Station,
    pub(super) presence: Presence,
    heap: Heap,
    index: usize,
    random: Random,
    /// The pages to be fetched first; last one first.
    wanted: Vec<PageNumber>,
    /// Whether a transaction runs or waits for its answer.
    running: bool,
}

impl Member {
    pub(super) fn new(index: usize, heap: Heap) -> Self {
        let own = heap.private(index);
        let settings = Settings {
            // Reading ahead would make it a holder of its neighbour's pages.
            read_ahead: 1,
            ..Settings::default()
        };
        Self {
            station: Station::new(settings),
            presence: Presence::default(),
            heap,
            index,
            random: Random::new(1, Purpose::Program(index)),
            wanted: (0..heap.shared)
                .chain(own..own + PRIVATE_PAGES)
                .rev()
                .map(PageNumber)
                .collect(),
            running: false,
        }
    }

    /// Whether it holds all pages that it will ever need.
    pub(super) fn is_full(&self) -> bool {
        self.wanted.is_empty() && !self.running
    }

    /// Fetches what it will need, in one transaction that reads it all.
    pub(super) fn fill(&mut self) {
        if self.station.state() != State::Active || self.is_full() {
            return;
        }
        if !self.running {
            self.station.prefetch(PageNumber(0), self.heap.shared);
            let own = PageNumber(self.heap.private(self.index));
            self.station.prefetch(own, PRIVATE_PAGES);
            self.running = self.station.begin(&mut self.presence).is_some();
        }
        while let Some(page) = self.wanted.last().filter(|_| self.running) {
            let is_here = self.presence.0.borrow().contains(page);
            if !is_here && self.station.miss(*page, &self.presence) != Miss::Installed {
                return;
            }
            self.wanted.pop();
        }
        self.station.abort(&mut self.presence);
        self.running = false;
    }

    /// How long the program does something else.
    pub(super) fn pause(&mut self) -> Span {
        self.random.around(PAUSE)
    }

    /// Runs a transaction up to its commit.
    pub(super) fn begin(&mut self) {
        if self.running || self.station.begin(&mut self.presence).is_none() {
            return;
        }
        let (reads, writes) = self.transaction();
        self.station.commit(reads, writes);
        self.running = true;
    }

    /// Takes the answer, if it is there.
    pub(super) fn settle(&mut self) -> Turn {
        if !self.running || !self.station.is_answered() {
            return Turn::Waits;
        }
        self.running = false;
        match self.station.settle(&mut self.presence) {
            Outcome::Committed(_) => Turn::Committed,
            Outcome::Refused(_) => Turn::Conflicted,
            end => panic!("without faults, a transaction is answered: {end:?}"),
        }
    }

    /// The lines that a transaction reads, and its changes to some of them.
    fn transaction(&mut self) -> (Vec<PageLines>, WriteSet) {
        let lines: Vec<LineNumber> = (0..READS).map(|_| self.line()).collect();
        let mut written = lines[..WRITES].to_vec();
        written.sort_unstable();
        written.dedup();
        let mut writes = WriteSetBuilder::new();
        for line in written {
            let page = line.page().expect("a small heap");
            let value: [u8; WRITE_BYTES] = self.random.below(u64::MAX).to_le_bytes();
            writes.push(page, line.index() * LINE_BYTES, &value);
        }
        let mut reads: Vec<PageLines> = Vec::new();
        let mut lines = lines;
        lines.sort_unstable();
        for line in lines {
            let (page, mask) = (line.page().expect("a small heap"), 1 << line.index());
            match reads.last_mut().filter(|last| last.page == page) {
                Some(last) => last.lines = LineMask(last.lines.0 | mask),
                None => reads.push(PageLines {
                    page,
                    lines: LineMask(mask),
                }),
            }
        }
        (reads, writes.finish())
    }

    fn line(&mut self) -> LineNumber {
        let page = if self.random.below(u64::from(SHARED_ONE_IN)) == 0 {
            self.random.below(u64::from(self.heap.shared)) as u32
        } else {
            self.heap.private(self.index) + self.random.below(u64::from(PRIVATE_PAGES)) as u32
        };
        let index = self.random.below(LINES_PER_PAGE as u64) as u32;
        LineNumber::new(PageNumber(page), index)
    }

    /// When its protocol wants to look at the time.
    pub(super) fn next_timeout(&self) -> Time {
        self.station.next_timeout()
    }
}
