//! The shortest round trip through some cities, by branch and bound: workers take the beginnings of
//! tours from a queue, and search what each of them can become.
//!
//! ```text
//!   under one lock   queue of beginnings, best bound first;  the best tour so far
//!                         │ take                                   │ ▲ report
//!                         ▼                                        ▼ │
//!   each worker      search all tours that begin so, but for those that cannot be as short
//! ```
//!
//! The lock is all that orders anything: a worker that knows of an older best tour searches more than
//! it had to, but finds the same. Of the shortest tours, the answer is the one that comes first when
//! they are ordered by their cities; so it is the same for any number of workers, whoever finds it.
//!
//! [`map`] holds the cities, [`queue`] what is behind the lock, as plain data of fixed size;
//! [`kernel`] is the search; [`serial`], [`threads()`] and the team's
//! [`Program`](plurix::team::Program) are whole runs.

mod app;
pub mod kernel;
pub mod map;
pub mod queue;
mod team;
mod threads;

use plurix::plain;

use crate::team::Checksum;
use kernel::{Best, Tour};
use map::Map;

pub use app::Options;
pub(crate) use app::{new, register};
pub use team::Shared;
pub use threads::threads;

/// The most cities that there can be: the fixed size of all that lists cities.
pub const CITIES_MAX: usize = 20;

/// What a run computes.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct TspOptions {
    /// How many cities there are.
    pub cities: u64,
    /// Chooses where they are.
    pub seed: u64,
}

impl Default for TspOptions {
    fn default() -> Self {
        Self {
            cities: 17,
            seed: 1,
        }
    }
}

/// Why there can be no such run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TspError {
    /// There is no round trip, or too many.
    #[error("a tour of {cities} cities cannot be searched; ask for 3 to {CITIES_MAX}")]
    Cities {
        /// How many there would be.
        cities: u64,
    },
}

/// A run that was found possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tsp(TspOptions);

/// What a run found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Of the length and the tour.
    pub checksum: u64,
    /// Of the shortest tour, back to where it began.
    pub length: u64,
    /// The cities in the order of the tour, from city 0; of both directions the one that comes
    /// first.
    pub tour: Vec<u8>,
    /// Whether `tour` visits every city once and is as long as `length` says.
    pub verified: bool,
}

impl Tsp {
    /// Checks `options`.
    ///
    /// # Errors
    /// [`TspError`] naming the option that makes the run impossible.
    pub fn new(options: TspOptions) -> Result<Self, TspError> {
        let cities = options.cities;
        if !(3..=CITIES_MAX as u64).contains(&cities) {
            return Err(TspError::Cities { cities });
        }
        Ok(Self(options))
    }

    /// The options that the run was made with.
    #[must_use]
    pub fn options(&self) -> &TspOptions {
        &self.0
    }

    /// The cities that the seed chooses.
    #[must_use]
    pub fn map(&self) -> Map {
        Map::generate(self.0.cities as usize, self.0.seed)
    }

    /// What is to be said of the best tour in the end.
    ///
    /// # Panics
    /// If `best` names cities that do not exist.
    #[must_use]
    pub fn outcome(&self, map: &Map, best: &Best) -> Outcome {
        let tour = best.cities[..map.cities()].to_vec();
        let mut checksum = Checksum::default();
        checksum.add(0, best.length.into());
        for (place, &city) in (1..).zip(&tour) {
            checksum.add(place, city.into());
        }
        let mut sorted = tour.clone();
        sorted.sort_unstable();
        let is_complete = sorted.into_iter().eq(0..map.cities() as u8);
        Outcome {
            checksum: checksum.finish(),
            length: best.length.into(),
            verified: is_complete && map.length(&tour) == best.length,
            tour,
        }
    }
}

/// The whole run, by the caller alone and without a queue.
#[must_use]
pub fn serial(tsp: &Tsp) -> Outcome {
    let map = tsp.map();
    let mut best = Best::none();
    kernel::search(&map, &Tour::first(&map), &mut best);
    tsp.outcome(&map, &best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cities: u64, seed: u64) -> Tsp {
        Tsp::new(TspOptions { cities, seed }).unwrap()
    }

    /// The length of the shortest tour, by Held and Karp's dynamic programming: of all ways through
    /// a set of cities that end in one of them, only the shortest matters.
    fn shortest(map: &Map) -> u32 {
        let n = map.cities();
        let mut ways = vec![vec![u32::MAX; n]; 1 << n];
        ways[1][0] = 0;
        for set in 1..1_usize << n {
            for last in (0..n).filter(|&city| set >> city & 1 == 1) {
                let length = ways[set][last];
                for next in (0..n).filter(|&city| set >> city & 1 == 0 && length < u32::MAX) {
                    let way = &mut ways[set | 1 << next][next];
                    *way = (*way).min(length + map.distance(last, next));
                }
            }
        }
        let all = &ways[(1 << n) - 1];
        (1..n)
            .map(|last| all[last] + map.distance(last, 0))
            .min()
            .unwrap()
    }

    #[test]
    fn impossible_runs_are_refused() {
        for cities in [0, 2, CITIES_MAX as u64 + 1, u64::MAX] {
            let options = TspOptions { cities, seed: 1 };
            assert_eq!(Tsp::new(options), Err(TspError::Cities { cities }));
        }
        assert!(Tsp::new(TspOptions::default()).is_ok());
    }

    #[test]
    fn no_tour_is_shorter() {
        for (cities, seed) in [(3, 1), (4, 2), (5, 3), (8, 4), (11, 5), (12, 6), (12, 7)] {
            let run = run(cities, seed);
            let outcome = serial(&run);
            assert!(outcome.verified, "{run:?}");
            assert_eq!(outcome.length, u64::from(shortest(&run.map())), "{run:?}");
        }
    }

    #[test]
    fn any_number_of_threads_finds_the_same() {
        for (cities, seed) in [(3, 1), (4, 1), (5, 9), (7, 2), (10, 3), (12, 4)] {
            let run = run(cities, seed);
            let expected = serial(&run);
            for workers in [1, 2, 3, 5, 8] {
                assert_eq!(threads(&run, workers), expected, "{run:?} by {workers}");
            }
        }
    }
}
