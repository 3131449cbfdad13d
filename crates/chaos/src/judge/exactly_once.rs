//! Each activity's effects are in the heap exactly once, whatever died while it ran; what a
//! transaction leaves to be done once it has happened is done at most once, and only then.
//!
//! Source: ARCHITECTURE.md, invariant 3, and `Transaction::on_commit`.

use std::collections::{BTreeMap, BTreeSet};

use plurix_sim::oracle::Violation;
use plurix_wire::{CommitId, CommitNumber};

use super::demand;
use super::evidence::{Ground, Life};
use crate::history::{Attempt, Entry, Purpose, Step};

const ACTIVITIES: &str = "activities";
const EFFECTS: &str = "on_commit";

/// Who was spawned, and who has run.
#[derive(Debug, Default)]
pub(super) struct ExactlyOnce {
    spawned: BTreeMap<u64, CommitNumber>,
    ran: BTreeMap<u64, CommitNumber>,
}

impl ExactlyOnce {
    /// An attempt is commit `number`.
    pub(super) fn committed(
        &mut self,
        ground: &Ground,
        attempt: &Attempt,
        number: CommitNumber,
    ) -> Result<(), Violation> {
        if let Purpose::Task(task) = attempt.purpose {
            demand!(
                self.spawned.contains_key(&task),
                ACTIVITIES,
                "activity {task} is completed at {number}, but was never spawned"
            );
            let before = self.ran.insert(task, number);
            demand!(
                before.is_none(),
                ACTIVITIES,
                "activity {task} is completed twice, at {before:?} and {number}"
            );
        }
        for step in &attempt.steps {
            if let Step::Write(at, _) = step
                && ground.results.contains(at)
            {
                let task = (at - ground.results.start) / 8;
                self.spawned.insert(task, number);
            }
        }
        Ok(())
    }

    /// Nothing is left to run.
    pub(super) fn all_done(&self) -> Result<(), Violation> {
        let left = self
            .spawned
            .iter()
            .find(|(task, _)| !self.ran.contains_key(task));
        demand!(
            left.is_none(),
            ACTIVITIES,
            "activity {left:?} was spawned and never completed, but none is left"
        );
        Ok(())
    }

    /// Judges the effects of a life; `ids` are those of the log.
    pub(super) fn effects(
        &self,
        life: &Life,
        ids: &BTreeMap<CommitId, u64>,
    ) -> Result<(), Violation> {
        let mut done = BTreeSet::new();
        for entry in &life.entries {
            match entry {
                Entry::Effect { attempt } => demand!(
                    done.insert(*attempt),
                    EFFECTS,
                    "the effect of attempt {attempt} in {} is done twice",
                    life.path.display()
                ),
                Entry::Broken { what } => {
                    demand!(false, "allocator", "{what} ({})", life.path.display())
                }
                _ => {}
            }
        }
        for (attempt, fate) in life.fates(ids) {
            demand!(
                fate.number().is_some() || !done.contains(&attempt.number),
                EFFECTS,
                "the effect of attempt {} in {} is done, but it has not happened",
                attempt.number,
                life.path.display()
            );
        }
        Ok(())
    }

    /// The activities that were spawned.
    pub(super) fn spawned(&self) -> impl Iterator<Item = u64> {
        self.spawned.keys().copied()
    }
}
