//! The heap of one station: which pages are present, and how the protocol fills, changes and drops
//! them. Transactions are in [`access`] (while they run) and [`outcome`] (how they end).
//!
//! ```text
//!            install, install_zero (also during a transaction)
//!   absent ──────────────────────────────────────────────► present
//!   all bytes zero ◄────────────────────────────────────── write, apply between transactions;
//!                        evict (between transactions)      read, open, overwrite within one
//! ```
//!
//! A transaction begins with the first access and ends with `finish` or `rollback`, or with `pend`, after
//! which its bytes may still be taken back ([`pending`]).

#![allow(unsafe_code)]

mod access;
mod blind;
mod clock;
mod outcome;
mod pending;
mod table;
mod undo;

use std::fmt;
use std::io;

use plurix_wire::message::PageRun;
use plurix_wire::{
    HEAP_BYTES_MAX, LineMask, PAGE_BYTES, PageBytes, PageNumber, Section, WriteSetBuilder,
};

use crate::Error;
use crate::diff::Comparer;
use crate::sys::{self, Backend, Mapping};
use blind::BlindRanges;
use pending::Pending;
use table::PageTable;
use undo::Undo;

/// Below this a heap is not worth having, unless the caller asked for less.
const RESERVE_BYTES_MIN: u64 = 64 << 20;

/// One station's copy of the heap, for checked transactions; see the [crate's text](crate) for why
/// its references are sound.
///
/// It can move to another thread, but only one thread uses it at a time:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<plurix_memory::HeapMemory>();
/// ```
pub struct HeapMemory {
    memory: Mapping,
    table: PageTable,
    undo: Undo,
    blind: BlindRanges,
    pending: Pending,
    comparer: Comparer,
    builder: WriteSetBuilder,
}

impl HeapMemory {
    /// Reserves address space for a heap of `bytes`, rounded up to whole pages and at most
    /// [`HEAP_BYTES_MAX`]; memory is used only for pages that are installed. If the process may
    /// not have that much, half of it is tried, and so on: ask [`len`](Self::len) what was granted.
    ///
    /// # Errors
    /// [`Error::Reserve`] if not even 64 MiB, or what was asked if that is less, can be had.
    pub fn reserve(bytes: u64) -> Result<Self, Error> {
        let asked = whole_pages(bytes);
        let least = asked.min(RESERVE_BYTES_MIN);
        let most = sys::heap_bytes_max(Backend::Native) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
        let mut size = asked.min(most);
        if size < least {
            let source = io::ErrorKind::FileTooLarge.into();
            return Err(Error::Reserve {
                bytes: least,
                source,
            });
        }
        loop {
            match Self::with_backend(Backend::Native, size) {
                Ok(heap) => return Ok(heap),
                Err(source) if size == least => {
                    return Err(Error::Reserve {
                        bytes: size,
                        source,
                    });
                }
                Err(_) => size = whole_pages(size / 2).max(least),
            }
        }
    }

    /// A heap of `bytes`, rounded as in [`reserve`](Self::reserve), from the allocator: the same in
    /// all but speed, for simulation and Miri.
    ///
    /// # Errors
    /// [`Error::Reserve`] if the allocator refuses.
    pub fn emulated(bytes: u64) -> Result<Self, Error> {
        let bytes = whole_pages(bytes);
        Self::with_backend(Backend::Emulated, bytes)
            .map_err(|source| Error::Reserve { bytes, source })
    }

    fn with_backend(backend: Backend, bytes: u64) -> io::Result<Self> {
        // Fits: `sys` refuses to be built for less than 64 bits.
        let bytes = bytes as usize;
        Ok(Self {
            memory: Mapping::heap(backend, bytes)?,
            table: PageTable::new(backend, bytes / PAGE_BYTES)?,
            undo: Undo::default(),
            blind: BlindRanges::default(),
            pending: Pending::default(),
            comparer: Comparer::detect(),
            builder: WriteSetBuilder::new(),
        })
    }

    /// Length of the heap in bytes, whole pages.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a heap has one page at least")]
    pub fn len(&self) -> u64 {
        self.memory.len() as u64
    }

    /// Whether `page` is here; false beyond the end of the heap.
    #[must_use]
    pub fn is_present(&self, page: PageNumber) -> bool {
        self.table.is_present(page)
    }

    /// How many pages are here.
    #[must_use]
    pub fn present_count(&self) -> usize {
        self.table.present_count()
    }

    /// The pages that are here, ascending; looks at every page of the heap, a bit each.
    pub fn present_pages(&self) -> impl Iterator<Item = PageNumber> {
        self.table.present_pages()
    }

    /// Makes `page` present with the contents `bytes`; also during a transaction.
    ///
    /// # Panics
    /// If the page is present (references into it may exist) or lies beyond the heap.
    pub fn install(&self, page: PageNumber, bytes: &PageBytes) {
        self.assert_absent(page);
        // SAFETY: the page is absent, and references are made to present pages only, so none leads
        // into it, and `bytes` is elsewhere.
        unsafe { self.memory.store(start_of(page), bytes) };
        self.table.set_present(page);
    }

    /// Has the system allocate the memory of `run`, so that [`install`](Self::install) is quick: for
    /// whoever must wait for its bytes anyway. A run costs a quarter less than its pages one by one.
    ///
    /// # Panics
    /// If the run leaves the heap.
    pub fn prepare(&self, run: PageRun) {
        let start = start_of(run.first);
        let range = start..start + run.count as usize * PAGE_BYTES;
        if run.count > 1 && self.memory.populate(range) {
            return;
        }
        for page in run.pages().filter(|page| !self.is_present(*page)) {
            // SAFETY: the page is absent, and references are made to present pages only. Absent
            // pages are zero, and remain so.
            unsafe { self.memory.store(start_of(page), &[0]) };
        }
    }

