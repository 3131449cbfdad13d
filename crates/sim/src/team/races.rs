//! Finds data races: two workers touch a byte, one of them stores to it, and neither a barrier nor the
//! hand-over of a lock orders the two. What such a program loads is anything, so that nothing else that
//! is found in it counts.
//!
//! ```text
//!   worker's clock --release--> lock's clock --acquire--> next worker's clock
//!          |                                                     |
//!       store b at 5                              load b: is 5 in my clock? else they race
//! ```
//!
//! Source: vector clocks (Mattern 1989; Fidge 1988), and an entry for each worker and byte as in Djit+
//! (Pozniansky and Schuster, "Efficient on-the-fly data race detection in multithreaded C++ programs",
//! PPoPP 2003). It knows the order in which locks went round in this run: two accesses that they
//! ordered by chance are not reported.

use std::collections::BTreeMap;
use std::fmt;

use plurix_wire::SyncId;

use super::script::Spot;

/// One access of two that race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) worker: usize,
    pub(super) interval: usize,
    pub(super) stores: bool,
}

/// Two accesses that nothing orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Race {
    pub(super) spot: Spot,
    /// The region, counted from 0, and the byte's place in it.
    pub(super) region: usize,
    pub(super) offset: u64,
    pub(super) one: Access,
    pub(super) other: Access,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.stores { "stores" } else { "loads" };
        write!(
            f,
            "worker {} {verb} in interval {}",
            self.worker, self.interval
        )
    }
}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            spot,
            region,
            offset,
            one,
            other,
        } = self;
        write!(
            f,
            "byte {offset} of region {region} ({spot}): {one}, {other}, and no barrier or lock is \
             between them"
        )
    }
}

/// A clock for each worker.
type Clocks = Vec<u64>;

/// When a worker last loaded and stored a byte, by its own clock, and in which interval.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    load: Option<(u64, usize)>,
    store: Option<(u64, usize)>,
}

/// Watches all accesses of a run.
#[derive(Debug)]
pub(super) struct Races {
    workers: Vec<Clocks>,
    locks: BTreeMap<SyncId, Clocks>,
    bytes: BTreeMap<Spot, Vec<Last>>,
}

impl Races {
    pub(super) fn new(workers: usize) -> Self {
        let clocks = |worker| {
            let mut clocks = vec![0; workers];
            clocks[worker] = 1;
            clocks
        };
        Self {
            workers: (0..workers).map(clocks).collect(),
            locks: BTreeMap::new(),
            bytes: BTreeMap::new(),
        }
    }

    /// A worker has a lock, or sees a flag: what was done before its release was done before now.
    pub(super) fn acquire(&mut self, worker: usize, lock: SyncId) {
        if let Some(clocks) = self.locks.get(&lock) {
            join(&mut self.workers[worker], clocks);
        }
    }

    pub(super) fn release(&mut self, worker: usize, lock: SyncId) {
        self.locks.insert(lock, self.workers[worker].clone());
        self.workers[worker][worker] += 1;
    }

    /// All workers have come to a barrier.
    pub(super) fn barrier(&mut self) {
        let mut all = vec![0; self.workers.len()];
        self.workers
            .iter()
            .for_each(|clocks| join(&mut all, clocks));
        for (worker, clocks) in self.workers.iter_mut().enumerate() {
            clocks.clone_from(&all);
            clocks[worker] += 1;
        }
    }

    /// A worker touches a byte, which is byte `offset` of its region; answers the race that this makes.
    pub(super) fn access(
        &mut self,
        access: Access,
        spot: Spot,
        (region, offset): (usize, u64),
    ) -> Option<Race> {
        let known = &self.workers[access.worker];
        let bytes = self.bytes.entry(spot);
        let all = bytes.or_insert_with(|| vec![Last::default(); known.len()]);
        let own = Some((known[access.worker], access.interval));
        let last = &mut all[access.worker];
        match access.stores {
            true => last.store = own,
            false => last.load = own,
        }
        let is_new = |at: Option<(u64, usize)>, worker: usize| {
            at.filter(|(clock, _)| *clock > known[worker])
        };
        let others = all.iter().enumerate();
        let mut others = others.filter(|(worker, _)| *worker != access.worker);
        let other = others.find_map(|(worker, last)| {
            let store = is_new(last.store, worker).map(|(_, interval)| (interval, true));
            let load = is_new(last.load, worker).map(|(_, interval)| (interval, false));
            let (interval, stores) = store.or(load.filter(|_| access.stores))?;
            Some(Access {
                worker,
                interval,
                stores,
            })
        })?;
        Some(Race {
            spot,
            region,
            offset,
            one: other,
            other: access,
        })
    }
}

fn join(clocks: &mut Clocks, others: &Clocks) {
    for (clock, other) in clocks.iter_mut().zip(others) {
        *clock = (*clock).max(*other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_wire::PageNumber;

    const SPOT: Spot = Spot {
        page: PageNumber(1),
        at: 7,
    };
    const LOCK: SyncId = SyncId(0);

    fn touch(races: &mut Races, worker: usize, stores: bool) -> Option<Race> {
        let access = Access {
            worker,
            interval: 3,
            stores,
        };
        races.access(access, SPOT, (0, 4103))
    }

    #[test]
    fn two_accesses_race_if_one_stores_and_nothing_orders_them() {
        for (one, other) in [(true, true), (true, false), (false, true)] {
            let mut races = Races::new(2);
            assert_eq!(touch(&mut races, 0, one), None);
            let race = touch(&mut races, 1, other).expect("they race");
            assert_eq!((race.one.worker, race.other.worker), (0, 1));
            assert_eq!((race.one.stores, race.other.stores), (one, other));
            assert_eq!((race.region, race.offset, race.one.interval), (0, 4103, 3));
        }
        let mut races = Races::new(2);
        assert_eq!(touch(&mut races, 0, false), None);
        assert_eq!(touch(&mut races, 1, false), None);
    }

    #[test]
    fn a_barrier_orders_everything() {
        let mut races = Races::new(3);
        assert_eq!(touch(&mut races, 0, true), None);
        races.barrier();
        assert_eq!(touch(&mut races, 1, true), None);
        races.barrier();
        assert_eq!(touch(&mut races, 2, false), None);
        assert_eq!(touch(&mut races, 0, false), None);
        assert!(touch(&mut races, 1, true).is_some());
    }

    #[test]
    fn the_hand_over_of_a_lock_orders_what_was_before_it() {
        let mut races = Races::new(3);
        races.acquire(0, LOCK);
        assert_eq!(touch(&mut races, 0, true), None);
        races.release(0, LOCK);
        races.acquire(1, LOCK);
        assert_eq!(touch(&mut races, 1, true), None);
        races.release(1, LOCK);
        // Behind the release, and before the acquire of another lock.
        races.acquire(2, SyncId(1));
        assert!(touch(&mut races, 2, false).is_some());
        races.acquire(2, LOCK);
        assert_eq!(touch(&mut races, 2, false), None);
        assert!(touch(&mut races, 1, true).is_some());
    }
}
