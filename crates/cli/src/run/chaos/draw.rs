//! Draws the strikes of a seed: the same ones on every machine, whatever happens in the run.

use std::time::Duration;

use plurix_apps::bank::SplitMix64;
use serde::Serialize;

use crate::run::plan::Who;

/// Of a hundred strikes, how many are of each kind; the others hit one process.
const TWO: u64 = 12;
const ALL: u64 = 8;
const AGAIN: u64 = 20;
/// A successor that is killed while it comes back is so old at most. A station is back after a few
/// milliseconds; a page server takes longer the longer its log is.
const STATION_AGAIN_MAX: Duration = Duration::from_millis(5);
const SERVER_AGAIN_MAX: Duration = Duration::from_millis(50);

/// Whom a strike hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::run) enum StrikeKind {
    /// Whom the user has named with `--kill`.
    Planned,
    /// One process.
    One,
    /// Two processes at the same time.
    Two,
    /// All processes at the same time.
    All,
    /// One process, and then its successor.
    Again,
}

impl StrikeKind {
    /// As a word in a table.
    pub(in crate::run) fn name(self) -> &'static str {
        match self {
            Self::Planned => "plan",
            Self::One => "one",
            Self::Two => "two",
            Self::All => "all",
            Self::Again => "again",
        }
    }
}

/// What happens in one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct Strike {
    /// After the program was set up.
    pub(in crate::run) at: Duration,
    pub(in crate::run) kind: StrikeKind,
    pub(in crate::run) victims: Vec<Who>,
    /// The successor of the first victim is killed so long after it was started.
    pub(in crate::run) again_after: Option<Duration>,
}

/// The strikes, one after the other.
#[derive(Debug)]
pub(super) struct Draw {
    generator: SplitMix64,
    every: Duration,
    /// When the next period begins.
    period: Duration,
    end: Duration,
    stations: u32,
}

impl Draw {
    pub(super) fn new(seed: u64, every: Duration, time: Duration, stations: u32) -> Self {
        Self {
            generator: SplitMix64::new(seed),
            every,
            period: Duration::ZERO,
            end: time,
            stations,
        }
    }

    fn below(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.generator.below(nanos.max(1)))
    }

    /// Any process, the page server included, each as likely as the others.
    fn victim(&mut self) -> Who {
        match self.generator.below(u64::from(self.stations) + 1) {
            0 => Who::Server,
            number => Who::Station(number as u32),
        }
    }

    fn victims(&mut self, kind: StrikeKind) -> Vec<Who> {
        let first = self.victim();
        match kind {
            StrikeKind::All => {
                let stations = (1..=self.stations).map(Who::Station);
                std::iter::once(Who::Server).chain(stations).collect()
            }
            StrikeKind::Two => loop {
                let second = self.victim();
                if second != first {
                    break vec![first, second];
                }
            },
            _ => vec![first],
        }
    }
}

impl Iterator for Draw {
    type Item = Strike;

    fn next(&mut self) -> Option<Strike> {
        let begin = self.period;
        self.period = begin.checked_add(self.every)?;
        if self.period > self.end {
            return None;
        }
        let at = begin + self.below(self.every);
        let kind = match self.generator.below(100) {
            ..TWO => StrikeKind::Two,
            dice if dice < TWO + ALL => StrikeKind::All,
            dice if dice < TWO + ALL + AGAIN => StrikeKind::Again,
            _ => StrikeKind::One,
        };
        let victims = self.victims(kind);
        let again_after = self.below(match victims[0] {
            Who::Server => SERVER_AGAIN_MAX,
            Who::Station(_) => STATION_AGAIN_MAX,
        });
        Some(Strike {
            at,
            kind,
            victims,
            again_after: (kind == StrikeKind::Again).then_some(again_after),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn strikes(seed: u64) -> Vec<Strike> {
        let ms = Duration::from_millis;
        Draw::new(seed, ms(100), ms(100_050), 3).collect()
    }

    #[test]
    fn there_is_one_strike_in_each_period_and_none_in_a_broken_one() {
        let strikes = strikes(7);
        assert_eq!(strikes.len(), 1000);
        for (index, strike) in (0u32..).zip(&strikes) {
            let begin = Duration::from_millis(100) * index;
            assert!((begin..begin + Duration::from_millis(100)).contains(&strike.at));
        }
    }

    #[test]
    fn a_seed_decides_everything() {
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
    }

    #[test]
    fn every_kind_and_every_process_comes_up() {
        let mut kinds = BTreeMap::new();
        let mut hit = BTreeSet::new();
        for strike in strikes(7) {
            *kinds.entry(strike.kind).or_insert(0) += 1;
            let victims: BTreeSet<_> = strike.victims.iter().copied().collect();
            let expected = match strike.kind {
                StrikeKind::All => 4,
                StrikeKind::Two => 2,
                _ => 1,
            };
            assert_eq!((victims.len(), strike.victims.len()), (expected, expected));
            assert_eq!(
                strike.again_after.is_some(),
                strike.kind == StrikeKind::Again
            );
            if expected == 1 {
                hit.extend(victims);
            }
        }
        assert_eq!((kinds.len(), hit.len()), (4, 4), "{kinds:?}");
        assert!(kinds[&StrikeKind::All] > 40 && kinds[&StrikeKind::One] > 500);
    }
}
