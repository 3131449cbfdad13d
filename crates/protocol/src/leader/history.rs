//! The newest commits with the bytes before and after each, so that a page can be served as of an
//! older snapshot. Bounded in bytes: the oldest commits are forgotten first.
//!
//! ```text
//!  page now (version n3)      c: n1 ....... n2 ....... n3
//!      |  undo n3, undo n2         |          ^previous  ^previous
//!      v                           v
//!  page as of s  + deltas [n2, n3]     for n1 <= s < n2
//! ```
//!
//! Each section remembers the page's version before it, so walking back touches only the commits
//! that wrote this page.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Content, Delta, Page};
use plurix_wire::{CommitNumber, PAGE_BYTES, PageBytes, PageNumber, Section, Sections, WriteSet};

use super::pages::PageTable;

const VERSION_BYTES: usize = 8;
/// What an entry costs beside its bytes, for the bound.
const ENTRY_BYTES: usize = size_of::<Entry>();
/// Bytes that are allocated and recycled at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// A bounded window of the newest commits; dense, so a commit is found by its number.
///
/// The bytes of the commits follow one another in chunks that are recycled as a whole: to allocate
/// them one by one, and to free them when nothing of them is in the cache any more, would cost more
/// than the rest of a commit.
#[derive(Debug, Clone)]
pub(crate) struct History {
    commits: VecDeque<Entry>,
    /// The number of `commits[0]`, or of the next commit while there is none.
    first: CommitNumber,
    chunks: VecDeque<Vec<u8>>,
    /// The index of `chunks[0]` among all chunks that ever were.
    first_chunk: u64,
    /// An emptied chunk, to be used next.
    spare: Vec<u8>,
    bytes: usize,
    bytes_max: usize,
}

/// Where a commit's write set lies, and behind it what it replaced: for each section the page's
/// version before (u64), then the bytes before.
#[derive(Debug, Clone)]
struct Entry {
    chunk: u64,
    at: usize,
    writes: usize,
    undo: usize,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.writes + self.undo
    }
}

/// One commit of the history.
#[derive(Hash)]
struct Remembered<'a> {
    writes: &'a [u8],
    undo: &'a [u8],
}

impl<'a> Remembered<'a> {
    /// The section that changed `page`, with the version and the bytes before it.
    fn section(&self, page: PageNumber) -> Option<(Section<'a>, CommitNumber, &'a [u8])> {
        let mut undo = self.undo;
        for section in Sections::of(self.writes) {
            let (version, rest) = undo.split_first_chunk::<VERSION_BYTES>()?;
            let (before, rest) = rest.split_at(section.payload().len());
            if section.page() == page {
                return Some((section, CommitNumber(u64::from_le_bytes(*version)), before));
            }
            undo = rest;
        }
        None
    }
}

/// What is remembered; in which chunks it lies says nothing.
impl Hash for History {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            commits,
            first,
            chunks: _,
            first_chunk: _,
            spare: _,
            bytes: _,
            bytes_max: _,
        } = self;
        first.hash(state);
        for at in 0..commits.len() as u64 {
            self.get(CommitNumber(first.0 + at)).hash(state);
        }
    }
}

impl History {
    /// An empty history whose first commit will be `next`.
    pub(crate) fn new(next: CommitNumber, bytes_max: usize) -> Self {
        Self {
            commits: VecDeque::new(),
            first: next,
            chunks: VecDeque::new(),
            first_chunk: 0,
            spare: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// What is counted against the bound.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Remembers commit `number`, which replaced what `undo` holds, and forgets what no longer
    /// fits; at least one commit is kept.
    pub(crate) fn push(&mut self, number: CommitNumber, writes: &WriteSet, undo: &[u8]) {
        assert_eq!(
            number.0,
            self.first.0 + self.commits.len() as u64,
            "commits are dense"
        );
        let writes = writes.as_bytes();
        let needed = writes.len() + undo.len();
        if self
            .chunks
            .back()
            .is_none_or(|chunk| chunk.capacity() - chunk.len() < needed)
        {
            let mut chunk = std::mem::take(&mut self.spare);
            chunk.reserve_exact(needed.max(CHUNK_BYTES.min(self.bytes_max)));
            self.chunks.push_back(chunk);
        }
        let index = self.first_chunk + self.chunks.len() as u64 - 1;
        let chunk = self.chunks.back_mut().expect("pushed above");
        let entry = Entry {
            chunk: index,
            at: chunk.len(),
            writes: writes.len(),
            undo: undo.len(),
        };
        chunk.extend_from_slice(writes);
        chunk.extend_from_slice(undo);
        self.bytes += entry.bytes();
        self.commits.push_back(entry);
        while self.bytes > self.bytes_max
            && self.commits.len() > 1
            && !canary::strikes(Canary::KeepHistory)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.commits.pop_front().expect("there is one");
        self.bytes -= oldest.bytes();
        self.first = self.first.next();
        let needed = self.commits.front().map_or(u64::MAX, |entry| entry.chunk);
        while self.first_chunk < needed
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            self.first_chunk += 1;
            chunk.clear();
            chunk.shrink_to(CHUNK_BYTES);
            self.spare = chunk;
        }
    }

    fn get(&self, number: CommitNumber) -> Option<Remembered<'_>> {
        let index = usize::try_from(number.0.checked_sub(self.first.0)?).ok()?;
        let entry = self.commits.get(index)?;
        let chunk = &self.chunks[(entry.chunk - self.first_chunk) as usize];
        let (writes, undo) = chunk[entry.at..][..entry.writes + entry.undo].split_at(entry.writes);
        Some(Remembered { writes, undo })
    }

