//! `--chaos`: random kills, one strike a period, for a time.
//!
//! ```text
//!  set up      1st period        2nd period        3rd period       over
//!     |────────────×────|─×───────────────|──────────────××─|──────────►
//!                  one    one, and its successor         two at once
//! ```
//!
//! The seed decides who is killed when, to the nanosecond of the plan. What each process is doing at
//! that moment it does not decide: that is the real world's part.

mod draw;

use std::time::Duration;

use clap::Args;

use crate::Usage;
use crate::units::{parse_duration, show_duration};
use draw::Draw;
pub(super) use draw::{Strike, StrikeKind};

/// In less than this nobody comes back, so a run would make no progress.
const EVERY_MIN: Duration = Duration::from_millis(50);
const EVERY: Duration = Duration::from_secs(1);
/// A program that works as long as chaos lasts goes on for this long, so that one sees how the last
/// victims come back.
pub(super) const AFTERMATH: Duration = Duration::from_secs(1);

/// What the user wants of chaos.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChaosOptions {
    /// Kill -9 processes at random for so long after the program was set up, the page server
    /// included. Most strikes hit one process; some two at once, some all at once, and some hit a
    /// process and then its successor while that is just coming back. A program without a fixed
    /// amount of work (bank) works as long.
    #[arg(
        long, global = true, value_name = "TIME", help_heading = "Chaos",
        value_parser = parse_duration
    )]
    chaos: Option<Duration>,
    /// Strike once in each period of this length, somewhere in it [default: 1s].
    #[arg(
        long, global = true, value_name = "TIME", help_heading = "Chaos",
        value_parser = parse_duration
    )]
    chaos_every: Option<Duration>,
    /// Draw the strikes from this number [default: another one each time, which is told].
    #[arg(long, global = true, value_name = "N", help_heading = "Chaos")]
    chaos_seed: Option<u64>,
}

impl ChaosOptions {
    /// How long chaos shall last, if there shall be any.
    pub(super) fn time(&self) -> Option<Duration> {
        self.chaos
    }

    /// The chaos that is wanted, among so many stations.
    pub(super) fn plan(&self, stations: u32) -> Result<Option<Chaos>, Usage> {
        let every = self.chaos_every.unwrap_or(EVERY);
        let Some(time) = self.chaos else {
            return match (self.chaos_every, self.chaos_seed) {
                (None, None) => Ok(None),
                _ => Err(Usage(
                    "--chaos-every and --chaos-seed say how --chaos kills; give --chaos TIME, too"
                        .to_owned(),
                )),
            };
        };
        if every < EVERY_MIN {
            return Err(Usage(format!(
                "--chaos-every {}: nobody comes back in less than {}; give at least that",
                show_duration(every),
                show_duration(EVERY_MIN)
            )));
        }
        if time < every {
            return Err(Usage(format!(
                "--chaos {}: too short for one strike every {}; make it longer, or give a shorter \
                 --chaos-every",
                show_duration(time),
                show_duration(every)
            )));
        }
        let seed = self.chaos_seed.unwrap_or_else(any_seed);
        let draw = Draw::new(seed, every, time, stations);
        Ok(Some(Chaos::new(seed, every, time, draw)))
    }
}

/// A seed that is short enough to be typed.
fn any_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's only source of randomness.
    RandomState::new().hash_one(0u8) % 1_000_000
}

/// The strikes still to come.
#[derive(Debug)]
pub(super) struct Chaos {
    pub(super) seed: u64,
    pub(super) every: Duration,
    pub(super) time: Duration,
    draw: Draw,
    next: Option<Strike>,
}

impl Chaos {
    fn new(seed: u64, every: Duration, time: Duration, mut draw: Draw) -> Self {
        let next = draw.next();
        Self {
            seed,
            every,
            time,
            draw,
            next,
        }
    }

    /// When the next strike is due, since the program was set up.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next.as_ref().map(|strike| strike.at)
    }

    /// Takes a strike that is due at `now`.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Strike> {
        let due = self.next.take_if(|strike| strike.at <= now)?;
        self.next = self.draw.next();
        Some(due)
    }

    /// Whether all strikes have come.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(chaos: Option<u64>, every: Option<u64>, seed: Option<u64>) -> ChaosOptions {
        ChaosOptions {
            chaos: chaos.map(Duration::from_millis),
            chaos_every: every.map(Duration::from_millis),
            chaos_seed: seed,
        }
    }

    #[test]
    fn what_makes_no_chaos_is_wrong_usage() {
        for (wished, word) in [
            (options(Some(0), None, None), "too short"),
            (options(Some(900), None, None), "too short"),
            (options(Some(900), Some(1000), None), "too short"),
            (options(Some(900), Some(0), None), "at least"),
            (options(None, Some(500), None), "--chaos TIME"),
            (options(None, None, Some(1)), "--chaos TIME"),
        ] {
            let Usage(text) = wished.plan(2).unwrap_err();
            assert!(text.contains(word), "{text}");
        }
        assert!(options(None, None, None).plan(2).unwrap().is_none());
    }

    #[test]
    fn strikes_are_taken_when_they_are_due() {
        let mut chaos = options(Some(3000), None, Some(1)).plan(2).unwrap().unwrap();
        let mut taken = 0;
        while let Some(at) = chaos.next() {
            assert!(chaos.take_due(at - Duration::from_nanos(1)).is_none());
            assert_eq!(chaos.take_due(at).unwrap().at, at);
            taken += 1;
        }
        assert!(chaos.is_over() && taken == 3);
    }
}
