//! Virtual time goes on, and once faults have ended everybody becomes a member again and gets work
//! done, within bounded virtual time.
//!
//! Source: the liveness half of a simulation in two phases, as TigerBeetle's VOPR has it; Alpern and
//! Schneider, "Defining liveness", 1985: that something good happens can be refuted by a run only if
//! it must happen within a bound.

use std::fmt;

use plurix_protocol::Span;
use plurix_protocol::station::State;

use super::{Violation, demand};

const ORACLE: &str = "progress";
/// More events than this at one moment mean that time stands still.
const EVENTS_AT_ONCE_MAX: u32 = 100_000;

/// Judges how many events there were at one moment, `event` the last of them.
pub(crate) fn time_goes_on(at_once: u32, event: &impl fmt::Debug) -> Result<(), Violation> {
    demand!(
        at_once < EVENTS_AT_ONCE_MAX,
        ORACLE,
        "time stands still at {event:?}: somebody asks again and again to be called now"
    );
    Ok(())
}

/// A run that has not come to its end has no event left.
pub(crate) fn silence() -> Violation {
    Violation {
        oracle: ORACLE,
        what: "nothing will ever happen again".to_owned(),
    }
}

/// Judges the commits `done` by each station, `due` of each, when `span` has passed since the faults.
pub(crate) fn duties(done: &[u32], due: u32, span: Span) -> Result<(), Violation> {
    demand!(
        done.iter().all(|done| *done >= due),
        ORACLE,
        "{} ms after the faults, the stations have done {done:?} of {due} commits",
        span.as_millis()
    );
    Ok(())
}

/// There is no leader although everything has come to rest.
pub(crate) fn nobody_leads() -> Violation {
    Violation {
        oracle: ORACLE,
        what: "the leader is down long after the faults".to_owned(),
    }
}

/// Judges whether a station, if its process is up, is a member and waits for nothing, when everything
/// has come to rest.
pub(crate) fn stands(index: usize, state: Option<State>, is_idle: bool) -> Result<(), Violation> {
    demand!(
        state == Some(State::Active) && is_idle,
        ORACLE,
        "station {index} is {state:?} long after the faults"
    );
    Ok(())
}

/// Judges whether a library's program, whose last act it is, has seen the whole heap.
pub(crate) fn has_seen_all(index: usize, is_done: bool) -> Result<(), Violation> {
    demand!(
        is_done,
        ORACLE,
        "station {index} has not seen the whole heap long after the faults"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::objects;
    use super::*;

    #[test]
    fn who_gets_nothing_done_is_noticed() {
        let span = Span::from_millis(5);
        assert_eq!(duties(&[3, 4], 3, span), Ok(()));
        objects(duties(&[3, 2], 3, span), "5 ms after the faults");
        assert_eq!(stands(1, Some(State::Active), true), Ok(()));
        objects(stands(1, Some(State::Active), false), "station 1");
        objects(stands(1, Some(State::Waiting), true), "Waiting");
        objects(stands(1, None, true), "None");
        objects(has_seen_all(2, false), "station 2");
    }

    #[test]
    fn a_moment_without_end_is_noticed() {
        assert_eq!(time_goes_on(EVENTS_AT_ONCE_MAX - 1, &"tick"), Ok(()));
        objects(time_goes_on(EVENTS_AT_ONCE_MAX, &"tick"), "stands still");
    }
}
