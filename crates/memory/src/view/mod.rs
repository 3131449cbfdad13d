//! A station's view of shared pages: the program works on it by plain loads and stores, and the
//! protocol learns of first accesses by page faults.
//!
//! ```text
//!   program ──load, store──► view ─────┐                 closed to the program: none
//!      │                               ├── one memfd                        or to its stores: read
//!      │ page fault                    │                 open:              write
//!      ▼                               │
//!   Faults::fault ──► protocol ──► alias                 always open, to the protocol alone
//!                        │
//!                        └── set_access ──► view
//! ```
//!
//! The memory is mapped twice. The protocol reaches it by the *alias*, which is never closed, so that
//! it can bring a page, compare it with its twin, and change bytes of it, while the program is kept
//! from the page or is at work in it. How pages are closed is a [`Mechanism`], chosen at run time.
//!
//! Rules for the protocol, beside what each function says:
//! - To copy a page that the program may write: make it [`Access::Read`], then copy. A store that
//!   comes later faults and waits until the handler opens the page again.
//! - Never touch the program's side while holding a lock that [`Faults::fault`] takes.
//! - A system call gets `EFAULT` for memory that is closed, and raises no fault: let programs touch
//!   what they hand to the kernel.
//!
//! A fault that the view can serve alone never reaches the protocol: when two threads fault on one
//! page, or when the kernel took an open page out of the page table, the handler puts it back by
//! what [`View::access`] says.

#![allow(unsafe_code)]

mod buffers;
mod diffs;
mod faults;
mod filling;
mod handle;
mod lending;
mod patch;
mod stack;
mod trap;
mod warm;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use plurix_wire::{HEAP_BYTES_MAX, PAGE_BYTES, PageBytes, PageNumber};

use crate::Error;
use crate::diff::Comparer;
use crate::sys::{Backend, ViewMemory, ZeroedSlice};
use buffers::Buffers;
use diffs::Twins;
use faults::Registration;
use filling::Filled;
use lending::Lending;
use patch::Patcher;

pub use plurix_protocol::team::Access;
pub use plurix_wire::message::PageRun;

pub use faults::Faults;
pub use handle::{Exclusive, Shared, ViewHandle};
pub use lending::LentRange;
pub use stack::with_fault_stack;
pub use trap::TrapFloor;

/// How pages are closed to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// By a userfaultfd: the fastest, and without a limit on how scattered open pages are.
    Userfault,
    /// By `mprotect`, where userfaultfd is forbidden or unknown to the kernel.
    Protection,
    /// Not at all: memory from the allocator, for simulation and Miri. Nothing faults; who uses it
    /// asks [`View::access`] first. Slices are lent of open pages alone, and as both sides are one
    /// mapping here, the protocol must not touch what is lent: it panics.
    Emulated,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Userfault => "userfaultfd",
            Self::Protection => "mprotect",
            Self::Emulated => "emulation",
        })
    }
}

/// The protocol's side of a view; see the module's text. The program's is a [`ViewHandle`].
///
/// When it is dropped the view is [abandoned](Self::abandon); the memory goes with the last handle.
pub struct View {
    inner: Arc<Inner>,
    twins: Twins,
    filled: Filled,
    buffers: Buffers,
    comparer: Comparer,
    patcher: Patcher,
    system_calls: u64,
    why_not_userfault: Option<String>,
    /// What the kernel refused the protocol, which cannot do anything about it.
    pub(crate) failure: Option<Error>,
}

/// What both sides, and the handler of faults, share.
struct Inner {
    /// Where the handler finds the view. First, to go before the memory.
    registration: OnceLock<Registration>,
    memory: ViewMemory,
    mechanism: Mechanism,
    /// The access to each page, as a number.
    table: ZeroedSlice<AtomicU8>,
    /// Held while pages are opened or closed, and by the handler while it puts one back: never
    /// while anybody touches the program's side, nor while the protocol is asked.
    changing: Mutex<()>,
    /// Everything is open for ever.
    is_abandoned: AtomicBool,
    lending: Lending,
}

impl View {
    /// Reserves a view of `bytes`, rounded up to whole pages and at most [`HEAP_BYTES_MAX`], all of
    /// it closed; memory is used only for pages that are filled. Without a `mechanism` it takes the
    /// best one that works here.
    ///
    /// # Errors
    /// [`Error::View`] if the kernel grants it not, or not by this mechanism.
    pub fn reserve(bytes: u64, mechanism: Option<Mechanism>) -> Result<Self, Error> {
        let bytes = bytes.clamp(1, HEAP_BYTES_MAX);
        let bytes = bytes.next_multiple_of(PAGE_BYTES as u64);
        let by = |mechanism| {
            Self::with_mechanism(bytes as usize, mechanism).map_err(|source| Error::View {
                bytes,
                mechanism,
                source,
            })
        };
        if let Some(mechanism) = mechanism {
            return by(mechanism);
        }
        if cfg!(not(all(target_os = "linux", not(miri)))) {
            return by(Mechanism::Emulated);
        }
        match Self::with_mechanism(bytes as usize, Mechanism::Userfault) {
            Ok(view) => Ok(view),
            Err(error) => {
                let mut view = by(Mechanism::Protection)?;
                view.why_not_userfault = Some(error.to_string());
                Ok(view)
            }
        }
    }

