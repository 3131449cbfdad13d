//! What was shown to anybody is there after the failures that the promise covers, and where it is
//! not, a new generation says so.
//!
//! | | killed | power cut |
//! |---|---|---|
//! | `memory` | every appended record is there | a new generation begins at what is left |
//! | `durable` | every appended record is there | every synced record is there, same generation |
//!
//! Source: docs/guide.md, "What happens when something dies", and ARCHITECTURE.md, invariant 4.

use plurix_protocol::leader;
use plurix_wire::record::{Body, Record};
use plurix_wire::{CommitNumber, Generation};

use super::{Model, Moment, Violation, demand};

const ORACLE: &str = "durability";

/// How the last leadership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// In order: everything is on disk.
    None,
    /// Nothing may be missing but a record that was being written.
    Killed { writing: bool },
    /// What was not synced may be missing.
    PowerCut,
}

/// What the log has promised.
#[derive(Debug, Default)]
pub(crate) struct Durability {
    synced: CommitNumber,
}

impl Durability {
    /// The log said that it is on disk through this commit.
    pub(crate) fn synced(&mut self, through: CommitNumber) {
        self.synced = through;
    }

    /// Something that tells of commits up to `through` leaves the leader.
    pub(crate) fn revealed(
        &self,
        model: &Model,
        mode: leader::Durability,
        through: CommitNumber,
    ) -> Result<(), Violation> {
        let logged = match mode {
            leader::Durability::Memory => model.newest().number,
            leader::Durability::Durable => self.synced,
        };
        demand!(
            through <= logged,
            ORACLE,
            "{through} was revealed while the log held {logged}"
        );
        Ok(())
    }

    /// A new process has read the log.
    pub(crate) fn recovered(
        &mut self,
        model: &Model,
        mode: leader::Durability,
        loss: Loss,
        records: &[Record],
        generation: Option<Generation>,
    ) -> Result<CommitNumber, Violation> {
        let newest = model.newest();
        let number = records.last().map_or(CommitNumber(0), |r| r.stamp.number);
        let least = match loss {
            Loss::None | Loss::Killed { writing: false } => newest.number,
            Loss::Killed { writing: true } => CommitNumber(newest.number.0.saturating_sub(1)),
            Loss::PowerCut => self.synced,
        };
        demand!(
            (least..=newest.number).contains(&number),
            ORACLE,
            "the log ends at {number} after {loss:?}; it must hold {least}, and was written up to {newest}"
        );
        // The mark of an orderly end, found behind everything else, says that nothing is missing.
        let complete =
            number == newest.number && records.last().is_some_and(|r| r.body == Body::Clean);
        let due = loss == Loss::PowerCut && mode == leader::Durability::Memory && !complete;
        demand!(
            generation.is_some() || !due,
            ORACLE,
            "no new generation after {loss:?} in memory mode"
        );
        self.synced = self.synced.min(number);
        same_commits(model, records, newest.generation)?;
        Ok(number)
    }
}

/// Each commit in the log is the one that was appended.
fn same_commits(
    model: &Model,
    records: &[Record],
    generation: Generation,
) -> Result<(), Violation> {
    // Commits that a later generation took back stand in the log before its record.
    let mut story: Vec<&Record> = Vec::new();
    for record in records {
        match &record.body {
            Body::Commit { .. } => story.push(record),
            Body::Generation => story.retain(|r| r.stamp.number <= record.stamp.number),
            _ => {}
        }
    }
    for record in story {
        let at = Moment {
            generation,
            number: record.stamp.number,
        };
        let Body::Commit { id, writes, .. } = &record.body else {
            continue;
        };
        let truth = model.commit(at);
        demand!(
            truth.is_some_and(|truth| truth.id == *id && truth.writes == *writes),
            ORACLE,
            "the log has another commit {at} than was appended"
        );
    }
    Ok(())
}
