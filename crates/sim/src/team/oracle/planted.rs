//! Oracle: the detector of [data races](super::super::races) names the one that was planted, if there is
//! one and it happened, and no other.
//!
//! Source: Pozniansky and Schuster, PPoPP 2003: what vector clocks report is a race, and a race that
//! nothing in the run orders is reported.

use super::super::races::{Access, Race};
use super::super::script::Planted;
use crate::oracle::{Violation, demand};

/// What must be found in one life of a team.
#[derive(Debug, Clone)]
pub(in super::super) struct PlantedRaces {
    planted: Option<Planted>,
    /// Who has done his part.
    seen: [bool; 2],
    is_named: bool,
}

impl PlantedRaces {
    pub(in super::super) fn new(planted: Option<Planted>) -> Self {
        Self {
            planted,
            seen: [false; 2],
            is_named: false,
        }
    }

    pub(in super::super) fn accessed(&mut self, access: Access, spot: super::super::script::Spot) {
        let Some(planted) = self.planted.filter(|planted| planted.spot == spot) else {
            return;
        };
        self.seen[0] |= access.worker == planted.one;
        self.seen[1] |= access.worker == planted.other;
    }

    pub(in super::super) fn reported(&mut self, race: &Race) -> Result<(), Violation> {
        let is_planted = self.planted.is_some_and(|planted| {
            let workers = [race.one.worker, race.other.worker];
            let intervals = [race.one.interval, race.other.interval];
            let (one, other) = (planted.one, planted.other);
            planted.spot == race.spot
                && intervals == [planted.interval; 2]
                && (workers == [one, other] || workers == [other, one])
        });
        demand!(is_planted, "races", "a race that nobody planted: {race}");
        self.is_named = true;
        Ok(())
    }

    /// The team is done.
    pub(in super::super) fn finish(&self) -> Result<(), Violation> {
        let is_found = self.is_named || self.seen != [true; 2];
        demand!(
            is_found,
            "races",
            "{:?} happened, and nobody noticed",
            self.planted
        );
        Ok(())
    }
}
