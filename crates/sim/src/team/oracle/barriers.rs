//! Oracle: nobody leaves a barrier before all have come to it, and all are given the same there: what
//! each station brought.
//!
//! Source: Jordan, "A special purpose architecture for finite element analysis", ICPP 1978, who named
//! the barrier.

use crate::oracle::{Violation, demand};

/// How many barriers each worker has come to.
#[derive(Debug)]
pub(in super::super) struct Barriers(Vec<usize>);

impl Barriers {
    /// Of a team that begins behind so many barriers.
    pub(in super::super) fn new(workers: usize, passed: usize) -> Self {
        Self(vec![passed; workers])
    }

    /// Answers whether all have come as often.
    pub(in super::super) fn arrived(&mut self, worker: usize) -> bool {
        self.0[worker] += 1;
        self.0.iter().all(|count| *count == self.0[worker])
    }

    /// A station's workers leave the barrier that ends `interval`.
    pub(in super::super) fn left(
        &self,
        station: usize,
        interval: usize,
        brings: &[Option<Vec<u8>>],
        brought: &[Option<Vec<u8>>],
    ) -> Result<(), Violation> {
        let missing = self.0.iter().position(|count| *count <= interval);
        demand!(
            missing.is_none(),
            "barriers",
            "station {station} leaves the barrier of interval {interval}, to which worker {} has \
             not come",
            missing.unwrap_or_default()
        );
        let expected = match brings.iter().any(Option::is_some) {
            true => brings,
            false => &[],
        };
        demand!(
            brought == expected,
            "barriers",
            "station {station} is told that {brought:?} was brought in interval {interval}, and it \
             was {expected:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_come_before_one_leaves() {
        let mut barriers = Barriers::new(2, 0);
        assert!(!barriers.arrived(0));
        assert!(barriers.left(0, 0, &[None], &[]).is_err());
        assert!(barriers.arrived(1));
        assert_eq!(barriers.left(0, 0, &[None], &[]), Ok(()));
        assert!(!barriers.arrived(1));
        assert!(barriers.left(1, 1, &[None], &[]).is_err());
        let brings = [None, Some(vec![1])];
        assert_eq!(barriers.left(0, 0, &brings, &brings), Ok(()));
        assert!(barriers.left(0, 0, &brings, &[]).is_err());
    }
}
