//! Small blocks: pages cut into blocks of one size class ("slabs", Bonwick 1994), kept in arenas.
//!
//! ```text
//!  arena (1024 bytes, each part on lines of its own)      slab (one page)
//!   line  0   counters                                     line 0   class, arena, used, links,
//!   line  1   idle pages ──► page ──► page                          a bit for each block
//!   line  2.. one list for each class:                     line 1.. blocks
//!             partial ──► slab ◄──► slab
//! ```
//!
//! A station allocates from its own arena. Only pages pass between an arena and the buddy system,
//! 16 at a time, so that the map's entries of an arena's pages share no line with those of others.
//! A block is freed into its slab, whosever arena that is in. Only when memory runs out are other
//! arenas' slabs and idle pages used.

use plurix_wire::canary::{self, Canary};

use super::classes::{CLASS_BYTES, CLASSES, SLAB_HEADER_BYTES, capacity};
use super::layout::{ARENA_BYTES, ARENAS, STRIPES};
use super::runs::{PageEntry, offset_of, state};
use super::{Allocator, corrupt};
use crate::error::Result;
use crate::plain;
use crate::ptr::Ptr;

/// Pages that an arena takes from the buddy system at once: as many entries of the page map as fill
/// four lines.
const SPAN_PAGES: u64 = 16;
/// With more idle pages than this, an arena gives those that become free back.
const IDLE_PAGES_MAX: u32 = 32;
/// Where an arena's idle pages are.
const IDLE: u64 = 64;
/// Where an arena's lists of slabs begin.
const PARTIAL: u64 = 128;
/// Bytes from one such list to the next.
const PARTIAL_STRIDE: u64 = 32;

const _: () = assert!(PARTIAL + CLASSES as u64 * PARTIAL_STRIDE <= ARENA_BYTES);

/// The pages of an arena without a block.
#[plain]
pub(super) struct Idle {
    /// The first page that belongs to no slab, the others follow by the map; 0 for none.
    pub(super) first: u32,
    /// How many such pages there are.
    pub(super) count: u32,
    /// Slabs without a block. Each is the only one on its list, and stays: to allocate and free one
    /// block in turn shall not make and unmake a slab.
    pub(super) slabs: u32,
}

/// The slabs of one class and arena that have room.
#[plain]
pub(super) struct Partial {
    /// The first of them; 0 for none.
    pub(super) first: u32,
}

/// The header of a slab, its first line.
#[plain]
#[derive(Debug)]
pub(super) struct Slab {
    pub(super) class: u16,
    pub(super) arena: u16,
    /// How many blocks are allocated.
    pub(super) used: u32,
    /// The slab before it in its list; 0 for none. A full slab is on no list.
    pub(super) previous: u32,
    /// The one after it.
    pub(super) next: u32,
    _unused: [u64; 2],
    /// Bit `i % 64` of word `i / 64` is set while block `i` is allocated.
    pub(super) bitmap: [u64; 4],
}

const _: () = assert!(size_of::<Slab>() == SLAB_HEADER_BYTES);

impl Allocator<'_, '_> {
    /// Allocates a block of `class`; `None` if there is no room.
    pub(super) fn take_block(&mut self, class: usize) -> Result<Option<u64>> {
        let own = self.arena();
        let mut page = self.tx.get(partial(own, class))?.first;
        if page == 0 {
            page = match self.new_slab(own, class)? {
                Some(page) => page,
                None => match self.scavenge(own, class)? {
                    Some(page) => page,
                    None => return Ok(None),
                },
            };
        }
        self.take_from(page, class).map(Some)
    }

    /// Frees block `index` of the slab at `page`; false if it is not allocated.
    pub(super) fn give_block_of(&mut self, page: u32, class: usize, index: usize) -> Result<bool> {
        let slab = self.slab_mut(page, class)?;
        let (word, bit) = (index / 64, 1 << (index % 64));
        if slab.bitmap[word] & bit == 0 {
            return Ok(false);
        }
        slab.bitmap[word] &= !bit;
        slab.used = slab.used.checked_sub(1).ok_or_else(|| corrupt("slab"))?;
        let (used, arena) = (slab.used as usize, usize::from(slab.arena));
        if used + 1 == capacity(class) {
            self.retire_empty(arena, class)?;
            self.link(page, arena, class)?;
        }
        if used == 0 {
            self.empty(page, arena, class)?;
        }
        Ok(true)
    }

