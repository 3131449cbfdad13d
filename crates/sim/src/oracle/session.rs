//! A station's snapshots never go back, and are never older than its own answered commits.
//!
//! Source: Terry et al., "Session guarantees for weakly consistent replicated data", PDIS 1994
//! (read your writes, monotonic reads).

use plurix_wire::{CommitNumber, Incarnation};

use super::{Moment, Violation, demand};

const ORACLE: &str = "session";

/// What one station's handle has seen, over all its incarnations: a new one may hide nothing. Only
/// when the handle was told that the heap was rolled back does it begin anew.
#[derive(Debug, Default)]
pub struct Sight {
    own: CommitNumber,
    snapshot: CommitNumber,
}

impl Sight {
    /// A transaction begins.
    ///
    /// # Errors
    /// A violation if its snapshot is older than what the handle has seen or committed.
    pub fn began(&mut self, life: Incarnation, at: Moment) -> Result<(), Violation> {
        demand!(
            at.number >= self.own,
            ORACLE,
            "{life} begins at {at}, before its own commit {}",
            self.own
        );
        demand!(
            at.number >= self.snapshot,
            ORACLE,
            "{life} begins at {at}, after it has seen {}",
            self.snapshot
        );
        self.snapshot = at.number;
        Ok(())
    }

    /// A transaction begins that asked for the newest snapshot after `asked` was answered to
    /// somebody (Herlihy and Wing's real-time order, for reads).
    ///
    /// # Errors
    /// A violation if its snapshot is older than that.
    pub fn strict(&self, at: Moment, asked: Moment) -> Result<(), Violation> {
        demand!(
            at >= asked,
            ORACLE,
            "a transaction begins at {at} although it asked for the newest after {asked}"
        );
        Ok(())
    }

    /// A commit of the handle was answered.
    pub fn committed(&mut self, at: Moment) {
        self.own = at.number;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, objects};
    use super::*;

    const LIFE: Incarnation = Incarnation(1);

    #[test]
    fn a_snapshot_that_goes_back_is_noticed() {
        let mut sight = Sight::default();
        assert_eq!(sight.began(LIFE, at(0, 5)), Ok(()));
        assert_eq!(sight.began(LIFE, at(0, 5)), Ok(()));
        objects(sight.began(LIFE, at(0, 4)), "after it has seen");
        // A new life of the handle does not make it forget.
        objects(sight.began(Incarnation(2), at(0, 4)), "after it has seen");
    }

    #[test]
    fn a_snapshot_before_the_own_commit_is_noticed() {
        let mut sight = Sight::default();
        sight.began(LIFE, at(0, 1)).expect("the first");
        sight.committed(at(0, 3));
        objects(sight.began(LIFE, at(0, 2)), "before its own commit");
        assert_eq!(sight.began(LIFE, at(0, 3)), Ok(()));
    }

    #[test]
    fn a_snapshot_that_is_not_the_newest_asked_for_is_noticed() {
        let sight = Sight::default();
        assert_eq!(sight.strict(at(0, 3), at(0, 3)), Ok(()));
        objects(sight.strict(at(0, 2), at(0, 3)), "asked for the newest");
    }
}
