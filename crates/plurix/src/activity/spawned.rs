//! Handles of spawned activities, and their results.

use std::fmt;
use std::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{ErrorKind, Result};
use crate::plain::{Layout, Plain};
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// The state of a result cell: a word, padded so that any value may follow it.
const STATE_BYTES: u64 = 16;
const PENDING: u64 = 0;
const COMPLETED: u64 = 1;
const FAILED: u64 = 2;

/// Where the result of an activity will be. Plain data: it can be kept in the heap.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Spawned<O>(u64, PhantomData<fn() -> O>);

impl<O> Spawned<O> {
    pub(super) fn at(offset: u64) -> Self {
        Self(offset, PhantomData)
    }

    pub(super) fn offset(self) -> u64 {
        self.0
    }
}

/// Makes the cell for a result.
pub(super) fn cell<O: Plain>(tx: &mut Transaction<'_>) -> Result<Spawned<O>> {
    let words = (STATE_BYTES as usize + size_of::<O>()).div_ceil(size_of::<u64>());
    Ok(Spawned::at(tx.alloc_slice::<u64>(words)?.offset()))
}

/// Puts the result into its cell.
pub(super) fn complete<O: Plain>(
    tx: &mut Transaction<'_>,
    cell: Spawned<O>,
    value: O,
) -> Result<()> {
    tx.set(Ptr::at(cell.0), COMPLETED)?;
    tx.set(Ptr::at(cell.0 + STATE_BYTES), value)
}

/// Notes that there will be no result.
pub(super) fn fail(tx: &mut Transaction<'_>, cell: u64) -> Result<()> {
    tx.set(Ptr::at(cell), FAILED)
}

impl Transaction<'_> {
    /// The result of an activity; `None` while it is not finished.
    ///
    /// # Errors
    /// [`ErrorKind::ActivityFailed`] if there will be none, and as [`get`](Self::get).
    pub fn result<O: Plain>(&self, spawned: Spawned<O>) -> Result<Option<O>> {
        match *self.get(Ptr::<u64>::at(spawned.0))? {
            PENDING => Ok(None),
            COMPLETED => {
                // By bytes, so that a result without any is one too.
                let bytes = Ptr::<[u8]>::slice_at(spawned.0 + STATE_BYTES, size_of::<O>() as u64);
                let value = O::read_from_bytes(self.get(bytes)?);
                let corrupt = ErrorKind::Corrupt {
                    what: "result of an activity",
                };
                value.map(Some).map_err(|_| corrupt.into())
            }
            FAILED => Err(ErrorKind::ActivityFailed {
                name: String::new(),
                why: "see wait_all for the reason".to_owned(),
            }
            .into()),
            _ => Err(ErrorKind::Corrupt {
                what: "result of an activity",
            }
            .into()),
        }
    }

    /// Takes the result of a finished activity and frees its place; `None` while it is not
    /// finished.
    ///
    /// # Errors
    /// As [`result`](Self::result), and as [`free`](Self::free).
    pub fn take_result<O: Plain>(&mut self, spawned: Spawned<O>) -> Result<Option<O>> {
        let result = self.result(spawned)?;
        if result.is_some() {
            let words = (STATE_BYTES as usize + size_of::<O>()).div_ceil(size_of::<u64>());
            self.free(Ptr::<[u64]>::slice_at(spawned.0, words as u64))?;
        }
        Ok(result)
    }
}

impl<O> Clone for Spawned<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Spawned<O> {}

impl<O> fmt::Debug for Spawned<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spawned({:#x})", self.0)
    }
}

impl<O: 'static> Plain for Spawned<O> {
    const LAYOUT: Layout = Layout::of_primitive("Spawned", 8);
}
