//! Oracle: a team comes to its end. Whoever waits is woken when a message was handled at his station, or
//! when somebody there gave a lock back or raised a flag, as `plurix_protocol::team` asks of a driver; if nothing is under
//! way any more, nobody may be waiting.
//!
//! Source: liveness (Alpern and Schneider, "Defining liveness", Information Processing Letters 21(4),
//! 1985), made a safety property by a bound.

use crate::oracle::Violation;

/// A run of so many events will not end.
pub(in super::super) const EVENTS_MAX: u64 = 2_000_000;

/// Nothing is under way, and `waiting` workers are not done.
pub(in super::super) fn stuck(waiting: &str) -> Violation {
    Violation {
        oracle: "progress",
        what: format!("nothing is under way, and not all are done: {waiting}"),
    }
}

/// It goes on and on.
pub(in super::super) fn endless(waiting: &str) -> Violation {
    Violation {
        oracle: "progress",
        what: format!("after {EVENTS_MAX} events not all are done: {waiting}"),
    }
}
