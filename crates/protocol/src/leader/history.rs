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

use bytes::Bytes;
use plurix_wire::message::{Content, Delta, Page};
use plurix_wire::{CommitNumber, PAGE_BYTES, PageNumber, Section, WriteSet};

use super::pages::PageTable;

const VERSION_BYTES: usize = 8;
/// What an entry costs beside its buffers, for the bound.
const ENTRY_BYTES: usize = 128;

/// A bounded window of the newest commits; dense, so a commit is found by its number.
#[derive(Debug)]
pub(crate) struct History {
    commits: VecDeque<Entry>,
    /// The number of `commits[0]`, or of the next commit while there is none.
    first: CommitNumber,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    writes: WriteSet,
    /// For each section: the page's version before (u64), then the bytes before.
    undo: Box<[u8]>,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.writes.as_bytes().len() + self.undo.len()
    }

    /// The section that changed `page`, with the version and the bytes before it.
    fn section(&self, page: PageNumber) -> Option<(Section<'_>, CommitNumber, &[u8])> {
        let mut undo = &self.undo[..];
        for section in self.writes.sections() {
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

impl History {
    /// An empty history whose first commit will be `next`.
    pub(crate) fn new(next: CommitNumber, bytes_max: usize) -> Self {
        Self {
            commits: VecDeque::new(),
            first: next,
            bytes: 0,
            bytes_max,
        }
    }

    /// Remembers commit `number` and forgets what no longer fits; at least one commit is kept.
    pub(crate) fn push(&mut self, number: CommitNumber, writes: WriteSet, undo: Box<[u8]>) {
        assert_eq!(
            number.0,
            self.first.0 + self.commits.len() as u64,
            "commits are dense"
        );
        let entry = Entry { writes, undo };
        self.bytes += entry.bytes();
        self.commits.push_back(entry);
        while self.bytes > self.bytes_max && self.commits.len() > 1 {
            let oldest = self.commits.pop_front().expect("more than one");
            self.bytes -= oldest.bytes();
            self.first = self.first.next();
        }
    }

    fn get(&self, number: CommitNumber) -> Option<&Entry> {
        self.commits
            .get(usize::try_from(number.0.checked_sub(self.first.0)?).ok()?)
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
            let Some(entry) = self.get(at) else { break };
            let (section, previous, before) = entry
                .section(page)
                .expect("a page's version names a commit that wrote it");
            revert(
                bytes.get_or_insert_with(|| Box::new(*image)),
                &section,
                before,
            );
            since.push(Delta {
                number: at,
                writes: entry.writes.restrict(|p| p == page),
            });
            at = previous;
        }
        since.reverse();
        let content = match bytes {
            None => Content::Bytes(Bytes::copy_from_slice(image)),
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
            let mut pages = PageTable::new(1 << 20, 2);
            let mut history = History::new(CommitNumber(1), bytes_max);
            let mut states = vec![vec![0u8; PAGE_BYTES]];
            for (n, (page, offset, value, length)) in writes.iter().enumerate() {
                let mut builder = WriteSetBuilder::new();
                builder.push(PageNumber(PAGE.0 + page), *offset, &vec![*value; *length]);
                let set = builder.finish();
                let number = CommitNumber(n as u64 + 1);
                let mut undo = Vec::new();
                pages.apply(number, &set, &mut undo);
                history.push(number, set, undo.into());
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
