//! The run by a team of stations, on weak memory: what is behind the lock moves to whichever worker has
//! the lock.

use plurix::team::{Program, Region, Setup, Turn, Worker};
use plurix::{Result, plain};

use super::Tsp;
use super::kernel::{Best, Tour, search};
use super::map::Map;
use super::queue::{Queue, ROOM, State};

/// The lock of the queue.
const QUEUE: u32 = 0;

/// What is behind the lock.
#[plain]
pub struct Shared {
    state: Region<State>,
    tours: Region<Tour>,
}

impl Program for Tsp {
    type Data = Shared;
    type Output = Best;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Shared> {
        Ok(Shared {
            state: setup.region(1)?,
            tours: setup.region(ROOM)?,
        })
    }

    fn phase(&self, worker: &mut Worker<'_>, shared: &Shared, phase: u64) -> Result<Turn<Best>> {
        let map = self.map();
        if phase == 0 {
            if worker.index() == 0 {
                let mut state = worker.write(shared.state, 0..1)?;
                let mut tours = worker.write(shared.tours, 0..ROOM)?;
                state[0] = State::empty();
                Queue::new(&mut state[0], &mut tours).push(Tour::first(&map));
            }
            return Ok(Turn::Next);
        }
        if phase == 1 {
            let mut best = Best::none();
            while let Some((tour, known)) = take(worker, shared, &map, &best)? {
                best = known;
                search(&map, &tour, &mut best);
            }
            return Ok(Turn::Next);
        }
        Ok(Turn::Done(worker.read(shared.state, 0..1)?[0].best))
    }
}

/// Reports what was found, and takes the next beginning to search.
fn take(
    worker: &mut Worker<'_>,
    shared: &Shared,
    map: &Map,
    found: &Best,
) -> Result<Option<(Tour, Best)>> {
    let worker = worker.lock(QUEUE)?;
    let mut state = worker.write(shared.state, 0..1)?;
    let mut tours = worker.write(shared.tours, 0..ROOM)?;
    Ok(Queue::new(&mut state[0], &mut tours).take(map, found))
}
