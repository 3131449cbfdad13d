//! Whether to ask a socket again and again, or to sleep: asking answers sooner, but only where
//! nobody else needs the processor.
//!
//! Who asks without sleeping takes the processor from the very process that is to answer, if there
//! are more of them than processors. So whoever asks offers the processor to others now and then.
//! An offer that is taken shows that somebody needs it: then it is better to sleep, for this wait
//! and for a while, which grows as long as further offers are taken too.
//!
//! ```text
//!   ask 16 times --> offer --not taken--> ask again, until the time for asking is over
//!                      |
//!                      +--taken--> sleep, and do not ask for 1, 2, 4 ... 256 ms
//! ```

use std::thread;
use std::time::{Duration, Instant};

/// Looks at a socket between two offers of the processor to others, and two looks at the clock.
pub(crate) const LOOKS_PER_OFFER: u32 = 16;
/// An offer that nobody takes costs well below a microsecond; one that is taken, at least the
/// other's looks at its socket, or a time slice.
const TAKEN: Duration = Duration::from_micros(3);
/// How long to sleep at once after an offer was taken.
const REST_MIN: Duration = Duration::from_millis(1);
/// How long at most: a machine that is quiet again is noticed by then, and on one that is not, one
/// offer in this time is all that is lost.
const REST_MAX: Duration = Duration::from_millis(256);

/// Decides for one thread that waits.
#[derive(Debug)]
pub(crate) struct Spinner {
    /// How long to ask in one wait, at most.
    spin: Duration,
    /// Nothing is asked before this.
    rested: Instant,
    rest: Duration,
}

impl Spinner {
    /// One that asks for up to `spin` in each wait.
    pub(crate) fn new(spin: Duration) -> Self {
        Self {
            spin,
            rested: Instant::now(),
            rest: Duration::ZERO,
        }
    }

    /// Until when to ask in a wait that begins now; `begin` if not at all.
    pub(crate) fn until(&self, begin: Instant) -> Instant {
        if begin < self.rested {
            begin
        } else {
            begin + self.spin
        }
    }

    /// Offers the processor to others; answers whether to go on asking.
    pub(crate) fn offer(&mut self) -> bool {
        let before = Instant::now();
        thread::yield_now();
        self.offered(before, Instant::now())
    }

    fn offered(&mut self, before: Instant, after: Instant) -> bool {
        let taken = after.saturating_duration_since(before) >= TAKEN;
        if taken {
            self.rest = (self.rest * 2).clamp(REST_MIN, REST_MAX);
            self.rested = after + self.rest;
        } else {
            // By halves, because a crowd is not on this processor all the time.
            self.rest /= 2;
        }
        !taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    #[test]
    fn while_nobody_takes_the_processor_it_asks_to_the_end() {
        let mut spinner = Spinner::new(LONG);
        let now = Instant::now();
        assert!(spinner.offered(now, now));
        assert_eq!(spinner.until(now), now + LONG);
    }

    #[test]
    fn the_more_offers_are_taken_the_longer_it_sleeps_within_bounds() {
        let mut spinner = Spinner::new(LONG);
        let mut now = Instant::now();
        let mut rests = Vec::new();
        for _ in 0..20 {
            assert!(!spinner.offered(now, now + TAKEN));
            now += TAKEN;
            assert_eq!(spinner.until(now), now);
            rests.push(spinner.rested - now);
            now = spinner.rested;
            assert_eq!(spinner.until(now), now + LONG);
        }
        assert!(rests.is_sorted());
        assert_eq!((rests[0], rests[19]), (REST_MIN, REST_MAX));
    }

    #[test]
    fn once_the_machine_is_quiet_a_single_taken_offer_costs_little() {
        let mut spinner = Spinner::new(LONG);
        let now = Instant::now();
        (0..20).for_each(|_| assert!(!spinner.offered(now, now + TAKEN)));
        (0..20).for_each(|_| assert!(spinner.offered(now, now)));
        spinner.offered(now, now + TAKEN);
        assert_eq!(spinner.rested, now + TAKEN + REST_MIN);
    }
}
