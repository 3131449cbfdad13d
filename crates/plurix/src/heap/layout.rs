//! Where the heap keeps its own management.
//!
//! ```text
//!  page  0        superblock; byte 0 stays unused, so that no pointer to anything is null
//!  page  1        name directory: hash buckets
//!  pages 2..10    activity queue: 64 stripes of 512 bytes
//!  pages 10..26   allocator: 64 arenas of 1024 bytes
//!  page  26       allocator: heads of the lists of free page runs, a line for each order
//!  pages 32..     page map: 16 bytes for each page of the heap
//!  then           what programs allocate
//! ```
//!
//! Every part is ordinary transactional data: a station that allocates takes part in the same
//! validation as one that writes an account, and a commit that dies leaves no leak.

use plurix_wire::{LINE_BYTES, PAGE_BYTES};

/// The superblock.
pub(crate) const SUPERBLOCK: u64 = 64;
/// The name directory.
pub(crate) const NAMES: u64 = PAGE_BYTES as u64;
/// The stripes of the activity queue.
pub(crate) const ACTIVITIES: u64 = 2 * PAGE_BYTES as u64;
/// Bytes of one stripe.
pub(crate) const STRIPE_BYTES: u64 = 512;
/// Stripes, and arenas: stations beyond share them.
pub(crate) const STRIPES: usize = 64;
/// The arenas.
pub(crate) const ARENAS: u64 = 10 * PAGE_BYTES as u64;
/// Bytes of one arena.
pub(crate) const ARENA_BYTES: u64 = 1024;
/// The heads of the lists of free page runs.
pub(crate) const FREE_RUNS: u64 = 26 * PAGE_BYTES as u64;
/// Bytes from one such head to the next: stations that take runs of different orders touch
/// different lines.
pub(crate) const FREE_RUNS_STRIDE: u64 = LINE_BYTES as u64;
/// The page map.
pub(crate) const PAGE_MAP: u64 = 32 * PAGE_BYTES as u64;
/// Bytes that the page map has for each page.
pub(crate) const PAGE_ENTRY_BYTES: u64 = 16;

/// Which pages of a heap programs may have; follows from its size alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// The first page after the page map.
    pub(crate) first: u64,
    /// The page after the last one.
    pub(crate) end: u64,
}

impl Geometry {
    /// That of a heap of `heap_bytes`.
    pub(crate) fn of(heap_bytes: u64) -> Self {
        let pages = heap_bytes / PAGE_BYTES as u64;
        let map_pages = (pages * PAGE_ENTRY_BYTES).div_ceil(PAGE_BYTES as u64);
        Self {
            first: PAGE_MAP / PAGE_BYTES as u64 + map_pages,
            end: pages,
        }
    }

    /// Whether programs may have all `pages` pages from `first` on.
    pub(crate) fn contains(self, first: u64, pages: u64) -> bool {
        first >= self.first && first <= self.end && pages <= self.end - first
    }

    /// How many pages programs may have.
    pub(crate) fn pages(self) -> u64 {
        self.end.saturating_sub(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_map_covers_every_page_and_ends_before_the_first_of_a_program() {
        for pages in [1, 33, 256, 257, 1 << 20, 1 << 28, 1 << 32] {
            let geometry = Geometry::of(pages * PAGE_BYTES as u64);
            let map_end = PAGE_MAP + pages * PAGE_ENTRY_BYTES;
            assert!(geometry.first * PAGE_BYTES as u64 >= map_end);
            assert!(!geometry.contains(geometry.first - 1, 1));
            assert!(!geometry.contains(geometry.end, 1));
        }
    }
}
