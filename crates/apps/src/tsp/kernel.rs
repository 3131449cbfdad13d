//! The search itself: what one worker does with the beginning of a tour that it has taken.

use plurix::plain;

use super::CITIES_MAX;
use super::map::Map;

/// The beginning of a tour, from city 0, or a whole one.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct Tour {
    /// Twice what any tour that begins so is long at least; twice its length if it is whole.
    pub bound: u32,
    /// How many cities it has visited.
    pub count: u32,
    /// A bit for each of them.
    pub visited: u32,
    /// In the order of the tour; the rest is 0.
    pub cities: [u8; CITIES_MAX],
}

/// The shortest tour known, and of these the first in the order of their cities.
#[plain]
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Best {
    /// Its length; the largest number if there is none.
    pub length: u32,
    /// Its cities.
    pub cities: [u8; CITIES_MAX],
}

impl Best {
    /// None is known.
    #[must_use]
    pub fn none() -> Self {
        Self {
            length: u32::MAX,
            cities: [0; CITIES_MAX],
        }
    }

    /// Takes over what another worker has found, if that is better.
    pub fn improve(&mut self, other: &Self) {
        *self = (*self).min(*other);
    }

    /// Whether nothing as good has such a bound.
    pub(super) fn excludes(&self, bound: u32) -> bool {
        u64::from(bound) > 2 * u64::from(self.length)
    }
}

impl Tour {
    /// That of which nothing is known but where it begins.
    #[must_use]
    pub fn first(map: &Map) -> Self {
        Self {
            bound: map.bound(),
            count: 1,
            visited: 1,
            cities: [0; CITIES_MAX],
        }
    }

    fn last(&self) -> usize {
        self.cities[self.count as usize - 1].into()
    }

    /// The tour one city further, and back to its begin if that is the last; `None` if it has been
    /// there, or if all that it can become is worse than `best` or is another tour backwards.
    #[inline]
    fn with(&self, map: &Map, next: usize, best: &Best) -> Option<Self> {
        if self.visited >> next & 1 != 0 {
            return None;
        }
        let mut bound = map.bound_after(self.bound, self.last(), next);
        let count = self.count + 1;
        if count as usize == map.cities() {
            bound = map.bound_at_end(bound, next);
        }
        if best.excludes(bound) {
            return None;
        }
        let (mut cities, visited) = (self.cities, self.visited | 1 << next);
        cities[self.count as usize] = next as u8;
        // Of the two directions of a tour, only the one counts whose second city has a smaller
        // number than the last.
        let all = (1_u32 << map.cities()) - 1;
        let last = if visited == all {
            1 << next
        } else {
            all & !visited
        };
        (last >> cities[1] > 1).then_some(Self {
            bound,
            count,
            visited,
            cities,
        })
    }

    /// All that the tour can become by one city more, the nearest first, but for what is no better
    /// than `best`, of which the last may be whole.
    pub(super) fn successors<'a>(
        &'a self,
        map: &'a Map,
        best: &'a Best,
    ) -> impl Iterator<Item = Self> + 'a {
        let others = map.others(self.last()).iter();
        others.filter_map(move |&next| self.with(map, next.into(), best))
    }
}

/// Searches all tours that begin with `tour`, and makes `best` the best of them and itself.
///
/// # Panics
/// If `tour` is of another map.
pub fn search(map: &Map, tour: &Tour, best: &mut Best) {
    for &next in map.others(tour.last()) {
        let Some(longer) = tour.with(map, next.into(), best) else {
            continue;
        };
        if longer.count as usize == map.cities() {
            best.improve(&Best {
                length: longer.bound / 2,
                cities: longer.cities,
            });
        } else {
            search(map, &longer, best);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The best of all tours, each of which is looked at.
    fn best_of_all(map: &Map, tour: &mut Vec<u8>, best: &mut Best) {
        if tour.len() == map.cities() {
            let mut cities = [0; CITIES_MAX];
            cities[..tour.len()].copy_from_slice(tour);
            let length = map.length(tour);
            best.improve(&Best { length, cities });
        }
        for next in 0..map.cities() as u8 {
            if !tour.contains(&next) {
                tour.push(next);
                best_of_all(map, tour, best);
                tour.pop();
            }
        }
    }

    proptest! {
        #[test]
        fn the_best_is_the_first_of_the_shortest(
            cities in 3usize..8, distances in prop::collection::vec(1u32..4, CITIES_MAX * CITIES_MAX),
        ) {
            // There are many tours of one length if there are few distances.
            let map = Map::new(cities, |a, b| distances[a.min(b) * CITIES_MAX + a.max(b)]);
            let (mut expected, mut best) = (Best::none(), Best::none());
            best_of_all(&map, &mut vec![0], &mut expected);
            search(&map, &Tour::first(&map), &mut best);
            prop_assert_eq!(best, expected);
        }
    }
}
