//! Oracle: additions to a counter happen one after the other. Put in the order of what each found, they
//! follow each other without a gap: each finds the sum of those before it.
//!
//! Source: linearizability (Herlihy and Wing, TOPLAS 12(3), 1990), of which a fetch-and-add whose
//! operands are positive leaves one order only.

use std::collections::BTreeMap;

use plurix_wire::SyncId;

use crate::oracle::{Violation, demand};

/// What each addition found, and added.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Counters(BTreeMap<SyncId, Vec<(u64, u64)>>);

impl Counters {
    pub(in super::super) fn added(&mut self, counter: SyncId, before: u64, value: u64) {
        self.0.entry(counter).or_default().push((before, value));
    }

    /// What each has come to.
    pub(in super::super) fn sums(&self) -> BTreeMap<SyncId, u64> {
        let sum = |additions: &Vec<(u64, u64)>| additions.iter().map(|(_, value)| value).sum();
        let counters = self.0.iter();
        counters
            .map(|(counter, additions)| (*counter, sum(additions)))
            .collect()
    }

    /// All additions have been answered.
    pub(in super::super) fn finish(&mut self) -> Result<(), Violation> {
        for (counter, additions) in &mut self.0 {
            additions.sort_unstable();
            let mut sum = 0;
            for &(before, value) in additions.iter() {
                demand!(
                    before == sum,
                    "counters",
                    "an addition to {counter} found {before}, and those before it make {sum}"
                );
                sum += value;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_follow_each_other() {
        let counter = SyncId(1);
        let of = |additions: &[(u64, u64)]| {
            let mut counters = Counters::default();
            for (before, value) in additions {
                counters.added(counter, *before, *value);
            }
            counters.finish()
        };
        assert_eq!(of(&[(2, 1), (0, 2), (3, 5)]), Ok(()));
        assert!(of(&[(0, 2), (0, 1)]).is_err());
        assert!(of(&[(0, 2), (3, 1)]).is_err());
    }
}
