//! Which bytes of a view are lent to the program now: any number of readers or one writer of each,
//! as of every Rust reference, but by ranges and at run time.
//!
//! A handful of ranges is lent at a time, one for each array that a worker is at work on, so they
//! stand in a list and are compared one by one.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::AccessError;

/// Bytes that are lent, or that somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LentRange {
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// Whether they are to be written, by one borrower.
    pub exclusive: bool,
}

impl LentRange {
    /// Whether both can be lent at a time.
    fn agrees_with(self, other: Self) -> bool {
        let is_apart =
            self.offset + self.length <= other.offset || other.offset + other.length <= self.offset;
        is_apart || !(self.exclusive || other.exclusive)
    }
}

impl fmt::Display for LentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.exclusive {
            "exclusively"
        } else {
            "shared"
        };
        write!(f, "{} bytes at {:#x} {how}", self.length, self.offset)
    }
}

/// What is lent.
#[derive(Default)]
pub(super) struct Lending(Mutex<Vec<LentRange>>);

impl Lending {
    /// Lends `wanted`, unless that disagrees with what is lent. A range without bytes always agrees.
    pub(super) fn lend(&self, wanted: LentRange) -> Result<(), AccessError> {
        if wanted.length == 0 {
            return Ok(());
        }
        let mut ranges = self.lock();
        if let Some(&lent) = ranges.iter().find(|lent| !lent.agrees_with(wanted)) {
            return Err(AccessError::Lent { wanted, lent });
        }
        ranges.push(wanted);
        Ok(())
    }

    /// Takes back what was lent.
    pub(super) fn give_back(&self, lent: LentRange) {
        if lent.length == 0 {
            return;
        }
        let mut ranges = self.lock();
        // Equal ranges are all shared, and one of them is as good as another.
        let place = ranges.iter().rposition(|&range| range == lent);
        ranges.swap_remove(place.expect("what is given back was lent"));
    }

    /// Something lent with which `wanted` disagrees.
    pub(super) fn overlapping(&self, wanted: LentRange) -> Option<LentRange> {
        let ranges = self.lock();
        ranges
            .iter()
            .find(|lent| !lent.agrees_with(wanted))
            .copied()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LentRange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
