//! What is behind the lock: the beginnings of tours that nobody has taken yet, and the best tour that
//! was reported.
//!
//! The queue is a binary heap in an array of fixed size, and names its elements by their numbers: it
//! can lie in any memory, and be taken up by whoever has the lock.
//!
//! Beginnings of few cities are replaced by all that they can become by one city more, as they are
//! taken; longer ones are left to the search. So only takers add to the queue, and who finds it empty
//! knows that it remains so.

use plurix::plain;

use super::kernel::{Best, Tour};
use super::map::Map;

/// The cities of a beginning that is long enough to be searched as a whole. All beginnings of this
/// length are some thousand searches, enough to keep many workers busy to the end.
const SEARCHED_CITIES: u32 = 4;

/// Room for as many tours as no queue has more of: the largest map has fewer beginnings of the length
/// that is searched.
pub const ROOM: usize = 19 * 18 * 17;

/// What must be known of the queue besides its tours.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    /// The best tour that was reported.
    pub best: Best,
    /// How many tours are in the queue.
    pub queued: u32,
    /// How many beginnings were taken.
    pub taken: u32,
}

/// The queue, for who has the lock.
#[derive(Debug)]
pub struct Queue<'a> {
    state: &'a mut State,
    /// The first [`State::queued`] are a heap: those at places 2i + 1 and 2i + 2 do not come before
    /// the one at place i.
    tours: &'a mut [Tour],
}

impl State {
    /// Of a queue in which is nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            best: Best::none(),
            queued: 0,
            taken: 0,
        }
    }
}

impl<'a> Queue<'a> {
    /// The queue in this memory.
    ///
    /// # Panics
    /// If there is less memory than the state says.
    #[must_use]
    pub fn new(state: &'a mut State, tours: &'a mut [Tour]) -> Self {
        assert!(state.queued as usize <= tours.len(), "tours are missing");
        Self { state, tours }
    }

    /// Adds a tour, if there is room.
    pub fn push(&mut self, tour: Tour) -> bool {
        let mut place = self.state.queued as usize;
        if place == self.tours.len() {
            return false;
        }
        self.tours[place] = tour;
        self.state.queued += 1;
        while place > 0 && rank(&self.tours[place]) < rank(&self.tours[(place - 1) / 2]) {
            self.tours.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        true
    }

    /// Reports what was found by the search before, and answers the next beginning to search with the
    /// best tour of all that was reported; `None` if nothing is left.
    pub fn take(&mut self, map: &Map, found: &Best) -> Option<(Tour, Best)> {
        self.state.best.improve(found);
        let best = self.state.best;
        while let Some(tour) = self.pop() {
            if best.excludes(tour.bound) {
                // All others have no smaller bound.
                self.state.queued = 0;
                return None;
            }
            let room = self.tours.len() - self.state.queued as usize;
            if tour.count >= self.searched_cities(map) || room < map.cities() {
                self.state.taken += 1;
                return Some((tour, best));
            }
            for longer in tour.successors(map, &best) {
                self.push(longer);
            }
        }
        None
    }

    /// No beginning is split into whole tours, which are not for the search.
    fn searched_cities(&self, map: &Map) -> u32 {
        SEARCHED_CITIES.min(map.cities() as u32 - 1)
    }

    /// The tour of the smallest bound.
    fn pop(&mut self) -> Option<Tour> {
        let last = self.state.queued.checked_sub(1)? as usize;
        self.state.queued -= 1;
        self.tours.swap(0, last);
        let first = self.tours[last];
        let heap = &mut self.tours[..last];
        let mut place = 0;
        loop {
            let children = (2 * place + 1)..heap.len().min(2 * place + 3);
            let Some(least) = children.min_by_key(|&child| rank(&heap[child])) else {
                return Some(first);
            };
            if rank(&heap[place]) <= rank(&heap[least]) {
                return Some(first);
            }
            heap.swap(place, least);
            place = least;
        }
    }
}

/// The order of the queue: of equal bounds, those first that are further.
fn rank(tour: &Tour) -> (u32, u32) {
    (tour.bound, u32::MAX - tour.count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{CITIES_MAX, kernel};
    use super::*;

    fn tour(bound: u32) -> Tour {
        Tour {
            bound,
            count: 1,
            visited: 1,
            cities: [0; CITIES_MAX],
        }
    }

    proptest! {
        #[test]
        fn tours_come_by_their_bounds(bounds in prop::collection::vec(0u32..100, 0..50), room in 0usize..60) {
            let (mut state, mut tours) = (State::empty(), vec![tour(0); room]);
            let mut queue = Queue::new(&mut state, &mut tours);
            for (index, &bound) in bounds.iter().enumerate() {
                prop_assert_eq!(queue.push(tour(bound)), index < room);
            }
            let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|tour| tour.bound).collect();
            let mut expected = bounds[..bounds.len().min(room)].to_vec();
            expected.sort_unstable();
            prop_assert_eq!(popped, expected);
        }

        #[test]
        fn however_little_room_there_is_the_best_is_found(
            cities in 3usize..9, seed: u64, room in 1usize..100,
        ) {
            let map = Map::generate(cities, seed);
            let (mut expected, mut best) = (Best::none(), Best::none());
            kernel::search(&map, &Tour::first(&map), &mut expected);
            let (mut state, mut tours) = (State::empty(), vec![tour(0); room]);
            let mut queue = Queue::new(&mut state, &mut tours);
            prop_assert!(queue.push(Tour::first(&map)));
            while let Some((tour, known)) = queue.take(&map, &best) {
                best = known;
                kernel::search(&map, &tour, &mut best);
            }
            prop_assert_eq!(state.best, expected);
        }
    }
}
