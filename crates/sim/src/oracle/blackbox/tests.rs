//! Histories made by hand, each with one anomaly by name; histories of real serial runs, which
//! pass, and fail when one thing in them is broken; and all small histories of some kind, on which
//! the check must agree with trying every order.

mod anomalies;
mod every_order;
mod serial_runs;

use super::{Outcome, Register, Transaction, Value};

/// A committed transaction of `session`, from `begin` to `end`.
fn committed(
    session: u64,
    (begin, end): (u64, u64),
    reads: &[(Register, Value)],
    writes: &[(Register, Value)],
) -> Transaction {
    Transaction {
        session,
        begin,
        end,
        newest_at: None,
        reads: reads.to_vec(),
        writes: writes.to_vec(),
        outcome: Outcome::Committed,
    }
}

/// The same, ended in another way.
fn ended(outcome: Outcome, transaction: Transaction) -> Transaction {
    Transaction {
        outcome,
        ..transaction
    }
}
