//! Runs of pages, by a buddy system (Knowlton 1965; Knuth, TAOCP 1, 2.5) over the page map.
//!
//! Free pages are kept as blocks of 2ᵒʳᵈᵉʳ pages, aligned to their size and listed by order. A run
//! of any length is cut from the smallest block that holds it; what is left goes back as smaller
//! blocks, and a block that is freed beside its free buddy joins it:
//!
//! ```text
//!   take 3 of 8:   [ run    |1|   4   ]        free it:   [ 2 |1|1|   4   ] ──► [       8       ]
//! ```
//!
//! The page map has an entry for each page, which says what begins there; the entries of a block's
//! other pages are zero. A new heap is a handful of blocks, so laying it out touches a handful of
//! lines, however large it is.
//!
//! Each free block also knows which of its pages may have been written; the [`written`](super::written)
//! range begins in the entry of its second page and ends in that of its first. The rest is zero, and
//! is not zeroed again. Since runs are cut from the front, most of a heap stays like that.

use plurix_wire::PAGE_BYTES;

use super::layout::{FREE_RUNS, FREE_RUNS_STRIDE, PAGE_ENTRY_BYTES, PAGE_MAP};
use super::written::Written;
use super::{Allocator, corrupt};
use crate::error::Result;
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// The largest order: half of the largest heap.
pub(super) const ORDER_MAX: u32 = 31;

/// What [`PageEntry::state`] can be; zero for a page other than the first of a free block or an
/// allocated run.
pub(super) mod state {
    /// The first page of a free block.
    pub(in crate::heap) const FREE: u8 = 1;
    /// The first page of an allocated run.
    pub(in crate::heap) const RUN: u8 = 2;
    /// A slab.
    pub(in crate::heap) const SLAB: u8 = 3;
    /// A page that an arena keeps for its next slab.
    pub(in crate::heap) const IDLE: u8 = 4;
}

/// What the page map says about one page.
#[plain]
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PageEntry {
    /// See [`state`].
    pub(super) state: u8,
    /// `FREE`: the block's order. `SLAB`: its size class.
    pub(super) kind: u8,
    /// `SLAB`, `IDLE`: the arena.
    pub(super) arena: u16,
    /// `RUN`: its length in pages. `FREE`: before which page the block's last written page lies;
    /// in the entry of its second page: where the first one does.
    pub(super) pages: u32,
    /// `FREE`: the block before it in its list; 0 for none.
    pub(super) previous: u32,
    /// `FREE`, `IDLE`: the one after it in its list; 0 for none.
    pub(super) next: u32,
}

const _: () = assert!(size_of::<PageEntry>() as u64 == PAGE_ENTRY_BYTES);

/// The free blocks of one order.
#[plain]
pub(super) struct FreeList {
    /// The first of them; 0 for none.
    pub(super) first: u32,
    _unused: u32,
    /// How many there are.
    pub(super) count: u64,
}

/// Pages that were free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(super) first: u32,
    pub(super) written: Written,
}

impl Allocator<'_, '_> {
    /// Makes free blocks of all pages that programs may have, in a heap that has none.
    pub(super) fn lay_out(&mut self) -> Result<()> {
        let mut first = self.geometry.first;
        while first < self.geometry.end {
            let order = block_order(first, self.geometry.end - first);
            self.push(first as u32, order, Written::NONE)?;
            first += 1 << order;
        }
        Ok(())
    }

    /// Takes `pages` pages; `None` if no free block is large enough. The map's entry of the first
    /// page is for the caller to write, or pages to be given back.
    pub(super) fn take_pages(&mut self, pages: u64) -> Result<Option<Taken>> {
        let smallest = pages.next_power_of_two().trailing_zeros();
        for order in smallest..=ORDER_MAX {
            let first = self.tx.get(free_list(order))?.first;
            if first == 0 {
                continue;
            }
            let written = self.unlink(first, order)?;
            let mut at = pages;
            while at < 1 << order {
                let rest = at.trailing_zeros();
                let rest_written = written.cut(at as u32, 1 << rest);
                self.push(first + at as u32, rest, rest_written)?;
                at += 1 << rest;
            }
            let written = written.cut(0, pages as u32);
            return Ok(Some(Taken { first, written }));
        }
        Ok(None)
    }

    /// Gives `pages` pages back, which may have been written.
    pub(super) fn give_pages(&mut self, first: u32, pages: u32) -> Result<()> {
        *self.entry_mut(first)? = PageEntry::default();
        let (mut at, end) = (u64::from(first), u64::from(first) + u64::from(pages));
        while at < end {
            let order = block_order(at, end - at);
            self.give_block(at as u32, order, Written::all(1 << order))?;
            at += 1 << order;
        }
        Ok(())
    }

    /// What the page map says about `page`.
    #[inline]
    pub(super) fn entry(&self, page: u32) -> Result<&PageEntry> {
        self.tx.get(self.entry_ptr(page)?)
    }

