//! How long workers have waited, for whoever looks from outside while they wait or compute.
//!
//! What a worker shows is one number, so that it is never seen half changed: while it computes, how long
//! it has waited; while it waits, how long it has computed, which stands still then. Either gives the
//! other one at any moment, and a wait is seen as it grows, not only when it is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Set in what a worker shows while it waits.
const WAITS: u64 = 1 << 63;

/// What the workers of a station show.
#[derive(Debug)]
pub(super) struct Waits {
    begin: Instant,
    shown: Vec<Shown>,
}

/// In a line of its own, as its worker writes it at each barrier.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shown(AtomicU64);

/// One worker's side.
#[derive(Debug)]
pub(super) struct WaitClock<'t> {
    begin: Instant,
    waited: Duration,
    shown: &'t AtomicU64,
}

impl Waits {
    /// Of so many workers, who begin now.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            begin: Instant::now(),
            shown: (0..workers).map(|_| Shown::default()).collect(),
        }
    }

    /// How many workers there are.
    pub(super) fn count(&self) -> usize {
        self.shown.len()
    }

    /// Time since the workers began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// The clocks, by worker.
    pub(super) fn clocks(&self) -> impl Iterator<Item = WaitClock<'_>> {
        self.shown.iter().map(|shown| WaitClock {
            begin: self.begin,
            waited: Duration::ZERO,
            shown: &shown.0,
        })
    }

    /// How long each worker has waited, when `elapsed` have passed since they began.
    pub(super) fn at(&self, elapsed: Duration) -> impl Iterator<Item = Duration> {
        self.shown.iter().map(move |shown| {
            let shown = shown.0.load(Ordering::Relaxed);
            let time = Duration::from_nanos(shown & !WAITS);
            let waited = match shown & WAITS {
                0 => time,
                // It may have begun to wait after `elapsed` was read.
                _ => elapsed.saturating_sub(time),
            };
            waited.min(elapsed)
        })
    }
}

impl WaitClock<'_> {
    /// The worker waits from now on.
    pub(super) fn start(&self) -> Instant {
        let now = Instant::now();
        let computed = (now - self.begin).saturating_sub(self.waited);
        self.shown.store(WAITS | ns(computed), Ordering::Relaxed);
        now
    }

    /// The worker has waited since `start`.
    pub(super) fn stop(&mut self, start: Instant) {
        self.waited += start.elapsed();
        self.shown.store(ns(self.waited), Ordering::Relaxed);
    }

    /// How long it has waited so far.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }
}

/// A time as the heap has it, which 292 years fit in.
pub(super) fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) & !WAITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seen_while_it_lasts_and_afterwards() {
        let waits = Waits::new(2);
        let mut clocks = waits.clocks();
        let (mut first, second) = (clocks.next().unwrap(), clocks.next().unwrap());
        let at = |elapsed| waits.at(elapsed).collect::<Vec<_>>();
        let hour = Duration::from_secs(3600);
        assert_eq!(at(hour), [Duration::ZERO; 2]);

        let start = first.start();
        second.start();
        let [early, late] = [at(hour), at(2 * hour)];
        // They computed for moments, and have waited since.
        assert!(early.iter().all(|waited| *waited > hour / 2), "{early:?}");
        let grown = late.iter().zip(&early).map(|(late, early)| *late - *early);
        assert_eq!(grown.collect::<Vec<_>>(), [hour; 2]);

        first.stop(start);
        assert_eq!(at(hour)[0], first.waited());
        assert_eq!(at(hour), [first.waited(), early[1]]);
    }

    #[test]
    fn nobody_has_waited_longer_than_there_was_time() {
        let waits = Waits::new(1);
        let mut clock = waits.clocks().next().unwrap();
        let start = clock.start();
        clock.stop(start);
        assert_eq!(waits.at(Duration::ZERO).next(), Some(Duration::ZERO));
    }
}
