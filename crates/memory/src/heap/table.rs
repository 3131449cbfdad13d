//! The page table: for each page the lines that the running transaction read and saved, and whether
//! the page is present.
//!
//! The masks of a page lie together, 16 bytes in one cache line, and decide the common case alone:
//! those of an absent page are zero, so presence, a bit elsewhere, is asked only at the first touch.
//! The pages touched are listed, so that a transaction's end costs what it touched. What it touched is
//! then marked as used, by which the [`clock`](super::clock) tells what a station can do without.

use std::cell::{Cell, RefCell};
use std::io;

use plurix_wire::PageNumber;
use zerocopy::FromZeros;

use crate::AccessError;
use crate::sys::{Backend, ZeroedSlice};

pub(super) const WORD_BITS: usize = u64::BITS as usize;

/// What the running transaction did to one page, bit `i` for line `i`.
#[derive(FromZeros)]
pub(super) struct Entry {
    /// Lines read or opened.
    pub(super) read: Cell<u64>,
    /// Lines opened or overwritten: their old bytes are in the undo.
    pub(super) saved: Cell<u64>,
}

impl Entry {
    fn is_touched(&self) -> bool {
        self.read.get() | self.saved.get() != 0
    }
}

/// See the module's text.
pub(super) struct PageTable {
    entries: ZeroedSlice<Entry>,
    present: ZeroedSlice<Cell<u64>>,
    present_count: Cell<usize>,
    /// Pages that came or were touched since the clock's hand passed; a bit of a page that is absent
    /// says nothing.
    used: ZeroedSlice<Cell<u64>>,
    /// No page is present from this word on, nor ever was.
    words: Cell<usize>,
    /// The word where the clock's hand stands.
    hand: usize,
    /// The pages whose entry is not zero, each once.
    touched: RefCell<Vec<PageNumber>>,
}

impl PageTable {
    /// A table for `pages` pages, all absent.
    pub(super) fn new(backend: Backend, pages: usize) -> io::Result<Self> {
        Ok(Self {
            entries: ZeroedSlice::new(backend, pages)?,
            present: ZeroedSlice::new(backend, pages.div_ceil(WORD_BITS))?,
            present_count: Cell::new(0),
            used: ZeroedSlice::new(backend, pages.div_ceil(WORD_BITS))?,
            words: Cell::new(0),
            hand: 0,
            touched: RefCell::default(),
        })
    }

    /// Lines of page number `page` that were read or opened.
    #[inline]
    pub(super) fn read(&self, page: usize) -> u64 {
        self.entries[page].read.get()
    }

    /// Lines of page number `page` that were opened or overwritten.
    #[inline]
    pub(super) fn saved(&self, page: usize) -> u64 {
        self.entries[page].saved.get()
    }

    pub(super) fn is_present(&self, page: PageNumber) -> bool {
        let (word, bit) = position(page);
        self.present
            .get(word)
            .is_some_and(|word| word.get() & bit != 0)
    }

    /// # Panics
    /// If the page lies beyond the heap.
    pub(super) fn set_present(&self, page: PageNumber) {
        assert!(
            (page.0 as usize) < self.entries.len(),
            "page {page} lies beyond the heap"
        );
        assert!(!self.is_present(page), "page {page} is counted twice");
        let (word, bit) = position(page);
        self.present[word].set(self.present[word].get() | bit);
        self.used[word].set(self.used[word].get() | bit);
        self.words.set(self.words.get().max(word + 1));
        self.present_count.set(self.present_count.get() + 1);
    }

    /// # Panics
    /// If the page is absent.
    pub(super) fn set_absent(&self, page: PageNumber) {
        assert!(self.is_present(page), "page {page} is not present");
        let (word, bit) = position(page);
        self.present[word].set(self.present[word].get() & !bit);
        self.present_count.set(self.present_count.get() - 1);
    }

    pub(super) fn present_count(&self) -> usize {
        self.present_count.get()
    }

    pub(super) fn present_pages(&self) -> impl Iterator<Item = PageNumber> {
        self.present.iter().enumerate().flat_map(|(word, bits)| {
            let bits = bits.get();
            let set = (0..WORD_BITS).filter(move |bit| bits >> bit & 1 != 0);
            set.map(move |bit| PageNumber((word * WORD_BITS + bit) as u32))
        })
    }

    /// Refuses an access to page number `page` if it is absent.
    pub(super) fn require(&self, page: usize) -> Result<(), AccessError> {
        let number = PageNumber(page as u32);
        if self.entries[page].is_touched() || self.is_present(number) {
            Ok(())
        } else {
            Err(AccessError::Missing { page: number })
        }
    }

    /// Lists page number `page`, which is present, as touched; the caller sets a mask of its entry.
    pub(super) fn touch(&self, page: usize) -> &Entry {
        let entry = &self.entries[page];
        if !entry.is_touched() {
            self.touched.borrow_mut().push(PageNumber(page as u32));
        }
        entry
    }

    pub(super) fn is_idle(&self) -> bool {
        self.touched.borrow().is_empty()
    }

    /// Calls `visit` with each touched page, ascending, and its lines read.
    pub(super) fn for_each_touched(&self, mut visit: impl FnMut(PageNumber, u64)) {
        let mut touched = self.touched.borrow_mut();
        touched.sort_unstable();
        for &page in &*touched {
            visit(page, self.read(page.0 as usize));
        }
    }

    /// The words of pages among which some are or were present.
    pub(super) fn words(&self) -> usize {
        self.words.get()
    }

    /// The word where the clock's hand stands.
    pub(super) fn hand(&mut self) -> &mut usize {
        &mut self.hand
    }

    /// The present pages of one word.
    pub(super) fn present_word(&self, word: usize) -> u64 {
        self.present[word].get()
    }

    /// The pages of one word that were used since the hand passed.
    pub(super) fn used_word(&self, word: usize) -> &Cell<u64> {
        &self.used[word]
    }

    /// Forgets what the transaction touched; it was used.
    pub(super) fn forget_touched(&mut self) {
        for page in self.touched.get_mut().drain(..) {
            let entry = &self.entries[page.0 as usize];
            entry.read.set(0);
            entry.saved.set(0);
            let (word, bit) = position(page);
            self.used[word].set(self.used[word].get() | bit);
        }
    }
}

/// Where the page's presence bit is: the word's index, and the bit in it.
fn position(page: PageNumber) -> (usize, u64) {
    (
        page.0 as usize / WORD_BITS,
        1 << (page.0 as usize % WORD_BITS),
    )
}
