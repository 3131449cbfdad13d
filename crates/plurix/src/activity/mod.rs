//! Activities: tasks in the heap, run exactly once whatever dies.
//!
//! ```text
//!   spawn            claim (short)          run              complete (one transaction)
//!  ---------> pending ---------> claimed ---------> ... ---------> results there, claim gone
//!                ^                  |
//!                +------------------+   the claimer's incarnation is dead
//! ```
//!
//! The claim records the incarnation that took it. The final transaction puts the results into the
//! heap and removes the claim together, so the effects are there once or not yet. If the station
//! dies in between, whoever finds a claim of a dead incarnation makes it pending again.
//!
//! The queue is striped: activities are spread over the stripes, and each station looks for work
//! from a place of its own on, so that claims seldom conflict.
//!
//! ```
//! use plurix::activity::{Activity, Done, Work};
//! use plurix::{Cluster, Result};
//!
//! struct Square;
//!
//! impl Activity for Square {
//!     const NAME: &'static str = "square";
//!     type Argument = u64;
//!     type Output = u64;
//!
//!     fn run(work: Work<'_, Self>, number: u64) -> Result<Done<Self>> {
//!         work.complete(|_| Ok(number * number))
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let mut cluster = Cluster::local(1)?;
//! let station = &mut cluster.stations()[0];
//! station.register::<Square>();
//! let squares = station.transaction(|tx| [1, 2, 3].map(|n| tx.spawn::<Square>(n)).into_iter().collect::<Result<Vec<_>>>())?;
//! station.wait_all()?;
//! let sum = station.transaction(|tx| squares.iter().map(|square| Ok(tx.result(*square)?.unwrap_or(0))).sum::<Result<u64>>())?;
//! assert_eq!(sum, 14);
//! # Ok(())
//! # }
//! ```

mod list;
mod queue;
mod run;
mod spawned;

use std::collections::BTreeMap;
use std::marker::PhantomData;

use plurix_wire::Incarnation;

use crate::error::Result;
use crate::plain::{Layout, Plain};
use crate::ptr::Ptr;
use crate::station::Station;
pub use list::{Listed, ListedState};
use queue::Node;
pub use spawned::Spawned;

/// The longest name of an activity, in bytes.
pub const NAME_BYTES_MAX: usize = 40;

/// A function that stations run for each other.
pub trait Activity: Sized + 'static {
    /// Names the function in the heap; 1 to [`NAME_BYTES_MAX`] bytes.
    const NAME: &'static str;
    /// What it is told.
    type Argument: Plain;
    /// What it answers.
    type Output: Plain;

    /// Does the work and ends with [`Work::complete`]. If the station dies, another one runs it
    /// again: what it does before `complete` must bear repetition.
    ///
    /// # Errors
    /// If this is an error, the activity has failed and is not run again.
    fn run(work: Work<'_, Self>, argument: Self::Argument) -> Result<Done<Self>>;
}

/// What a running activity can do.
#[derive(Debug)]
pub struct Work<'s, A> {
    station: &'s mut Station,
    claim: Claim,
    activity: PhantomData<fn() -> A>,
}

/// Proves that an activity was completed.
#[derive(Debug)]
pub struct Done<A>(PhantomData<fn() -> A>);

/// An activity that this station has claimed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    node: Ptr<Node>,
    incarnation: Incarnation,
}

/// How many activities there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// They wait to be claimed.
    pub pending: u64,
    /// Somebody runs them.
    pub claimed: u64,
    /// They are done.
    pub completed: u64,
    /// They ended with an error.
    pub failed: u64,
}

impl Progress {
    /// Those that are not finished.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.pending + self.claimed
    }
}

/// The activities that a station can run, by fingerprint.
#[derive(Debug, Default)]
pub(crate) struct Registry(BTreeMap<u64, Registered>);

#[derive(Debug, Clone, Copy)]
struct Registered {
    name: &'static str,
    run: fn(&mut Station, Claim) -> Result<()>,
}

/// Tells this activity, with its argument and output, from others.
fn fingerprint<A: Activity>() -> u64 {
    Layout::of_primitive("activity", 0)
        .field(A::NAME, 0, <A::Argument as Plain>::LAYOUT)
        .field("output", 0, <A::Output as Plain>::LAYOUT)
        .0
}
