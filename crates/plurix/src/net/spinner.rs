//! Whether to ask a socket again and again, or to sleep: asking answers sooner, but only where
//! nobody else needs the processor.
//!
//! Who asks without sleeping takes the processor from the very process that is to answer, if there
//! are more of them than processors. So whoever asks offers the processor to others now and then,
//! and learns from how long it is gone who they are. One who waits, too, gives it back at once: then
//! both go on asking, in turns after each look, for to be woken costs more than a turn. One who
//! computes keeps it: then it is better to sleep, for this wait and for a while, which grows as long
//! as further offers are kept too.
//!
//! ```text
//!   look 32 times --> offer --not taken, < 3 µs-------> look 2, 4 ... 32 times
//!                       |
//!                       +--given back, < 100 µs-------> look once
//!                       |
//!                       +--kept, twice in a row-------> sleep, and do not ask for 1, 2 ... 256 ms
//!                       |
//!                       +--kept for a slice, > 1 ms,
//!                          and something has come----> the same, for at least 8 times as long
//! ```
//!
//! The last of these bounds what offers can cost: to one who computes goes a slice of the
//! scheduler's, some milliseconds, in which whoever asked for something waits, maybe on a processor
//! that is idle. To wake one who sleeps takes some microseconds.
//!
//! What is awaited may also be far away, such as a disk. Who has asked twice to the end in vain
//! sleeps at once for a while, too.

use std::thread;
use std::time::{Duration, Instant};

/// Most looks at a socket between two offers of the processor to others, and two looks at the
/// clock.
const LOOKS_MAX: u32 = 32;
/// Looks at shared memory, each with a pause, that take as long as one at a socket.
pub(crate) const GLANCES: u32 = 5;
/// An offer that nobody takes costs well below a microsecond; one that is taken, at least the
/// other's looks at its socket.
const TAKEN: Duration = Duration::from_micros(3);
/// Who keeps the processor for longer is computing, not waiting: the scheduler lets a computation go on
/// for a millisecond or more, while sixteen who wait, and now and then have a transaction to run,
/// give it back soon. (With 20 µs they took each other for computations.)
const KEPT: Duration = Duration::from_micros(100);
/// Who keeps it for so long has no wait of its own at all.
const SLICE: Duration = Duration::from_millis(1);
/// How much longer than such a loss to sleep at once. With 64 it costs those who wait, and are
/// taken for one who computes, more than it saves.
const REST_PER_SLICE: u32 = 8;
/// How long to sleep at once after the processor was kept.
const REST_MIN: Duration = Duration::from_millis(1);
/// How long at most: a machine that is quiet again is noticed by then, and on one that is not, one
/// offer in this time is all that is lost.
const REST_MAX: Duration = Duration::from_millis(256);

/// Decides for one thread that waits.
#[derive(Debug)]
pub(crate) struct Spinner {
    /// How long to ask in one wait, at most.
    spin: Duration,
    looks: u32,
    /// The last offer was taken by somebody who kept the processor.
    kept: bool,
    /// The last wait was asked through to the end, for nothing.
    in_vain: bool,
    /// The last offer cost a slice.
    lost: Option<Duration>,
    /// Nothing is asked before this.
    rested: Instant,
    rest: Duration,
    /// How long at most.
    rest_max: Duration,
}

impl Spinner {
    /// One that asks for up to `spin` in each wait.
    pub(crate) fn new(spin: Duration, now: Instant) -> Self {
        Self {
            spin,
            looks: LOOKS_MAX,
            kept: false,
            in_vain: false,
            lost: None,
            rested: now,
            rest: Duration::ZERO,
            rest_max: REST_MAX,
        }
    }

    /// One that never sleeps at once for longer than `most`: for waits that many answers come to, of
    /// which each would be late.
    pub(crate) fn resting_at_most(self, most: Duration) -> Self {
        Self {
            rest_max: most,
            ..self
        }
    }

    /// Until when to ask in a wait that begins now; `begin` if not at all.
    pub(crate) fn until(&self, begin: Instant) -> Instant {
        if self.is_resting(begin) {
            begin
        } else {
            begin + self.spin
        }
    }

    /// Whether a wait at `now` sleeps at once, because others need the processor, or because the
    /// answer takes longer than one asks.
    pub(crate) fn is_resting(&self, now: Instant) -> bool {
        now < self.rested
    }

    /// The time for asking was over at `now`, and nothing had come.
    pub(crate) fn asked_in_vain(&mut self, now: Instant) {
        self.lost = None;
        if std::mem::replace(&mut self.in_vain, true) {
            // Never for longer: the next thing that is waited for may be quick.
            self.rested = now + REST_MIN;
        }
    }

    /// Something came while it was asked for.
    pub(crate) fn found(&mut self) {
        self.in_vain = false;
        if let Some(lost) = self.lost.take() {
            // It had to wait for that slice.
            self.sleep_from(Instant::now(), lost * REST_PER_SLICE);
        }
    }

