//! The leader's pages: newest bytes, who wrote each line last, and who holds a copy.
//!
//! Validation asks "was this line written after snapshot s?". The exact answer takes 64 commit
//! numbers a page, so it is kept for a bounded number of recently written pages; of any other page
//! only the newest commit that touched it is known. Forgetting can thus refuse a transaction that
//! was fine, and never accepts one that was not.
//!
//! Bytes that a checkpoint on disk holds need not be in memory: they are loaded when they are asked
//! for, and dropped again when there is too much, by the clock algorithm (Corbató 1968). Of a page that
//! came with the checkpoint a leader started from, the cut counts as the commit that wrote it. What the
//! log behind it wrote is added when the page is loaded: see [`Redo`].

#[cfg(test)]
mod tests;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageLines;
use plurix_wire::redo::{Chain, Redo};
use plurix_wire::{CommitNumber, LineMask, PAGE_BYTES, PageBytes, PageNumber, WriteSet};

use super::changes::Changes;
use super::images::Images;
use super::line_writers::LineWriters;
use super::pipeline::Seen;
use super::settings::Settings;
use crate::page_set::PageSet;

/// Index of a member in the leader's table; small, reused after the member left.
pub(crate) type Slot = u16;

const CHUNK_PAGES: usize = 512;
/// Entries looked at in one go when there is too much in memory.
const EVICT_LOOKS: usize = 4096;

/// What the leader knows of one page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// The newest bytes, if they are in memory. Absent, too, until the first commit writes the page.
    /// Shared with answers under way and images being written: a commit that finds it shared changes
    /// a copy.
    image: Option<Arc<PageBytes>>,
    /// The bytes were used since the clock's hand passed.
    touched: bool,
    /// The newest commit that wrote the page.
    pub(crate) version: CommitNumber,
    /// The members that hold a copy, in no order.
    pub(crate) holders: Vec<Slot>,
    /// Position in [`LineWriters`], if the page is among the recent ones.
    lines: Option<u32>,
    /// What the log wrote, if the bytes are not in memory.
    redo: Chain,
}

impl Entry {
    /// Whether its bytes are those that the newest checkpoint holds.
    #[cfg(test)]
    pub(crate) fn is_as_stored(&self) -> bool {
        self.image.is_none() && self.redo.is_empty()
    }
}

/// All pages, found by number in two steps; chunks exist where something was written or held.
#[derive(Debug, Clone)]
pub(crate) struct PageTable {
    chunks: Vec<Option<Box<[Entry; CHUNK_PAGES]>>>,
    line_writers: LineWriters,
    /// Pages of the heap.
    limit: u64,
    written: u64,
    images: Arc<dyn Images>,
    /// Pages that the newest checkpoint on disk holds.
    stored: PageSet,
    /// The cut of the checkpoint that the leader started from.
    base: CommitNumber,
    changes: Changes,
    redo: Redo,
    /// Pages in memory, and how many there should be at most.
    resident: usize,
    resident_max: usize,
    /// Where the clock's hand stands.
    hand: usize,
}

impl PageTable {
    /// An empty heap.
    pub(crate) fn new(settings: &Settings, images: Arc<dyn Images>) -> Self {
        Self {
            chunks: Vec::new(),
            line_writers: LineWriters::new(settings.recent_pages),
            limit: settings.heap_bytes / PAGE_BYTES as u64,
            written: 0,
            images,
            stored: PageSet::default(),
            base: CommitNumber(0),
            changes: Changes::default(),
            redo: Redo::new(settings.redo_bytes_max),
            resident: 0,
            resident_max: settings.resident_pages_max,
            hand: 0,
        }
    }

    /// A heap of which no checkpoint was taken.
    #[cfg(test)]
    pub(crate) fn in_memory(heap_bytes: u64, recent_pages: usize) -> Self {
        let settings = Settings {
            recent_pages,
            ..Settings::new(heap_bytes, super::Durability::Memory)
        };
        Self::new(&settings, Arc::new(super::NoImages))
    }

