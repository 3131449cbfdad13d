//! The oracles of a team: each knows one property of weak memory, locks, barriers or counters, and
//! watches one life of a team for the first sign that it does not hold.

pub(super) mod barriers;
pub(super) mod copies;
pub(super) mod counters;
pub(super) mod lines;
pub(super) mod locks;
pub(super) mod planted;
pub(super) mod progress;
pub(super) mod refusals;
pub(super) mod results;
pub(super) mod values;

use std::collections::BTreeMap;

use plurix_wire::SyncId;

use barriers::Barriers;
use counters::Counters;
use lines::{Snapshot, Start};
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
    /// How high flags are.
    pub(super) flags: BTreeMap<SyncId, u64>,
    pub(super) planted: PlantedRaces,
}

impl Oracles {
    /// The oracles of a team that begins from `start`.
    pub(super) fn new(planted: PlantedRaces, workers: usize, start: &Start) -> Self {
        Self {
            values: start.snapshot.values.clone(),
            locks: Locks::default(),
            barriers: Barriers::new(workers, start.phase),
            counters: start.snapshot.counters.clone(),
            flags: start.snapshot.flags.clone(),
            planted,
        }
    }

    /// What they know at a barrier that all have come to.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            values: self.values.clone(),
            counters: self.counters.clone(),
            flags: self.flags.clone(),
        }
    }
}
