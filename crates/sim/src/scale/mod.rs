//! What a commit costs as stations become more: messages, bytes, deltas, and the leader's own work,
//! with the real leader and the real stations in virtual time, without faults.
//!
//! Each station has pages of its own, which nobody else holds; one page in a hundred is shared, and
//! every station holds it. A transaction reads and writes a few lines; each access goes to a shared
//! page with the shared pages' part of the heap, one in a hundred. So what one commit sets in motion
//! grows with the number of holders of what it wrote, which is where a single sequencer ends.
//!
//! No memory is behind the stations' pages here, and no log behind the leader: their costs do not
//! depend on the number of stations, and the laboratory measures them.

mod cluster;
mod member;
mod replay;

use std::time::Duration;

use plurix_protocol::{Span, leader};
use plurix_wire::PAGE_BYTES;
use serde::Serialize;

use cluster::Cluster;

/// Pages that a station has for itself.
const PRIVATE_PAGES: u32 = 100;
/// One page in so many is shared.
const SHARED_ONE_IN: u32 = 100;
/// Lines that a transaction reads, and how many of them it writes.
const READS: usize = 4;
const WRITES: usize = 2;
/// Mean pause of a program between two transactions.
const PAUSE: Span = Span::from_millis(10);
/// Time that a frame travels.
const DELAY: Span = Span::from_micros(50);

/// Reads the processor time of this thread, which only the caller may ask for.
pub type Clock<'a> = &'a dyn Fn() -> Duration;

/// What was counted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Stations.
    pub stations: usize,
    /// Pages of the heap.
    pub pages: u64,
    /// Commits measured.
    pub commits: u64,
    /// Transactions refused for a conflict in the same time.
    pub conflicts: u64,
    /// Virtual time that they took, in nanoseconds.
    pub virtual_ns: u64,
    /// Messages from stations to the leader, and their bytes.
    pub to_leader: Traffic,
    /// Messages from the leader to stations, and their bytes.
    pub to_stations: Traffic,
    /// Batches among them.
    pub batches: u64,
    /// Changes told to a holder, one for each commit and holder.
    pub deltas: u64,
    /// Processor time inside of the leader's state machine, in nanoseconds.
    pub leader_ns: u64,
    /// Processor time that the leader's side took to decode and encode frames, in nanoseconds.
    pub codec_ns: u64,
}

/// Messages one way.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Traffic {
    /// How many.
    pub messages: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

impl Figures {
    /// A count for each commit.
    #[must_use]
    pub fn per_commit(&self, count: u64) -> f64 {
        count as f64 / self.commits.max(1) as f64
    }
}

/// Counts what `commits` commits of so many stations cost, once all hold their pages.
#[must_use]
pub fn scale(stations: usize, commits: u64, clock: Clock<'_>) -> Figures {
    let heap = Heap::of(stations);
    let mut settings = leader::Settings::new(heap.bytes(), leader::Durability::Memory);
    settings.stations_max = stations as u32;
    let mut cluster = Cluster::new(stations, heap, settings);
    cluster.fill();
    cluster.measure(commits, clock)
}

/// Who has which pages: first the shared ones, then those of each station.
#[derive(Debug, Clone, Copy)]
struct Heap {
    stations: u32,
    shared: u32,
}

impl Heap {
    fn of(stations: usize) -> Self {
        let stations = u32::try_from(stations).expect("fewer stations than pages");
        let private = stations * PRIVATE_PAGES;
        Self {
            stations,
            shared: private.div_ceil(SHARED_ONE_IN - 1),
        }
    }

    fn pages(self) -> u64 {
        u64::from(self.shared) + u64::from(self.stations) * u64::from(PRIVATE_PAGES)
    }

    fn bytes(self) -> u64 {
        self.pages() * PAGE_BYTES as u64
    }

    /// The first page of a station's own.
    fn private(self, station: usize) -> u32 {
        self.shared + station as u32 * PRIVATE_PAGES
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_write_to_a_shared_page_is_told_to_every_other_station() {
        let ticks = Cell::new(0);
        let clock = || {
            ticks.set(ticks.get() + 1);
            Duration::from_nanos(ticks.get() * ticks.get())
        };
        let figures = scale(20, 2000, &clock);
        assert_eq!(figures.stations, 20);
        assert_eq!(figures.pages, 2000 + 21);
        assert!(figures.commits >= 2000);
        // Of two lines written, each is shared once in a hundred times, and then has 19 holders.
        let expected = 19.0 * 2.0 / 100.0;
        let deltas = figures.per_commit(figures.deltas);
        assert!((deltas - expected).abs() < expected / 2.0, "{deltas}");
        assert!(figures.per_commit(figures.to_leader.messages) >= 1.0);
        assert!(figures.leader_ns > 0 && figures.codec_ns > 0);
    }
}
