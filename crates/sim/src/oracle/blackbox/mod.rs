//! Whether some order of all transactions explains what their programs saw: decided from that
//! alone, without commit numbers, snapshots or the log, which the other oracles believe.
//!
//! ```text
//!   history ---> nodes: which transactions have a place in the order, and who read from whom
//!                  |
//!                  v
//!                order: what must come before what, and whatever follows from that --> a cycle
//!                  |
//!                  v
//!                search: prefix by prefix, an order of all -------------> none, or undecided
//! ```
//!
//! Every value is written once in a run, so a value read tells who wrote it. What is demanded:
//!
//! | transaction | its place |
//! |---|---|
//! | committed, and wrote | one, after everything that ended before it began (strictness) |
//! | committed, only read | one, after what its session did before, and before every update begun after it ended |
//! | did not happen | what it read has a place as above (opacity); nobody reads what it wrote |
//! | unknown | what it read as above; and if anybody read from it, one more, any time after it began |
//!
//! That an unknown transaction which nobody read from is taken as absent loses nothing: left out of
//! an order that explains all, it leaves one that still does.
//!
//! To decide this is NP-complete (Papadimitriou, "The serializability of concurrent database
//! updates", JACM 1979), but polynomial for a fixed number of sessions (Biswas and Enea, "On the
//! complexity of checking transactional consistency", OOPSLA 2019). The search is bounded, and says
//! so when it gives up.

mod nodes;
mod order;
mod search;
#[cfg(test)]
mod tests;

use std::fmt;

use super::Violation;
use nodes::Nodes;
use order::Order;
use search::Found;

const ORACLE: &str = "black box";

/// A register, by any name that is unique in the heap; it holds zero at first.
pub type Register = u64;
/// What a register holds.
pub type Value = u64;
/// A moment in real (or virtual) time, in any unit. Equal moments are in no order.
pub type Instant = u64;

/// How a transaction ended, as far as its program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program was told that it happened.
    Committed,
    /// It was refused, or aborted.
    NotHappened,
    /// No answer came: it may have happened at any time after its begin, even after its end.
    Unknown,
}

/// One run of a transaction, as its program saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Those of one session come one after the other, and each sees what the session did before.
    pub session: u64,
    /// When it began.
    pub begin: Instant,
    /// When the program learned the outcome, or stopped waiting for it.
    pub end: Instant,
    /// A transaction that only reads may have asked for the newest state: then it comes after every
    /// update that had been answered at this moment.
    pub newest_at: Option<Instant>,
    /// What it read of others, which leaves out what it had written before itself.
    pub reads: Vec<(Register, Value)>,
    /// What it wrote, in its order: the last value of each register is the one that others may see.
    pub writes: Vec<(Register, Value)>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A transaction in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its index in the history.
    pub transaction: usize,
    /// Whether what it wrote is there for those that follow.
    pub took_effect: bool,
}

/// What is known of a history that no violation was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This order explains it. A transaction that is not in it had no effect and saw nothing.
    Explained(Vec<Place>),
    /// The search gave up. That is no verdict, and must not be counted as one.
    Undecided,
}

/// Judges a history, whose transactions may stand in any order. The search takes `steps_max` steps
/// at most; each takes time in proportion to the square of the history's length.
///
/// # Errors
/// A violation if no order explains the history, with the contradiction if there is a short one; or
/// if a value is written twice, which would make the history mean nothing.
pub fn check(history: &[Transaction], steps_max: u64) -> Result<Verdict, Violation> {
    let nodes = Nodes::new(history)?;
    let order = Order::deduce(&nodes)?;
    match search::search(&nodes, &order, steps_max) {
        Found::Order(places) => Ok(Verdict::Explained(nodes.explain(&places))),
        Found::GaveUp => Ok(Verdict::Undecided),
        Found::Nothing { prefixes } => Err(violation(format_args!(
            "no order of {} transactions explains what they read; {prefixes} prefixes were tried",
            history.len()
        ))),
    }
}

fn violation(what: impl fmt::Display) -> Violation {
    Violation {
        oracle: ORACLE,
        what: what.to_string(),
    }
}
