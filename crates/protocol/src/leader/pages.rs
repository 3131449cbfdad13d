//! The leader's pages: newest bytes, who wrote each line last, and who holds a copy.
//!
//! Validation asks "was this line written after snapshot s?". The exact answer takes 64 commit
//! numbers a page, so it is kept for a bounded number of recently written pages; of any other page
//! only the newest commit that touched it is known. Forgetting can thus refuse a transaction that
//! was fine, and never accepts one that was not.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageLines;
use plurix_wire::{
    CommitNumber, LINES_PER_PAGE, LineMask, PAGE_BYTES, PageBytes, PageNumber, WriteSet,
};

/// Index of a member in the leader's table; small, reused after the member left.
pub(crate) type Slot = u16;

const CHUNK_PAGES: usize = 512;

/// What the leader knows of one page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// The newest bytes; absent until the first commit writes the page. Shared with answers under
    /// way: a commit that finds it shared changes a copy.
    image: Option<Arc<PageBytes>>,
    /// The newest commit that wrote the page.
    pub(crate) version: CommitNumber,
    /// The members that hold a copy, in no order.
    pub(crate) holders: Vec<Slot>,
    /// Position in [`LineWriters`], if the page is among the recent ones.
    lines: Option<u32>,
}

/// All pages, found by number in two steps; chunks exist where something was written or held.
#[derive(Debug, Clone)]
pub(crate) struct PageTable {
    chunks: Vec<Option<Box<[Entry; CHUNK_PAGES]>>>,
    line_writers: LineWriters,
    /// Pages of the heap.
    limit: u64,
    written: u64,
}

impl PageTable {
    /// An empty heap of `heap_bytes`; the last writer of each line is known for `recent` pages.
    pub(crate) fn new(heap_bytes: u64, recent: usize) -> Self {
        Self {
            chunks: Vec::new(),
            line_writers: LineWriters::new(recent),
            limit: heap_bytes / PAGE_BYTES as u64,
            written: 0,
        }
    }

    /// Whether the heap has this page.
    pub(crate) fn contains(&self, page: PageNumber) -> bool {
        u64::from(page.0) < self.limit
    }

    /// Pages that were ever written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What is known of `page`, if it was ever written or held.
    pub(crate) fn get(&self, page: PageNumber) -> Option<&Entry> {
        let (chunk, index) = position(page);
        Some(&self.chunks.get(chunk)?.as_ref()?[index])
    }

    /// The entry of `page`, made if need be; the caller has checked that the heap contains it.
    pub(crate) fn entry(&mut self, page: PageNumber) -> &mut Entry {
        assert!(self.contains(page), "page beyond the heap");
        let (chunk, index) = position(page);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = self.chunks[chunk]
            .get_or_insert_with(|| Box::new(std::array::from_fn(|_| Entry::default())));
        &mut chunk[index]
    }

    /// The newest bytes of `page`, or `None` while it is all zero.
    pub(crate) fn image(&self, page: PageNumber) -> Option<&Arc<PageBytes>> {
        self.get(page)?.image.as_ref()
    }

    /// The newest commit that wrote `page`.
    pub(crate) fn version(&self, page: PageNumber) -> CommitNumber {
        self.get(page)
            .map_or(CommitNumber(0), |entry| entry.version)
    }

    /// The first of `reads` that a commit after `snapshot` wrote, as far as is known.
    pub(crate) fn conflict(
        &self,
        reads: &[PageLines],
        snapshot: CommitNumber,
    ) -> Option<PageLines> {
        reads.iter().find_map(|read| {
            let mut lines = read.lines.0;
            if canary::strikes(Canary::SkipReadLine) {
                lines &= lines - 1;
            }
            let written = self.written_since(read.page, snapshot).0 & lines;
            (written != 0).then_some(PageLines {
                page: read.page,
                lines: LineMask(written),
            })
        })
    }

