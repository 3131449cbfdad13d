//! A station's process: a program that reads and writes eight bytes at a time.

use std::sync::Arc;

use plurix_memory::{AccessError, HeapMemory};
use plurix_protocol::leader::Leader;
use plurix_protocol::station::{Miss, Outcome, Settings, Station};
use plurix_wire::message::{Request, ToLeader};
use plurix_wire::{CommitId, CommitNumber, Generation, PAGE_BYTES, PageNumber, WriteSet};

use super::PAGES;
use super::log::Log;
use crate::input::Input;

const CELL_BYTES: usize = 8;
/// Accesses of one transaction.
const ACCESSES_MAX: u8 = 4;

/// Where the program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Idle,
    Running,
    Missing(PageNumber),
    Committing,
}

pub(super) struct Member {
    pub(super) station: Station,
    pub(super) at: At,
    memory: HeapMemory,
    /// Where the transaction sees the heap.
    snapshot: (Generation, CommitNumber),
    accesses: u8,
    /// The generation of its session, or of the last one.
    generation: Generation,
    /// What it wants to commit, and under which id it has asked.
    writes: WriteSet,
    asked: Option<CommitId>,
    /// The generation of the session in which the answer counts.
    asked_in: Generation,
    /// Cells that it wrote itself, where the log is no judge.
    own: Vec<u64>,
}

impl Member {
    pub(super) fn new(input: &mut Input<'_>) -> Self {
        let settings = Settings {
            queue_bytes_max: [8 << 20, 0, 300][input.below(3)],
            read_ahead: [1, 4][input.below(2)],
            ..Settings::default()
        };
        let memory = HeapMemory::emulated(u64::from(PAGES) * PAGE_BYTES as u64);
        Self {
            station: Station::new(settings),
            at: At::Idle,
            memory: memory.expect("a small heap can be allocated"),
            snapshot: Default::default(),
            accesses: 0,
            generation: Generation(0),
            writes: WriteSet::default(),
            asked: None,
            asked_in: Generation(0),
            own: Vec::new(),
        }
    }

    /// The commit that the next transaction sees, if it began now.
    pub(super) fn newest(&self) -> CommitNumber {
        self.station.snapshot()
    }

    /// The program goes on; without `input` it only ends what it has begun, and keeps up.
    pub(super) fn act(&mut self, input: Option<&mut Input<'_>>, log: &mut Log) {
        match (self.at, input) {
            (At::Idle, Some(input)) => {
                self.between(input);
                self.begin();
            }
            (At::Idle, None) => {
                self.begin();
                self.abort();
            }
            (At::Running, Some(input)) => self.run(input, log),
            (At::Running, None) => self.abort(),
            (At::Missing(page), _) => match self.station.miss(page, &self.memory) {
                Miss::Pending => {}
                Miss::Installed => self.at = At::Running,
                Miss::SnapshotTooOld | Miss::Lost => self.abort(),
            },
            (At::Committing, _) if self.station.is_answered() => self.settle(log),
            (At::Committing, _) => {}
        }
    }

    fn between(&mut self, input: &mut Input<'_>) {
        match input.below(8) {
            0 => {
                let chosen = input.byte();
                let present: Vec<PageNumber> = self.memory.present_pages().collect();
                let victims = present.into_iter().filter(|page| chosen >> page.0 & 1 == 1);
                self.station.evict(victims, &mut self.memory);
            }
            1 => {
                let first = input.below(PAGES as usize) as u32;
                self.station.prefetch(PageNumber(first), PAGES - first);
            }
            2 => self.station.ask_latest(),
            _ => {}
        }
    }

    fn begin(&mut self) {
        let before = self.snapshot;
        if let Some(number) = self.station.begin(&mut self.memory) {
            self.look_around();
            let generation = self.generation;
            self.snapshot = (generation, number);
            assert!(
                before.0 != generation || before.1 <= number,
                "a snapshot never goes back"
            );
            self.at = At::Running;
            self.accesses = 0;
            self.own.clear();
        }
    }

