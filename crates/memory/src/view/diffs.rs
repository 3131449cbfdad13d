//! Twins, and what they are for: the bytes that this station changed in a page, and the bytes of
//! others put into it.
//!
//! A twin is the page as it was when the program was let write to it. What differs from it is what
//! the program stored; what others send goes into page and twin alike, so that it never does.

use std::collections::HashMap;

use plurix_wire::PageNumber;
use plurix_wire::{DiffsBuilder, LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES, PageBytes, PageDiff};

use super::{Access, View, start_of};
use crate::diff::Line;

/// Twins that are kept for the next pages, at most: 16 MiB.
const SPARE_MAX: usize = 4096;

/// The twins of a view's pages.
#[derive(Default)]
pub(super) struct Twins {
    of: HashMap<PageNumber, Box<PageBytes>>,
    spare: Vec<Box<PageBytes>>,
}

impl Twins {
    pub(super) fn has(&self, page: PageNumber) -> bool {
        self.of.contains_key(&page)
    }

    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    fn recycle(&mut self, twin: Box<PageBytes>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(twin);
        }
    }
}

impl View {
    /// Keeps `page` as it is now, to tell later what the program changed.
    ///
    /// # Panics
    /// If the program may write to the page, if it has a twin, or lies beyond the view.
    pub fn keep_twin(&mut self, page: PageNumber) {
        self.assert_unwritten(page);
        assert!(!self.has_twin(page), "page {page} has a twin already");
        let spare = self.twins.spare.pop();
        let mut twin = spare.unwrap_or_else(|| Box::new([0; PAGE_BYTES]));
        self.copy_out(page, &mut twin);
        self.twins.of.insert(page, twin);
    }

    /// Forgets the twin of `page`, if there is one.
    pub fn drop_twin(&mut self, page: PageNumber) {
        if let Some(twin) = self.twins.of.remove(&page) {
            self.twins.recycle(twin);
        }
    }

    /// Whether `page` has a twin.
    #[must_use]
    pub fn has_twin(&self, page: PageNumber) -> bool {
        self.twins.has(page)
    }

    /// Adds to `into` the bytes of `page` that differ from its twin; nothing if there are none.
    ///
    /// # Panics
    /// If the program may write to the page, if it has no twin, or if `into` holds a later page.
    pub fn diff(&mut self, page: PageNumber, into: &mut DiffsBuilder) {
        self.assert_unwritten(page);
        let mut now = [0; PAGE_BYTES];
        self.copy_out(page, &mut now);
        let twin = self.twins.of.get(&page);
        let twin = twin.unwrap_or_else(|| panic!("page {page} has no twin to compare it with"));
        let lines = twin.as_chunks::<LINE_BYTES>().0.iter();
        for (line, (old, new)) in lines.zip(now.as_chunks().0).enumerate() {
            into.push_line(page, line, self.comparer.changed(old, new), new);
        }
    }

    /// Stores exactly the bytes that another station changed, also into the twin, while the program
    /// may be at work on the others.
    ///
    /// # Panics
    /// If the page lies beyond the view.
    pub fn apply(&mut self, diff: &PageDiff<'_>) {
        let page = diff.page();
        self.inner.assert_not_lent(page, true);
        let mut twin = self.twins.of.get_mut(&page);
        for line in diff.line_diffs() {
            debug_assert!(line.line < LINES_PER_PAGE);
            let at = start_of(page) + line.line * LINE_BYTES;
            let words = self.inner.memory.line(at);
            self.patcher.store(words, line.changed, line.bytes);
            if let Some(twin) = &mut twin {
                let lines: &mut [Line] = twin.as_chunks_mut().0;
                line.apply(&mut lines[line.line]);
            }
        }
    }

    fn assert_unwritten(&self, page: PageNumber) {
        assert!(
            self.access(page) != Access::Write,
            "the program may be writing to page {page}: protect it first"
        );
    }
}
