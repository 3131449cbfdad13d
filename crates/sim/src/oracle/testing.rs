//! What the oracles' tests are made of: each feeds an oracle one good and one bad input, and sees
//! the violation.

use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{
    CommitId, CommitNumber, CommitSequence, Generation, Incarnation, PAGE_BYTES, PageNumber,
    WriteSet, WriteSetBuilder,
};

use super::{Model, Moment, Violation};

/// A commit as seen by a generation.
pub(super) fn at(generation: u32, number: u64) -> Moment {
    Moment {
        generation: Generation(generation),
        number: CommitNumber(number),
    }
}

/// The commit id that a test calls `name`.
pub(super) fn id(name: u64) -> CommitId {
    CommitId {
        incarnation: Incarnation(1),
        sequence: CommitSequence(name),
    }
}

/// Eight bytes of `value` at `offset` of the heap.
pub(super) fn write(offset: u64, value: u8) -> WriteSet {
    let mut builder = WriteSetBuilder::new();
    let within = offset as usize % PAGE_BYTES;
    builder.push(PageNumber::of(offset), within, &[value; 8]);
    builder.finish()
}

/// Commits 1, 2, ... of generation 0, each with its eight bytes.
pub(super) fn model(writes: &[(u64, u8)]) -> Model {
    let mut model = Model::default();
    for (&(offset, value), number) in writes.iter().zip(1..) {
        model.append(at(0, number), id(number), write(offset, value));
    }
    model
}

/// The record of a commit.
pub(super) fn commit(moment: Moment, name: u64, writes: WriteSet) -> Record {
    let body = Body::Commit {
        id: id(name),
        acknowledged: CommitSequence(0),
        writes,
    };
    record(moment, body)
}

/// A record of the first term.
pub(super) fn record(moment: Moment, body: Body) -> Record {
    let stamp = Stamp {
        generation: moment.generation,
        number: moment.number,
        ..Stamp::default()
    };
    Record { stamp, body }
}

/// Sees that an oracle objects, and to what.
#[track_caller]
pub(super) fn objects<T: std::fmt::Debug>(verdict: Result<T, Violation>, because: &str) {
    let violation = verdict.expect_err("the oracle says nothing");
    assert!(violation.what.contains(because), "{violation}");
}
