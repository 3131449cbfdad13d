//! Oracle: a lock has one holder at most. That every worker who waits for one gets it in the end is
//! seen by [`progress`](super::progress): a run does not end before.
//!
//! Source: mutual exclusion (Dijkstra, "Solution of a problem in concurrent programming control", CACM
//! 8(9), 1965).

use std::collections::BTreeMap;

use plurix_wire::SyncId;

use crate::oracle::{Violation, demand};

/// Who has what.
#[derive(Debug, Default)]
pub(in super::super) struct Locks(BTreeMap<SyncId, usize>);

impl Locks {
    pub(in super::super) fn acquired(
        &mut self,
        worker: usize,
        lock: SyncId,
    ) -> Result<(), Violation> {
        let holder = self.0.insert(lock, worker);
        demand!(
            holder.is_none(),
            "locks",
            "worker {worker} gets lock {lock}, which worker {} has",
            holder.unwrap_or_default()
        );
        Ok(())
    }

    pub(in super::super) fn released(&mut self, lock: SyncId) {
        self.0.remove(&lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder() {
        let mut locks = Locks::default();
        assert_eq!(locks.acquired(1, SyncId(0)), Ok(()));
        assert_eq!(locks.acquired(2, SyncId(1)), Ok(()));
        assert!(locks.acquired(2, SyncId(0)).is_err());
        locks.released(SyncId(1));
        assert_eq!(locks.acquired(1, SyncId(1)), Ok(()));
    }
}
