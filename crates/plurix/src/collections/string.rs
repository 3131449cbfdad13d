//! Strings that change in place and grow.

use super::buffer::{Buffer, Header};
use super::{corrupt, handle};
use crate::error::Result;
use crate::transaction::Transaction;

handle! {
    /// A string in the heap that changes in place and grows.
    ///
    /// It costs what [`HeapBytes`](crate::collections::HeapBytes) cost, and conflicts as they do. That it is UTF-8 is checked when it is
    /// read. For keys of maps there is [`HeapStr`](super::HeapStr).
    ///
    /// ```
    /// use plurix::collections::HeapString;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let text = station.transaction(|tx| {
    ///     let text = tx.named::<HeapString>("greeting")?;
    ///     text.set(tx, "Good morning")?;
    ///     text.push_str(tx, ", Ulm")?;
    ///     Ok(text)
    /// })?;
    /// station.transaction(|tx| {
    ///     assert_eq!(text.as_str(tx)?, "Good morning, Ulm");
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    HeapString [],
    /// What a [`HeapString`] leads to.
    StringHeader holds Header
}

impl HeapString {
    /// Makes an empty one.
    ///
    /// # Errors
    /// As [`Transaction::alloc`].
    pub fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        Buffer::create(tx, Self::FINGERPRINT).map(Self::from_inner)
    }

    /// Puts `text` into a new one.
    ///
    /// # Errors
    /// As [`Transaction::alloc`].
    pub fn new(tx: &mut Transaction<'_>, text: &str) -> Result<Self> {
        let made = Self::create(tx)?;
        made.set(tx, text)?;
        Ok(made)
    }

    /// The string.
    ///
    /// # Errors
    /// As [`Transaction::get`]; [`Corrupt`](crate::ErrorKind::Corrupt) if it is no UTF-8 any more;
    /// [`LayoutDiffers`](crate::ErrorKind::LayoutDiffers) if it was destroyed.
    pub fn as_str<'t>(self, tx: &'t Transaction<'_>) -> Result<&'t str> {
        std::str::from_utf8(self.buffer().read(tx)?).map_err(|_| corrupt("string"))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// As [`as_str`](Self::as_str); [`OutOfMemory`](crate::ErrorKind::OutOfMemory).
    pub fn set(self, tx: &mut Transaction<'_>, text: &str) -> Result<()> {
        self.buffer().write(tx, 0, text.as_bytes())
    }

    /// Adds `text` at the end.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn push_str(self, tx: &mut Transaction<'_>, text: &str) -> Result<()> {
        self.buffer().push(tx, text.as_bytes())
    }

    /// How many bytes there are.
    ///
    /// # Errors
    /// As [`as_str`](Self::as_str).
    pub fn len(self, tx: &Transaction<'_>) -> Result<usize> {
        self.buffer().len(tx)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// As [`as_str`](Self::as_str).
    pub fn is_empty(self, tx: &Transaction<'_>) -> Result<bool> {
        Ok(self.len(tx)? == 0)
    }

    /// How many bytes there can be without another block.
    ///
    /// # Errors
    /// As [`as_str`](Self::as_str).
    pub fn capacity(self, tx: &Transaction<'_>) -> Result<usize> {
        self.buffer().capacity(tx)
    }

    /// Makes it empty, and keeps the room.
    ///
    /// # Errors
    /// As [`as_str`](Self::as_str).
    pub fn clear(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.buffer().truncate(tx, 0)
    }

    /// Frees it.
    ///
    /// # Errors
    /// As [`as_str`](Self::as_str).
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
