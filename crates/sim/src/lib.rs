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
//! To add a fault: a variant of `nemesis::Fault` and its stroke. To add an oracle: a file in
//! `oracle/` that names its source, and the place in the run where it looks. To see that an oracle
//! works: a [`Canary`], a bug planted on purpose in the code under test.

mod clock;
mod history;
mod library;
mod member;
mod nemesis;
mod network;
pub mod oracle;
mod plan;
mod program;
mod queue;
mod random;
mod server;
mod stranger;
mod trace;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use plurix_wire::canary;
pub use plurix_wire::canary::Canary;

use serde::Serialize;

pub use oracle::Violation;
pub use world::Tally;
use world::World;

/// How to run a seed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A bug to plant; only in a build with `--cfg plurix_canary`.
    pub canary: Option<Canary>,
    /// Print the trace as it happens.
    pub print: bool,
    /// Judge what programs saw by the black-box check alone, in the seeds that it judges.
    pub black_box_alone: bool,
    /// Faults go on until the log has had so many commits, however long the seed would have it.
    pub commits: u64,
}

/// What became of one seed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What went wrong, if anything did.
    pub failure: Option<String>,
    /// The hash of the whole trace: equal for two runs that were the same.
    pub trace_hash: String,
    /// Virtual time of the run, in nanoseconds.
    pub virtual_ns: u64,
    /// What happened, counted.
    pub tally: Tally,
    /// The last lines of the trace, if anything went wrong.
    pub tail: Vec<String>,
}

/// Runs one seed from its beginning to its end, or to the first violation. A panic in the code
/// under test is a violation like any other.
///
/// # Panics
/// If a bug is to be planted that this build does not have.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    assert!(
        options.canary.is_none() || canary::PLANTABLE,
        "a build without --cfg plurix_canary has no bug to plant"
    );
    #[cfg(plurix_canary)]
    let _planted = options.canary.map(|bug| canary::plant(bug, seed));
    let mut world = World::new(seed, options.print);
    world.oracles.deaf = options.black_box_alone;
    world.commits_least = options.commits;
    let end = catch_unwind(AssertUnwindSafe(|| world.run()));
    let failure = match end {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation.to_string()),
        Err(panic) => Some(format!("panic: {}", message(&*panic))),
    };
    Report {
        seed,
        trace_hash: format!("{:016x}", world.trace.hash()),
        virtual_ns: world.now.0,
        tally: world.tally.clone(),
        tail: failure.as_ref().map_or(Vec::new(), |_| world.trace.tail()),
        failure,
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
