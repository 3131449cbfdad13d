//! Accounting: each arena counts what its stations allocate and free, and the sum is exact.
//!
//! A station counts in its own arena what it frees of others, so that nobody writes the counters of
//! another station; a counter alone may therefore be negative.

use serde::Serialize;

use super::layout::{ARENA_BYTES, ARENAS, Geometry, STRIPES};
use super::runs::{ORDER_MAX, free_list};
use super::slab::idle;
use super::{Allocator, corrupt};
use crate::error::Result;
use crate::plain;
use crate::ptr::Ptr;
use crate::station::Station;
use crate::transaction::Transaction;

/// What an arena's stations have allocated, less what they have freed.
#[plain]
struct Counters {
    blocks: i64,
    bytes: i64,
}

/// How much of the heap is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Size of the heap, in bytes.
    pub heap_bytes: u64,
    /// Pages that programs can have at most; the others hold the heap's own management.
    pub program_pages: u64,
    /// Pages without a block.
    pub free_pages: u64,
    /// Blocks allocated: values, slices, and one for each root.
    pub blocks: u64,
    /// Bytes of these blocks. A block is the value or slice, rounded up to its size class or to
    /// whole pages.
    pub allocated_bytes: u64,
}

impl Station {
    /// How much of the heap is in use, as of one snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt), and as for any
    /// [`transaction`](Self::transaction).
    pub fn usage(&mut self) -> Result<Usage> {
        self.transaction(|tx| measure(tx))
    }
}

impl Allocator<'_, '_> {
    /// Counts `blocks` and `bytes` as allocated, or as freed if negative.
    #[inline]
    pub(super) fn count(&mut self, blocks: i64, bytes: i64) -> Result<()> {
        let counters = self.tx.get_mut(counters(self.arena()))?;
        counters.blocks = counters.blocks.wrapping_add(blocks);
        counters.bytes = counters.bytes.wrapping_add(bytes);
        Ok(())
    }
}

/// Adds up all counters.
pub(super) fn measure(tx: &Transaction<'_>) -> Result<Usage> {
    tx.prefetch(Ptr::<[u8]>::slice_at(ARENAS, STRIPES as u64 * ARENA_BYTES));
    let (mut blocks, mut bytes, mut free_pages) = (0i64, 0i64, 0u64);
    for arena in 0..STRIPES {
        let counters = tx.get(counters(arena))?;
        blocks = blocks.wrapping_add(counters.blocks);
        bytes = bytes.wrapping_add(counters.bytes);
        let idle = tx.get(idle(arena))?;
        free_pages += u64::from(idle.count) + u64::from(idle.slabs);
    }
    for order in 0..=ORDER_MAX {
        let pages = tx.get(free_list(order))?.count.saturating_mul(1 << order);
        free_pages = free_pages.saturating_add(pages);
    }
    let heap_bytes = tx.pages.len();
    let program_pages = Geometry::of(heap_bytes).pages();
    let counters = || corrupt("allocation counters");
    if free_pages > program_pages {
        return Err(counters());
    }
    Ok(Usage {
        heap_bytes,
        program_pages,
        free_pages,
        blocks: u64::try_from(blocks).map_err(|_| counters())?,
        allocated_bytes: u64::try_from(bytes).map_err(|_| counters())?,
    })
}

fn counters(arena: usize) -> Ptr<Counters> {
    Ptr::at(ARENAS + arena as u64 * ARENA_BYTES)
}
