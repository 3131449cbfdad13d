//! Checks the heap's management from outside: one read transaction walks the page map, every slab,
//! every list and the name directory, and compares what it finds with what they say of each other.

use plurix_wire::PAGE_BYTES;
use serde::Serialize;

use super::classes::{CLASS_BYTES, CLASSES, capacity};
use super::layout::{Geometry, STRIPES};
use super::runs::{ORDER_MAX, PageEntry, entry_at, free_list, offset_of, state, written_of};
use super::slab::{Slab, idle, partial};
use super::usage::{Usage, measure};
use super::{corrupt, names, or_corrupt};
use crate::error::Result;
use crate::ptr::Ptr;
use crate::station::Station;
use crate::transaction::Transaction;

/// Entries of the page map in one page.
const ENTRIES_PER_PAGE: u64 = PAGE_BYTES as u64 / size_of::<PageEntry>() as u64;

/// What [`Station::check_heap`] found; all of it is consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeapReport {
    /// How much is in use; the blocks found are as many as were counted.
    pub usage: Usage,
    /// Pages cut into small blocks.
    pub slabs: u64,
    /// Large blocks, each a run of pages.
    pub runs: u64,
    /// Blocks of free pages.
    pub free_runs: u64,
    /// Pages that arenas keep for their next slabs.
    pub idle_pages: u64,
    /// Names in the directory.
    pub roots: u64,
}

impl Station {
    /// Checks that the heap's management is consistent, as of one snapshot: every page belongs to
    /// exactly one block, slab or free run; every list holds exactly what belongs on it; the
    /// counters are the sum of the blocks. Reads all of the page map that is in use.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) names the first contradiction.
    pub fn check_heap(&mut self) -> Result<HeapReport> {
        self.transaction(|tx| {
            let mut census = Census::of_map(tx)?;
            census.compare_lists(tx)?;
            census.report(tx)
        })
    }
}

/// What the page map and the slabs' headers say.
#[derive(Default)]
struct Census {
    /// (order, page) of each free block.
    free: Vec<(u32, u32)>,
    /// (arena, page) of each idle page.
    idle: Vec<(usize, u32)>,
    /// (arena, class, page) of each slab with room.
    partial: Vec<(usize, usize, u32)>,
    /// How many slabs without a block each arena has.
    empty: Vec<u32>,
    free_pages: u64,
    blocks: u64,
    bytes: u64,
    slabs: u64,
    runs: u64,
}

impl Census {
    /// Walks the map from end to end, so that no page is counted twice or left out.
    fn of_map(tx: &Transaction<'_>) -> Result<Self> {
        let geometry = Geometry::of(tx.pages.len());
        let mut census = Self {
            empty: vec![0; STRIPES],
            ..Self::default()
        };
        let mut page = geometry.first;
        while page < geometry.end {
            let entry = *tx.get(entry_at(page as u32))?;
            let pages = census.add(tx, page as u32, &entry)?;
            if !geometry.contains(page, pages) {
                return Err(corrupt("page map"));
            }
            page += pages;
        }
        Ok(census)
    }

    /// Counts what begins at `page`; answers its length in pages.
    fn add(&mut self, tx: &Transaction<'_>, page: u32, entry: &PageEntry) -> Result<u64> {
        match entry.state {
            state::FREE => self.add_free(tx, page, entry),
            state::RUN => {
                let pages = u64::from(entry.pages);
                check_inside(tx, page, pages)?;
                self.runs += 1;
                self.blocks += 1;
                self.bytes += offset_of(entry.pages);
                Ok(pages)
            }
            state::SLAB => {
                self.add_slab(tx, page, entry)?;
                Ok(1)
            }
            state::IDLE => {
                let arena = arena_of(entry)?;
                self.idle.push((arena, page));
                self.free_pages += 1;
                Ok(1)
            }
            _ => Err(corrupt("page map")),
        }
    }

    fn add_free(&mut self, tx: &Transaction<'_>, page: u32, entry: &PageEntry) -> Result<u64> {
        let order = u32::from(entry.kind);
        if order > ORDER_MAX || !page.is_multiple_of(1 << order) {
            return Err(corrupt("page map"));
        }
        written_of(tx, page, order)?;
        let pages = 1 << order;
        let geometry = Geometry::of(tx.pages.len());
        let buddy = page ^ (1 << order);
        if order < ORDER_MAX
            && geometry.contains(u64::from(buddy), pages)
            && tx.get(entry_at(buddy))?.is_free(order)
        {
            return Err(corrupt("page map")); // Two buddies, both free, are one block.
        }
        self.free.push((order, page));
        self.free_pages += pages;
        Ok(pages)
    }

