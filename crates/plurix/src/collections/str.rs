//! Strings as keys: an immutable string in the heap that is compared with a `&str` where it lies.

use std::cmp::Ordering;

use super::key::{Key, OrderedKey};
use super::{corrupt, hash, or_corrupt};
use crate::error::{ErrorKind, Result};
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// The name for what is damaged.
const WHAT: &str = "string";

/// A string in the heap that does not change: the key of a map of strings, 24 bytes beside the string
/// itself.
///
/// A map looks such keys up by `&str` and allocates nothing for that. It makes the string when a key is
/// inserted, and frees it when the key is removed.
///
/// ```
/// use plurix::collections::{HeapMap, HeapStr};
/// # use plurix::{Cluster, Result};
/// # fn main() -> Result<()> {
/// # let mut cluster = Cluster::local(1)?;
/// # let station = &mut cluster.stations()[0];
/// let ages = station.transaction(|tx| tx.named::<HeapMap<HeapStr, u32>>("ages"))?;
/// station.transaction(|tx| ages.insert(tx, "Ada", 36))?;
/// assert_eq!(station.transaction(|tx| Ok(ages.get(tx, "Ada")?.copied()))?, Some(36));
/// # Ok(())
/// # }
/// ```
#[plain]
#[derive(Debug)]
pub struct HeapStr {
    at: u64,
    /// Kept, so that a map that grows need not read its strings.
    hash: u64,
    bytes: u32,
    /// The first bytes, then zeros: mostly enough to tell two strings apart.
    prefix: [u8; 4],
}

impl HeapStr {
    /// Puts `text` into the heap.
    ///
    /// # Errors
    /// As [`Transaction::alloc`]; [`ErrorKind::StringTooLong`] for 4 GiB and more.
    pub fn new(tx: &mut Transaction<'_>, text: &str) -> Result<Self> {
        let bytes = u32::try_from(text.len()).map_err(|_| ErrorKind::StringTooLong {
            bytes: text.len(),
            limit: u32::MAX as usize,
        })?;
        Ok(Self {
            at: tx.alloc_slice_from(text.as_bytes())?.offset(),
            hash: hash::hash(text.as_bytes()),
            bytes,
            prefix: prefix(text),
        })
    }

    /// The string.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is no UTF-8 any more; as [`Transaction::get`].
    pub fn as_str<'t>(&self, tx: &'t Transaction<'_>) -> Result<&'t str> {
        std::str::from_utf8(self.as_bytes(tx)?).map_err(|_| corrupt(WHAT))
    }

    /// Frees it.
    ///
    /// # Errors
    /// As [`Transaction::free`].
    pub fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        tx.free(self.ptr()).map_err(|error| or_corrupt(error, WHAT))
    }

    fn ptr(&self) -> Ptr<[u8]> {
        Ptr::slice_at(self.at, u64::from(self.bytes))
    }

    fn as_bytes<'t>(&self, tx: &'t Transaction<'_>) -> Result<&'t [u8]> {
        tx.get(self.ptr()).map_err(|error| or_corrupt(error, WHAT))
    }
}

impl Key for HeapStr {
    type Query<'q> = &'q str;
    const OWNS: bool = true;

    fn hash_of(query: &str) -> u64 {
        hash::hash(query.as_bytes())
    }

    fn hash(&self, _: &Transaction<'_>) -> Result<u64> {
        Ok(self.hash)
    }

    fn is(&self, tx: &Transaction<'_>, query: &str) -> Result<bool> {
        let may_be = self.bytes as usize == query.len() && self.prefix == prefix(query);
        Ok(may_be && self.as_bytes(tx)? == query.as_bytes())
    }

    fn store(tx: &mut Transaction<'_>, query: &str) -> Result<Self> {
        Self::new(tx, query)
    }

    fn release(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.destroy(tx)
    }
}

/// By bytes, as `str` does.
impl OrderedKey for HeapStr {
    fn compare(&self, tx: &Transaction<'_>, query: &str) -> Result<Ordering> {
        Ok(match self.prefix.cmp(&prefix(query)) {
            Ordering::Equal => self.as_bytes(tx)?.cmp(query.as_bytes()),
            different => different,
        })
    }
}

fn prefix(text: &str) -> [u8; 4] {
    let mut prefix = [0; 4];
    let bytes = text.len().min(4);
    prefix[..bytes].copy_from_slice(&text.as_bytes()[..bytes]);
    prefix
}
