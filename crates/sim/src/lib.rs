//! A whole Plurix cluster in one thread: the real protocol, the real log on a simulated disk and
//! the real transaction memory, in virtual time, with faults, all of it decided by one seed. The
//! same seed gives the same run, to the last byte.
//!
//! ```text
//!   seed --> plan: sizes, limits, faults (swarm)
//!               |
//!               v
//!   world: queue of events in virtual time <----------- nemesis: what breaks
//!     | member: station, memory, script                        |
//!     |     or: the library, in a coroutine, with its program  |
//!     | network: ordered links with delay and loss <-----------+
//!     | server: leader, store, simulated disk <----------------+
//!     v
//!   oracles: what the log says is the truth --> the first violation ends the run
//! ```
//!
//! A run is a function of its seed and of a [`Mask`], which [`shrink()`] makes as small as it can when
//! the run fails; [`record`] tells the story of one, in lines or as a [chart](Story::svg).
//!
//! To add a fault: a variant of `nemesis::Fault` and its stroke. To add an oracle: a file in
//! `oracle/` that names its source, and the place in the run where it looks. To see that an oracle
//! works: a [`Canary`], a bug planted on purpose in the code under test.

mod brief;
mod chart;
mod clock;
mod history;
mod library;
mod mask;
mod member;
mod nemesis;
mod network;
pub mod oracle;
mod panics;
mod plan;
mod program;
mod queue;
mod random;
mod scale;
mod server;
mod shrink;
mod story;
mod stranger;
mod tally;
mod team;
mod trace;
mod workload;
mod world;

use plurix_protocol::Time;
use plurix_wire::canary;
pub use plurix_wire::canary::Canary;
use serde::Serialize;

pub use mask::{Mask, Numbers, NumbersError};
pub use oracle::Violation;
pub use panics::keep_panics_quiet;
pub use scale::{Clock, Figures, Traffic, scale};
pub use shrink::{Progress, shrink};
pub use story::{Story, record, run_twice};
pub use tally::{Mark, Tally};
use trace::{Recording, Trace};
use world::World;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// A page server and stations that run transactions.
    #[default]
    Cluster,
    /// A team of stations on weak memory.
    Team,
}

impl Stage {
    /// Where a planted bug can be found.
    #[must_use]
    pub fn of(canary: Canary) -> Self {
        match canary.is_of_teams() {
            true => Self::Team,
            false => Self::Cluster,
        }
    }
}

/// How to run a seed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What is simulated.
    pub stage: Stage,
    /// A bug to plant; only in a build with `--cfg plurix_canary`.
    pub canary: Option<Canary>,
    /// What to leave out.
    pub mask: Mask,
    /// Judge what programs saw by the black-box check alone; every seed then collects a history.
    pub black_box_alone: bool,
    /// If not zero, faults go on until the log has had so many commits, and the seed's mix is made
    /// fit for that: nobody pauses, links are quick, faults are rarer.
    pub commits: u64,
}

/// What became of one seed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was left out.
    pub mask: Mask,
    /// What went wrong, if anything did.
    pub failure: Option<Failure>,
    /// The hash of the whole trace: equal for two runs that were the same.
    pub trace_hash: String,
    /// Virtual time of the run, in nanoseconds.
    pub virtual_ns: u64,
    /// Fault strokes whose time came, masked out or not.
    pub strokes: u64,
    /// Stations that there are, masked out or not.
    pub stations: usize,
    /// What happened, counted.
    pub tally: Tally,
}

/// Why a run ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{oracle}: {what}")]
pub struct Failure {
    /// The oracle that noticed; `panic` if the code under test did.
    pub oracle: String,
    /// What it saw.
    pub what: String,
    /// Where the code panicked, if it did and [`keep_panics_quiet`] was called before.
    pub place: Option<String>,
}

impl Failure {
    /// Whether both are signs of the same bug, as far as anybody can tell from outside.
    #[must_use]
    pub fn resembles(&self, other: &Self) -> bool {
        (&self.oracle, &self.place) == (&other.oracle, &other.place)
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self {
            oracle: violation.oracle.to_owned(),
            what: violation.what,
            place: None,
        }
    }
}

/// Runs one seed from its beginning to its end, or to the first violation. A panic in the code
/// under test is a violation like any other.
///
/// # Panics
/// If a bug is to be planted that this build does not have.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    run_recording(seed, options, Recording::default()).0
}

fn run_recording(seed: u64, options: &Options, recording: Recording) -> (Report, Trace) {
    assert!(
        options.canary.is_none() || canary::PLANTABLE,
        "a build without --cfg plurix_canary has no bug to plant"
    );
    #[cfg(plurix_canary)]
    let _planted = options.canary.map(|bug| canary::plant(bug, seed));
    match options.stage {
        Stage::Cluster => {
            let mut world = World::new(seed, options, recording);
            let failure = end(panics::catch(|| world.run()));
            let stations = world.members.len();
            let (strokes, now) = (world.strokes, world.now);
            let facts = (failure, strokes, now, stations, world.tally);
            (report(seed, options, facts, &world.trace), world.trace)
        }
        Stage::Team => {
            let mut world = team::World::new(seed, options, recording);
            let failure = end(panics::catch(|| world.run()));
            let stations = world.stations();
            let (strokes, now) = (world.strokes, world.now);
            let facts = (failure, strokes, now, stations, world.tally);
            (report(seed, options, facts, &world.trace), world.trace)
        }
    }
}

/// What is wrong with how a run ended.
fn end(end: Result<Result<(), Violation>, Failure>) -> Option<Failure> {
    match end {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation.into()),
        Err(failure) => Some(failure),
    }
}

fn report(
    seed: u64,
    options: &Options,
    (failure, strokes, now, stations, tally): (Option<Failure>, u64, Time, usize, Tally),
    trace: &Trace,
) -> Report {
    Report {
        seed,
        mask: options.mask.clone(),
        failure,
        trace_hash: format!("{:016x}", trace.hash()),
        virtual_ns: now.0,
        strokes,
        stations,
        tally,
    }
}
