//! The log of a leader whose process dies, and the heap at every commit of every generation.

use std::collections::BTreeMap;

use plurix_protocol::leader::Durability;
use plurix_wire::record::{Body, Record};
use plurix_wire::{CommitId, CommitNumber, Generation, PAGE_BYTES, PageNumber, Term, WriteSet};

/// The commits of one generation, from the first of all on.
type Commits = Vec<(CommitId, WriteSet)>;

#[derive(Debug, Default)]
pub(super) struct Log {
    records: Vec<Record>,
    /// Records that are on disk.
    synced: usize,
    term: Term,
    pub(super) generation: Generation,
    /// The commits among the records.
    commits: Commits,
    /// What each generation is to those who live in it, also when the log has lost some of it.
    generations: BTreeMap<Generation, Commits>,
}

impl Log {
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(super) fn newest(&self) -> u64 {
        self.commits.len() as u64
    }

    pub(super) fn commits(&self, generation: Generation) -> &[(CommitId, WriteSet)] {
        self.generations.get(&generation).map_or(&[], Vec::as_slice)
    }

    pub(super) fn append(&mut self, record: Record) {
        let stamp = record.stamp;
        assert!(stamp.term >= self.term && stamp.generation >= self.generation);
        match &record.body {
            Body::Commit { id, writes, .. } => {
                assert_eq!(stamp.generation, self.generation);
                let again = self.commits.iter().any(|(other, _)| other == id);
                assert!(!again, "an id commits once");
                self.commits.push((*id, writes.clone()));
                let lived = self.generations.entry(self.generation).or_default();
                lived.push((*id, writes.clone()));
            }
            Body::Generation => {
                self.generation = stamp.generation;
                self.generations
                    .insert(stamp.generation, self.commits.clone());
            }
            _ => {}
        }
        assert_eq!(stamp.number.0, self.newest(), "numbers are dense");
        self.records.push(record);
    }

    pub(super) fn next_term(&mut self) -> Term {
        self.term = self.term.next();
        self.term
    }

    /// A generation that nobody ever lived in.
    pub(super) fn next_generation(&self) -> Generation {
        let newest = self.generations.last_key_value();
        newest.map_or(self.generation, |(newest, _)| *newest).next()
    }

    /// Everything is on disk; answers the newest commit.
    pub(super) fn sync(&mut self) -> CommitNumber {
        self.synced = self.records.len();
        CommitNumber(self.newest())
    }

    /// The power is cut, and of what was not synced only so much is kept. In memory mode that is
    /// anything, and a generation is then due; in durable mode nobody has seen what is lost.
    pub(super) fn cut(&mut self, kept: u8, durability: Durability) {
        let least = match durability {
            Durability::Memory => 0,
            Durability::Durable => self.synced,
        };
        let unsynced = self.records.len() - least;
        self.records
            .truncate(least + usize::from(kept) % (unsynced + 1));
        let is_commit = |record: &&Record| matches!(record.body, Body::Commit { .. });
        self.commits
            .truncate(self.records.iter().filter(is_commit).count());
        let last = self.records.last();
        self.generation = last.map_or(Generation(0), |record| record.stamp.generation);
        if durability == Durability::Durable {
            self.generations
                .insert(self.generation, self.commits.clone());
        }
    }

    /// `length` bytes at `offset` of the heap, at commit `number` of `generation`.
    pub(super) fn bytes(
        &self,
        generation: Generation,
        number: CommitNumber,
        offset: u64,
        length: usize,
    ) -> Vec<u8> {
        let page = PageNumber::of(offset);
        let at = offset as usize % PAGE_BYTES;
        let mut image = [0; PAGE_BYTES];
        for (_, writes) in &self.commits(generation)[..number.0 as usize] {
            for section in writes.sections().filter(|section| section.page() == page) {
                section.apply(&mut image);
            }
        }
        image[at..at + length].to_vec()
    }
}