    /// Starts from a checkpoint that holds `pages` and was cut at commit `base`. Answers whether the
    /// heap has all these pages.
    pub(crate) fn start_from(
        &mut self,
        base: CommitNumber,
        pages: impl IntoIterator<Item = PageNumber>,
    ) -> bool {
        assert!(self.chunks.is_empty(), "a heap starts once");
        self.base = base;
        self.stored = pages.into_iter().collect();
        self.written = self.stored.len();
        u32::try_from(self.limit).map_or(true, |limit| {
            self.stored.from(PageNumber(limit)).next().is_none()
        })
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
        let (stored, base) = (&self.stored, self.base);
        let chunk = self.chunks[chunk].get_or_insert_with(|| {
            Box::new(std::array::from_fn(|index| {
                let page = PageNumber((chunk * CHUNK_PAGES + index) as u32);
                let version = if stored.contains(page) {
                    base
                } else {
                    CommitNumber(0)
                };
                Entry {
                    version,
                    ..Entry::default()
                }
            }))
        });
        &mut chunk[index]
    }

    /// The newest bytes of `page`, or `None` while it is all zero. Bytes that are loaded for this are
    /// not kept.
    pub(crate) fn image(&self, page: PageNumber) -> Option<Arc<PageBytes>> {
        match self.get(page) {
            Some(Entry {
                image: Some(image), ..
            }) => Some(Arc::clone(image)),
            Some(entry) => self.load(page, entry.redo),
            None => self.load(page, Chain::default()),
        }
    }

    /// The bytes of a page that is not in memory, `redo` applied to those of the newest checkpoint.
    fn load(&self, page: PageNumber, redo: Chain) -> Option<Arc<PageBytes>> {
        let stored = self.stored.contains(page).then(|| self.images.load(page));
        if redo.is_empty() {
            return stored;
        }
        let mut image = stored.unwrap_or_else(|| Arc::new([0; PAGE_BYTES]));
        self.redo.apply(redo, Arc::make_mut(&mut image));
        Some(image)
    }

    /// Has the bytes of `page` in memory from now on, if it is not all zero.
    pub(crate) fn touch(&mut self, page: PageNumber) {
        let entry = self.entry(page);
        entry.touched = true;
        if entry.image.is_some() {
            return;
        }
        let mut redo = entry.redo;
        if let Some(image) = self.load(page, redo) {
            self.redo.forget(&mut redo);
            let entry = self.entry(page);
            (entry.image, entry.redo) = (Some(image), redo);
            self.resident += 1;
        }
    }

    /// Has up to `most` of the pages that a checkpoint holds in memory, from page `first` on; answers
    /// where to go on, unless all are there or as many as there should be.
    pub(crate) fn preload(&mut self, first: PageNumber, most: usize) -> Option<PageNumber> {
        let pages: Vec<_> = self.stored.from(first).take(most + 1).collect();
        for page in pages.iter().take(most) {
            if self.resident >= self.resident_max {
                return None;
            }
            self.touch(*page);
        }
        pages.get(most).copied()
    }

    /// The newest commit that wrote `page`.
    pub(crate) fn version(&self, page: PageNumber) -> CommitNumber {
        match self.get(page) {
            Some(entry) => entry.version,
            None if self.stored.contains(page) => self.base,
            None => CommitNumber(0),
        }
    }

    /// The first of `reads` that a commit after `snapshot` wrote, as far as is known; commits whose
    /// changes were `seen` do not count.
    pub(crate) fn conflict(
        &self,
        reads: &[PageLines],
        snapshot: CommitNumber,
        seen: &Seen,
    ) -> Option<PageLines> {
        reads.iter().find_map(|read| {
            let mut lines = read.lines.0;
            if canary::strikes(Canary::SkipReadLine) {
                lines &= lines - 1;
            }
            let written = self.written_unseen(read.page, LineMask(lines), snapshot, seen);
            (written.0 != 0).then_some(PageLines {
                page: read.page,
                lines: written,
            })
        })
    }

