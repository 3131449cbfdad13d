//! A slice of cells that starts as zeros and costs memory only where it is touched, so that a table
//! can cover a heap of terabytes of which a station holds megabytes.

#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::slice;

use plurix_wire::PAGE_BYTES;
use zerocopy::FromZeros;

use super::{Backend, Mapping};

/// A slice of `T` of fixed length, zero at first, in pages of its own.
pub(crate) struct ZeroedSlice<T> {
    mapping: Mapping,
    length: usize,
    elements: PhantomData<T>,
}

// SAFETY: a shared slice only lends its elements, and `T` may be shared.
unsafe impl<T: Sync> Sync for ZeroedSlice<T> {}

impl<T: FromZeros> ZeroedSlice<T> {
    /// A slice of `length` zeroed elements.
    pub(crate) fn new(backend: Backend, length: usize) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= PAGE_BYTES && !std::mem::needs_drop::<T>()) };
        let bytes = length
            .checked_mul(size_of::<T>())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Mapping::table(backend, bytes.max(1))?;
        Ok(Self {
            mapping,
            length,
            elements: PhantomData,
        })
    }
}

impl<T: FromZeros> Deref for ZeroedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the mapping is page-aligned, which suffices for `T`, holds `length` elements, and
        // is reached through this slice alone; zeros are a valid `T`, and later values were stored
        // as `T`. `T` may be a cell: it is behind a shared reference, and `T` decides `Sync`.
        unsafe { slice::from_raw_parts(self.mapping.pointer(0).cast(), self.length) }
    }
}
