//! Pointers into the heap: offsets, checked at each use, because they may have come from heap bytes
//! that anybody wrote.

use std::fmt;
use std::marker::PhantomData;

use plurix_memory::{AccessError, HeapMemory};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::plain::{Layout, Plain};

/// What a [`Ptr`] can point to: a plain value, or a slice of them.
pub trait Pointee: sealed::Pointee {}

impl<T: sealed::Pointee + ?Sized> Pointee for T {}

/// A pointer to a value (`Ptr<T>`, 8 bytes) or to a slice (`Ptr<[T]>`, 16 bytes) in the heap. It is
/// plain data itself, so structures in the heap can be linked with it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Ptr<T: Pointee + ?Sized>(T::Repr, PhantomData<fn() -> T>);

impl<T: Pointee + ?Sized> Ptr<T> {
    /// The pointer that points nowhere; the same as [`Ptr::default`].
    #[must_use]
    pub fn null() -> Self {
        Self(T::Repr::new_zeroed(), PhantomData)
    }

    /// Whether it points nowhere.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.offset() == 0
    }

    /// Where it points: bytes from the start of the heap.
    #[must_use]
    pub fn offset(self) -> u64 {
        T::offset(self.0)
    }

    pub(crate) fn repr(self) -> T::Repr {
        self.0
    }
}

impl<T: Plain> Ptr<T> {
    /// Points to the value at `offset`.
    #[must_use]
    pub const fn at(offset: u64) -> Self {
        Self(offset, PhantomData)
    }
}

impl<T: Plain> Ptr<[T]> {
    /// Points to `count` values from `offset` on.
    #[must_use]
    pub const fn slice_at(offset: u64, count: u64) -> Self {
        Self([offset, count], PhantomData)
    }

    /// How many values it points to.
    #[must_use]
    pub fn len(self) -> usize {
        self.0[1] as usize
    }

    /// Whether it points to no values.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0[1] == 0
    }

    /// Points to value `index` of the slice; `None` beyond its end.
    #[must_use]
    pub fn get(self, index: usize) -> Option<Ptr<T>> {
        let at = (index < self.len()).then_some(index as u64 * size_of::<T>() as u64)?;
        Some(Ptr::at(self.0[0].checked_add(at)?))
    }

    /// Points to a part of the slice; `None` if the range leaves it.
    #[must_use]
    pub fn range(self, range: std::ops::Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = (range.start as u64).checked_mul(size_of::<T>() as u64)?;
        Some(Self::slice_at(
            self.0[0].checked_add(start)?,
            range.len() as u64,
        ))
    }
}

impl<T: Pointee + ?Sized> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Pointee + ?Sized> Copy for Ptr<T> {}

impl<T: Pointee + ?Sized> Default for Ptr<T> {
    fn default() -> Self {
        Self::null()
    }
}

impl<T: Pointee + ?Sized> PartialEq for Ptr<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes() == other.0.as_bytes()
    }
}

impl<T: Pointee + ?Sized> Eq for Ptr<T> {}

impl<T: Pointee + ?Sized> fmt::Debug for Ptr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ptr({:#x})", self.offset())
    }
}

// The layout of a pointer does not depend on that of its target: lists point to themselves.
impl<T: Plain> Plain for Ptr<T> {
    const LAYOUT: Layout = Layout::of_primitive("Ptr", 8);
}

impl<T: Plain> Plain for Ptr<[T]> {
    const LAYOUT: Layout = Layout::of_primitive("Ptr[]", 16);
}

pub(crate) mod sealed {
    //! How values and slices are reached; not for implementing elsewhere, because the library
    //! relies on `access` and `open` naming the same bytes.

    use super::{AccessError, HeapMemory, Layout, Plain};

    /// A value or a slice of values.
    pub trait Pointee: 'static {
        /// The pointer's own bytes.
        type Repr: Plain;
        /// Tells the pointee's layout, and a value from a slice.
        const FINGERPRINT: Layout;
        /// The pointee's alignment, in bytes.
        const ALIGN: usize;

        /// Where the pointee begins.
        fn offset(repr: Self::Repr) -> u64;
        /// Bytes that the pointee takes; `None` if no heap can hold them.
        fn bytes(repr: Self::Repr) -> Option<u64>;
        /// The pointee, to read.
        fn read(memory: &HeapMemory, repr: Self::Repr) -> Result<&Self, AccessError>;
        /// The pointee, to change.
        fn open(memory: &mut HeapMemory, repr: Self::Repr) -> Result<&mut Self, AccessError>;
    }

    impl<T: Plain> Pointee for T {
        type Repr = u64;
        const FINGERPRINT: Layout = <T as Plain>::LAYOUT;
        const ALIGN: usize = align_of::<T>();

        #[inline]
        fn offset(repr: u64) -> u64 {
            repr
        }

        #[inline]
        fn bytes(_: u64) -> Option<u64> {
            Some(size_of::<T>() as u64)
        }

        #[inline]
        fn read(memory: &HeapMemory, repr: u64) -> Result<&T, AccessError> {
            memory.read(repr)
        }

        #[inline]
        fn open(memory: &mut HeapMemory, repr: u64) -> Result<&mut T, AccessError> {
            memory.open(repr)
        }
    }

    impl<T: Plain> Pointee for [T] {
        type Repr = [u64; 2];
        const FINGERPRINT: Layout = <T as Plain>::LAYOUT.text("slice");
        const ALIGN: usize = align_of::<T>();

        #[inline]
        fn offset([offset, _]: [u64; 2]) -> u64 {
            offset
        }

        #[inline]
        fn bytes([_, count]: [u64; 2]) -> Option<u64> {
            count.checked_mul(size_of::<T>() as u64)
        }

        #[inline]
        fn read(memory: &HeapMemory, [offset, count]: [u64; 2]) -> Result<&[T], AccessError> {
            memory.read_slice(offset, count as usize)
        }

        #[inline]
        fn open(
            memory: &mut HeapMemory,
            [offset, count]: [u64; 2],
        ) -> Result<&mut [T], AccessError> {
            memory.open_slice(offset, count as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_slice_stay_within_it() {
        let slice = Ptr::<[u32]>::slice_at(4096, 10);
        assert_eq!(slice.get(9).map(Ptr::offset), Some(4096 + 36));
        assert_eq!(slice.get(10), None);
        assert_eq!(slice.range(4..10).map(Ptr::len), Some(6));
        assert_eq!(slice.range(4..11), None);
        assert_eq!(Ptr::<[u64]>::slice_at(u64::MAX - 8, 4).get(3), None);
    }

    #[test]
    fn null_is_all_zero() {
        assert!(Ptr::<u64>::null().is_null() && Ptr::<[u8]>::null().is_null());
        assert_eq!((size_of::<Ptr<u64>>(), size_of::<Ptr<[u8]>>()), (8, 16));
    }
}
