//! A point in time that all processes of this machine understand: members say when something
//! happened to them, and their supervisor puts it beside what it saw itself.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC`, which is one clock for all processes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let nanos = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        Self(nanos)
    }

    /// `instant`, which is of the same clock but does not tell its number.
    pub(crate) fn of(instant: Instant) -> Self {
        let (now, here) = (Self::now(), Instant::now());
        match here.checked_duration_since(instant) {
            Some(ago) => now.before(ago),
            None => now.after(instant.duration_since(here)),
        }
    }

    /// Zero if `earlier` is none.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    pub(crate) fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(time)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_keep_their_distances() {
        let first = Instant::now();
        let second = first + Duration::from_millis(70);
        let apart = Moment::of(second).since(Moment::of(first));
        // Between the two conversions the clocks are read again.
        assert!(apart >= Duration::from_millis(69), "{apart:?}");
        assert_eq!(Moment::of(first).since(Moment::of(second)), Duration::ZERO);
    }
}
