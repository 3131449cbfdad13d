//! A vector whose elements never move: segments of doubling size, found by a table.
//!
//! ```text
//!  header, lines 0..6: fingerprint, table ──► segments of B, 2B, 4B, … elements
//!  header, line 6:     length
//! ```
//!
//! With B a power of two, element `i` is in segment `log2(i / B + 1)` (Brodnik, Carlsson, Demaine,
//! Munro and Sedgewick, "Resizable Arrays in Optimal Time and Space", WADS 1999, in its simplest form).

mod bulk;
mod iter;

pub use iter::Iter;

use super::blocks::{self, LINE_BYTES};
use super::{check_fingerprint, corrupt, handle, or_corrupt};
use crate::error::{ErrorKind, Result};
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

const WHAT: &str = "vector";
/// Segments that a vector has at most; the last has more elements than any heap.
const SEGMENTS: usize = 47;
/// Elements of the first segment take a line at least.
const FIRST_BYTES: usize = LINE_BYTES;

#[crate::plain]
#[repr(C, align(64))]
struct Inner {
    fingerprint: u64,
    segments: [u64; SEGMENTS],
    length: u64,
    unused: [u64; 7],
}

handle!(
    /// A vector in the heap, of plain values that never move once they are pushed.
    ///
    /// | operation | cost | reads | writes |
    /// |---|---|---|---|
    /// | [`get`](HeapVec::get), [`get_mut`](HeapVec::get_mut), [`set`](HeapVec::set) | O(1) | length, table; the element but for `set` | the element but for `get` |
    /// | [`push`](HeapVec::push), [`pop`](HeapVec::pop) | O(1) | length, table | length, the element |
    /// | [`slot`](HeapVec::slot) | O(1) | table | |
    /// | [`extend_from_slice`](HeapVec::extend_from_slice), iterating | O(n) | length, table | |
    ///
    /// The table has lines of its own, which are written only when a segment is added: as often as the
    /// vector has doubled. The length has a line of its own, too, so two stations that push conflict,
    /// and whoever asks for an element by its index conflicts with who pushes. Who knows that an
    /// element is there keeps its [`ptr`](HeapVec::ptr), or asks for its [`slot`](HeapVec::slot), and
    /// conflicts with nobody but writers of that element's line.
    ///
    /// ```
    /// use plurix::collections::HeapVec;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let last = station.transaction(|tx| {
    ///     let primes = tx.named::<HeapVec<u64>>("primes")?;
    ///     primes.extend_from_slice(tx, &[2, 3, 5])?;
    ///     primes.push(tx, 7)?;
    ///     *primes.get_mut(tx, 0)?.expect("there are four") += 9;
    ///     assert_eq!(primes.to_vec(tx)?, [11, 3, 5, 7]);
    ///     primes.pop(tx)
    /// })?;
    /// assert_eq!(last, Some(7));
    /// # Ok(())
    /// # }
    /// ```
    HeapVec [T: Plain],
    /// The header of a [`HeapVec`].
    VecHeader holds Inner
);

/// Where an element is: segment, and index within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: usize,
    index: u64,
}

impl<T: Plain> HeapVec<T> {
    /// Elements of the first segment: a power of two.
    const FIRST: u64 = {
        assert!(size_of::<T>() > 0, "a value in the heap has bytes");
        assert!(
            align_of::<T>() <= LINE_BYTES,
            "elements are aligned to lines"
        );
        let fit = (FIRST_BYTES / size_of::<T>()) as u64;
        if fit == 0 { 1 } else { fit.next_power_of_two() }
    };

