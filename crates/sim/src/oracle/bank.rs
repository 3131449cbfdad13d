//! Money is neither made nor lost: at every snapshot the balances of all accounts sum up to what
//! they summed up to in the empty heap, which is nothing. Accounts may be overdrawn.
//!
//! Source: the bank of Kingsbury's Jepsen tests ("Jepsen: Percona XtraDB Cluster", 2015), which
//! finds reads that mix two snapshots and updates that are lost, without knowing the order of
//! commits.

use super::{Moment, Violation, demand};

const ORACLE: &str = "bank";

/// Judges the sum over all accounts that one transaction at `at` has read.
pub(crate) fn balanced(total: i64, accounts: u64, at: Moment) -> Result<(), Violation> {
    demand!(
        total == 0,
        ORACLE,
        "{accounts} accounts sum up to {total} in a transaction at {at}"
    );
    Ok(())
}
