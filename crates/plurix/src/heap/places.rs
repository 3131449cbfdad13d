//! What lies where in a heap, for people: what each page is, and what an address belongs to.

use std::collections::BTreeMap;

use plurix_wire::PAGE_BYTES;
use serde::Serialize;

use super::classes::{CLASS_BYTES, CLASSES, SLAB_HEADER_BYTES, capacity};
use super::layout::{
    ACTIVITIES, ARENA_BYTES, ARENAS, FREE_RUNS, Geometry, NAMES, PAGE_ENTRY_BYTES, PAGE_MAP,
    STRIPE_BYTES,
};
use super::runs::{ORDER_MAX, PageEntry, entry_at, offset_of, state};
use super::slab::Slab;
use super::{corrupt, reach};
use crate::error::Result;
use crate::ptr::Ptr;
use crate::station::Station;
use crate::transaction::Transaction;

/// Some pages of a heap that are one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PageBlock {
    /// The first page.
    pub page: u32,
    /// How many there are.
    pub pages: u64,
    /// What they are.
    #[serde(flatten)]
    pub what: PageUse,
}

/// What pages are used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "use", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PageUse {
    /// The heap's own management.
    Management {
        /// Which part of it.
        part: &'static str,
    },
    /// No block.
    Free,
    /// Kept by an arena for its next slab.
    Idle {
        /// The arena.
        arena: u16,
    },
    /// Small blocks of one size.
    Slab {
        /// The arena that it belongs to.
        arena: u16,
        /// Bytes of a block.
        block_bytes: u16,
        /// Blocks that it has.
        blocks: u32,
        /// How many of them are allocated.
        used: u32,
    },
    /// One large block.
    Run,
}

/// What an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Place {
    /// The address, in bytes from the start of the heap.
    pub offset: u64,
    /// What is there, in a few words.
    pub what: String,
    /// Where the allocated block that holds it begins, if one does,
    pub block: Option<u64>,
    /// and how long that is, in bytes.
    pub block_bytes: Option<u64>,
    /// The root that it belongs to, if one was found.
    pub root: Option<String>,
    /// How many pointers lead there from the root, if that is a guess: something that looks like a
    /// pointer to the block. None if the block is what the root stands for.
    pub guessed_steps: Option<u32>,
}

impl Station {
    /// What the pages from `first` on are, as of one snapshot; the first `limit` things of them, and
    /// nothing beyond page `end`. Reads the page map up to there.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt), and as for any
    /// [`transaction`](Self::transaction).
    pub fn page_map(&mut self, first: u32, end: u64, limit: usize) -> Result<Vec<PageBlock>> {
        self.transaction(|tx| {
            let mut blocks = Vec::new();
            walk(tx, |block| {
                let from = u64::from(block.page);
                if from >= end || blocks.len() >= limit {
                    return Ok(false);
                }
                if from + block.pages > u64::from(first) {
                    blocks.push(block);
                }
                Ok(true)
            })?;
            Ok(blocks)
        })
    }

    /// What the addresses `offsets` belong to, as of one snapshot, and from which roots they can be
    /// reached as far as a quick look tells. Reads the page map up to the last of them, and roots.
    ///
    /// # Errors
    /// As [`page_map`](Self::page_map).
    pub fn locate(&mut self, offsets: &[u64]) -> Result<Vec<Place>> {
        self.transaction(|tx| locate(tx, offsets))
    }
}

fn locate(tx: &Transaction<'_>, offsets: &[u64]) -> Result<Vec<Place>> {
    let page_of = |offset: u64| offset / PAGE_BYTES as u64;
    let last = offsets.iter().copied().map(page_of).max().unwrap_or(0);
    let mut wanted: Vec<u64> = offsets.iter().copied().map(page_of).collect();
    wanted.sort_unstable();
    let mut blocks = BTreeMap::new();
    walk(tx, |block| {
        let (from, to) = (u64::from(block.page), u64::from(block.page) + block.pages);
        let at = wanted.partition_point(|page| *page < from);
        if wanted.get(at).is_some_and(|page| *page < to) {
            blocks.insert(from, block);
        }
        Ok(to <= last)
    })?;
    let mut places = Vec::new();
    for &offset in offsets {
        let block = blocks.range(..=page_of(offset)).next_back();
        let block = block.filter(|(from, block)| page_of(offset) < *from + block.pages);
        places.push(match block {
            Some((_, block)) => place(tx, offset, block)?,
            None => Place::of(offset, "nothing: beyond the heap".to_owned()),
        });
    }
    reach::find_roots(tx, &mut places)?;
    Ok(places)
}