    /// Those of `lines` of `page` that commits after `snapshot` may have written, other than those
    /// whose changes were `seen`.
    pub(crate) fn written_unseen(
        &self,
        page: PageNumber,
        lines: LineMask,
        snapshot: CommitNumber,
        seen: &Seen,
    ) -> LineMask {
        let written = LineMask(self.written_since(page, snapshot).0 & lines.0);
        if written.0 == 0 || seen.is_empty() {
            return written;
        }
        let Some(slot) = self.get(page).and_then(|entry| entry.lines) else {
            return written;
        };
        let is_seen = |line: &usize| {
            let last = self.line_writers.last(slot, *line);
            last.is_some_and(|number| seen.contains(number))
        };
        let known = written.lines().filter(is_seen);
        LineMask(known.fold(written.0, |mask, line| mask & !(1 << line)))
    }

    /// The commit that wrote `line` of `page` last; zero if that is not known.
    pub(crate) fn last_writer(&self, page: PageNumber, line: usize) -> CommitNumber {
        let slot = self.get(page).and_then(|entry| entry.lines);
        let last = slot.and_then(|slot| self.line_writers.last(slot, line));
        last.unwrap_or_default()
    }

    /// The lines of `page` that commits after `snapshot` may have written.
    pub(crate) fn written_since(&self, page: PageNumber, snapshot: CommitNumber) -> LineMask {
        if self.version(page) <= snapshot {
            return LineMask(0);
        }
        match self.get(page).and_then(|entry| entry.lines) {
            None => LineMask::ALL,
            Some(slot) => self.line_writers.written_since(slot, snapshot),
        }
    }

    /// Makes `writes` the newest bytes, as commit `number`. `undo` receives, for each section, the
    /// page's previous version (u64, little-endian) and then the bytes that were there.
    pub(crate) fn apply(&mut self, number: CommitNumber, writes: &WriteSet, undo: &mut Vec<u8>) {
        for section in writes.sections() {
            let page = section.page();
            let fresh = self.recent(page);
            self.about_to_change(page);
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
            self.created(created);
            self.line_writers
                .record(lines, fresh.then_some(previous), section.lines(), number);
        }
    }

    /// [`apply`](Self::apply) for the replay of a log: keeps no undo, remembers writers by page, and
    /// leaves the bytes of pages that are not in memory to whoever asks for them.
    pub(crate) fn replay(&mut self, number: CommitNumber, writes: &WriteSet) {
        for section in writes.sections() {
            let page = section.page();
            // There is no checkpoint under way whose bytes could be lost.
            self.changes.changes(page);
            let entry = self.entry(page);
            entry.version = number;
            let mut redo = entry.redo;
            if entry.image.is_none() && self.redo.push(&mut redo, &section) {
                let entry = self.entry(page);
                let is_known = !std::mem::replace(&mut entry.redo, redo).is_empty();
                self.written += u64::from(!is_known && !self.stored.contains(page));
                continue;
            }
            self.touch(page);
            let entry = self.entry(page);
            let created = entry.image.is_none();
            let image = entry.image.get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            section.apply(Arc::make_mut(image));
            self.created(created);
        }
    }

    /// Makes `image` the newest bytes of `page`, all of which commit `number` wrote; answers the image
    /// that it had.
    pub(crate) fn replace(
        &mut self,
        number: CommitNumber,
        page: PageNumber,
        image: Arc<PageBytes>,
    ) -> Option<Arc<PageBytes>> {
        self.keep_for_cut(page);
        let entry = self.entry(page);
        entry.version = number;
        entry.touched = true;
        let lines = entry.lines;
        let mut redo = std::mem::take(&mut entry.redo);
        let replaced = entry.image.replace(image);
        let was_absent = replaced.is_none();
        let was_written = !was_absent || !redo.is_empty() || self.stored.contains(page);
        self.redo.forget(&mut redo);
        self.resident += usize::from(was_absent);
        self.written += u64::from(!was_written);
        if let Some(lines) = lines {
            self.line_writers.record(lines, None, LineMask::ALL, number);
        }
        replaced
    }

    fn created(&mut self, is_new: bool) {
        self.written += u64::from(is_new);
        self.resident += usize::from(is_new);
    }

    /// Sees to it that the bytes of `page` are in memory, and that those of a cut are not lost.
    fn about_to_change(&mut self, page: PageNumber) {
        if self.entry(page).image.is_none() {
            self.touch(page);
        }
        self.keep_for_cut(page);
    }

