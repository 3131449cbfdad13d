//! Which pages changed since the last cut, and which of those before it are yet to be collected.

use std::collections::VecDeque;
use std::sync::Arc;

use plurix_wire::canary::{self, Canary};
use plurix_wire::{PageBytes, PageNumber};

use crate::page_set::PageSet;

/// Changed pages, on both sides of a cut.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Changes {
    /// Changed since the last cut.
    dirty: PageSet,
    /// Changed between the cut before and the last one, while the checkpoint is being taken.
    frozen: PageSet,
    /// Those of them that are yet to be collected, and did not change since.
    left: PageSet,
    /// Those of them that changed before they were collected, as they were.
    saved: VecDeque<(PageNumber, Arc<PageBytes>)>,
    /// None of `left` comes before it.
    cursor: PageNumber,
}

impl Changes {
    pub(crate) fn changed(&self) -> u64 {
        self.dirty.len()
    }

    /// A commit changes `page`; answers whether it is the first one since the last cut.
    pub(crate) fn changes(&mut self, page: PageNumber) -> bool {
        self.dirty.insert(page)
    }

    /// Whether the bytes of `page` at the cut are yet to be collected.
    pub(crate) fn is_left(&self, page: PageNumber) -> bool {
        self.left.contains(page)
    }

    /// Sets aside the bytes of `page` at the cut.
    pub(crate) fn save(&mut self, page: PageNumber, image: Arc<PageBytes>) {
        if !canary::strikes(Canary::ForgetCopy) {
            self.left.remove(page);
            self.saved.push_back((page, image));
        }
    }

    pub(crate) fn freeze(&mut self, collects: bool) -> u64 {
        assert!(self.frozen.is_empty(), "one checkpoint is taken at a time");
        self.frozen = std::mem::take(&mut self.dirty);
        if collects {
            self.left = self.frozen.clone();
        }
        self.cursor = PageNumber(0);
        self.left.len()
    }

    pub(crate) fn left(&self) -> u64 {
        self.left.len()
    }

    pub(crate) fn saved(&self) -> usize {
        self.saved.len()
    }

    pub(crate) fn take_saved(&mut self, most: usize) -> Vec<(PageNumber, Arc<PageBytes>)> {
        let most = most.min(self.saved.len());
        self.saved.drain(..most).collect()
    }

    /// The next pages to be collected.
    pub(crate) fn take_left(&mut self, most: usize) -> Vec<PageNumber> {
        let pages: Vec<_> = self.left.from(self.cursor).take(most).collect();
        for page in &pages {
            self.left.remove(*page);
            self.cursor = *page;
        }
        pages
    }

    pub(crate) fn is_collected(&self) -> bool {
        self.left.is_empty() && self.saved.is_empty()
    }

    /// The checkpoint is complete; answers its pages.
    pub(crate) fn release(&mut self) -> PageSet {
        debug_assert!(self.is_collected());
        std::mem::take(&mut self.frozen)
    }

    /// The checkpoint has failed: its pages are as good as not collected.
    pub(crate) fn thaw(&mut self) {
        let frozen = std::mem::take(&mut self.frozen);
        self.dirty.extend(&frozen);
        self.left = PageSet::default();
        self.saved.clear();
    }
}
