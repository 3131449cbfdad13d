//! A machine's clock. Nothing agrees with virtual time but the simulator: each clock has begun at a
//! moment of its own and runs too fast or too slow. It never goes back, as CLOCK_MONOTONIC never
//! does; that is all that the protocol may rely on.

use plurix_protocol::{Span, Time};

/// A clock that keeps exact time.
pub(crate) const EXACT_PERMILLE: u64 = 1000;

/// What one machine takes for the time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// It has run at this rate since then, when it showed `shown`.
    since: Time,
    shown: Time,
    /// Thousandths of a second that it counts in a second.
    permille: u64,
}

impl Clock {
    /// A clock that shows `shown` at the beginning of virtual time.
    pub(crate) fn new(shown: Time, permille: u64) -> Self {
        Self {
            since: Time(0),
            shown,
            permille,
        }
    }

    /// What it shows at `now`.
    pub(crate) fn at(&self, now: Time) -> Time {
        let passed = u128::from(now.since(self.since).0) * u128::from(self.permille);
        self.shown + Span((passed / u128::from(EXACT_PERMILLE)) as u64)
    }

    /// When it will first show `shown` or more.
    pub(crate) fn when(&self, shown: Time) -> Time {
        let ahead = u128::from(shown.since(self.shown).0) * u128::from(EXACT_PERMILLE);
        let span = ahead.div_ceil(u128::from(self.permille));
        self.since + Span(u64::try_from(span).unwrap_or(u64::MAX))
    }

    /// From `now` on it runs at another rate, after a leap forward.
    pub(crate) fn disturb(&mut self, now: Time, permille: u64, leap: Span) {
        self.shown = self.at(now) + leap;
        self.since = now;
        self.permille = permille;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_shown_when_it_is_due() {
        for permille in [500, 999, 1000, 1001, 2000] {
            let mut clock = Clock::new(Time(12_345), permille);
            clock.disturb(Time(7), permille + 1, Span(3));
            for shown in 12_400..12_500 {
                let due = clock.when(Time(shown));
                assert!(clock.at(due) >= Time(shown));
                assert!(clock.at(Time(due.0 - 1)) < Time(shown));
            }
        }
    }

    #[test]
    fn what_is_never_due_stays_so() {
        let clock = Clock::new(Time(5), 2000);
        assert!(clock.when(Time(u64::MAX)) > Time(u64::MAX / 3));
        assert_eq!(
            Clock::new(Time(5), 500).when(Time(u64::MAX)),
            Time(u64::MAX)
        );
    }
}
