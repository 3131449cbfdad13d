//! What a station counts of itself for others to see. It is kept with the driver, whose lock is held
//! anyway wherever there is something to count, and times are those that the driver has read.

use std::time::Duration;

use plurix_protocol::station::Station as Machine;
use plurix_wire::PAGE_BYTES;
use plurix_wire::message::insight::StationNumbers;

use super::Statistics;

/// The counts of one handle, over all its sessions.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    numbers: StationNumbers,
    waited: Duration,
    /// The last wait that came to its end.
    last_wait: Duration,
}

impl Tally {
    /// An attempt begins.
    #[inline]
    pub(crate) fn attempt(&mut self, so_far: &Statistics) {
        self.numbers.attempts += 1;
        self.numbers.restarts = so_far.restarts;
    }

    /// A transaction that only read has ended.
    #[inline]
    pub(crate) fn read(&mut self) {
        self.numbers.reads += 1;
    }

    /// The driver has waited so long.
    #[inline]
    pub(crate) fn wait(&mut self, time: Duration) {
        self.last_wait = time;
        self.waited += time;
    }

    /// The last wait was for the answer to a commit, which is in the heap or not.
    #[inline]
    pub(crate) fn answered(&mut self, committed: bool) {
        self.numbers.commits += u64::from(committed);
        self.numbers.commit_latency.record(nanos(self.last_wait));
    }

    /// A commit that nobody waited for alone is in the heap.
    #[inline]
    pub(crate) fn settled(&mut self) {
        self.numbers.commits += 1;
    }

    /// The last wait was for a page.
    #[inline]
    pub(crate) fn missed(&mut self) {
        self.numbers.misses += 1;
        self.numbers.miss_latency.record(nanos(self.last_wait));
    }

    /// The connection was made again.
    pub(crate) fn reconnected(&mut self) {
        self.numbers.reconnects += 1;
    }

    /// What others are told.
    pub(crate) fn numbers(&self, machine: &Machine) -> StationNumbers {
        let pages = machine.pages_held() as u64;
        StationNumbers {
            waited_us: u64::try_from(self.waited.as_micros()).unwrap_or(u64::MAX),
            cache_pages: pages,
            cache_bytes: pages * PAGE_BYTES as u64,
            ..self.numbers.clone()
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
