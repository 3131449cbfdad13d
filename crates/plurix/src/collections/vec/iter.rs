//! Iterating over a vector.

use super::HeapVec;
use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

/// The elements of a [`HeapVec`] in order; made by [`HeapVec::iter`]. After an error it ends.
#[derive(Debug)]
pub struct Iter<'t, 's, T: Plain> {
    tx: &'t Transaction<'s>,
    vec: HeapVec<T>,
    slice: std::slice::Iter<'t, T>,
    next: u64,
    end: u64,
}

impl<T: Plain> HeapVec<T> {
    /// All elements, in order. Reads the length once, and each element.
    ///
    /// ```
    /// # use plurix::collections::HeapVec;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let even = station.transaction(|tx| {
    ///     let vec = tx.named::<HeapVec<u64>>("numbers")?;
    ///     vec.extend_from_slice(tx, &[1, 2, 3, 4])?;
    ///     let mut even = Vec::new();
    ///     for number in vec.iter(tx)? {
    ///         let number = *number?;
    ///         if number % 2 == 0 {
    ///             even.push(number);
    ///         }
    ///     }
    ///     Ok(even)
    /// })?;
    /// assert_eq!(even, [2, 4]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`len`](Self::len); so may each element.
    pub fn iter<'t, 's>(self, tx: &'t Transaction<'s>) -> Result<Iter<'t, 's, T>> {
        Ok(Iter {
            tx,
            vec: self,
            slice: [].iter(),
            next: 0,
            end: self.len(tx)?,
        })
    }
}

impl<'t, T: Plain> Iterator for Iter<'t, '_, T> {
    type Item = Result<&'t T>;

    #[inline]
    fn next(&mut self) -> Option<Result<&'t T>> {
        if let Some(value) = self.slice.next() {
            return Some(Ok(value));
        }
        if self.next >= self.end {
            return None;
        }
        match self.vec.slice_from(self.tx, self.next, self.end) {
            Ok(slice) => {
                self.next += slice.len() as u64;
                self.slice = slice.iter();
                self.slice.next().map(Ok)
            }
            Err(error) => {
                self.end = 0;
                Some(Err(error))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next) as usize;
        (0, left.checked_add(self.slice.len()))
    }
}