    /// Makes `page` present with all bytes zero; also during a transaction. Touches no memory.
    ///
    /// # Panics
    /// If the page is present (references into it may exist) or lies beyond the heap.
    pub fn install_zero(&self, page: PageNumber) {
        self.assert_absent(page);
        // Absent pages are zero: never written, or evicted.
        self.table.set_present(page);
    }

    /// Makes `page` absent and gives its memory back; does nothing if it is absent.
    ///
    /// # Panics
    /// If a transaction is in progress: its undo and its marks would outlive the page.
    pub fn evict(&mut self, page: PageNumber) {
        self.assert_idle();
        if self.is_present(page) {
            self.evict_run(PageRun::new(page, 1));
        }
    }

    /// Makes the pages of `run` absent and gives their memory back, by one call of the system.
    ///
    /// # Panics
    /// If a transaction is in progress, or the run leaves the heap.
    pub fn evict_run(&mut self, run: PageRun) {
        self.assert_idle();
        let start = start_of(run.first);
        let given_back = self
            .memory
            .give_back(start..start + run.count as usize * PAGE_BYTES);
        for page in run.pages().filter(|page| self.table.is_present(*page)) {
            if !given_back {
                // SAFETY: `&mut self` excludes every reference into the heap.
                unsafe { self.memory.store(start_of(page), &[0; PAGE_BYTES]) };
            }
            self.table.set_absent(page);
            self.pending.forget(page);
        }
    }

    /// Makes all pages absent and gives their memory back.
    ///
    /// # Panics
    /// If a transaction is in progress.
    pub fn evict_all(&mut self) {
        self.assert_idle();
        let present: Vec<_> = self.present_pages().collect();
        let whole = 0..self.memory.len();
        let cleared = self.memory.give_back(whole);
        self.pending.forget_all();
        for page in present {
            if !cleared {
                self.clear(page);
            }
            self.table.set_absent(page);
        }
    }

    /// Writes `bytes` at byte `offset` of a present page.
    ///
    /// # Panics
    /// If a transaction is in progress (it would see two snapshots), if the page is absent, or if
    /// the bytes leave it.
    pub fn write(&mut self, page: PageNumber, offset: usize, bytes: &[u8]) {
        self.assert_idle();
        self.write_present(page, offset, bytes);
    }

    /// Writes all runs of `section` into its page, which is present; beneath the bytes of requests in
    /// flight, if there are any.
    ///
    /// # Panics
    /// If a transaction is in progress or the page is absent.
    pub fn apply(&mut self, section: &Section<'_>) {
        self.assert_idle();
        if !self.pending.is_empty() {
            return self.apply_beneath(section);
        }
        for run in section.runs() {
            self.write_present(section.page(), usize::from(run.offset), run.bytes);
        }
    }

    /// The bytes of `page`, if it is present; a transaction's own writes included. Not tracked: for
    /// the protocol, not for programs.
    #[must_use]
    pub fn page_bytes(&self, page: PageNumber) -> Option<&PageBytes> {
        // SAFETY: the page is present, so nothing writes to it through `&self`.
        self.is_present(page)
            .then(|| unsafe { self.memory.array(start_of(page)) })
    }

    /// The lines of `page` that the running transaction opened or overwrote.
    #[must_use]
    pub fn saved_lines(&self, page: PageNumber) -> LineMask {
        LineMask(if self.is_present(page) {
            self.table.saved(page.0 as usize)
        } else {
            0
        })
    }

    /// Whether no transaction is in progress, that is, nothing was accessed since the last one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.table.is_idle()
    }

    fn write_present(&mut self, page: PageNumber, offset: usize, bytes: &[u8]) {
        assert!(
            self.is_present(page),
            "page {page} must be present to be written"
        );
        let inside = offset <= PAGE_BYTES && bytes.len() <= PAGE_BYTES - offset;
        assert!(
            inside,
            "{} bytes at {offset} leave page {page}",
            bytes.len()
        );
        // SAFETY: `&mut self` excludes every reference into the heap, `bytes` among them.
        unsafe { self.memory.store(start_of(page) + offset, bytes) };
    }

    fn clear(&mut self, page: PageNumber) {
        self.write_present(page, 0, &[0; PAGE_BYTES]);
    }

    fn assert_idle(&self) {
        assert!(
            self.is_idle(),
            "a transaction is in progress: finish it or roll it back first"
        );
    }

    fn assert_absent(&self, page: PageNumber) {
        assert!(
            !self.is_present(page),
            "page {page} is present: references into it may exist"
        );
    }
}

impl fmt::Debug for HeapMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapMemory")
            .field("len", &self.len())
            .field("present", &self.present_count())
            .field("idle", &self.is_idle())
            .finish_non_exhaustive()
    }
}

/// Position of the page's first byte in the mapping.
fn start_of(page: PageNumber) -> usize {
    page.0 as usize * PAGE_BYTES
}

fn whole_pages(bytes: u64) -> u64 {
    bytes
        .clamp(1, HEAP_BYTES_MAX)
        .next_multiple_of(PAGE_BYTES as u64)
}

#[cfg(test)]
mod tests;