    fn with_mechanism(bytes: usize, mechanism: Mechanism) -> io::Result<Self> {
        let backend = match mechanism {
            Mechanism::Userfault | Mechanism::Protection => Backend::Native,
            Mechanism::Emulated => Backend::Emulated,
        };
        let inner = Inner {
            registration: OnceLock::new(),
            memory: ViewMemory::new(bytes, mechanism)?,
            mechanism,
            table: ZeroedSlice::new(backend, bytes / PAGE_BYTES)?,
            changing: Mutex::default(),
            is_abandoned: AtomicBool::new(false),
            lending: Lending::default(),
        };
        Ok(Self {
            filled: Filled::new(backend, inner.page_count())?,
            buffers: Buffers::default(),
            inner: Arc::new(inner),
            twins: Twins::default(),
            comparer: Comparer::detect(),
            patcher: Patcher::detect(),
            system_calls: 0,
            why_not_userfault: None,
            failure: None,
        })
    }

    /// Length in bytes, whole pages.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a view has one page at least")]
    pub fn len(&self) -> u64 {
        self.inner.memory.len() as u64
    }

    /// How pages are closed here.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.inner.mechanism
    }

    /// Why this view does without userfaultfd, if it was free to choose.
    #[must_use]
    pub fn why_not_userfault(&self) -> Option<&str> {
        self.why_not_userfault.as_deref()
    }

    /// How often the kernel was asked to change what is open.
    #[must_use]
    pub fn system_calls(&self) -> u64 {
        self.system_calls
    }

    /// The program's side.
    #[must_use]
    pub fn handle(&self) -> ViewHandle {
        ViewHandle::new(Arc::clone(&self.inner))
    }

    /// Has `faults` asked from now on when the program touches what is closed; before that, such a
    /// fault ends the process. Emulated views never ask.
    ///
    /// # Errors
    /// [`Error::TooManyViews`], among which those count that only handles keep, or [`Error::Faults`] if
    /// the signals cannot be caught.
    pub fn on_fault(&mut self, faults: Arc<dyn Faults>) -> Result<(), Error> {
        if self.mechanism() == Mechanism::Emulated {
            return Ok(());
        }
        let place = &self.inner.registration;
        let registration = match place.get() {
            Some(registration) => registration,
            None => {
                let registration = Registration::new(&self.inner)?;
                place.get_or_init(|| registration)
            }
        };
        registration.ask(Some(faults));
        Ok(())
    }

    /// What the kernel refused the protocol since this was last asked: pages are closed that should be
    /// open, and the team cannot go on.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// What the program may do with `page`.
    ///
    /// # Panics
    /// If the page lies beyond the view.
    #[must_use]
    pub fn access(&self, page: PageNumber) -> Access {
        self.inner.access(page)
    }

    /// Opens or closes a run of pages, by one system call (two, to let stores in by userfaultfd) where
    /// they were alike before, or where they are closed, or where stores are shut out and some of them
    /// were not let in. What was stored to a page remains, also while it is closed. Does nothing once the
    /// view is abandoned.
    ///
    /// # Errors
    /// [`Error::Access`], or [`Error::TooManyMappings`]: the pages before those named are changed, and
    /// those named are closed, with all that was stored to them.
    ///
    /// # Panics
    /// If the run leaves the view.
    pub fn set_access(&mut self, run: PageRun, access: Access) -> Result<(), Error> {
        let inner = &*self.inner;
        let mut rest = inner.pages_of(run);
        let _changing = inner.lock();
        if inner.is_abandoned() {
            return Ok(());
        }
        let at_once = access == Access::None || inner.memory.gate().is_uniform();
        while let Some(first) = rest.find(|&page| inner.access_at(page) != access) {
            let from = inner.access_at(first);
            // To protect what is protected already changes nothing.
            let passes_over = at_once || (from, access) == (Access::Write, Access::Read);
            let mut end = first + 1;
            for page in rest.clone() {
                let old = inner.access_at(page);
                if old == from || (at_once && old != access) {
                    end = page + 1;
                } else if !(passes_over && old == access) {
                    break;
                }
            }
            rest.start = end;
            self.system_calls += inner.change(first..end, from, access)?;
        }
        Ok(())
    }

    /// Copies a page out, while the program may be storing to it: bytes that are not being stored
    /// are right.
    ///
    /// # Panics
    /// If the page lies beyond the view.
    pub fn copy_out(&self, page: PageNumber, into: &mut PageBytes) {
        self.inner.assert_not_lent(page, false);
        let words = self.inner.memory.page(start_of(page));
        if self.inner.access(page) < Access::Write {
            // SAFETY: the program can store to pages with `Access::Write` alone, and the protocol
            // stores by `&mut View`, so nobody changes the page; `into` is elsewhere, for it is borrowed
            // exclusively.
            unsafe {
                words
                    .as_ptr()
                    .cast::<PageBytes>()
                    .copy_to_nonoverlapping(into, 1);
            }
            return;
        }
        for (word, bytes) in words.iter().zip(into.as_chunks_mut().0) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
    }

    /// Opens everything for ever: the program runs on, on whatever bytes there are, without faults,
    /// until it asks somebody who knows better. Threads that wait in a fault go on as soon as
    /// [`Faults::fault`] returns.
    ///
    /// # Errors
    /// [`Error::Access`] if the kernel refuses.
    pub fn abandon(&mut self) -> Result<(), Error> {
        let inner = &*self.inner;
        let _changing = inner.lock();
        if inner.is_abandoned() {
            return Ok(());
        }
        self.system_calls += 1;
        let answer = inner.memory.gate().open();
        answer.map_err(|source| Error::Access {
            run: inner.whole(),
            source,
        })?;
        inner.is_abandoned.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether everything is open for ever.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.inner.is_abandoned()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // Nobody will answer a fault any more. If the kernel refuses, the next one ends the process,
        // as it must.
        let _ = self.abandon();
        if let Some(registration) = self.inner.registration.get() {
            registration.ask(None);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // To unmap what has memory behind it takes long, and nobody else of the process can map anything
        // meanwhile; the memory goes without that. If the kernel refuses, it goes with the mapping.
        let _ = self.memory.gate().discard(bytes_of(0..self.page_count()));
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("len", &self.len())
            .field("mechanism", &self.mechanism())
            .field("twins", &self.twins.len())
            .field("is_abandoned", &self.is_abandoned())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn page_count(&self) -> usize {
        self.table.len()
    }

    fn whole(&self) -> PageRun {
        let count = u32::try_from(self.page_count()).unwrap_or(u32::MAX);
        PageRun::new(PageNumber(0), count)
    }

    /// The indices of the pages of `run`.
    ///
    /// # Panics
    /// If it leaves the view.
    fn pages_of(&self, run: PageRun) -> Range<usize> {
        let first = run.first.0 as usize;
        let pages = first..first + run.count as usize;
        assert!(pages.end <= self.page_count(), "{run} leave the view");
        pages
    }

    fn access(&self, page: PageNumber) -> Access {
        if self.is_abandoned() {
            return Access::Write;
        }
        self.access_at(page.0 as usize)
    }

    fn access_at(&self, page: usize) -> Access {
        match self.table[page].load(Ordering::Acquire) {
            0 => Access::None,
            1 => Access::Read,
            _ => Access::Write,
        }
    }

    fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes pages from one access to another; answers the number of system calls. If the kernel
    /// refuses, it may have done a part, and all of them are closed.
    fn change(&self, pages: Range<usize>, from: Access, to: Access) -> Result<u64, Error> {
        let gate = self.memory.gate();
        let answer = gate.change(bytes_of(pages.clone()), from, to);
        let closed = answer.is_err()
            && gate
                .change(bytes_of(pages.clone()), from, Access::None)
                .is_ok();
        if answer.is_ok() || closed {
            let access = if closed { Access::None } else { to };
            for page in pages.clone() {
                self.table[page].store(access as u8, Ordering::Release);
            }
        }
        answer.map_err(|source| {
            let run = PageRun::new(PageNumber(pages.start as u32), pages.len() as u32);
            let is_full = source.kind() == io::ErrorKind::OutOfMemory;
            if is_full && self.mechanism == Mechanism::Protection {
                Error::TooManyMappings { run, source }
            } else {
                Error::Access { run, source }
            }
        })
    }

    /// Puts `page` back where the access to it suffices for `wants`; answers whether that was so.
    fn serve_again(&self, page: usize, wants: Access) -> bool {
        let _changing = self.lock();
        if self.is_abandoned() {
            return true;
        }
        let access = self.access_at(page);
        let bytes = bytes_of(page..page + 1);
        access >= wants && self.memory.gate().renew(bytes, access).is_ok()
    }

    /// Where both sides are one mapping, the protocol keeps away from what is lent.
    fn assert_not_lent(&self, page: PageNumber, to_write: bool) {
        if self.mechanism == Mechanism::Emulated {
            let wanted = LentRange {
                offset: page.offset(),
                length: PAGE_BYTES as u64,
                exclusive: to_write,
            };
            let lent = self.lending.overlapping(wanted);
            assert!(lent.is_none(), "page {page} of an emulated view is lent");
        }
    }
}

/// Position of the page's first byte in the view.
fn start_of(page: PageNumber) -> usize {
    page.0 as usize * PAGE_BYTES
}

fn bytes_of(pages: Range<usize>) -> Range<usize> {
    pages.start * PAGE_BYTES..pages.end * PAGE_BYTES
}

#[cfg(test)]
mod tests;
