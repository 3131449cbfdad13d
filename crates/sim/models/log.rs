//! The page server's log, and the truth that the rules judge by: the heap at each commit is what
//! the records up to it say.

use plurix_wire::message::Member;
use plurix_wire::record::{Body, Record};
use plurix_wire::{
    CommitId, CommitNumber, Incarnation, PAGE_BYTES, PageBytes, PageNumber, Term, WriteSet,
};

use crate::memory::Cell;

/// All records, of which a prefix is on disk.
#[derive(Debug, Clone, Hash, Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    /// Records that a power cut leaves.
    pub(crate) synced: usize,
    /// The newest leadership; it is on disk before the leader speaks.
    pub(crate) term: Term,
}

impl Log {
    fn commits(&self) -> impl Iterator<Item = (CommitNumber, CommitId, &WriteSet)> {
        self.records.iter().filter_map(|record| match &record.body {
            Body::Commit { id, writes, .. } => Some((record.stamp.number, *id, writes)),
            _ => None,
        })
    }

    /// The newest commit.
    pub(crate) fn number(&self) -> CommitNumber {
        number_of(&self.records)
    }

    /// The newest commit that survives a power cut.
    pub(crate) fn synced_number(&self) -> CommitNumber {
        number_of(&self.records[..self.synced])
    }

    pub(crate) fn number_of(&self, id: CommitId) -> Option<CommitNumber> {
        self.commits()
            .find_map(|(number, its, _)| (its == id).then_some(number))
    }

    /// Who made the newest commit, and with what number.
    pub(crate) fn last_commit_of(&self, incarnation: Incarnation) -> Option<CommitNumber> {
        let own = self
            .commits()
            .filter(|(_, id, _)| id.incarnation == incarnation);
        own.map(|(number, ..)| number).last()
    }

    /// Who lives as of the last record.
    pub(crate) fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        for record in &self.records {
            match record.body {
                Body::Joined(member) => members.push(member),
                Body::Left(left) => members.retain(|member| member.incarnation != left),
                _ => {}
            }
        }
        members
    }

    /// What `cell` held at commit `at`.
    pub(crate) fn value(&self, cell: Cell, at: CommitNumber) -> u64 {
        let mut bytes = [0; 8];
        for (_, _, writes) in self.commits().take_while(|(number, ..)| *number <= at) {
            for section in writes
                .sections()
                .filter(|section| section.page() == cell.page)
            {
                for run in section.runs() {
                    for (offset, byte) in (usize::from(run.offset)..).zip(run.bytes) {
                        if let Some(own) = offset.checked_sub(cell.offset())
                            && own < bytes.len()
                        {
                            bytes[own] = *byte;
                        }
                    }
                }
            }
        }
        u64::from_le_bytes(bytes)
    }

    /// What `page` held at commit `at`.
    pub(crate) fn page(&self, page: PageNumber, at: CommitNumber) -> PageBytes {
        let mut bytes = [0; PAGE_BYTES];
        for (_, _, writes) in self.commits().take_while(|(number, ..)| *number <= at) {
            for section in writes.sections().filter(|section| section.page() == page) {
                section.apply(&mut bytes);
            }
        }
        bytes
    }
}

fn number_of(records: &[Record]) -> CommitNumber {
    records
        .last()
        .map_or(CommitNumber(0), |record| record.stamp.number)
}
