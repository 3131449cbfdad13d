//! Update transactions are strictly serializable, in the order of their commit numbers: each could
//! have run as a whole at its number, and none comes before one that was answered before it began.
//!
//! Source: Papadimitriou, "The serializability of concurrent database updates", JACM 1979; Herlihy
//! and Wing, "Linearizability", TOPLAS 1990. The order is given by the numbers, so one pass over
//! the reads decides.

use plurix_wire::{CommitNumber, LINE_BYTES, LineNumber};

use super::{Attempt, Model, Moment, Violation, demand};

const ORACLE: &str = "strict serializability";

/// Judges an attempt that was answered `Committed`, as seen by the station's generation.
///
/// # Errors
/// A violation if it could not have run as a whole at its number, or comes too early.
pub fn committed(model: &Model, attempt: &Attempt, at: Moment) -> Result<(), Violation> {
    in_order(model, attempt, at)?;
    nothing_else(model, attempt, at)
}

/// As [`committed`], for an attempt that may have written more than is told of it, such as what the
/// library keeps in the heap for itself.
///
/// # Errors
/// As [`committed`].
pub fn in_order(model: &Model, attempt: &Attempt, at: Moment) -> Result<(), Violation> {
    demand!(
        at > attempt.answered_before,
        ORACLE,
        "commit {at} was begun after {} was answered",
        attempt.answered_before
    );
    let truth = model.commit(at);
    demand!(
        truth.is_some_and(|truth| Some(truth.id) == attempt.id),
        ORACLE,
        "{:?} was answered {at}, where the log has {:?}",
        attempt.id,
        truth.map(|truth| truth.id)
    );
    for range in &attempt.reads {
        let lines = range.start / LINE_BYTES as u64..=(range.end - 1) / LINE_BYTES as u64;
        for line in lines.map(LineNumber) {
            let writer = model.last_writer(line, at);
            demand!(
                writer <= attempt.at.number,
                ORACLE,
                "commit {at} read {line} at {}, but {writer} wrote it before {at}",
                attempt.at
            );
        }
    }
    for (&offset, &byte) in &attempt.own {
        let found = model.byte(offset, at);
        demand!(
            found == byte,
            ORACLE,
            "commit {at} wrote {byte} at offset {offset:#x}, but the log has {found}"
        );
    }
    Ok(())
}

/// Whatever the commit says it changed beyond what the program wrote must be as it was.
fn nothing_else(model: &Model, attempt: &Attempt, at: Moment) -> Result<(), Violation> {
    let before = Moment {
        number: CommitNumber(at.number.0 - 1),
        ..at
    };
    let truth = model.commit(at).into_iter();
    for section in truth.flat_map(|truth| truth.writes.sections()) {
        for run in section.runs() {
            for (ahead, byte) in run.bytes.iter().enumerate() {
                let offset = section.page().offset() + u64::from(run.offset) + ahead as u64;
                demand!(
                    attempt.own.contains_key(&offset) || model.byte(offset, before) == *byte,
                    ORACLE,
                    "commit {at} changed offset {offset:#x}, which its program did not write"
                );
            }
        }
    }
    Ok(())
}
