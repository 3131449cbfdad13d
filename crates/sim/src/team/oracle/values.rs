//! Oracle: every load finds what was stored last before it, in the order that barriers and locks make.
//!
//! In a program without data races all stores to a byte, and all loads of it, are ordered by what
//! happens before what, and virtual time agrees with that order. So one memory in which stores happen
//! at once is the model, and a load of it the only value allowed.
//!
//! Source: release consistency (Gharachorloo et al., "Memory consistency and event ordering in scalable
//! shared-memory multiprocessors", ISCA 1990) looks like sequential consistency to properly labelled
//! programs.

use std::collections::BTreeMap;

use plurix_wire::{PAGE_BYTES, PageBytes, PageNumber};

use super::super::script::Spot;
use crate::oracle::{Violation, demand};

/// One memory for all.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Values(BTreeMap<Spot, u8>);

impl Values {
    pub(in super::super) fn stored(&mut self, spot: Spot, value: u8) {
        self.0.insert(spot, value);
    }

    pub(in super::super) fn loaded(
        &self,
        spot: Spot,
        found: u8,
        who: &dyn std::fmt::Display,
    ) -> Result<(), Violation> {
        let expected = self.at(spot);
        demand!(
            found == expected,
            "values",
            "{who} loads {found} from {spot}, where {expected} was stored before"
        );
        Ok(())
    }

    /// All of a page.
    pub(in super::super) fn page(&self, page: PageNumber) -> PageBytes {
        let spot = |at| Spot { page, at };
        let mut bytes = [0; PAGE_BYTES];
        for (spot, value) in self.0.range(spot(0)..=spot(u16::MAX)) {
            bytes[usize::from(spot.at)] = *value;
        }
        bytes
    }

    pub(in super::super) fn at(&self, spot: Spot) -> u8 {
        self.0.get(&spot).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_finds_the_last_store() {
        let page = PageNumber(3);
        let (one, other) = (Spot { page, at: 7 }, Spot { page, at: 8 });
        let mut values = Values::default();
        values.stored(one, 1);
        values.stored(one, 2);
        assert_eq!(values.loaded(one, 2, &"w"), Ok(()));
        assert!(values.loaded(one, 1, &"w").is_err());
        assert_eq!(values.loaded(other, 0, &"w"), Ok(()));
        assert!(values.loaded(other, 2, &"w").is_err());
    }
}
