//! What was shown to anybody is there after the failures that the promise covers, and where it is
//! not, a new generation says so.
//!
//! | | killed | power cut |
//! |---|---|---|
//! | `memory` | every appended record is there | a new generation begins at what is left |
//! | `durable` | every appended record is there | every synced record is there, same generation |
//!
//! What a station is told to be durable is on disk, and what is on disk is there after a power cut, in
//! either mode.
//!
//! Source: docs/guide/failure.md, "What happens when something dies", and ARCHITECTURE.md, invariant 4.

use std::collections::BTreeMap;

use plurix_protocol::leader;
use plurix_wire::record::{Body, Record};
use plurix_wire::{CheckpointId, CommitNumber, Generation};

use super::{Model, Violation, demand};

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
    /// What the leader appended, as far as no failure took it back.
    appended: Vec<Record>,
    /// The same, of what was abandoned when the heap went back to a checkpoint.
    abandoned: Vec<Vec<Record>>,
    /// How much had been appended when each checkpoint began, and to which line: one of those that
    /// are abandoned, or the one that comes after them.
    cuts: BTreeMap<CheckpointId, (usize, usize)>,
}

impl Durability {
    /// The log said that it is on disk through this commit.
    pub(crate) fn synced(&mut self, through: CommitNumber) {
        self.synced = self.synced.max(through);
    }

    /// A station is told that no loss of power takes back anything through `number`.
    pub(crate) fn told_durable(&self, number: CommitNumber) -> Result<(), Violation> {
        demand!(
            number <= self.synced,
            ORACLE,
            "{number} was told to be durable while the disk held {}",
            self.synced
        );
        Ok(())
    }

    /// The leader appends a record.
    pub(crate) fn appended(&mut self, record: &Record) {
        if is_of_leader(record) {
            self.appended.push(record.clone());
        }
    }

    /// A checkpoint begins.
    pub(crate) fn cut(&mut self, id: CheckpointId) {
        let line = self.abandoned.len();
        self.cuts.insert(id, (line, self.appended.len()));
    }

    /// The records that a checkpoint covers.
    pub(crate) fn before(&self, id: CheckpointId) -> Vec<Record> {
        let (line, end) = self.cuts.get(&id).copied().unwrap_or_default();
        let records = self.abandoned.get(line).unwrap_or(&self.appended);
        records[..end.min(records.len())].to_vec()
    }

    /// Checkpoint `later` covers what `earlier` does.
    pub(crate) fn repeats(&mut self, earlier: CheckpointId, later: CheckpointId) {
        if let Some(cut) = self.cuts.get(&earlier) {
            self.cuts.insert(later, *cut);
        }
    }

    /// The heap went back to what checkpoint `id` covers, through commit `cut`.
    pub(crate) fn went_back(&mut self, id: CheckpointId, cut: CommitNumber) {
        let records = self.before(id);
        let abandoned = std::mem::replace(&mut self.appended, records);
        self.abandoned.push(abandoned);
        self.synced = cut;
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
        self.same_records(loss, records)?;
        Ok(number)
    }

    /// The log holds what was appended, record for record; only its end may be missing.
    fn same_records(&mut self, loss: Loss, records: &[Record]) -> Result<(), Violation> {
        let mut found = 0;
        for record in records.iter().filter(|record| is_of_leader(record)) {
            let appended = self.appended.get(found);
            demand!(
                appended == Some(record),
                ORACLE,
                "the log has {record:?} where {appended:?} was appended"
            );
            found += 1;
        }
        let least = match loss {
            Loss::None | Loss::Killed { writing: false } => self.appended.len(),
            Loss::Killed { writing: true } => self.appended.len().saturating_sub(1),
            Loss::PowerCut => 0,
        };
        demand!(
            found >= least,
            ORACLE,
            "the log has {found} records after {loss:?}, and {} were appended",
            self.appended.len()
        );
        self.appended.truncate(found);
        Ok(())
    }
}

