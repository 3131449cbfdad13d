//! Short strings that are plain values.

use std::cmp::Ordering;
use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::key::{Key, OrderedKey};
use super::{corrupt, hash};
use crate::error::{Error, ErrorKind, Result};
use crate::plain::{Layout, Plain};
use crate::transaction::Transaction;

/// A string of at most `N` bytes (up to 255) that lies where it is stored: a plain value of `N + 1`
/// bytes, and a key that is looked up by `&str`.
///
/// ```
/// use plurix::collections::{HeapMap, InlineString};
/// # use plurix::{Cluster, Result};
/// # fn main() -> Result<()> {
/// # let mut cluster = Cluster::local(1)?;
/// # let station = &mut cluster.stations()[0];
/// #[plurix::plain]
/// struct Person {
///     age: u8,
///     name: InlineString<30>,
/// }
///
/// let people = station.transaction(|tx| tx.named::<HeapMap<InlineString<15>, Person>>("people"))?;
/// station.transaction(|tx| {
///     let name = InlineString::new("Ada Lovelace")?;
///     people.insert(tx, "ada", Person { age: 36, name })
/// })?;
/// let name = station.transaction(|tx| people.get(tx, "ada")?.unwrap().name.as_str().map(str::to_owned))?;
/// assert_eq!(name, "Ada Lovelace");
/// # Ok(())
/// # }
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct InlineString<const N: usize> {
    length: u8,
    /// Zero behind the string.
    bytes: [u8; N],
}

impl<const N: usize> InlineString<N> {
    /// The string `text`.
    ///
    /// # Errors
    /// [`ErrorKind::StringTooLong`] if it has more than `N` bytes.
    pub fn new(text: &str) -> Result<Self> {
        const { assert!(N <= u8::MAX as usize, "255 bytes at most") };
        if text.len() > N {
            let (bytes, limit) = (text.len(), N);
            return Err(ErrorKind::StringTooLong { bytes, limit }.into());
        }
        let (length, mut bytes) = (text.len() as u8, [0; N]);
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { length, bytes })
    }

    /// The string.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it came from heap bytes that are no UTF-8, or say more than `N`.
    pub fn as_str(&self) -> Result<&str> {
        let text = self.bytes.get(..usize::from(self.length));
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        text.ok_or_else(|| corrupt("inline string"))
    }

    /// Its bytes, whatever they are.
    fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length).min(N)]
    }
}

impl<const N: usize> Plain for InlineString<N> {
    const LAYOUT: Layout = Layout::of_primitive("InlineString", N);
}

impl<const N: usize> Key for InlineString<N> {
    type Query<'q> = &'q str;
    const OWNS: bool = false;

    #[inline]
    fn hash_of(query: &str) -> u64 {
        hash::hash(query.as_bytes())
    }

    fn hash(&self, _: &Transaction<'_>) -> Result<u64> {
        Ok(hash::hash(self.text()))
    }

    #[inline]
    fn is(&self, _: &Transaction<'_>, query: &str) -> Result<bool> {
        Ok(self.text() == query.as_bytes())
    }

    fn store(_: &mut Transaction<'_>, query: &str) -> Result<Self> {
        Self::new(query)
    }

    fn release(self, _: &mut Transaction<'_>) -> Result<()> {
        Ok(())
    }
}

/// By bytes, as `str` does.
impl<const N: usize> OrderedKey for InlineString<N> {
    fn compare(&self, _: &Transaction<'_>, query: &str) -> Result<Ordering> {
        Ok(self.text().cmp(query.as_bytes()))
    }
}

impl<const N: usize> TryFrom<&str> for InlineString<N> {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl<const N: usize> Default for InlineString<N> {
    fn default() -> Self {
        let (length, bytes) = (0, [0; N]);
        Self { length, bytes }
    }
}

impl<const N: usize> PartialEq for InlineString<N> {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl<const N: usize> Eq for InlineString<N> {}

impl<const N: usize> PartialOrd for InlineString<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Ord for InlineString<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text().cmp(other.text())
    }
}

impl<const N: usize> fmt::Display for InlineString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.text()))
    }
}

impl<const N: usize> fmt::Debug for InlineString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*String::from_utf8_lossy(self.text()), f)
    }
}
