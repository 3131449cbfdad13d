//! Bytes that change in place and grow.

use super::buffer::{Buffer, Header};
use super::handle;
use crate::error::Result;
use crate::transaction::Transaction;

handle! {
    /// Bytes in the heap, with room to grow.
    ///
    /// Reading reads the header and as many lines as there are bytes. [`set`](Self::set) and
    /// [`push`](Self::push) write the header and the lines of what is new; a push that finds no room
    /// moves all to a block of twice the size, so that n bytes are pushed in O(n). So everybody who
    /// changes the same bytes conflicts with everybody who reads them.
    ///
    /// ```
    /// use plurix::collections::HeapBytes;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let bytes = station.transaction(|tx| HeapBytes::new(tx, &[1, 2]))?;
    /// station.transaction(|tx| bytes.push(tx, &[3]))?;
    /// station.transaction(|tx| {
    ///     assert_eq!(bytes.as_bytes(tx)?, [1, 2, 3]);
    ///     bytes.destroy(tx)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    HeapBytes [],
    /// What [`HeapBytes`] lead to.
    BytesHeader holds Header
}

impl HeapBytes {
    /// Makes an empty one.
    ///
    /// # Errors
    /// As [`Transaction::alloc`].
    pub fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        Buffer::create(tx, Self::FINGERPRINT).map(Self::from_inner)
    }

    /// Puts `bytes` into a new one.
    ///
    /// # Errors
    /// As [`Transaction::alloc`].
    pub fn new(tx: &mut Transaction<'_>, bytes: &[u8]) -> Result<Self> {
        let made = Self::create(tx)?;
        made.set(tx, bytes)?;
        Ok(made)
    }

    /// The bytes.
    ///
    /// # Errors
    /// As [`Transaction::get`]; [`Corrupt`](crate::ErrorKind::Corrupt);
    /// [`LayoutDiffers`](crate::ErrorKind::LayoutDiffers) if they were destroyed.
    pub fn as_bytes<'t>(self, tx: &'t Transaction<'_>) -> Result<&'t [u8]> {
        self.buffer().read(tx)
    }

    /// The bytes, to be changed in place.
    ///
    /// # Errors
    /// As [`as_bytes`](Self::as_bytes).
    pub fn as_bytes_mut<'t>(self, tx: &'t mut Transaction<'_>) -> Result<&'t mut [u8]> {
        self.buffer().open(tx)
    }

    /// Replaces them.
    ///
    /// # Errors
    /// As [`as_bytes`](Self::as_bytes); [`OutOfMemory`](crate::ErrorKind::OutOfMemory).
    pub fn set(self, tx: &mut Transaction<'_>, bytes: &[u8]) -> Result<()> {
        self.buffer().write(tx, 0, bytes)
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn push(self, tx: &mut Transaction<'_>, bytes: &[u8]) -> Result<()> {
        self.buffer().push(tx, bytes)
    }

    /// Keeps the first `length` bytes, or all if there are fewer.
    ///
    /// # Errors
    /// As [`as_bytes`](Self::as_bytes).
    pub fn truncate(self, tx: &mut Transaction<'_>, length: usize) -> Result<()> {
        self.buffer().truncate(tx, length)
    }

    /// How many bytes there are.
    ///
    /// # Errors
    /// As [`as_bytes`](Self::as_bytes).
    pub fn len(self, tx: &Transaction<'_>) -> Result<usize> {
        self.buffer().len(tx)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// As [`as_bytes`](Self::as_bytes).
    pub fn is_empty(self, tx: &Transaction<'_>) -> Result<bool> {
        Ok(self.len(tx)? == 0)
    }

    /// How many bytes there can be without another block.
    ///
    /// # Errors
    /// As [`as_bytes`](Self::as_bytes).
    pub fn capacity(self, tx: &Transaction<'_>) -> Result<usize> {
        self.buffer().capacity(tx)
    }

    /// Makes it empty, and keeps the room.
    ///
    /// # Errors
    /// As [`as_bytes`](Self::as_bytes).
    pub fn clear(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.buffer().truncate(tx, 0)
    }

    /// Frees it.
    ///
    /// # Errors
    /// As [`as_bytes`](Self::as_bytes).
    pub fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.buffer().destroy(tx)
    }

    fn buffer(self) -> Buffer {
        Buffer {
            at: self.inner(),
            fingerprint: Self::FINGERPRINT,
        }
    }
}
