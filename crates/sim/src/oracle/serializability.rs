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

#[cfg(test)]
mod tests {
    use super::super::testing::{at, id, model, objects};
    use super::*;

    /// An attempt that read the first line at commit 1 and became commit 3, which wrote offset 128.
    fn attempt() -> Attempt {
        Attempt {
            at: at(0, 1),
            answered_before: at(0, 1),
            reads: std::iter::once(0..8).collect(),
            own: (128..136).map(|offset| (offset, 3)).collect(),
            id: Some(id(3)),
        }
    }

    #[test]
    fn one_that_could_have_run_at_its_number_is_right() {
        let model = model(&[(0, 1), (64, 2), (128, 3)]);
        assert_eq!(committed(&model, &attempt(), at(0, 3)), Ok(()));
    }

    #[test]
    fn a_line_read_that_was_written_between_snapshot_and_commit_is_noticed() {
        let model = model(&[(0, 1), (56, 2), (128, 3)]);
        objects(committed(&model, &attempt(), at(0, 3)), "wrote it before");
    }

    #[test]
    fn a_commit_before_one_that_was_answered_is_noticed() {
        let model = model(&[(0, 1), (64, 2), (128, 3)]);
        let late = Attempt {
            answered_before: at(0, 3),
            ..attempt()
        };
        objects(committed(&model, &late, at(0, 3)), "begun after");
    }

    #[test]
    fn an_answer_that_belongs_to_another_commit_is_noticed() {
        let model = model(&[(0, 1), (64, 2), (128, 3)]);
        objects(committed(&model, &attempt(), at(0, 2)), "the log has");
        objects(committed(&model, &attempt(), at(0, 4)), "the log has None");
    }

    #[test]
    fn bytes_other_than_the_program_wrote_are_noticed() {
        let wrong = model(&[(0, 1), (64, 2), (128, 4)]);
        objects(committed(&wrong, &attempt(), at(0, 3)), "wrote 3");
        let right = model(&[(0, 1), (64, 2), (128, 3)]);
        let less = Attempt {
            own: (128..132).map(|offset| (offset, 3)).collect(),
            ..attempt()
        };
        objects(committed(&right, &less, at(0, 3)), "did not write");
    }
}
