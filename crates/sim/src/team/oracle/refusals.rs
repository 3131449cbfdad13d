//! Oracle: what no honest member says is refused by a typed error; what an honest one says never is.
//!
//! Source: invariant 7 of the design: bad bytes from a peer give a typed error.

use plurix_protocol::team::Error;
use plurix_wire::Rank;

use crate::oracle::{Violation, demand};

/// An honest member was heard.
pub(in super::super) fn honest(
    by: usize,
    from: usize,
    answer: Result<(), Error>,
) -> Result<(), Violation> {
    match answer {
        Ok(()) => Ok(()),
        Err(error) => Err(Violation {
            oracle: "refusals",
            what: format!("station {by} refuses what station {from} says: {error}"),
        }),
    }
}

/// Somebody said what he must not.
pub(in super::super) fn forged(
    from: Rank,
    what: &str,
    answer: &Result<(), Error>,
) -> Result<(), Violation> {
    let is_refused = matches!(answer, Err(Error::Violation(who, _)) if *who == from);
    demand!(
        is_refused,
        "refusals",
        "{from} said what it must not ({what}), and the answer is {answer:?}"
    );
    Ok(())
}