    /// `page` changes; sees to it that its bytes are not lost for a checkpoint that is yet to collect
    /// them.
    fn keep_for_cut(&mut self, page: PageNumber) {
        if self.changes.changes(page)
            && self.changes.is_left(page)
            && let Some(image) = self.image(page)
        {
            self.changes.save(page, image);
        }
    }

    /// Pages changed since the last cut.
    pub(crate) fn changed(&self) -> u64 {
        self.changes.changed()
    }

    /// The cut: what has changed is to be collected, if the checkpoint `collects`. Answers how many
    /// pages that are.
    pub(crate) fn freeze(&mut self, collects: bool) -> u64 {
        self.changes.freeze(collects)
    }

    /// Frozen pages that are yet to be collected or set aside.
    pub(crate) fn left_to_collect(&self) -> u64 {
        self.changes.left()
    }

    /// Pages set aside that are yet to be collected.
    pub(crate) fn saved(&self) -> usize {
        self.changes.saved()
    }

    /// At most `most` pages as of the cut, those first that were set aside; and whether there are no
    /// more.
    pub(crate) fn collect(&mut self, most: usize) -> (Vec<(PageNumber, Arc<PageBytes>)>, bool) {
        let mut pages = self.changes.take_saved(most);
        let next = self.changes.take_left(most - pages.len());
        for page in next {
            let image = self.image(page).expect("a page that changed has bytes");
            pages.push((page, image));
        }
        (pages, self.changes.is_collected())
    }

    /// The frozen pages are on disk, as of commit `cut`.
    pub(crate) fn stored(&mut self, cut: CommitNumber) {
        debug_assert!(cut >= self.base, "checkpoints follow each other");
        let frozen = self.changes.release();
        for page in frozen.iter() {
            // What the log wrote before the cut is in the image.
            let mut redo = std::mem::take(&mut self.entry(page).redo);
            self.redo.forget(&mut redo);
        }
        self.stored.extend(&frozen);
    }

    /// The frozen pages were not written.
    pub(crate) fn thaw(&mut self) {
        self.changes.thaw();
    }

    /// Pages in memory.
    pub(crate) fn resident(&self) -> usize {
        self.resident
    }

    /// Whether more pages are in memory than there should be.
    pub(crate) fn is_crowded(&self) -> bool {
        self.resident > self.resident_max
    }

    /// Whether there are half as many again, those that were set aside for a checkpoint included.
    pub(crate) fn is_overcrowded(&self) -> bool {
        let most = self.resident_max.saturating_add(self.resident_max / 2);
        self.resident + self.changes.saved() > most
    }

    /// Drops pages from memory until no more are there than there should be, or a share of them was
    /// looked at. Those that changed since the checkpoint cut at `durable` stay.
    pub(crate) fn evict(&mut self, durable: CommitNumber) {
        let places = self.chunks.len() * CHUNK_PAGES;
        for _ in 0..EVICT_LOOKS.min(2 * places) {
            if !self.is_crowded() {
                return;
            }
            self.hand = (self.hand + 1) % places;
            let Some(chunk) = &mut self.chunks[self.hand / CHUNK_PAGES] else {
                self.hand = self.hand.next_multiple_of(CHUNK_PAGES) % places;
                continue;
            };
            let entry = &mut chunk[self.hand % CHUNK_PAGES];
            let is_used = std::mem::take(&mut entry.touched);
            let is_alone = entry
                .image
                .as_ref()
                .is_some_and(|image| Arc::strong_count(image) == 1);
            if is_alone && !is_used && entry.version <= durable {
                entry.image = None;
                self.resident -= 1;
            }
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
            images: _,
            stored,
            base,
            changes,
            redo,
            resident: _,
            resident_max: _,
            hand: _,
        } = self;
        (stored, base, changes, redo).hash(state);
        for (at, chunk) in chunks.iter().enumerate() {
            for (index, entry) in chunk.iter().flat_map(|chunk| chunk.iter().enumerate()) {
                let Entry {
                    image,
                    touched: _,
                    version,
                    holders,
                    lines,
                    redo,
                } = entry;
                if image.is_some() || !redo.is_empty() || !holders.is_empty() {
                    let mut holders = holders.clone();
                    holders.sort_unstable();
                    (at, index, image, version, holders, lines, redo).hash(state);
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
