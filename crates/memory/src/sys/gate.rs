//! The memory of a view: one run of pages that the program reaches by one range of addresses, whose
//! pages open and close, and the protocol by another, which is always open.

#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use plurix_wire::{LINE_BYTES, PAGE_BYTES};

use super::native;
use crate::view::{Access, Mechanism};

/// Words in a line.
const LINE_WORDS: usize = LINE_BYTES / size_of::<AtomicU64>();

/// Opens and closes pages to the program; owns both mappings. All ranges are whole pages, in bytes
/// from the beginning.
pub(crate) trait Gate: Send + Sync {
    /// The program's first byte.
    fn program(&self) -> NonNull<u8>;

    /// The protocol's first byte: of the same memory, and never closed.
    fn alias(&self) -> NonNull<u8>;

    /// Whether [`change`](Self::change) takes pages of different access to one at once.
    fn is_uniform(&self) -> bool;

    /// Takes pages from one access to another; answers how many system calls that took. To take
    /// access away, `from` does not matter.
    fn change(&self, range: Range<usize>, from: Access, to: Access) -> io::Result<u64>;

    /// Gives bytes, or zeros if there are none, to closed pages that have no memory yet, and opens them, from
    /// the first one on; answers how many bytes of `range` that was done with, and how many system calls
    /// it took. Stops where it cannot: the rest is as it was.
    fn bring(&self, _range: Range<usize>, _bytes: &[u8], _access: Access) -> (usize, u64) {
        (0, 0)
    }

    /// Puts pages back that should be open to `access`, in case that the kernel took them from the
    /// mapping.
    fn renew(&self, _range: Range<usize>, _access: Access) -> io::Result<()> {
        Ok(())
    }

    /// Opens all pages, for ever.
    fn open(&self) -> io::Result<()>;

    /// Returns the memory of closed pages to the system; answers whether that was done, and the
    /// pages are zero now.
    fn discard(&self, range: Range<usize>) -> bool;
}

/// A view's memory.
pub(crate) struct ViewMemory {
    program: NonNull<u8>,
    alias: NonNull<u8>,
    bytes: usize,
    gate: Box<dyn Gate>,
}

// SAFETY: the pointers lead into memory that the gate owns, which is Send and bound to no thread.
unsafe impl Send for ViewMemory {}

// SAFETY: a shared reference lends atomic words, and pointers whose users argue for themselves.
unsafe impl Sync for ViewMemory {}

impl ViewMemory {
    /// Zeroed memory of `bytes`, whole pages, closed to the program.
    pub(crate) fn new(bytes: usize, mechanism: Mechanism) -> io::Result<Self> {
        let gate = native::view(bytes, mechanism)?;
        Ok(Self {
            program: gate.program(),
            alias: gate.alias(),
            bytes,
            gate,
        })
    }

    /// Length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// What opens and closes pages.
    #[inline]
    pub(crate) fn gate(&self) -> &dyn Gate {
        &*self.gate
    }

    /// The program's address of byte `at`; to be dereferenced only below [`len`](Self::len).
    #[inline]
    pub(crate) fn program(&self, at: usize) -> *mut u8 {
        self.program.as_ptr().wrapping_add(at)
    }

    /// The words of the line at byte `at`, by the alias.
    ///
    /// # Panics
    /// If it is no line of the view.
    #[inline]
    pub(crate) fn line(&self, at: usize) -> &[AtomicU64; LINE_WORDS] {
        self.words(at)
    }

    /// The words of the page at byte `at`, by the alias.
    ///
    /// # Panics
    /// If it is no page of the view.
    #[inline]
    pub(crate) fn page(&self, at: usize) -> &[AtomicU64; PAGE_BYTES / size_of::<AtomicU64>()] {
        self.words(at)
    }

    #[inline]
    fn words<const N: usize>(&self, at: usize) -> &[AtomicU64; N] {
        let length = N * size_of::<AtomicU64>();
        assert!(
            at.is_multiple_of(length) && length <= self.bytes && at <= self.bytes - length,
            "byte {at} begins no part of a view of {} bytes",
            self.bytes
        );
        // SAFETY: the words lie in the alias, aligned, initialised, and mapped while `self` lives;
        // whoever reaches them by the alias does so by atomic words, or argues why nobody else does.
        unsafe { &*self.alias.as_ptr().wrapping_add(at).cast() }
    }
}