    /// The lines of `page` that commits after `snapshot` may have written.
    pub(crate) fn written_since(&self, page: PageNumber, snapshot: CommitNumber) -> LineMask {
        match self.get(page) {
            None => LineMask(0),
            Some(entry) if entry.version <= snapshot => LineMask(0),
            Some(entry) => match entry.lines {
                None => LineMask::ALL,
                Some(slot) => self.line_writers.written_since(slot, snapshot),
            },
        }
    }

    /// Makes `writes` the newest bytes, as commit `number`. `undo` receives, for each section, the
    /// page's previous version (u64, little-endian) and then the bytes that were there.
    pub(crate) fn apply(&mut self, number: CommitNumber, writes: &WriteSet, undo: &mut Vec<u8>) {
        for section in writes.sections() {
            let page = section.page();
            let fresh = self.recent(page);
            let entry = self.entry(page);
            assert!(entry.version < number, "commits must be applied in order");
            undo.extend_from_slice(&entry.version.0.to_le_bytes());
            let lines = entry.lines.expect("made recent above");
            let previous = std::mem::replace(&mut entry.version, number);
            let created = entry.image.is_none();
            let image = entry.image.get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            let image = Arc::make_mut(image);
            for run in section.runs() {
                let at = usize::from(run.offset);
                let bytes = &mut image[at..at + run.bytes.len()];
                undo.extend_from_slice(bytes);
                bytes.copy_from_slice(run.bytes);
            }
            self.written += u64::from(created);
            self.line_writers
                .record(lines, fresh.then_some(previous), section.lines(), number);
        }
    }

    /// [`apply`](Self::apply) for the replay of a log: keeps no undo, and remembers writers by page.
    pub(crate) fn replay(&mut self, number: CommitNumber, writes: &WriteSet) {
        for section in writes.sections() {
            let entry = self.entry(section.page());
            entry.version = number;
            let created = entry.image.is_none();
            let image = entry.image.get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            let image = Arc::make_mut(image);
            for run in section.runs() {
                let at = usize::from(run.offset);
                image[at..at + run.bytes.len()].copy_from_slice(run.bytes);
            }
            self.written += u64::from(created);
        }
    }

    /// Makes `page` one of the recent pages; answers whether it was not one before.
    fn recent(&mut self, page: PageNumber) -> bool {
        if let Some(slot) = self.entry(page).lines {
            self.line_writers.touch(slot);
            return false;
        }
        let (slot, evicted) = self.line_writers.take(page);
        if let Some(evicted) = evicted {
            self.entry(evicted).lines = None;
        }
        self.entry(page).lines = Some(slot);
        true
    }
}

/// What the pages hold and who holds them; untouched ones, and the order of holders, say nothing.
impl Hash for PageTable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            chunks,
            line_writers,
            limit: _,
            written: _,
        } = self;
        for (at, chunk) in chunks.iter().enumerate() {
            for (index, entry) in chunk.iter().flat_map(|chunk| chunk.iter().enumerate()) {
                let Entry {
                    image,
                    version,
                    holders,
                    lines,
                } = entry;
                if image.is_some() || !holders.is_empty() {
                    let mut holders = holders.clone();
                    holders.sort_unstable();
                    (at, index, image, version, holders, lines).hash(state);
                }
            }
        }
        line_writers.hash(state);
    }
}

fn position(page: PageNumber) -> (usize, usize) {
    let page = page.0 as usize;
    (page / CHUNK_PAGES, page % CHUNK_PAGES)
}

/// The last writer of each line of a bounded number of pages, replaced by the clock algorithm
/// (Corbató 1968).
#[derive(Debug, Clone, Hash)]
struct LineWriters {
    slots: Vec<Writers>,
    capacity: usize,
    hand: usize,
}

#[derive(Debug, Clone, Hash)]
struct Writers {
    page: PageNumber,
    touched: bool,
    last: Box<[CommitNumber; LINES_PER_PAGE]>,
}

