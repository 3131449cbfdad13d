//! What can be a key: values that are hashed and compared by their bytes, and strings, which are
//! looked up without making one in the heap first.

use std::cmp::Ordering;

use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

/// A key of a [collection](crate::collections), as it is stored there.
///
/// Most keys are [`PlainKey`]s, which have this trait already: the integers, arrays of bytes, and
/// whatever plain type says `impl PlainKey for MyType {}`. They are looked up by value. Strings are
/// looked up by `&str`.
///
/// Hashes are part of the heap's format: what [`hash_of`](Self::hash_of) answers must be the same in
/// every program that opens the heap.
pub trait Key: Plain {
    /// What a key is looked up by, inserted from, and removed by.
    type Query<'q>: Copy;
    /// Whether [`release`](Self::release) has anything to do.
    const OWNS: bool;

    /// The hash of the key that `query` means.
    fn hash_of(query: Self::Query<'_>) -> u64;

    /// The hash of this key.
    ///
    /// # Errors
    /// As [`Transaction::get`], of a key whose contents are elsewhere in the heap.
    fn hash(&self, tx: &Transaction<'_>) -> Result<u64>;

    /// Whether this is the key that `query` means.
    ///
    /// # Errors
    /// As [`hash`](Self::hash).
    fn is(&self, tx: &Transaction<'_>, query: Self::Query<'_>) -> Result<bool>;

    /// The key that `query` means, to be stored. It may take memory, which is its own.
    ///
    /// # Errors
    /// What it is that cannot be stored; as [`Transaction::alloc`].
    fn store(tx: &mut Transaction<'_>, query: Self::Query<'_>) -> Result<Self>;

    /// Frees what [`store`](Self::store) took.
    ///
    /// # Errors
    /// As [`Transaction::free`].
    fn release(self, tx: &mut Transaction<'_>) -> Result<()>;
}

/// A key that has an order.
pub trait OrderedKey: Key {
    /// How this key compares with the one that `query` means.
    ///
    /// # Errors
    /// As [`Key::hash`].
    fn compare(&self, tx: &Transaction<'_>, query: Self::Query<'_>) -> Result<Ordering>;
}

/// A [`Key`] that is all in its own bytes. Plain data has no padding, so equal values have equal
/// bytes; a plain type becomes a key by one line:
///
/// ```
/// #[plurix::plain]
/// #[derive(PartialEq, Eq, PartialOrd, Ord)] // for ordered collections
/// struct Place {
///     row: u32,
///     column: u32,
/// }
///
/// impl plurix::collections::PlainKey for Place {}
/// ```
pub trait PlainKey: Plain {}

impl<K: PlainKey> Key for K {
    type Query<'q> = K;
    const OWNS: bool = false;

    #[inline]
    fn hash_of(query: K) -> u64 {
        super::hash::hash(query.as_bytes())
    }

    #[inline]
    fn hash(&self, _: &Transaction<'_>) -> Result<u64> {
        Ok(super::hash::hash(self.as_bytes()))
    }

    #[inline]
    fn is(&self, _: &Transaction<'_>, query: K) -> Result<bool> {
        Ok(self.as_bytes() == query.as_bytes())
    }

    #[inline]
    fn store(_: &mut Transaction<'_>, query: K) -> Result<Self> {
        Ok(query)
    }

    #[inline]
    fn release(self, _: &mut Transaction<'_>) -> Result<()> {
        Ok(())
    }
}

impl<K: PlainKey + Ord> OrderedKey for K {
    #[inline]
    fn compare(&self, _: &Transaction<'_>, query: K) -> Result<Ordering> {
        Ok(self.cmp(&query))
    }
}

macro_rules! plain_keys {
    ($($type:ty),*) => {
        $(impl PlainKey for $type {})*
    };
}

plain_keys!(
    u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize
);

impl<const N: usize> PlainKey for [u8; N] {}
