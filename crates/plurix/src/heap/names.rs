//! The name directory: roots, by which a program finds in the heap what it, or another program,
//! left there. A hash table of fixed size with chained entries.

use plurix_wire::PAGE_BYTES;
use serde::Serialize;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::layout::NAMES;
use super::{corrupt, or_corrupt};
use crate::error::{ErrorKind, Result};
use crate::plain;
use crate::ptr::{Pointee, Ptr};
use crate::station::Station;
use crate::transaction::Transaction;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
const BUCKETS: u64 = PAGE_BYTES as u64 / size_of::<Link>() as u64;
/// Roots in one bucket; more are taken for a cycle.
const CHAIN_MAX: usize = 1 << 16;

/// Where an entry is; zero for none.
type Link = Ptr<Entry>;

/// One root.
#[plain]
struct Entry {
    /// The next one of the bucket.
    next: Link,
    /// The pointer, padded with zeros.
    pointer: [u8; 16],
    /// The layout of what it points to.
    fingerprint: u64,
    /// The length of what it points to, in bytes.
    bytes: u64,
    name_bytes: u64,
    name: [u8; NAME_BYTES_MAX],
}

/// A name in the heap and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Root {
    /// The name.
    pub name: String,
    /// Where the value or slice begins, in bytes from the start of the heap.
    pub offset: u64,
    /// Its length, in bytes.
    pub bytes: u64,
    /// Tells the layout of its type from others.
    pub fingerprint: u64,
}

impl Transaction<'_> {
    /// Lets `name` (1 to 64 bytes) stand for what `ptr` points to, in place of what it stood for
    /// before.
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(2)?;
    /// # let [station, other] = cluster.stations() else { unreachable!() };
    /// station.transaction(|tx| {
    ///     let counter = tx.alloc(5u64)?;
    ///     tx.set_root("counter", counter)
    /// })?;
    /// other.latest()?;
    /// let found = other.transaction(|tx| Ok(*tx.get(tx.root::<u64>("counter")?)?))?;
    /// assert_eq!(found, 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::BadName`], [`ErrorKind::OutOfMemory`].
    pub fn set_root<T: Pointee + ?Sized>(&mut self, name: &str, ptr: Ptr<T>) -> Result<()> {
        let link = self.find(name)?;
        let next = *self.get(link)?;
        let mut entry = Entry::new_zeroed();
        entry.pointer[..size_of::<Ptr<T>>()].copy_from_slice(ptr.as_bytes());
        entry.fingerprint = T::FINGERPRINT.0;
        entry.bytes = T::bytes(ptr.repr()).unwrap_or(u64::MAX);
        entry.name_bytes = name.len() as u64;
        entry.name[..name.len()].copy_from_slice(name.as_bytes());
        if next.is_null() {
            let made = self.alloc(entry)?;
            *self.get_mut(link)? = made;
        } else {
            entry.next = self.get(next)?.next;
            *self.get_mut(next)? = entry;
        }
        Ok(())
    }

    /// What `name` stands for.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchRoot`]; [`ErrorKind::LayoutDiffers`] if it was set as something else than
    /// a `T`; [`ErrorKind::BadName`].
    pub fn root<T: Pointee + ?Sized>(&self, name: &str) -> Result<Ptr<T>> {
        let found = self.find_root(name)?;
        found.ok_or_else(|| ErrorKind::NoSuchRoot(name.to_owned()).into())
    }

    /// What `name` stands for, if anything.
    ///
    /// # Errors
    /// As [`root`](Self::root), without [`ErrorKind::NoSuchRoot`].
    pub fn find_root<T: Pointee + ?Sized>(&self, name: &str) -> Result<Option<Ptr<T>>> {
        let found = *self.get(self.find(name)?)?;
        if found.is_null() {
            return Ok(None);
        }
        let entry = self.get(found)?;
        if entry.fingerprint != T::FINGERPRINT.0 {
            let name = name.to_owned();
            return Err(ErrorKind::LayoutDiffers { name }.into());
        }
        let pointer = Ptr::read_from_prefix(&entry.pointer);
        Ok(Some(pointer.expect("a pointer has 16 bytes at most").0))
    }

    /// Lets `name` stand for nothing any more. What it stood for stays in the heap.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchRoot`], [`ErrorKind::BadName`].
    pub fn remove_root(&mut self, name: &str) -> Result<()> {
        let link = self.find(name)?;
        let found = *self.get(link)?;
        if found.is_null() {
            return Err(ErrorKind::NoSuchRoot(name.to_owned()).into());
        }
        *self.get_mut(link)? = self.get(found)?.next;
        self.free(found)
    }

    /// The link that leads to the entry of `name`, or that is null where it would be.
    fn find(&self, name: &str) -> Result<Ptr<Link>> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let (name, limit) = (name.to_owned(), NAME_BYTES_MAX);
            return Err(ErrorKind::BadName { name, limit }.into());
        }
        let mut link = bucket(hash(name) % BUCKETS);
        for _ in 0..CHAIN_MAX {
            let next = *self.get(link)?;
            if next.is_null() || read(self, next)?.name()? == name {
                return Ok(link);
            }
            // An entry begins with its own link.
            link = Ptr::at(next.offset());
        }
        Err(corrupt("name directory"))
    }
}

impl Station {
    /// All roots, by name.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], and as for any [`transaction`](Self::transaction).
    pub fn roots(&mut self) -> Result<Vec<Root>> {
        self.transaction(|tx| list(tx))
    }
}

impl Entry {
    fn name(&self) -> Result<&str> {
        let name = usize::try_from(self.name_bytes).ok();
        let name = name.and_then(|length| self.name.get(..length));
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        name.ok_or_else(|| corrupt("name directory"))
    }
}

/// All roots, by name.
pub(crate) fn list(tx: &Transaction<'_>) -> Result<Vec<Root>> {
    let mut roots = Vec::new();
    for index in 0..BUCKETS {
        let mut next = *tx.get(bucket(index))?;
        let mut length = 0;
        while !next.is_null() {
            length += 1;
            let entry = read(tx, next)?;
            let name = entry.name()?;
            if length > CHAIN_MAX || hash(name) % BUCKETS != index {
                return Err(corrupt("name directory"));
            }
            let (offset, _) =
                u64::read_from_prefix(&entry.pointer).expect("16 bytes hold an offset");
            roots.push(Root {
                name: name.to_owned(),
                offset,
                bytes: entry.bytes,
                fingerprint: entry.fingerprint,
            });
            next = entry.next;
        }
    }
    roots.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(roots)
}

/// The name of the root whose entry in the directory holds byte `offset`, if one does.
pub(super) fn entry_of(tx: &Transaction<'_>, offset: u64) -> Result<Option<String>> {
    for index in 0..BUCKETS {
        let mut next = *tx.get(bucket(index))?;
        for _ in 0..CHAIN_MAX {
            if next.is_null() {
                break;
            }
            let entry = read(tx, next)?;
            let bytes = next.offset()..next.offset() + size_of::<Entry>() as u64;
            if bytes.contains(&offset) {
                return Ok(Some(entry.name()?.to_owned()));
            }
            next = entry.next;
        }
    }
    Ok(None)
}

fn read<'a>(tx: &'a Transaction<'_>, link: Link) -> Result<&'a Entry> {
    tx.get(link)
        .map_err(|error| or_corrupt(error, "name directory"))
}

fn bucket(index: u64) -> Ptr<Link> {
    Ptr::at(NAMES + index * size_of::<Link>() as u64)
}

/// FNV-1a (Fowler, Noll, Vo): the same in every program that opens the heap.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