/// Whether the leader appends such records; the others are marks of the store's own.
fn is_of_leader(record: &Record) -> bool {
    matches!(
        record.body,
        Body::Commit { .. } | Body::Joined(_) | Body::Left(_)
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, commit, model, objects, record, write};
    use super::*;
    use leader::Durability::{Durable, Memory};
    use plurix_wire::Incarnation;

    /// The log of commits 1 to `last`.
    fn log(last: u64) -> Vec<Record> {
        let commits = (1..=last).map(|n| commit(at(0, n), n, write(0, n as u8)));
        commits.collect()
    }

    fn recovered(
        mode: leader::Durability,
        loss: Loss,
        records: &[Record],
        generation: Option<u32>,
    ) -> Result<CommitNumber, Violation> {
        let mut durability = Durability::default();
        durability.synced(CommitNumber(2));
        log(3).iter().for_each(|record| durability.appended(record));
        let model = model(&[(0, 1), (0, 2), (0, 3)]);
        durability.recovered(&model, mode, loss, records, generation.map(Generation))
    }

    #[test]
    fn what_is_shown_before_it_is_logged_is_noticed() {
        let mut durability = Durability::default();
        durability.synced(CommitNumber(2));
        let model = model(&[(0, 1), (0, 2), (0, 3)]);
        let reveal = |mode, number| durability.revealed(&model, mode, CommitNumber(number));
        assert_eq!(reveal(Memory, 3), Ok(()));
        objects(reveal(Memory, 4), "was revealed");
        assert_eq!(reveal(Durable, 2), Ok(()));
        objects(reveal(Durable, 3), "was revealed");
    }

    #[test]
    fn what_is_told_to_be_durable_before_it_is_on_disk_is_noticed() {
        let mut durability = Durability::default();
        durability.synced(CommitNumber(2));
        // A sync that began earlier takes nothing back.
        durability.synced(CommitNumber(1));
        assert_eq!(durability.told_durable(CommitNumber(2)), Ok(()));
        objects(durability.told_durable(CommitNumber(3)), "to be durable");
    }

    #[test]
    fn a_commit_that_is_missing_after_a_kill_is_noticed() {
        let killed = |writing, last| recovered(Memory, Loss::Killed { writing }, &log(last), None);
        assert_eq!(killed(false, 3), Ok(CommitNumber(3)));
        objects(killed(false, 2), "it must hold");
        assert_eq!(killed(true, 2), Ok(CommitNumber(2)));
        objects(killed(true, 1), "it must hold");
        objects(killed(false, 4), "it must hold");
    }

    #[test]
    fn a_synced_commit_that_is_missing_after_a_power_cut_is_noticed() {
        let cut = |last| recovered(Durable, Loss::PowerCut, &log(last), None);
        assert_eq!(cut(2), Ok(CommitNumber(2)));
        objects(cut(1), "it must hold");
    }

    #[test]
    fn a_loss_that_no_new_generation_tells_of_is_noticed() {
        let cut =
            |records: &[Record], generation| recovered(Memory, Loss::PowerCut, records, generation);
        assert_eq!(cut(&log(2), Some(1)), Ok(CommitNumber(2)));
        objects(cut(&log(2), None), "no new generation");
        // The mark of an orderly end says that nothing is missing.
        let mut complete = log(3);
        complete.push(record(at(0, 3), Body::Clean));
        assert_eq!(cut(&complete, None), Ok(CommitNumber(3)));
    }

    #[test]
    fn a_log_with_other_commits_than_were_appended_is_noticed() {
        let mut other = log(3);
        other[1] = commit(at(0, 2), 2, write(0, 9));
        let verdict = recovered(Memory, Loss::None, &other, None);
        objects(verdict, "was appended");
    }

    #[test]
    fn a_member_that_is_missing_or_another_is_noticed() {
        let left = |name| record(at(0, 0), Body::Left(Incarnation(name)));
        let recovered = |loss, records: &[Record]| {
            let mut durability = Durability::default();
            [left(1), left(2)]
                .iter()
                .for_each(|record| durability.appended(record));
            durability.recovered(&model(&[]), Memory, loss, records, None)
        };
        let (killed, cut) = (
            Loss::Killed { writing: false },
            Loss::Killed { writing: true },
        );
        assert!(recovered(killed, &[left(1), left(2)]).is_ok());
        objects(recovered(killed, &[left(1)]), "were appended");
        assert!(recovered(cut, &[left(1)]).is_ok());
        objects(recovered(cut, &[left(2)]), "was appended");
        objects(recovered(cut, &[]), "were appended");
    }
}
