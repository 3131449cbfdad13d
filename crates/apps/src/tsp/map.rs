//! The cities and what the search wants to know of them, in one piece of plain data that is written
//! once and read by all.

use plurix::plain;

use super::CITIES_MAX;
use crate::bank::SplitMix64;

/// Cities lie in a square of so many units a side.
const SQUARE: u64 = 1000;

/// The cities. All entries of cities that do not exist are 0.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct Map {
    cities: u32,
    distances: [[u32; CITIES_MAX]; CITIES_MAX],
    /// The distance of the nearest other city, for each.
    nearest: [u32; CITIES_MAX],
    /// The sum of the distances of the two nearest other cities, for each.
    two_nearest: [u32; CITIES_MAX],
    /// The other cities of each, the nearest first.
    by_distance: [[u8; CITIES_MAX]; CITIES_MAX],
}

impl Map {
    /// Cities at places that `seed` chooses. Distances are rounded down to integers, so that sums of
    /// them are exact.
    ///
    /// # Panics
    /// If there are less than 3 cities, or more than [`CITIES_MAX`].
    #[must_use]
    pub fn generate(cities: usize, seed: u64) -> Self {
        let mut generator = SplitMix64::new(seed);
        let places: Vec<[u64; 2]> = (0..cities)
            .map(|_| [generator.below(SQUARE), generator.below(SQUARE)])
            .collect();
        Self::new(cities, |a, b| {
            let [x, y] = [0, 1].map(|axis| places[a][axis].abs_diff(places[b][axis]));
            (x * x + y * y).isqrt() as u32
        })
    }

    /// Cities whose distances are told, which are the same in both directions.
    pub(super) fn new(cities: usize, distance: impl Fn(usize, usize) -> u32) -> Self {
        assert!((3..=CITIES_MAX).contains(&cities), "{cities} cities");
        let mut map = Self {
            cities: cities as u32,
            distances: [[0; CITIES_MAX]; CITIES_MAX],
            nearest: [0; CITIES_MAX],
            two_nearest: [0; CITIES_MAX],
            by_distance: [[0; CITIES_MAX]; CITIES_MAX],
        };
        for city in 0..cities {
            let mut others: Vec<_> = (0..cities)
                .filter(|&other| other != city)
                .map(|other| (distance(city, other), other))
                .collect();
            others.sort_unstable();
            map.nearest[city] = others[0].0;
            map.two_nearest[city] = others[0].0 + others[1].0;
            for (place, (distance, other)) in others.into_iter().enumerate() {
                map.distances[city][other] = distance;
                map.by_distance[city][place] = other as u8;
            }
        }
        map
    }

    /// How many there are.
    #[must_use]
    pub fn cities(&self) -> usize {
        self.cities as usize
    }

    /// From one city to another.
    #[must_use]
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        self.distances[from][to]
    }

    /// The other cities, the nearest first.
    #[must_use]
    pub fn others(&self, city: usize) -> &[u8] {
        &self.by_distance[city][..self.cities() - 1]
    }

    /// The length of a tour, back to where it began.
    #[must_use]
    pub fn length(&self, tour: &[u8]) -> u32 {
        let next = tour.iter().cycle().skip(1);
        let roads = tour.iter().zip(next);
        roads
            .map(|(&from, &to)| self.distance(from.into(), to.into()))
            .sum()
    }

    /// Twice what any tour is long at least. Every city has two roads of a tour, each of which it
    /// shares with another city, and these are no shorter than to its two nearest ones.
    pub(super) fn bound(&self) -> u32 {
        let others: u32 = self.two_nearest[1..].iter().sum();
        others + 2 * self.nearest[0]
    }

    /// What becomes of the [`bound`](Self::bound) if a tour goes on from one city to another that it
    /// has not been to: the road between them replaces one of either city's.
    pub(super) fn bound_after(&self, bound: u32, from: usize, to: usize) -> u32 {
        let road = 2 * self.distance(from, to) + self.nearest[to];
        bound + road - self.nearest[from] - self.two_nearest[to]
    }

    /// The same for the road that ends the tour, after which the bound is twice its length.
    pub(super) fn bound_at_end(&self, bound: u32, last: usize) -> u32 {
        bound + 2 * self.distance(last, 0) - self.nearest[last] - self.nearest[0]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn maps_are_symmetric_and_ordered(cities in 3..=CITIES_MAX, seed: u64) {
            let map = Map::generate(cities, seed);
            prop_assert_eq!(map.cities(), cities);
            for city in 0..cities {
                let others = map.others(city);
                let distances: Vec<_> = others.iter().map(|&other| map.distance(city, other.into())).collect();
                prop_assert!(distances.is_sorted() && distances.len() == cities - 1);
                prop_assert!(others.iter().all(|&other| usize::from(other) != city));
                prop_assert!((0..cities).all(|other| map.distance(city, other) == map.distance(other, city)));
            }
        }

        #[test]
        fn bounds_promise_no_more_than_the_length_and_end_there(cities in 3..=CITIES_MAX, seed: u64) {
            let map = Map::generate(cities, seed);
            let mut generator = SplitMix64::new(!seed);
            let mut tour: Vec<u8> = (0..cities as u8).collect();
            for place in 2..cities {
                tour.swap(place, 1 + generator.below(place as u64) as usize);
            }
            let twice = 2 * map.length(&tour);
            let mut bound = map.bound();
            for pair in tour.windows(2) {
                prop_assert!(bound <= twice);
                bound = map.bound_after(bound, pair[0].into(), pair[1].into());
            }
            prop_assert!(bound <= twice);
            prop_assert_eq!(map.bound_at_end(bound, tour[cities - 1].into()), twice);
        }
    }
}