impl LineWriters {
    fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "at least one page must be recent");
        Self {
            slots: Vec::new(),
            capacity,
            hand: 0,
        }
    }

    fn touch(&mut self, slot: u32) {
        self.slots[slot as usize].touched = true;
    }

    /// A slot for `page`, and the page that lost it.
    fn take(&mut self, page: PageNumber) -> (u32, Option<PageNumber>) {
        if self.slots.len() < self.capacity {
            let last = Box::new([CommitNumber(0); LINES_PER_PAGE]);
            self.slots.push(Writers {
                page,
                touched: true,
                last,
            });
            return ((self.slots.len() - 1) as u32, None);
        }
        loop {
            let slot = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let writers = &mut self.slots[slot];
            if !std::mem::take(&mut writers.touched) {
                writers.touched = true;
                return (
                    slot as u32,
                    Some(std::mem::replace(&mut writers.page, page)),
                );
            }
        }
    }

    /// Notes that `number` wrote `lines`. A page that has just become recent has all its lines set
    /// to its `floor`, the newest commit that wrote any of them.
    fn record(
        &mut self,
        slot: u32,
        floor: Option<CommitNumber>,
        lines: LineMask,
        number: CommitNumber,
    ) {
        let last = &mut self.slots[slot as usize].last;
        if let Some(floor) = floor {
            last.fill(floor);
        }
        lines.lines().for_each(|line| last[line] = number);
    }

    fn written_since(&self, slot: u32, snapshot: CommitNumber) -> LineMask {
        let last = &self.slots[slot as usize].last;
        LineMask((0..LINES_PER_PAGE).fold(0, |mask, line| {
            mask | u64::from(last[line] > snapshot) << line
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_wire::WriteSetBuilder;

    fn write(page: u32, offset: usize, bytes: &[u8]) -> WriteSet {
        let mut builder = WriteSetBuilder::new();
        builder.push(PageNumber(page), offset, bytes);
        builder.finish()
    }

    fn reads(page: u32, lines: u64) -> [PageLines; 1] {
        [PageLines {
            page: PageNumber(page),
            lines: LineMask(lines),
        }]
    }

    #[test]
    fn only_lines_written_after_the_snapshot_conflict() {
        let mut pages = PageTable::new(1 << 20, 4);
        pages.apply(CommitNumber(1), &write(1, 0, b"a"), &mut Vec::new());
        pages.apply(CommitNumber(2), &write(1, 64, b"b"), &mut Vec::new());
        assert_eq!(pages.conflict(&reads(1, 0b01), CommitNumber(1)), None);
        assert_eq!(
            pages.conflict(&reads(1, 0b11), CommitNumber(1)),
            Some(reads(1, 0b10)[0])
        );
        assert_eq!(pages.conflict(&reads(1, 0b11), CommitNumber(2)), None);
        assert_eq!(pages.conflict(&reads(2, 0b11), CommitNumber(0)), None);
    }

    #[test]
    fn a_forgotten_page_conflicts_as_a_whole_and_never_too_little() {
        let mut pages = PageTable::new(1 << 20, 1);
        pages.apply(CommitNumber(1), &write(1, 0, b"a"), &mut Vec::new());
        pages.apply(CommitNumber(2), &write(2, 0, b"b"), &mut Vec::new());
        assert!(pages.conflict(&reads(1, 0b10), CommitNumber(0)).is_some());
        assert_eq!(pages.conflict(&reads(1, 0b10), CommitNumber(1)), None);
        pages.apply(CommitNumber(3), &write(1, 64, b"c"), &mut Vec::new());
        assert!(pages.conflict(&reads(1, 0b01), CommitNumber(0)).is_some());
        assert_eq!(pages.conflict(&reads(1, 0b01), CommitNumber(2)), None);
    }

    #[test]
    fn undo_holds_the_version_and_the_bytes_before() {
        let mut pages = PageTable::new(1 << 20, 4);
        pages.apply(CommitNumber(7), &write(1, 10, b"old"), &mut Vec::new());
        let mut undo = Vec::new();
        pages.apply(CommitNumber(8), &write(1, 11, b"ew"), &mut undo);
        assert_eq!(undo, [&7u64.to_le_bytes()[..], b"ld"].concat());
        assert_eq!(&pages.image(PageNumber(1)).unwrap()[10..13], b"oew");
    }
}
