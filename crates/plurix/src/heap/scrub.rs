//! Zeroing what was written before, within what one commit can carry.
//!
//! A slice of zeros may lie where something else lay. A little is zeroed by the transaction that
//! allocates it. More than that is zeroed beforehand: the attempt is given up, the pages are zeroed
//! piece by piece while they are still free, each piece by a transaction of its own, and then the
//! program's transaction runs again:
//!
//! ```text
//!   free block          written                    attempt: 20 MiB of zeros? give up
//!   [..................xxxxxxxxxxxxxxx.......]
//!   [..................xxxxxxxxxx............]     commit: a piece is zero, the block says so
//!   [..................xxxxx.................]     commit
//!   [........................................]     commit, then the attempt is made again
//! ```
//!
//! The block is on its list all the time. So nothing is lost when a station dies half-way, what it
//! did serves the next one, and another station may take the block at any moment: whoever commits
//! first wins, as always.

use plurix_wire::PAGE_BYTES;
use plurix_wire::message::COMMIT_BYTES_MAX;

use super::Allocator;
use super::runs::{ORDER_MAX, Taken, offset_of, written_of};
use super::written::Written;
use crate::error::Result;
use crate::ptr::Ptr;
use crate::station::Station;
use crate::transaction::Transaction;

/// What a transaction zeroes of runs itself; the rest of a commit is for what the program writes.
pub(crate) const OWN_BYTES_MAX: u64 = COMMIT_BYTES_MAX as u64 / 2;
/// Pages that one transaction zeroes beforehand: few enough not to hold up the commits of others.
const PIECE_PAGES: u32 = (4 << 20) / PAGE_BYTES as u32;

static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

impl Station {
    /// Zeroes what may have been written of free pages. Answers whether there was anything to do:
    /// there is not if the pages are not free, or not any more.
    pub(crate) fn scrub(&mut self, taken: Taken) -> Result<bool> {
        let mut any = false;
        while self.run(&mut |tx| Allocator::new(tx).scrub(taken))? {
            any = true;
        }
        Ok(any)
    }
}

impl Transaction<'_> {
    /// Makes the first `bytes` bytes of the run just `taken` zero, or gives the attempt up so that
    /// they are zeroed before the next one.
    pub(super) fn zero_run(&mut self, taken: Taken, bytes: u64) -> Result<()> {
        let start = offset_of(taken.first + taken.written.from);
        let end = offset_of(taken.first + taken.written.to).min(offset_of(taken.first) + bytes);
        let written = end.saturating_sub(start);
        if written > self.zeroing_left {
            return Err(self.must_scrub(taken));
        }
        self.zeroing_left -= written;
        self.zero_pages(start, written)
    }

    /// Makes `bytes` bytes from `offset` on zero, whatever is there.
    pub(super) fn zero(&mut self, offset: u64, bytes: u64) -> Result<()> {
        let zeros = &ZEROS[..bytes as usize];
        self.set_slice(Ptr::slice_at(offset, bytes), zeros)
    }

    /// As [`zero`](Self::zero), of any length and page by page: a page that is zero is left alone.
    /// Most of a large block may never have been written, nobody keeps account of that.
    fn zero_pages(&mut self, mut offset: u64, bytes: u64) -> Result<()> {
        self.prefetch(Ptr::<[u8]>::slice_at(offset, bytes));
        let end = offset + bytes;
        while offset < end {
            let count = (end - offset).min(PAGE_BYTES as u64);
            if self.get(Ptr::<[u8]>::slice_at(offset, count))? != &ZEROS[..count as usize] {
                self.zero(offset, count)?;
            }
            offset += count;
        }
        Ok(())
    }
}

impl Allocator<'_, '_> {
    /// Zeroes some more of the pages that may have been written of `taken`, if they are free;
    /// answers whether there was anything to do.
    pub(super) fn scrub(&mut self, taken: Taken) -> Result<bool> {
        let Some((block, order)) = self.free_block_around(taken.first)? else {
            return Ok(false);
        };
        let at = taken.first - block;
        let wanted = Written {
            from: at + taken.written.from,
            to: at + taken.written.to,
        };
        let written = written_of(self.tx, block, order)?;
        let Some((piece, rest)) = written.next_piece(wanted, PIECE_PAGES) else {
            return Ok(false);
        };
        let bytes = offset_of(piece.pages());
        self.tx.zero_pages(offset_of(block + piece.from), bytes)?;
        self.set_written(block, order, rest)?;
        Ok(true)
    }

    /// The free block that `page` lies in, and its order.
    fn free_block_around(&self, page: u32) -> Result<Option<(u32, u32)>> {
        for order in 0..=ORDER_MAX {
            let block = page & !((1 << order) - 1);
            if !self.geometry.contains(u64::from(block), 1 << order) {
                break;
            }
            if self.entry(block)?.is_free(order) {
                return Ok(Some((block, order)));
            }
        }
        Ok(None)
    }
}