    /// What commit `number` wrote into `page`, if it is remembered.
    pub(crate) fn section(&self, number: CommitNumber, page: PageNumber) -> Option<Section<'_>> {
        self.get(number)?.section(page).map(|(section, ..)| section)
    }

    /// `page` as of `snapshot`, or as of the oldest later commit that the history reaches, with
    /// its changes up to `now`, the newest commit.
    pub(crate) fn page_as_of(
        &self,
        pages: &PageTable,
        page: PageNumber,
        snapshot: CommitNumber,
        now: CommitNumber,
    ) -> Page {
        let mut at = pages.version(page);
        let Some(image) = pages.image(page) else {
            let base = snapshot.min(now);
            return Page {
                page,
                base,
                held_from: now,
                content: Content::Zero,
                since: Vec::new(),
            };
        };
        let mut bytes: Option<Box<[u8; PAGE_BYTES]>> = None;
        let mut since = Vec::new();
        while at > snapshot {
            // A recovery line replaced all of the page, and what was there before is not remembered.
            let found = self.get(at);
            let Some((section, previous, before)) = found.and_then(|entry| entry.section(page))
            else {
                break;
            };
            if !canary::strikes(Canary::ServeNewer) {
                let bytes = bytes.get_or_insert_with(|| Box::new(*image));
                revert(bytes, &section, before);
            }
            since.push(Delta {
                number: at,
                writes: WriteSet::parse(Bytes::copy_from_slice(section.encoded()))
                    .expect("a section of a write set is a write set"),
            });
            at = previous;
        }
        since.reverse();
        let content = match bytes {
            None => Content::Bytes(Bytes::from_owner(Shared(image))),
            Some(bytes) if at == CommitNumber(0) && bytes.iter().all(|byte| *byte == 0) => {
                Content::Zero
            }
            Some(bytes) => Content::Bytes(Bytes::copy_from_slice(&bytes[..])),
        };
        let base = if at > snapshot { at } else { snapshot.min(now) };
        Page {
            page,
            base,
            held_from: now,
            content,
            since,
        }
    }
}

/// The newest bytes of a page, lent to an answer.
struct Shared(Arc<PageBytes>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &*self.0
    }
}

fn revert(bytes: &mut [u8; PAGE_BYTES], section: &Section<'_>, mut before: &[u8]) {
    for run in section.runs() {
        let (old, rest) = before.split_at(run.bytes.len());
        let at = usize::from(run.offset);
        bytes[at..at + old.len()].copy_from_slice(old);
        before = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_wire::WriteSetBuilder;
    use proptest::prelude::*;

    const PAGE: PageNumber = PageNumber(3);

    fn bytes_of(page: &Page, through: CommitNumber) -> Vec<u8> {
        let mut bytes = match &page.content {
            Content::Zero => vec![0; PAGE_BYTES],
            Content::Bytes(bytes) => bytes.to_vec(),
        };
        for delta in page.since.iter().filter(|delta| delta.number <= through) {
            for run in delta.writes.sections().flat_map(|section| section.runs()) {
                bytes[run.offset as usize..][..run.bytes.len()].copy_from_slice(run.bytes);
            }
        }
        bytes
    }

    proptest! {
        /// Whatever was written and however little is remembered, a page served for a snapshot is
        /// the page at its base, and its deltas lead to each later state.
        #[test]
        fn a_served_page_is_the_page_at_every_commit(
            writes in prop::collection::vec((0u32..3, 0usize..200, any::<u8>(), 1usize..90), 1..30),
            bytes_max in 0usize..6000,
        ) {
            let mut pages = PageTable::in_memory(1 << 20, 2);
            let mut history = History::new(CommitNumber(1), bytes_max);
            let mut states = vec![vec![0u8; PAGE_BYTES]];
            for (n, (page, offset, value, length)) in writes.iter().enumerate() {
                let mut builder = WriteSetBuilder::new();
                builder.push(PageNumber(PAGE.0 + page), *offset, &vec![*value; *length]);
                let set = builder.finish();
                let number = CommitNumber(n as u64 + 1);
                let mut undo = Vec::new();
                pages.apply(number, &set, &mut undo);
                history.push(number, &set, &undo);
                let mut state = states.last().unwrap().clone();
                if *page == 0 {
                    state[*offset..offset + length].fill(*value);
                }
                states.push(state);
            }
            let now = CommitNumber(writes.len() as u64);
            for snapshot in 0..=now.0 {
                let page = history.page_as_of(&pages, PAGE, CommitNumber(snapshot), now);
                prop_assert!(page.base.0 >= snapshot && page.held_from == now);
                for through in page.base.0..=now.0 {
                    prop_assert_eq!(
                        &bytes_of(&page, CommitNumber(through)), &states[through as usize]
                    );
                }
            }
        }
    }
}