    /// As [`entry`](Self::entry), to be changed.
    #[inline]
    pub(super) fn entry_mut(&mut self, page: u32) -> Result<&mut PageEntry> {
        let ptr = self.entry_ptr(page)?;
        self.tx.get_mut(ptr)
    }

    #[inline]
    fn entry_ptr(&self, page: u32) -> Result<Ptr<PageEntry>> {
        if !self.geometry.contains(u64::from(page), 1) {
            return Err(corrupt("list of pages"));
        }
        Ok(entry_at(page))
    }

    /// Frees one block, joined with its buddy as long as that is free.
    fn give_block(&mut self, mut page: u32, mut order: u32, mut written: Written) -> Result<()> {
        while order < ORDER_MAX {
            let pages = 1 << order;
            let buddy = page ^ pages;
            if !self.geometry.contains(u64::from(buddy), u64::from(pages))
                || !self.entry(buddy)?.is_free(order)
            {
                break;
            }
            let theirs = self.unlink(buddy, order)?;
            written = if page < buddy {
                written.join(theirs, pages)
            } else {
                theirs.join(written, pages)
            };
            page = page.min(buddy);
            order += 1;
        }
        self.push(page, order, written)
    }

    /// Puts a block on the list of its order.
    fn push(&mut self, page: u32, order: u32, written: Written) -> Result<()> {
        let list = self.tx.get_mut(free_list(order))?;
        let next = list.first;
        list.first = page;
        list.count = list.count.wrapping_add(1);
        if next != 0 {
            let entry = self.entry_mut(next)?;
            if !entry.is_free(order) || entry.previous != 0 {
                return Err(corrupt("list of free pages"));
            }
            entry.previous = page;
        }
        *self.entry_mut(page)? = PageEntry {
            state: state::FREE,
            kind: order as u8,
            next,
            ..PageEntry::default()
        };
        self.set_written(page, order, written)
    }

    /// Takes a block off its list; answers which of its pages may have been written.
    fn unlink(&mut self, page: u32, order: u32) -> Result<Written> {
        let damaged = || corrupt("list of free pages");
        let pages = 1u32 << order;
        let entry = *self.entry(page)?;
        let whole = self.geometry.contains(u64::from(page), u64::from(pages));
        if !entry.is_free(order) || !whole || !page.is_multiple_of(pages) {
            return Err(damaged());
        }
        let written = written_of(self.tx, page, order)?;
        if entry.next != 0 {
            let next = self.entry_mut(entry.next)?;
            if !next.is_free(order) || next.previous != page {
                return Err(damaged());
            }
            next.previous = entry.previous;
        }
        if entry.previous != 0 {
            let previous = self.entry_mut(entry.previous)?;
            if !previous.is_free(order) || previous.next != page {
                return Err(damaged());
            }
            previous.next = entry.next;
        }
        let list = self.tx.get_mut(free_list(order))?;
        if entry.previous == 0 {
            if list.first != page {
                return Err(damaged());
            }
            list.first = entry.next;
        }
        list.count = list.count.checked_sub(1).ok_or_else(damaged)?;
        self.set_written(page, order, Written::NONE)?;
        *self.entry_mut(page)? = PageEntry::default();
        Ok(written)
    }

    /// Notes what may have been written of the free block of `order` at `page`. Both entries are on
    /// one line.
    pub(super) fn set_written(&mut self, page: u32, order: u32, written: Written) -> Result<()> {
        self.entry_mut(page)?.pages = written.to;
        if order > 0 {
            self.entry_mut(page + 1)?.pages = written.from;
        }
        Ok(())
    }
}

/// What may have been written of the free block of `order` at `page`.
pub(super) fn written_of(tx: &Transaction<'_>, page: u32, order: u32) -> Result<Written> {
    let to = tx.get(entry_at(page))?.pages;
    let from = match order {
        0 => 0,
        _ => tx.get(entry_at(page + 1))?.pages,
    };
    if from <= to && to <= 1 << order {
        Ok(Written { from, to })
    } else {
        Err(corrupt("list of free pages"))
    }
}

impl PageEntry {
    /// Whether a free block of `order` begins here.
    pub(super) fn is_free(&self, order: u32) -> bool {
        self.state == state::FREE && u32::from(self.kind) == order
    }
}

/// The list of the free blocks of `order`.
pub(super) fn free_list(order: u32) -> Ptr<FreeList> {
    Ptr::at(FREE_RUNS + u64::from(order) * FREE_RUNS_STRIDE)
}

/// The page map's entry of `page`.
pub(super) fn entry_at(page: u32) -> Ptr<PageEntry> {
    Ptr::at(PAGE_MAP + u64::from(page) * PAGE_ENTRY_BYTES)
}

/// Heap offset of `page`.
#[inline]
pub(super) fn offset_of(page: u32) -> u64 {
    u64::from(page) * PAGE_BYTES as u64
}

/// Order of the largest aligned block that begins at `page` and has at most `pages` pages.
fn block_order(page: u64, pages: u64) -> u32 {
    page.trailing_zeros().min(pages.ilog2())
}
