//! The oracles of a team: each knows one property of weak memory, locks, barriers or counters, and
//! watches one life of a team for the first sign that it does not hold.

pub(super) mod barriers;
pub(super) mod copies;
pub(super) mod counters;
pub(super) mod locks;
pub(super) mod planted;
pub(super) mod progress;
pub(super) mod refusals;
pub(super) mod results;
pub(super) mod values;

use barriers::Barriers;
use counters::Counters;
use locks::Locks;
use planted::PlantedRaces;
use values::Values;

/// Those that remember something.
#[derive(Debug)]
pub(super) struct Oracles {
    pub(super) values: Values,
    pub(super) locks: Locks,
    pub(super) barriers: Barriers,
    pub(super) counters: Counters,
    pub(super) planted: PlantedRaces,
}

impl Oracles {
    pub(super) fn new(planted: PlantedRaces, workers: usize) -> Self {
        Self {
            values: Values::default(),
            locks: Locks::default(),
            barriers: Barriers::new(workers),
            counters: Counters::default(),
            planted,
        }
    }
}
