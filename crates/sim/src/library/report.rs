//! What a program on the real library tells the oracles: when an attempt began and at which commit,
//! what it read and wrote, and how it ended. It judges nothing itself, but for what only it can
//! know, such as the pattern that it left in its own block.

use std::ops::Range;

use plurix::zerocopy::IntoBytes as _;
use plurix::{Error, ErrorKind, Ptr, Result, Station, Transaction};
use plurix_protocol::Span;
use plurix_wire::{CommitId, CommitNumber, Generation};

use super::machine::{Machine, Pause};
use crate::oracle::collections::Answers;
use crate::oracle::{Moment, Violation};
use crate::world::Phase;

/// One thing that a program tells.
#[derive(Debug)]
pub(super) enum Report {
    /// The handle is a new one.
    Joined,
    /// An attempt began, that will commit under this id if it does.
    Began(Moment, CommitId),
    /// It asks for the newest snapshot.
    AsksLatest,
    /// It has that, which is here, and the id that it will commit under.
    HasLatest(Moment, CommitId),
    /// It read these bytes of the heap.
    Read(u64, Vec<u8>),
    /// It wrote these bytes.
    Wrote(u64, Vec<u8>),
    /// The transaction is done; if it changed anything, it is the last commit, which is this.
    Done(Moment),
    /// It has not happened, and will not.
    GivenUp,
    /// Nobody here can say whether it happened.
    Unknown,
    /// The heap as read from end to end at a commit, page by page.
    Heap(Moment, u64, Vec<u8>),
    /// An entry of the outbox, which stands for a value, has left the heap for the world.
    Delivered(u64, u64),
    /// The values of all entries that were pushed, in the end.
    Pushed(Vec<u64>),
    /// What the operations of this attempt answered, that is about to commit.
    Answered(Answers),
    /// What all have said that they did is now to be done again.
    Replay,
    /// The program has seen all that it was to see at the end.
    Inspected,
    /// The program has found something that must not be.
    Broken(Violation),
    /// For whoever reads the trace.
    Note(String),
}

/// What a program has at hand beside its station: time, and somebody to report to.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) machine: Machine,
}

/// A transaction whose reads and writes of words are reported.
pub(super) struct Recorded<'a, 's> {
    pub(super) tx: &'a mut Transaction<'s>,
    machine: &'a Machine,
}

impl Desk {
    pub(super) fn phase(&self) -> Phase {
        self.machine.phase()
    }

    pub(super) fn report(&self, report: Report) {
        self.machine.report(report);
    }

    /// Computes for a while: nothing is heard meanwhile but by the service.
    pub(super) fn think(&self, span: Span) {
        self.machine.pause(Pause::Sleep(span));
    }

    /// Runs a transaction, and reports it.
    pub(super) fn transaction<R>(
        &self,
        station: &mut Station,
        mut body: impl FnMut(&mut Recorded<'_, '_>) -> Result<R>,
    ) -> Result<R> {
        let machine = &self.machine;
        let result = station.transaction(|tx| {
            let at = moment(tx.generation(), tx.snapshot());
            machine.report(Report::Began(at, tx.id()));
            body(&mut Recorded { tx, machine })
        });
        let end = match &result {
            Ok(_) => {
                let number = station.statistics().last_commit;
                Report::Done(moment(station.generation(), number))
            }
            Err(error) if is_before_commit(error.kind()) => Report::GivenUp,
            Err(_) => Report::Unknown,
        };
        machine.report(end);
        result
    }

    /// Something that must not be.
    pub(super) fn broken(&self, oracle: &'static str, what: String) {
        self.report(Report::Broken(Violation { oracle, what }));
    }
}

pub(super) fn moment(generation: Generation, number: CommitNumber) -> Moment {
    Moment { generation, number }
}

/// Whether an error says for certain that nothing was committed.
fn is_before_commit(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Aborted(_)
            | ErrorKind::OutOfMemory { .. }
            | ErrorKind::NoSuchRoot(_)
            | ErrorKind::SnapshotTooOld { .. }
            | ErrorKind::TooLong { .. }
            | ErrorKind::LogFull
            | ErrorKind::NotRun
            | ErrorKind::Corrupt { .. }
            | ErrorKind::InvalidFree { .. }
    )
}

impl Recorded<'_, '_> {
    /// Moves to the newest snapshot.
    pub(super) fn latest(&mut self) -> Result<()> {
        self.machine.report(Report::AsksLatest);
        self.tx.latest()?;
        let at = moment(self.tx.generation(), self.tx.snapshot());
        self.machine.report(Report::HasLatest(at, self.tx.id()));
        Ok(())
    }

    /// Reads a word of the heap.
    pub(super) fn get(&self, word: Ptr<u64>) -> Result<u64> {
        let value = *self.tx.get(word)?;
        let bytes = value.to_le_bytes().to_vec();
        self.machine.report(Report::Read(word.offset(), bytes));
        Ok(value)
    }

    /// Reads words of the heap.
    pub(super) fn slice(&self, words: Ptr<[u64]>) -> Result<Vec<u64>> {
        let values = self.tx.get(words)?.to_vec();
        let bytes = values.as_bytes().to_vec();
        self.machine.report(Report::Read(words.offset(), bytes));
        Ok(values)
    }

    /// Reads a word, which counts as read, and changes it.
    pub(super) fn set(&mut self, word: Ptr<u64>, value: u64) -> Result<()> {
        *self.tx.get_mut(word)? = value;
        self.wrote(word.offset(), &[value]);
        Ok(())
    }

    /// Makes words of the heap that are found under `name`, if there are none yet.
    pub(super) fn root(&mut self, name: &str, initial: &[u64]) -> Result<Ptr<[u64]>> {
        if let Some(words) = self.tx.find_root::<[u64]>(name)? {
            return Ok(words);
        }
        let words = self.tx.alloc_slice_from(initial)?;
        self.tx.set_root(name, words)?;
        self.wrote(words.offset(), initial);
        Ok(words)
    }

    fn wrote(&self, offset: u64, values: &[u64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.machine.report(Report::Wrote(offset, bytes.collect()));
    }

    /// Gives the transaction up.
    pub(super) fn abort(&self, why: &'static str) -> Error {
        self.tx.abort(why)
    }
}

/// The bytes that a report is about, as offsets of the heap.
pub(super) fn range(offset: u64, bytes: &[u8]) -> Range<u64> {
    offset..offset + bytes.len() as u64
}
