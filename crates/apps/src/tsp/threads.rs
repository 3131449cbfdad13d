//! The run by threads of one process, on plain memory: what any other way to share the queue is
//! compared with.

use std::sync::{Mutex, PoisonError};

use super::kernel::{self, Best, Tour};
use super::map::Map;
use super::queue::{Queue, ROOM, State};
use super::{Outcome, Tsp};
use crate::team;

/// The memory that a lock guards.
struct Shared {
    state: State,
    tours: Vec<Tour>,
}

/// The whole run, by `workers` threads.
///
/// # Panics
/// If `workers` is 0.
#[must_use]
pub fn threads(tsp: &Tsp, workers: usize) -> Outcome {
    assert!(workers > 0, "a team has at least one worker");
    let map = tsp.map();
    let first = Tour::first(&map);
    let mut shared = Shared {
        state: State::empty(),
        tours: vec![first; ROOM],
    };
    Queue::new(&mut shared.state, &mut shared.tours).push(first);
    let shared = Mutex::new(shared);
    team::run(workers, |_| work(&map, &shared));
    let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    tsp.outcome(&map, &shared.state.best)
}

/// What each worker does.
fn work(map: &Map, shared: &Mutex<Shared>) {
    let mut best = Best::none();
    while let Some((tour, known)) = take(map, shared, &best) {
        best = known;
        kernel::search(map, &tour, &mut best);
    }
}

fn take(map: &Map, shared: &Mutex<Shared>, found: &Best) -> Option<(Tour, Best)> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let Shared { state, tours } = &mut *shared;
    Queue::new(state, tours).take(map, found)
}
