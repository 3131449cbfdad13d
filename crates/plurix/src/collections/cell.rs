//! A register: one value, and what a program does to it as a whole.

use std::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Collection;
use crate::error::Result;
use crate::plain::{Layout, Plain};
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// A value in the heap that is read and replaced as a whole.
///
/// Every operation is O(1) and touches the value's own lines alone. [`get`](Self::get),
/// [`update`](Self::update) and [`swap`](Self::swap) read it, so the transaction runs again if anybody
/// else has changed it meanwhile; [`set`](Self::set) does not read it: of any number of stations that
/// set it at once none runs again, and the last commit wins.
///
/// ```
/// use plurix::collections::HeapCell;
/// # use plurix::{Cluster, Result};
/// # fn main() -> Result<()> {
/// # let mut cluster = Cluster::local(1)?;
/// # let station = &mut cluster.stations()[0];
/// let cell = station.transaction(|tx| HeapCell::new(tx, 5u64))?;
/// let before = station.transaction(|tx| {
///     cell.update(tx, |value| *value += 1)?;
///     cell.swap(tx, 10)
/// })?;
/// assert_eq!(before, 6);
/// # Ok(())
/// # }
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct HeapCell<T: Plain>(u64, PhantomData<fn() -> T>);

impl<T: Plain> HeapCell<T> {
    /// Puts `value` into a new register.
    ///
    /// # Errors
    /// As [`Transaction::alloc`].
    pub fn new(tx: &mut Transaction<'_>, value: T) -> Result<Self> {
        tx.alloc(value).map(Self::from_ptr)
    }

    /// The register whose value is at `ptr`.
    #[must_use]
    pub fn from_ptr(ptr: Ptr<T>) -> Self {
        Self(ptr.offset(), PhantomData)
    }

    /// Where its value is.
    #[must_use]
    pub fn as_ptr(self) -> Ptr<T> {
        Ptr::at(self.0)
    }

    /// Its value.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn get(self, tx: &Transaction<'_>) -> Result<T> {
        tx.get(self.as_ptr()).copied()
    }

    /// Replaces its value without reading it.
    ///
    /// # Errors
    /// As [`Transaction::set`].
    pub fn set(self, tx: &mut Transaction<'_>, value: T) -> Result<()> {
        tx.set(self.as_ptr(), value)
    }

    /// Changes its value in place; answers what `change` does.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn update<R>(
        self,
        tx: &mut Transaction<'_>,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R> {
        Ok(change(tx.get_mut(self.as_ptr())?))
    }

    /// Replaces its value; answers what it was.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn swap(self, tx: &mut Transaction<'_>, value: T) -> Result<T> {
        self.update(tx, |old| std::mem::replace(old, value))
    }

    /// Frees it.
    ///
    /// # Errors
    /// As [`Transaction::free`].
    pub fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        tx.free(self.as_ptr())
    }
}

impl<T: Plain> Collection for HeapCell<T> {
    type Header = T;

    /// A register whose value is all zeros.
    fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        Self::new(tx, T::new_zeroed())
    }

    fn from_ptr(ptr: Ptr<T>) -> Self {
        Self::from_ptr(ptr)
    }

    fn as_ptr(self) -> Ptr<T> {
        Self::as_ptr(self)
    }
}

impl<T: Plain> Clone for HeapCell<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Plain> Copy for HeapCell<T> {}

impl<T: Plain> Default for HeapCell<T> {
    fn default() -> Self {
        Self(0, PhantomData)
    }
}

impl<T: Plain> PartialEq for HeapCell<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Plain> Eq for HeapCell<T> {}

impl<T: Plain> std::fmt::Debug for HeapCell<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeapCell({:#x})", self.0)
    }
}

// As of a pointer: it does not depend on the value's layout.
impl<T: Plain> Plain for HeapCell<T> {
    const LAYOUT: Layout = Layout::of_primitive("HeapCell", 8);
}
