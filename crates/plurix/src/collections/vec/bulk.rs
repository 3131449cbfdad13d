//! Operations on many elements of a vector at once.

use super::{HeapVec, SEGMENTS, WHAT, damage};
use crate::collections::{blocks, corrupt};
use crate::error::{ErrorKind, Result};
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// Bytes that are lent as one slice. A slice is read as a whole once all of its pages are here, so a
/// longer one would be looked at again for each page that has to be fetched.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes that are asked for before they are needed.
const AHEAD_BYTES: usize = 1 << 20;
/// Elements of an iterator that are appended together.
const BATCH: usize = 256;

impl<T: Plain> HeapVec<T> {
    const PIECE: u64 = match PIECE_BYTES / size_of::<T>() {
        0 => 1,
        count => count as u64,
    };

    /// Appends `values`. O(n); the length is written once.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn extend_from_slice(self, tx: &mut Transaction<'_>, values: &[T]) -> Result<()> {
        let mut length = self.len(tx)?;
        let mut rest = values;
        while !rest.is_empty() {
            let first = self.make_room(tx, length)?;
            let place = Self::place(length);
            let room = Self::segment_length(place.segment) - place.index;
            let count = room.min(Self::PIECE).min(rest.len() as u64);
            let (now, later) = rest.split_at(count as usize);
            tx.set_slice(Ptr::slice_at(first.offset(), count), now)
                .map_err(damage)?;
            length = length.checked_add(count).ok_or_else(|| corrupt(WHAT))?;
            rest = later;
        }
        *tx.get_mut(self.length_at())? = length;
        Ok(())
    }

    /// Appends what `values` yields.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn extend(
        self,
        tx: &mut Transaction<'_>,
        values: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let mut values = values.into_iter();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.extend(values.by_ref().take(BATCH));
            if batch.is_empty() {
                return Ok(());
            }
            self.extend_from_slice(tx, &batch)?;
            batch.clear();
        }
    }

    /// Calls `look` with all elements in order, in slices as long as they can be lent; the fastest way
    /// to read a vector.
    ///
    /// ```
    /// # use plurix::collections::HeapVec;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let sum = station.transaction(|tx| {
    ///     let vec = tx.named::<HeapVec<u64>>("numbers")?;
    ///     vec.extend(tx, 1..=100)?;
    ///     let mut sum = 0;
    ///     vec.for_each_slice(tx, |slice| sum += slice.iter().sum::<u64>())?;
    ///     Ok(sum)
    /// })?;
    /// assert_eq!(sum, 5050);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn for_each_slice(self, tx: &Transaction<'_>, mut look: impl FnMut(&[T])) -> Result<()> {
        let (mut index, length) = (0, self.len(tx)?);
        while index < length {
            let slice = self.slice_from(tx, index, length)?;
            index += slice.len() as u64;
            look(slice);
        }
        Ok(())
    }

    /// The elements from `index` on, as far as they lie together and before `end`; at least one.
    pub(super) fn slice_from<'t>(
        self,
        tx: &'t Transaction<'_>,
        index: u64,
        end: u64,
    ) -> Result<&'t [T]> {
        let first = self.slot(tx, index)?.ok_or_else(|| corrupt(WHAT))?;
        let place = Self::place(index);
        let room = Self::segment_length(place.segment) - place.index;
        let here = room.min(end - index);
        // Pieces begin at multiples of their length, and what follows is on its way meanwhile.
        let count = here.min(Self::PIECE - place.index % Self::PIECE);
        let ahead = (AHEAD_BYTES / size_of::<T>()) as u64;
        if place.index.is_multiple_of(ahead.max(Self::PIECE)) {
            let ahead = here.min(2 * ahead.max(1));
            tx.prefetch(Ptr::<[T]>::slice_at(first.offset(), ahead));
        }
        tx.get(Ptr::slice_at(first.offset(), count)).map_err(damage)
    }

    /// All elements, copied.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn to_vec(self, tx: &Transaction<'_>) -> Result<Vec<T>> {
        let mut values = Vec::new();
        self.for_each_slice(tx, |slice| values.extend_from_slice(slice))?;
        Ok(values)
    }

    /// Removes all elements from `length` on. Their memory stays the vector's. O(1).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn truncate(self, tx: &mut Transaction<'_>, length: u64) -> Result<()> {
        if length < self.len(tx)? {
            *tx.get_mut(self.length_at())? = length;
        }
        Ok(())
    }

    /// Frees the memory that no element needs. O(log n).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn shrink_to_fit(self, tx: &mut Transaction<'_>) -> Result<()> {
        let kept = match self.len(tx)?.checked_sub(1) {
            Some(last) => Self::place(last).segment + 1,
            None => 0,
        };
        self.free_segments(tx, kept)
    }

    /// Removes all elements and frees their memory. O(log n).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn clear(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.truncate(tx, 0)?;
        self.free_segments(tx, 0)
    }

    /// Frees the vector with all its elements; what they point to stays. O(log n).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.clear(tx)?;
        // A handle that is left over somewhere is told that there is no vector any more.
        *tx.get_mut(Ptr::<u64>::at(self.0))? = 0;
        tx.free(self.inner()).map_err(damage)
    }

    fn free_segments(self, tx: &mut Transaction<'_>, from: usize) -> Result<()> {
        for segment in from..SEGMENTS {
            let at = self.segment_at(segment);
            let offset = *tx.get(at)?;
            if offset == 0 {
                continue;
            }
            let bytes = Self::segment_bytes(segment).map_err(|error| match error.kind() {
                ErrorKind::OutOfMemory { .. } => corrupt(WHAT),
                _ => error,
            })?;
            *tx.get_mut(at)? = 0;
            blocks::free(tx, offset, bytes, WHAT)?;
        }
        Ok(())
    }
}