    fn add_slab(&mut self, tx: &Transaction<'_>, page: u32, entry: &PageEntry) -> Result<()> {
        let (arena, class) = (arena_of(entry)?, usize::from(entry.kind));
        let slab = tx.get(slab_at(page))?;
        let agrees = usize::from(slab.class) == class && usize::from(slab.arena) == arena;
        if class >= CLASSES || !agrees {
            return Err(corrupt("slab"));
        }
        let used: u32 = slab.bitmap.iter().map(|word| word.count_ones()).sum();
        let last = slab.bitmap.iter().rposition(|&word| word != 0);
        let end = last.map_or(0, |word| {
            word * 64 + 64 - slab.bitmap[word].leading_zeros() as usize
        });
        if used != slab.used || end > capacity(class) {
            return Err(corrupt("slab"));
        }
        self.slabs += 1;
        self.blocks += u64::from(used);
        self.bytes += u64::from(used) * u64::from(CLASS_BYTES[class]);
        if used == 0 {
            self.empty[arena] += 1;
            self.free_pages += 1;
        }
        if (used as usize) < capacity(class) {
            self.partial.push((arena, class, page));
        }
        Ok(())
    }

    /// Compares what is on the lists with what belongs there.
    fn compare_lists(&mut self, tx: &Transaction<'_>) -> Result<()> {
        let mut free = Vec::new();
        for order in 0..=ORDER_MAX {
            let list = tx.get(free_list(order))?;
            let (mut page, mut previous, before) = (list.first, 0, free.len());
            while page != 0 {
                let entry = tx
                    .get(entry_at(page))
                    .map_err(|error| or_corrupt(error, "list of free pages"))?;
                if entry.previous != previous || free.len() == self.free.len() {
                    return Err(corrupt("list of free pages"));
                }
                free.push((order, page));
                (previous, page) = (page, entry.next);
            }
            if list.count != (free.len() - before) as u64 {
                return Err(corrupt("list of free pages"));
            }
        }
        same(&mut free, &mut self.free, "list of free pages")?;

        let (mut idle_pages, mut slabs) = (Vec::new(), Vec::new());
        for arena in 0..STRIPES {
            let list = tx.get(idle(arena))?;
            let (mut page, before) = (list.first, idle_pages.len());
            while page != 0 {
                if idle_pages.len() == self.idle.len() {
                    return Err(corrupt("list of idle pages"));
                }
                idle_pages.push((arena, page));
                page = tx
                    .get(entry_at(page))
                    .map_err(|error| or_corrupt(error, "list of idle pages"))?
                    .next;
            }
            let count = idle_pages.len() - before;
            if list.count as usize != count || list.slabs != self.empty[arena] {
                return Err(corrupt("list of idle pages"));
            }
            for class in 0..CLASSES {
                self.follow_slabs(tx, (arena, class), &mut slabs)?;
            }
        }
        same(&mut idle_pages, &mut self.idle, "list of idle pages")?;
        same(&mut slabs, &mut self.partial, "list of slabs")
    }

    fn follow_slabs(
        &self,
        tx: &Transaction<'_>,
        (arena, class): (usize, usize),
        found: &mut Vec<(usize, usize, u32)>,
    ) -> Result<()> {
        let mut page = tx.get(partial(arena, class))?.first;
        let (mut previous, alone) = (0, |slab: &Slab| slab.previous == 0 && slab.next == 0);
        while page != 0 {
            let slab = tx
                .get(slab_at(page))
                .map_err(|error| or_corrupt(error, "list of slabs"))?;
            let stays = slab.used > 0 || alone(slab);
            if slab.previous != previous || !stays || found.len() == self.partial.len() {
                return Err(corrupt("list of slabs"));
            }
            found.push((arena, class, page));
            (previous, page) = (page, slab.next);
        }
        Ok(())
    }

    fn report(self, tx: &Transaction<'_>) -> Result<HeapReport> {
        let usage = measure(tx)?;
        let found = (self.blocks, self.bytes, self.free_pages);
        if found != (usage.blocks, usage.allocated_bytes, usage.free_pages) {
            return Err(corrupt("allocation counters"));
        }
        Ok(HeapReport {
            usage,
            slabs: self.slabs,
            runs: self.runs,
            free_runs: self.free.len() as u64,
            idle_pages: self.idle.len() as u64,
            roots: names::list(tx)?.len() as u64,
        })
    }
}

/// Checks that nothing begins inside a run.
fn check_inside(tx: &Transaction<'_>, first: u32, pages: u64) -> Result<()> {
    let (mut page, end) = (u64::from(first) + 1, u64::from(first) + pages);
    if pages == 0 || end > Geometry::of(tx.pages.len()).end {
        return Err(corrupt("page map"));
    }
    while page < end {
        let count = (end - page).min(ENTRIES_PER_PAGE - page % ENTRIES_PER_PAGE);
        let entries = Ptr::<[PageEntry]>::slice_at(entry_at(page as u32).offset(), count);
        if tx
            .get(entries)?
            .iter()
            .any(|entry| *entry != PageEntry::default())
        {
            return Err(corrupt("page map"));
        }
        page += count;
    }
    Ok(())
}

fn arena_of(entry: &PageEntry) -> Result<usize> {
    let arena = usize::from(entry.arena);
    (arena < STRIPES)
        .then_some(arena)
        .ok_or_else(|| corrupt("page map"))
}

fn slab_at(page: u32) -> Ptr<Slab> {
    Ptr::at(offset_of(page))
}

fn same<T: Ord>(found: &mut [T], expected: &mut [T], what: &'static str) -> Result<()> {
    found.sort_unstable();
    expected.sort_unstable();
    if found == expected {
        Ok(())
    } else {
        Err(corrupt(what))
    }
}