    /// Gives all pages without a block, in all arenas, back to the buddy system; answers whether
    /// that gave it any.
    pub(super) fn reclaim(&mut self) -> Result<bool> {
        let mut any = false;
        for arena in 0..STRIPES {
            if self.tx.get(idle(arena))?.slabs > 0 {
                for class in 0..CLASSES {
                    self.retire_empty(arena, class)?;
                }
            }
            while let Some(page) = self.take_idle(arena)? {
                self.give_pages(page, 1)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// The arena of this station.
    #[inline]
    pub(super) fn arena(&self) -> usize {
        self.tx.arena % STRIPES
    }

    /// Takes the first free block of the slab at `page`.
    #[inline]
    fn take_from(&mut self, page: u32, class: usize) -> Result<u64> {
        let capacity = capacity(class);
        let slab = self.slab_mut(page, class)?;
        let free = slab.bitmap.iter().position(|&word| word != u64::MAX);
        let word = free.ok_or_else(|| corrupt("slab"))?;
        let index = word * 64 + slab.bitmap[word].trailing_ones() as usize;
        if index >= capacity || slab.used as usize >= capacity {
            return Err(corrupt("slab"));
        }
        if !canary::strikes(Canary::DoubleAlloc) {
            slab.bitmap[word] |= 1 << (index % 64);
        }
        slab.used += 1;
        let (used, arena) = (slab.used as usize, usize::from(slab.arena));
        if used == 1 {
            self.count_empty(arena, -1)?;
        }
        if used == capacity {
            self.unlink_slab(page, arena, class)?;
        }
        let at = SLAB_HEADER_BYTES + index * usize::from(CLASS_BYTES[class]);
        Ok(offset_of(page) + at as u64)
    }

    /// Makes an idle page of `arena` a slab; takes more pages if there is none. `None` if there are
    /// no more.
    fn new_slab(&mut self, arena: usize, class: usize) -> Result<Option<u32>> {
        let mut page = self.take_idle(arena)?;
        if page.is_none() {
            for pages in [SPAN_PAGES, 1] {
                if let Some(taken) = self.take_pages(pages)? {
                    // The last first, so that they are used in ascending order.
                    for page in (taken.first..taken.first + pages as u32).rev() {
                        self.give_idle(page, arena)?;
                    }
                    page = self.take_idle(arena)?;
                    break;
                }
            }
        }
        let Some(page) = page else { return Ok(None) };
        *self.entry_mut(page)? = PageEntry {
            state: state::SLAB,
            kind: class as u8,
            arena: arena as u16,
            ..PageEntry::default()
        };
        // Whatever lies there is of no interest: the entry says that it is this transaction's.
        let slab = Slab {
            class: class as u16,
            arena: arena as u16,
            used: 0,
            previous: 0,
            next: 0,
            _unused: [0; 2],
            bitmap: [0; 4],
        };
        self.tx.set(Ptr::at(offset_of(page)), slab)?;
        self.link(page, arena, class)?;
        self.count_empty(arena, 1)?;
        Ok(Some(page))
    }

    /// Finds room where one does not look at first, because others allocate there.
    #[cold]
    fn scavenge(&mut self, own: usize, class: usize) -> Result<Option<u32>> {
        for arena in 0..STRIPES {
            let page = self.tx.get(partial(arena, class))?.first;
            if page != 0 {
                return Ok(Some(page));
            }
        }
        if self.reclaim()? {
            return self.new_slab(own, class);
        }
        Ok(None)
    }

    /// The slab at `page` has no block any more: it stays if it is the only one on its list.
    fn empty(&mut self, page: u32, arena: usize, class: usize) -> Result<()> {
        let slab = self.slab_mut(page, class)?;
        if slab.previous == 0 && slab.next == 0 {
            return self.count_empty(arena, 1);
        }
        self.retire(page, arena, class)
    }

    /// Makes the empty slab on a list, if there is one, a page without a slab.
    fn retire_empty(&mut self, arena: usize, class: usize) -> Result<()> {
        let page = self.tx.get(partial(arena, class))?.first;
        if page != 0 && self.slab_mut(page, class)?.used == 0 {
            self.count_empty(arena, -1)?;
            self.retire(page, arena, class)?;
        }
        Ok(())
    }

    fn retire(&mut self, page: u32, arena: usize, class: usize) -> Result<()> {
        self.unlink_slab(page, arena, class)?;
        if self.tx.get(idle(arena))?.count < IDLE_PAGES_MAX {
            self.give_idle(page, arena)
        } else {
            self.give_pages(page, 1)
        }
    }

    fn give_idle(&mut self, page: u32, arena: usize) -> Result<()> {
        let list = self.tx.get_mut(idle(arena))?;
        let next = list.first;
        list.first = page;
        list.count = list.count.wrapping_add(1);
        *self.entry_mut(page)? = PageEntry {
            state: state::IDLE,
            arena: arena as u16,
            next,
            ..PageEntry::default()
        };
        Ok(())
    }

    fn take_idle(&mut self, arena: usize) -> Result<Option<u32>> {
        let page = self.tx.get(idle(arena))?.first;
        if page == 0 {
            return Ok(None);
        }
        let entry = *self.entry(page)?;
        let list = self.tx.get_mut(idle(arena))?;
        if entry.state != state::IDLE || usize::from(entry.arena) != arena || list.count == 0 {
            return Err(corrupt("list of idle pages"));
        }
        list.first = entry.next;
        list.count -= 1;
        Ok(Some(page))
    }

    fn count_empty(&mut self, arena: usize, change: i32) -> Result<()> {
        let idle = self.tx.get_mut(idle(arena))?;
        let slabs = idle.slabs.checked_add_signed(change);
        idle.slabs = slabs.ok_or_else(|| corrupt("list of slabs"))?;
        Ok(())
    }

    /// Puts the slab at `page`, which is on no list, at the front of its list.
    fn link(&mut self, page: u32, arena: usize, class: usize) -> Result<()> {
        let list = self.tx.get_mut(partial(arena, class))?;
        let next = std::mem::replace(&mut list.first, page);
        if next != 0 {
            self.slab_mut(next, class)?.previous = page;
        }
        let slab = self.slab_mut(page, class)?;
        (slab.previous, slab.next) = (0, next);
        Ok(())
    }

    fn unlink_slab(&mut self, page: u32, arena: usize, class: usize) -> Result<()> {
        let damaged = || corrupt("list of slabs");
        let slab = self.slab_mut(page, class)?;
        let (previous, next) = (slab.previous, slab.next);
        (slab.previous, slab.next) = (0, 0);
        if next != 0 {
            let slab = self.slab_mut(next, class)?;
            if slab.previous != page {
                return Err(damaged());
            }
            slab.previous = previous;
        }
        if previous != 0 {
            let slab = self.slab_mut(previous, class)?;
            if slab.next != page {
                return Err(damaged());
            }
            slab.next = next;
        } else {
            let list = self.tx.get_mut(partial(arena, class))?;
            if list.first != page {
                return Err(damaged());
            }
            list.first = next;
        }
        Ok(())
    }

    /// The header of the slab at `page`, which the page map and the header itself must know as one
    /// of `class`.
    #[inline]
    fn slab_mut(&mut self, page: u32, class: usize) -> Result<&mut Slab> {
        let entry = self.entry(page)?;
        let (known, arena) = (entry.state == state::SLAB, entry.arena);
        let known = known && usize::from(entry.kind) == class;
        let slab = self.tx.get_mut(Ptr::<Slab>::at(offset_of(page)))?;
        let agrees = usize::from(slab.class) == class && slab.arena == arena;
        if known && agrees && usize::from(arena) < STRIPES {
            Ok(slab)
        } else {
            Err(corrupt("slab"))
        }
    }
}

/// The pages of `arena` without a block.
pub(super) fn idle(arena: usize) -> Ptr<Idle> {
    Ptr::at(ARENAS + arena as u64 * ARENA_BYTES + IDLE)
}

/// The slabs of `arena` and `class` that have room.
pub(super) fn partial(arena: usize, class: usize) -> Ptr<Partial> {
    let list = PARTIAL + class as u64 * PARTIAL_STRIDE;
    Ptr::at(ARENAS + arena as u64 * ARENA_BYTES + list)
}