    fn abort(&mut self) {
        if self.at != At::Idle {
            self.station.abort(&mut self.memory);
            self.at = At::Idle;
        }
    }

    /// One access, or the end of the transaction.
    fn run(&mut self, input: &mut Input<'_>, log: &Log) {
        if self.accesses == ACCESSES_MAX || input.rarely(4) {
            return self.commit();
        }
        self.accesses += 1;
        let (page, cell) = (input.below(PAGES as usize) as u64, input.below(20) as u64);
        let offset = page * PAGE_BYTES as u64 + cell * CELL_BYTES as u64;
        let value = [input.byte(); CELL_BYTES];
        let (memory, kind) = (&mut self.memory, input.below(3));
        let seen = match kind {
            0 => memory.read::<[u8; CELL_BYTES]>(offset).copied(),
            1 => memory
                .open::<[u8; CELL_BYTES]>(offset)
                .map(|cell| std::mem::replace(cell, value)),
            _ => memory.overwrite(offset, &value).map(|()| value),
        };
        match seen {
            Err(AccessError::Missing { page }) => self.at = At::Missing(page),
            Err(other) => panic!("an access inside of the heap: {other}"),
            Ok(seen) => {
                let (generation, number) = self.snapshot;
                if kind < 2 && !self.own.contains(&offset) {
                    let expected = log.bytes(generation, number, offset, CELL_BYTES);
                    assert_eq!(seen[..], expected, "every access sees one commit");
                }
                if kind > 0 {
                    self.own.push(offset);
                }
            }
        }
    }

    fn commit(&mut self) {
        let writes = self.memory.write_set();
        if writes.is_empty() {
            return self.abort();
        }
        let reads = self.memory.read_set();
        self.writes = writes.clone();
        self.asked = None;
        self.station.commit(reads, writes);
        self.at = At::Committing;
    }

    /// The station has said `message`.
    pub(super) fn said(&mut self, message: &ToLeader) {
        if let ToLeader::Request {
            incarnation,
            request: Request::Commit(commit),
            ..
        } = message
        {
            let (incarnation, sequence) = (*incarnation, commit.sequence);
            let id = CommitId {
                incarnation,
                sequence,
            };
            let before = self.asked.replace(id);
            assert!(
                before.is_none_or(|before| before == id),
                "sent again, it is the same"
            );
        }
    }

    /// Notes in which generation the station lives.
    pub(super) fn look_around(&mut self) {
        self.generation = self.station.generation().unwrap_or(self.generation);
        let asked = self.asked.map(|asked| asked.incarnation);
        if asked.is_some() && asked == self.station.incarnation() {
            self.asked_in = self.generation;
        }
    }

    /// The answer must be what the log says.
    fn settle(&mut self, log: &Log) {
        self.look_around();
        let outcome = self.station.settle(&mut self.memory);
        assert!(
            self.memory.is_idle(),
            "a settled transaction leaves no trace"
        );
        self.at = At::Idle;
        let commits = log.commits(self.asked_in);
        match (outcome, self.asked) {
            (Outcome::Committed(number), asked) => {
                let (id, writes) = &commits[number.0 as usize - 1];
                assert_eq!((Some(*id), writes), (asked, &self.writes));
            }
            (Outcome::Refused(_) | Outcome::Lost, Some(asked)) => {
                let found = commits.iter().any(|(id, _)| *id == asked);
                assert!(!found, "{asked} is said not to be in the heap");
            }
            (Outcome::Refused(_), None) => panic!("nothing was asked"),
            (Outcome::Lost | Outcome::Unknown, _) => {}
        }
    }

    /// Everything that is in memory is what the leader has.
    pub(super) fn compare(&mut self, leader: &Leader) {
        for page in self.memory.present_pages().collect::<Vec<_>>() {
            let expected = leader
                .page(page)
                .unwrap_or_else(|| Arc::new([0; PAGE_BYTES]));
            let found = self.memory.page_bytes(page).expect("a present page");
            assert!(*found == *expected, "page {page} differs from the leader's");
        }
    }
}