impl Place {
    fn of(offset: u64, what: String) -> Self {
        Self {
            offset,
            what,
            block: None,
            block_bytes: None,
            root: None,
            guessed_steps: None,
        }
    }
}

/// What `offset` is, which lies in `block`.
fn place(tx: &Transaction<'_>, offset: u64, block: &PageBlock) -> Result<Place> {
    let within = offset - offset_of(block.page);
    Ok(match &block.what {
        PageUse::Management { .. } => Place::of(offset, management(offset)),
        PageUse::Free | PageUse::Idle { .. } => Place::of(offset, "free memory".to_owned()),
        PageUse::Run => Place {
            block: Some(offset_of(block.page)),
            block_bytes: Some(block.pages * PAGE_BYTES as u64),
            ..Place::of(
                offset,
                format!("a block of {} pages, byte {within}", block.pages),
            )
        },
        PageUse::Slab {
            block_bytes, arena, ..
        } => {
            let header = SLAB_HEADER_BYTES as u64;
            let bytes = u64::from(*block_bytes);
            let Some(at) = within.checked_sub(header) else {
                let what = format!("allocator: header of a slab of {bytes} bytes, arena {arena}");
                return Ok(Place::of(offset, what));
            };
            let (index, page) = (at / bytes, offset_of(block.page));
            let slab = tx.get(Ptr::<Slab>::at(page))?;
            let word = slab.bitmap.get(index as usize / 64).copied().unwrap_or(0);
            let is_used = word >> (index % 64) & 1 == 1;
            let kind = if is_used { "block" } else { "free block" };
            let what = format!("{kind} {index} of a slab of {bytes} bytes");
            let begin = page + header + index * bytes;
            Place {
                block: is_used.then_some(begin),
                block_bytes: is_used.then_some(bytes),
                ..Place::of(offset, what)
            }
        }
    })
}

/// What a part of the heap's own management is.
fn management(offset: u64) -> String {
    match offset {
        ..NAMES => "superblock".to_owned(),
        NAMES..ACTIVITIES => "name directory".to_owned(),
        ACTIVITIES..ARENAS => {
            let at = offset - ACTIVITIES;
            let part = match at % STRIPE_BYTES / 64 {
                0 => "pending",
                1 => "claimed",
                _ => "finished",
            };
            format!("activity queue: stripe {}, {part}", at / STRIPE_BYTES)
        }
        ARENAS..FREE_RUNS => {
            let at = offset - ARENAS;
            let part = match at % ARENA_BYTES / 64 {
                0 => "counters",
                1 => "idle pages",
                _ => "lists of slabs",
            };
            format!("allocator: arena {}, {part}", at / ARENA_BYTES)
        }
        FREE_RUNS..PAGE_MAP => "allocator: lists of free pages".to_owned(),
        _ => {
            let page = (offset - PAGE_MAP) / PAGE_ENTRY_BYTES;
            format!("page map: entries from page {page}")
        }
    }
}

/// Tells every block of the heap in order, until `tell` wants no more.
fn walk(tx: &Transaction<'_>, mut tell: impl FnMut(PageBlock) -> Result<bool>) -> Result<()> {
    let geometry = Geometry::of(tx.pages.len());
    let page = |offset: u64| offset / PAGE_BYTES as u64;
    let parts = [
        (0, page(NAMES), "superblock"),
        (page(NAMES), page(ACTIVITIES), "name directory"),
        (page(ACTIVITIES), page(ARENAS), "activity queue"),
        (page(ARENAS), page(PAGE_MAP), "allocator"),
        (page(PAGE_MAP), geometry.first, "page map"),
    ];
    for (from, to, part) in parts {
        let block = PageBlock {
            page: from as u32,
            pages: to - from,
            what: PageUse::Management { part },
        };
        if !tell(block)? {
            return Ok(());
        }
    }
    let mut page = geometry.first;
    while page < geometry.end {
        let entry = *tx.get(entry_at(page as u32))?;
        let (pages, what) = describe(tx, page as u32, &entry)?;
        if pages == 0 || !geometry.contains(page, pages) {
            return Err(corrupt("page map"));
        }
        let block = PageBlock {
            page: page as u32,
            pages,
            what,
        };
        if !tell(block)? {
            return Ok(());
        }
        page += pages;
    }
    Ok(())
}

