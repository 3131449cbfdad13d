//! How closed pages get their bytes, and give their memory back. The kernel can fill and open a page at
//! once only where it has no memory: [`Filled`] tells which pages may have some.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use plurix_wire::{PAGE_BYTES, PageBytes, PageNumber};

use super::{Access, PageRun, View, bytes_of, start_of};
use crate::Error;
use crate::sys::{Backend, ZeroedSlice};

/// Pages that were filled and not discarded since, a bit for each.
pub(super) struct Filled(ZeroedSlice<AtomicU64>);

impl Filled {
    pub(super) fn new(backend: Backend, pages: usize) -> io::Result<Self> {
        Ok(Self(ZeroedSlice::new(backend, pages.div_ceil(64))?))
    }

    pub(super) fn has(&self, page: PageNumber) -> bool {
        let (word, bit) = self.find(page);
        word.load(Ordering::Relaxed) & bit != 0
    }

    fn insert(&mut self, page: PageNumber) {
        let (word, bit) = self.find(page);
        word.fetch_or(bit, Ordering::Relaxed);
    }

    fn remove(&mut self, page: PageNumber) {
        let (word, bit) = self.find(page);
        word.fetch_and(!bit, Ordering::Relaxed);
    }

    fn find(&self, page: PageNumber) -> (&AtomicU64, u64) {
        (&self.0[page.0 as usize / 64], 1 << (page.0 % 64))
    }
}

impl View {
    /// [Fills](Self::fill) pages that are closed, and [opens](Self::set_access) them: at once, where that can
    /// be done and they were not filled before. `bytes` are those of all pages; without any they are zero.
    ///
    /// # Errors
    /// As [`set_access`](Self::set_access).
    ///
    /// # Panics
    /// As [`fill`](Self::fill); if there are bytes, and not of so many pages.
    pub fn bring(&mut self, run: PageRun, bytes: &[u8], access: Access) -> Result<(), Error> {
        let whole = bytes_of(self.inner.pages_of(run)).len();
        assert!(
            bytes.is_empty() || bytes.len() == whole,
            "{run} have other bytes"
        );
        run.pages().for_each(|page| self.assert_can_be_filled(page));
        let known = run.pages().position(|page| self.filled.has(page));
        let unknown = known.map_or(run.count, |count| count as u32);
        let brought = self.bring_unknown(PageRun::new(run.first, unknown), bytes, access);
        let (pages, _) = bytes.as_chunks();
        let bytes = pages.iter().map(Some).chain(std::iter::repeat(None));
        for (page, bytes) in run.pages().zip(bytes).skip(brought as usize) {
            self.fill(page, bytes);
        }
        let first = PageNumber(run.first.0 + brought);
        self.set_access(PageRun::new(first, run.count - brought), access)
    }

    /// Answers how many pages, from the first one on, could be filled and opened at once.
    fn bring_unknown(&mut self, run: PageRun, bytes: &[u8], access: Access) -> u32 {
        let inner = &*self.inner;
        let pages = inner.pages_of(run);
        let _changing = inner.lock();
        if pages.is_empty() || inner.is_abandoned() {
            return 0;
        }
        let bytes = &bytes[..bytes.len().min(bytes_of(pages.clone()).len())];
        let gate = inner.memory.gate();
        let (done, calls) = gate.bring(bytes_of(pages.clone()), bytes, access);
        self.system_calls += calls;
        let count = done / PAGE_BYTES;
        for page in run.pages().take(count) {
            self.filled.insert(page);
            inner.table[page.0 as usize].store(access as u8, Ordering::Release);
        }
        count as u32
    }

    fn assert_can_be_filled(&self, page: PageNumber) {
        let inner = &*self.inner;
        assert!(
            inner.is_abandoned() || inner.access(page) == Access::None,
            "page {page} is open: the program may be at work in it"
        );
        assert!(
            !self.twins.has(page),
            "page {page} has a twin, which would not fit its new bytes"
        );
        inner.assert_not_lent(page, true);
    }

    /// Puts `bytes`, or zeros, into a page that is closed.
    ///
    /// # Panics
    /// If the page is open, has a twin, or lies beyond the view.
    pub fn fill(&mut self, page: PageNumber, bytes: Option<&PageBytes>) {
        self.assert_can_be_filled(page);
        let inner = &*self.inner;
        self.filled.insert(page);
        let target = inner.memory.page(start_of(page)).as_ptr();
        let bytes = bytes.unwrap_or(&[0; PAGE_BYTES]);
        // SAFETY: the page is closed, so that the program does not touch it; the protocol reaches it
        // by `View` alone, which is borrowed exclusively; `bytes` is elsewhere, for no reference
        // into the alias is made but to atomic words.
        unsafe {
            target
                .cast_mut()
                .cast::<PageBytes>()
                .copy_from_nonoverlapping(bytes, 1);
        }
    }

    /// Gives the memory of pages back that are closed; they are zero afterwards.
    ///
    /// # Panics
    /// If one of them is open, has a twin, or lies beyond the view.
    pub fn discard(&mut self, run: PageRun) {
        for page in run.pages() {
            let is_closed = self.inner.access(page) == Access::None && !self.twins.has(page);
            assert!(is_closed, "page {page} is in use");
            self.inner.assert_not_lent(page, true);
        }
        let bytes = bytes_of(self.inner.pages_of(run));
        self.system_calls += 1;
        if !self.inner.memory.gate().discard(bytes) {
            return run.pages().for_each(|page| self.fill(page, None));
        }
        run.pages().for_each(|page| self.filled.remove(page));
    }
}