    /// From `now` on sleeps at once, for `least` or longer.
    fn sleep_from(&mut self, now: Instant, least: Duration) {
        self.rest = (self.rest * 2).max(least).min(self.rest_max);
        self.rested = now + self.rest;
    }

    /// How often to look at the socket before the next offer.
    pub(crate) fn looks(&self) -> u32 {
        self.looks
    }

    /// Offers the processor to others; answers whether to go on asking.
    pub(crate) fn offer(&mut self) -> bool {
        let begin = Instant::now();
        thread::yield_now();
        self.offered(begin, Instant::now())
    }

    fn offered(&mut self, begin: Instant, end: Instant) -> bool {
        let gone = end.saturating_duration_since(begin);
        let before = std::mem::replace(&mut self.kept, gone >= KEPT);
        self.lost = (gone >= SLICE && !before).then_some(gone);
        if self.kept {
            self.looks = 1;
            // One who waits, too, may be slow for once; one who computes keeps it each time.
            if before {
                self.sleep_from(end, REST_MIN);
            }
            return !before;
        }
        // By halves, because a crowd is not on this processor all the time.
        self.rest /= 2;
        self.looks = if gone >= TAKEN {
            1
        } else {
            (self.looks * 2).min(LOOKS_MAX)
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    #[test]
    fn while_nobody_takes_the_processor_it_asks_to_the_end() {
        let now = Instant::now();
        let mut spinner = Spinner::new(LONG, now);
        assert!(spinner.offered(now, now));
        assert_eq!(spinner.until(now), now + LONG);
        assert_eq!(spinner.looks(), LOOKS_MAX);
    }

    #[test]
    fn with_others_who_wait_it_takes_turns() {
        let now = Instant::now();
        let mut spinner = Spinner::new(LONG, now);
        for _ in 0..20 {
            assert!(spinner.offered(now, now + TAKEN));
            assert_eq!(spinner.looks(), 1);
        }
        assert_eq!(spinner.until(now), now + LONG);
        (0..20).for_each(|_| assert!(spinner.offered(now, now)));
        assert_eq!(spinner.looks(), LOOKS_MAX);
    }

    #[test]
    fn one_who_keeps_it_once_is_forgiven() {
        let now = Instant::now();
        let mut spinner = Spinner::new(LONG, now);
        for _ in 0..20 {
            assert!(spinner.offered(now, now + KEPT));
            assert!(spinner.offered(now, now + TAKEN));
        }
        assert_eq!(spinner.until(now), now + LONG);
    }

    #[test]
    fn after_a_slice_for_which_something_waited_it_sleeps_for_several() {
        let now = Instant::now();
        let mut spinner = Spinner::new(LONG, now);
        assert!(spinner.offered(now, now + 4 * SLICE));
        spinner.found();
        let rest = 4 * SLICE * REST_PER_SLICE;
        assert_eq!(spinner.rest, rest);
        assert!(spinner.is_resting(now + rest) && !spinner.is_resting(now + 2 * rest));
    }

    #[test]
    fn a_slice_for_which_nothing_waited_is_forgiven() {
        let now = Instant::now();
        let mut spinner = Spinner::new(LONG, now);
        assert!(spinner.offered(now, now + 4 * SLICE));
        assert!(spinner.offered(now, now));
        spinner.found();
        assert!(spinner.offered(now, now + 4 * SLICE));
        spinner.asked_in_vain(now);
        spinner.found();
        assert_eq!(spinner.until(now), now + LONG);
    }

    #[test]
    fn the_more_offers_are_kept_the_longer_it_sleeps_within_bounds() {
        let mut now = Instant::now();
        let mut spinner = Spinner::new(LONG, now);
        spinner.offered(now, now + KEPT);
        let mut rests = Vec::new();
        for _ in 0..20 {
            assert!(!spinner.offered(now, now + KEPT));
            now += KEPT;
            assert_eq!(spinner.until(now), now);
            rests.push(spinner.rested - now);
            now = spinner.rested;
            assert_eq!(spinner.until(now), now + LONG);
        }
        assert!(rests.is_sorted());
        assert_eq!((rests[0], rests[19]), (REST_MIN, REST_MAX));
    }

    #[test]
    fn once_the_machine_is_quiet_a_computation_costs_little() {
        let now = Instant::now();
        let mut spinner = Spinner::new(LONG, now);
        for _ in 0..20 {
            spinner.offered(now, now + KEPT);
        }
        (0..20).for_each(|_| assert!(spinner.offered(now, now)));
        spinner.offered(now, now + KEPT);
        spinner.offered(now, now + KEPT);
        assert_eq!(spinner.rested, now + KEPT + REST_MIN);
    }

    #[test]
    fn what_takes_longer_than_one_asks_is_slept_for() {
        let now = Instant::now();
        let mut spinner = Spinner::new(LONG, now);
        spinner.asked_in_vain(now);
        spinner.found();
        spinner.asked_in_vain(now);
        assert!(!spinner.is_resting(now));
        spinner.asked_in_vain(now);
        assert!(spinner.is_resting(now) && !spinner.is_resting(now + REST_MIN));
    }
}
