//! The program's side of a view: typed slices, lent and given back.
//!
//! # Why a plain `&T` into memory that others write is sound
//!
//! *Within this station*: references are made here alone, each of a range that the registry `Lending` has
//! granted: nobody of this station holds a `&mut T` into the bytes of any other reference, whatever
//! thread they are of. A range comes back when its guard is dropped, and a guard borrows the handle,
//! which keeps the mapping. Every byte is initialised (the memfd is zeros), any bytes are a valid
//! `T` (`FromBytes`), a `T` that is written leaves none uninitialised (`IntoBytes`), and none has
//! interior mutability (`Immutable`). A closed page is no exception: the load or store that touches
//! it does not complete before the page is open.
//!
//! *The protocol* never makes a reference into the program's mapping. It works on the alias, another
//! range of addresses, by atomic words, and stores to an open page only bytes that another station
//! changed.
//!
//! *Other stations*: their writes appear in the alias, hence here. The promise of the weak model is
//! that of release consistency: in a program without data races, that is, where two stations touch
//! the same byte, and one writes it, only with a barrier or the hand-over of a lock between them, and
//! where slices are given back before either, bytes do not change while they are lent, except by
//! their borrower. Whoever keeps a slice across a synchronisation, or races, breaks that, and no
//! mechanism here can tell: it is the program's part of the contract.
//!
//! A view that was abandoned no longer changes, and has rubbish in it, which is a valid `T` as well.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;

use plurix_wire::{PAGE_BYTES, PageNumber};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Access, Inner, LentRange, Mechanism};
use crate::AccessError;

/// The program's side of a view; see the module's text. Clones share what is lent.
#[derive(Clone)]
pub struct ViewHandle {
    inner: Arc<Inner>,
}

impl ViewHandle {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Length of the view in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a view has one page at least")]
    pub fn len(&self) -> u64 {
        self.inner.memory.len() as u64
    }

    /// Whether everything is open for ever, and nothing that is read means anything.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.inner.is_abandoned()
    }

    /// Lends `count` values from `offset` to be read, to any number of borrowers.
    ///
    /// # Errors
    /// [`AccessError::Lent`] if somebody writes some of these bytes; [`AccessError::OutOfBounds`] or
    /// [`AccessError::Misaligned`] if the offset is damaged; [`AccessError::Closed`] in an emulated
    /// view.
    pub fn slice<T: FromBytes + Immutable>(
        &self,
        offset: u64,
        count: usize,
    ) -> Result<Shared<'_, T>, AccessError> {
        let loan = self.lend::<T>(offset, count, false)?;
        let first = self.pointer(offset);
        // SAFETY: the values lie in the view, aligned and initialised, and any bytes are a valid
        // `T`; nobody of this station writes to them before the loan ends, and no other station by
        // the promise of the module's text.
        let slice = unsafe { slice::from_raw_parts(first, count) };
        Ok(Shared { slice, loan })
    }

    /// Lends `count` values from `offset` to be changed, to one borrower.
    ///
    /// # Errors
    /// As [`slice`](Self::slice); [`AccessError::Lent`] if somebody has any of these bytes.
    pub fn slice_mut<T: FromBytes + IntoBytes + Immutable>(
        &self,
        offset: u64,
        count: usize,
    ) -> Result<Exclusive<'_, T>, AccessError> {
        let loan = self.lend::<T>(offset, count, true)?;
        let first = self.pointer(offset);
        // SAFETY: as in `slice`; and nobody of this station reads them before the loan ends.
        let slice = unsafe { slice::from_raw_parts_mut(first, count) };
        Ok(Exclusive { slice, loan })
    }

    /// The address of `offset`, which was checked.
    fn pointer<T>(&self, offset: u64) -> *mut T {
        self.inner.memory.program(offset as usize).cast()
    }

    fn lend<T>(&self, offset: u64, count: usize, exclusive: bool) -> Result<Loan<'_>, AccessError> {
        const { assert!(size_of::<T>() > 0, "a value in a view has bytes") };
        const {
            assert!(
                align_of::<T>() <= PAGE_BYTES,
                "a view is aligned to pages only"
            )
        };
        let length = (count as u64).saturating_mul(size_of::<T>() as u64);
        if length > self.len() || offset > self.len() - length {
            return Err(AccessError::OutOfBounds { offset, length });
        }
        if !offset.is_multiple_of(align_of::<T>() as u64) {
            return Err(AccessError::Misaligned {
                offset,
                align: align_of::<T>(),
            });
        }
        let range = LentRange {
            offset,
            length,
            exclusive,
        };
        if self.inner.mechanism == Mechanism::Emulated {
            self.require_open(range)?;
        }
        self.inner.lending.lend(range)?;
        Ok(Loan {
            inner: &self.inner,
            range,
        })
    }

    /// Nothing faults in an emulated view, so that closed pages are refused.
    fn require_open(&self, range: LentRange) -> Result<(), AccessError> {
        let needed = if range.exclusive {
            Access::Write
        } else {
            Access::Read
        };
        let end = range.offset + range.length;
        let pages = range.offset / PAGE_BYTES as u64..end.div_ceil(PAGE_BYTES as u64);
        let closed = pages
            .map(|page| PageNumber(page as u32))
            .find(|&page| self.inner.access(page) < needed);
        match closed {
            Some(page) if range.length > 0 => Err(AccessError::Closed { page }),
            _ => Ok(()),
        }
    }

    /// The program's address of byte `at`, for tests that race on purpose.
    #[cfg(all(test, target_os = "linux", not(miri)))]
    pub(super) fn raw(&self, at: usize) -> *mut u8 {
        assert!(at < self.inner.memory.len());
        self.inner.memory.program(at)
    }
}

impl fmt::Debug for ViewHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewHandle")
            .field("len", &self.len())
            .field("is_abandoned", &self.is_abandoned())
            .finish_non_exhaustive()
    }
}

/// Gives its range back when dropped.
struct Loan<'a> {
    inner: &'a Inner,
    range: LentRange,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.inner.lending.give_back(self.range);
    }
}

/// Values lent to be read, until it is dropped.
pub struct Shared<'a, T> {
    slice: &'a [T],
    loan: Loan<'a>,
}

impl<T> Deref for Shared<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.slice
    }
}

/// Values lent to be changed, until it is dropped.
pub struct Exclusive<'a, T> {
    slice: &'a mut [T],
    loan: Loan<'a>,
}

impl<T> Deref for Exclusive<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.slice
    }
}

impl<T> DerefMut for Exclusive<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.slice
    }
}

impl<T> fmt::Debug for Shared<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({})", self.loan.range)
    }
}

impl<T> fmt::Debug for Exclusive<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exclusive({})", self.loan.range)
    }
}