/// What begins at `page`, and how long it is.
fn describe(tx: &Transaction<'_>, page: u32, entry: &PageEntry) -> Result<(u64, PageUse)> {
    let arena = entry.arena;
    match entry.state {
        state::FREE if u32::from(entry.kind) <= ORDER_MAX => Ok((1 << entry.kind, PageUse::Free)),
        state::RUN => Ok((u64::from(entry.pages), PageUse::Run)),
        state::IDLE => Ok((1, PageUse::Idle { arena })),
        state::SLAB if usize::from(entry.kind) < CLASSES => {
            let class = usize::from(entry.kind);
            let used = tx.get(Ptr::<Slab>::at(offset_of(page)))?.used;
            let slab = PageUse::Slab {
                arena,
                block_bytes: CLASS_BYTES[class],
                blocks: capacity(class) as u32,
                used,
            };
            Ok((1, slab))
        }
        _ => Err(corrupt("page map")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    #[test]
    fn the_blocks_of_a_heap_cover_it_without_gaps() {
        let mut cluster = Cluster::local(1).unwrap();
        let station = &mut cluster.stations()[0];
        station
            .transaction(|tx| {
                tx.alloc(7u64)?;
                tx.alloc_slice::<u64>(10_000)
            })
            .unwrap();
        let blocks = station.page_map(0, u64::MAX, usize::MAX).unwrap();
        let mut next = 0;
        for block in &blocks {
            assert_eq!(u64::from(block.page), next, "{block:?}");
            next += block.pages;
        }
        assert_eq!(next * 4096, station.usage().unwrap().heap_bytes);
        let run = blocks.iter().find(|block| block.what == PageUse::Run);
        let run = run.unwrap();
        assert_eq!(run.pages, 20);
        let inside = station.page_map(run.page + 3, u64::from(run.page) + 4, 9);
        assert_eq!(inside.unwrap(), std::slice::from_ref(run));
        assert_eq!(station.page_map(0, u64::MAX, 3).unwrap().len(), 3);
    }

    #[test]
    fn addresses_are_found_with_the_roots_that_lead_there() {
        let mut cluster = Cluster::local(1).unwrap();
        let station = &mut cluster.stations()[0];
        let (value, far, lost) = station
            .transaction(|tx| {
                let value = tx.alloc([5u64; 40])?;
                let far = tx.alloc_slice_from(&[value.offset(); 3])?;
                let root = tx.alloc([0, far.offset()])?;
                tx.set_root("list", root)?;
                tx.set_root("direct", far)?;
                Ok((value, root, tx.alloc([9u64; 8])?))
            })
            .unwrap();
        let offsets = [
            100,
            4096,
            ARENAS,
            value.offset() + 8,
            far.offset(),
            lost.offset(),
            value.offset() / 4096 * 4096,
            u64::MAX,
        ];
        let places = station.locate(&offsets).unwrap();
        let whats: Vec<_> = places.iter().map(|place| place.what.as_str()).collect();
        assert_eq!(
            whats[..3],
            [
                "superblock",
                "name directory",
                "allocator: arena 0, counters"
            ]
        );
        assert!(whats[3].contains("slab of 320 bytes"), "{whats:?}");
        assert_eq!(places[3].block, Some(value.offset()));
        assert_eq!(places[3].root.as_deref(), Some("direct"));
        assert_eq!(places[3].guessed_steps, Some(1));
        assert_eq!(places[4].root.as_deref(), Some("list"));
        assert_eq!(places[4].guessed_steps, None);
        assert_eq!(places[5].root, None);
        assert!(whats[6].contains("header of a slab"), "{whats:?}");
        assert!(whats[7].contains("beyond"), "{whats:?}");
    }
}