    /// An empty vector.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`], and as [`Transaction::get`].
    pub fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        let inner = tx.alloc(Inner {
            fingerprint: Self::FINGERPRINT,
            segments: [0; SEGMENTS],
            length: 0,
            unused: [0; 7],
        })?;
        Ok(Self::from_ptr(Ptr::at(inner.offset())))
    }

    /// How many elements there are. O(1); reads the length.
    ///
    /// # Errors
    /// [`ErrorKind::LayoutDiffers`] if this is no vector of `T`, [`ErrorKind::Corrupt`] if it is
    /// damaged, and as [`Transaction::get`].
    #[inline]
    pub fn len(self, tx: &Transaction<'_>) -> Result<u64> {
        self.check(tx)?;
        tx.get(self.length_at()).copied()
    }

    /// Whether there are no elements.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty(self, tx: &Transaction<'_>) -> Result<bool> {
        Ok(self.len(tx)? == 0)
    }

    /// Element `index`; `None` beyond the end.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    #[inline]
    pub fn get<'t>(self, tx: &'t Transaction<'_>, index: u64) -> Result<Option<&'t T>> {
        match self.ptr(tx, index)? {
            Some(ptr) => tx.get(ptr).map(Some).map_err(damage),
            None => Ok(None),
        }
    }

    /// Element `index`, to be changed in place; `None` beyond the end.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    #[inline]
    pub fn get_mut<'t>(self, tx: &'t mut Transaction<'_>, index: u64) -> Result<Option<&'t mut T>> {
        match self.ptr(tx, index)? {
            Some(ptr) => tx.get_mut(ptr).map(Some).map_err(damage),
            None => Ok(None),
        }
    }

    /// Replaces element `index` without reading it; answers whether there is one.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn set(self, tx: &mut Transaction<'_>, index: u64, value: T) -> Result<bool> {
        match self.ptr(tx, index)? {
            Some(ptr) => tx.set(ptr, value).map(|()| true).map_err(damage),
            None => Ok(false),
        }
    }

    /// Where element `index` is, as long as it is in the vector; `None` beyond the end. Reads the
    /// length, but whoever uses the pointer later does not.
    ///
    /// ```
    /// # use plurix::collections::HeapVec;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let third = station.transaction(|tx| {
    ///     let vec = tx.named::<HeapVec<u32>>("numbers")?;
    ///     vec.extend(tx, 0..1000)?;
    ///     vec.ptr(tx, 3)
    /// })?;
    /// let third = third.expect("there are a thousand");
    /// assert_eq!(station.transaction(|tx| tx.get(third).copied())?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`len`](Self::len).
    #[inline]
    pub fn ptr(self, tx: &Transaction<'_>, index: u64) -> Result<Option<Ptr<T>>> {
        if index >= self.len(tx)? {
            return Ok(None);
        }
        let slot = self.slot(tx, index)?;
        slot.map(Some).ok_or_else(|| corrupt(WHAT))
    }

    /// Where element `index` is or was, without asking for the length: for who knows that it is there,
    /// and does not want to conflict with who pushes. `None` if the vector has no memory for it.
    /// Beyond the end it leads to whatever was left there, even if another station shortens the vector
    /// at the same time.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    #[inline]
    pub fn slot(self, tx: &Transaction<'_>, index: u64) -> Result<Option<Ptr<T>>> {
        self.check(tx)?;
        let place = Self::place(index);
        if place.segment >= SEGMENTS {
            return Ok(None);
        }
        let segment = *tx.get(self.segment_at(place.segment))?;
        if segment == 0 {
            return Ok(None);
        }
        Self::element(segment, place.index).map(Some)
    }

    /// Appends `value`; answers its index. O(1): no other element moves.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`], and as [`len`](Self::len).
    pub fn push(self, tx: &mut Transaction<'_>, value: T) -> Result<u64> {
        let index = self.len(tx)?;
        let ptr = self.make_room(tx, index)?;
        tx.set(ptr, value).map_err(damage)?;
        *tx.get_mut(self.length_at())? = index + 1;
        Ok(index)
    }

    /// Removes the last element. Its memory stays the vector's, for the next push; see
    /// [`shrink_to_fit`](Self::shrink_to_fit).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn pop(self, tx: &mut Transaction<'_>) -> Result<Option<T>> {
        let Some(last) = self.len(tx)?.checked_sub(1) else {
            return Ok(None);
        };
        let value = self.get(tx, last)?.copied();
        *tx.get_mut(self.length_at())? = last;
        Ok(value)
    }

    /// Removes element `index` and puts the last one in its place; `None` beyond the end. O(1).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn swap_remove(self, tx: &mut Transaction<'_>, index: u64) -> Result<Option<T>> {
        let Some(found) = self.get(tx, index)?.copied() else {
            return Ok(None);
        };
        let last = self.pop(tx)?.ok_or_else(|| corrupt(WHAT))?;
        self.set(tx, index, last)?;
        Ok(Some(found))
    }

    /// The pointer to the place of element `index`, in a segment that is made if need be.
    fn make_room(self, tx: &mut Transaction<'_>, index: u64) -> Result<Ptr<T>> {
        let place = Self::place(index);
        if place.segment >= SEGMENTS {
            return Err(corrupt(WHAT));
        }
        let at = self.segment_at(place.segment);
        let mut segment = *tx.get(at)?;
        if segment == 0 {
            segment = blocks::allocate(tx, Self::segment_bytes(place.segment)?)?;
            *tx.get_mut(at)? = segment;
        }
        Self::element(segment, place.index)
    }

    #[inline]
    fn check(self, tx: &Transaction<'_>) -> Result<()> {
        let fingerprint = *tx.get(Ptr::<u64>::at(self.0))?;
        check_fingerprint(fingerprint, Self::FINGERPRINT, WHAT)
    }

    #[inline]
    fn place(index: u64) -> Place {
        let block = (index / Self::FIRST).saturating_add(1);
        let segment = block.ilog2() as usize;
        let before = ((1 << segment) - 1) * u128::from(Self::FIRST);
        Place {
            segment,
            index: (u128::from(index) - before) as u64,
        }
    }

    /// Elements of a segment.
    fn segment_length(segment: usize) -> u64 {
        Self::FIRST << segment
    }

    fn segment_bytes(segment: usize) -> Result<usize> {
        let bytes = Self::segment_length(segment).checked_mul(size_of::<T>() as u64);
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        bytes.ok_or_else(|| ErrorKind::OutOfMemory { bytes: u64::MAX }.into())
    }

    #[inline]
    fn element(segment: u64, index: u64) -> Result<Ptr<T>> {
        let bytes = index.checked_mul(size_of::<T>() as u64);
        let at = bytes.and_then(|bytes| segment.checked_add(bytes));
        at.map(Ptr::at).ok_or_else(|| corrupt(WHAT))
    }

    #[inline]
    fn segment_at(self, segment: usize) -> Ptr<u64> {
        let within = std::mem::offset_of!(Inner, segments) + segment * size_of::<u64>();
        Ptr::at(self.0.saturating_add(within as u64))
    }

    #[inline]
    fn length_at(self) -> Ptr<u64> {
        Ptr::at(
            self.0
                .saturating_add(std::mem::offset_of!(Inner, length) as u64),
        )
    }
}

/// What is behind a link of the vector is not there.
#[cold]
fn damage(error: crate::Error) -> crate::Error {
    or_corrupt(error, WHAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_each_other_without_gaps() {
        fn check<T: Plain>() {
            let mut expected = Place {
                segment: 0,
                index: 0,
            };
            for index in 0..10_000 {
                assert_eq!(HeapVec::<T>::place(index), expected, "{index}");
                expected.index += 1;
                if expected.index == HeapVec::<T>::segment_length(expected.segment) {
                    expected.segment += 1;
                    expected.index = 0;
                }
            }
            HeapVec::<T>::place(u64::MAX);
        }
        check::<u8>();
        check::<u64>();
        check::<[u64; 3]>();
        check::<[u64; 20]>();
    }
}
