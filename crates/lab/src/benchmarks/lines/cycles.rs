//! A team that changes a fifth of its memory between two recovery lines, and takes down when each of its
//! phases began and ended.
//!
//! ```text
//!   cut ─► first pass ─► second pass ─► empty phases … ─► one until a line is due ─► cut
//!          pages are closed, and copied                   the last phase of a cycle
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use plurix::team::{Turn, Worker};

use super::Own;
use crate::rounds::monotonic_ns;

/// Phases of a cycle.
pub(super) const PHASES: u64 = 64;
/// Of these, the first ones store to the pages that change.
pub(super) const PASSES: u64 = 2;
/// One page in so many changes.
const SHARE: usize = 5;
/// Who waits for a time asks the clock for so long at its end: to be woken takes longer than a barrier.
const AWAKE: Duration = Duration::from_millis(5);

/// See the module's text.
pub(super) struct Cycles {
    /// Neighbours that change together.
    run: usize,
    every: Duration,
    /// How many are measured, besides the first one, which has all pages in its line.
    count: u64,
    /// When each phase began and ended.
    stamps: Mutex<Vec<(u64, u64)>>,
}

impl Cycles {
    pub(super) fn new(run: usize, every: Duration, count: u64) -> Self {
        // The last phase and one barrier more.
        let phases = (count + 1) * PHASES + 2;
        Self {
            run,
            every,
            count,
            stamps: Mutex::new(Vec::with_capacity(phases as usize)),
        }
    }

    /// Says what was taken down.
    pub(super) fn say(&self) {
        let stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        for (begin, end) in stamps.iter() {
            println!("phase {begin} {end}");
        }
    }

    pub(super) fn phase(
        &self,
        worker: &Worker<'_>,
        own: &Own,
        phase: u64,
    ) -> plurix::Result<Turn<()>> {
        let begin = monotonic_ns();
        let turn = self.work(worker, own, phase);
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        stamps.push((begin, monotonic_ns()));
        turn
    }

    fn work(&self, worker: &Worker<'_>, own: &Own, phase: u64) -> plurix::Result<Turn<()>> {
        let begin = Instant::now();
        if phase == 0 {
            own.fill(worker)?;
            sleep_until(begin + self.every);
            return Ok(Turn::Next);
        }
        let (cycle, at) = ((phase - 1) / PHASES, (phase - 1) % PHASES);
        if cycle > self.count {
            // The last line shall be taken as well.
            sleep_until(begin + 3 * self.every);
            return Ok(Turn::Done(()));
        }
        if at < PASSES {
            let changes = |page: usize| (page / self.run).is_multiple_of(SHARE);
            own.touch(worker, phase as u8, changes)?;
        } else if at == PHASES - 1 {
            // The first line has five times the pages of any other, and must be on disk.
            let lines = if cycle == 0 { 5 } else { 1 };
            sleep_until(begin + lines * self.every);
        }
        Ok(Turn::Next)
    }
}

fn sleep_until(end: Instant) {
    let left = end.saturating_duration_since(Instant::now());
    std::thread::sleep(left.saturating_sub(AWAKE));
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
