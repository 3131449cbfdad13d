//! A hash map of which stations change different parts at once, and which grows part by part.
//!
//! ```text
//!  header      fingerprint, root │ where the stripes of its length are
//!                │
//!  root        [ ][ ][ ][ ] …     up to 4096 slots, by the first bits of the hash
//!               │   └┬─┘
//!  leaf  ◄──────┘    └──────► leaf             several slots may lead to one leaf
//!   tags │ key, value; …
//! ```
//!
//! The directory is an extendible hash (Fagin, Nievergelt, Pippenger, Strong, ACM TODS 4:3, 1979) whose
//! upper part stops growing at some size; further bits of the hash are told apart by small directories
//! below it, as in a hash trie. So no growth concerns more than a small part of a large map, and
//! whoever writes elsewhere goes on. [`node`] is the directory, [`leaf`] what it leads to, [`grow`] how
//! both grow, [`shrink`] how they end.

mod grow;
mod iter;
mod leaf;
mod node;
mod shrink;

pub use iter::{Iter, Keys, Values};

use super::key::Key;
use super::stripes::{self, Stripes};
use super::{check_fingerprint, corrupt, handle, or_corrupt};
use crate::error::Result;
use crate::plain;
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;
use iter::Tour;
use leaf::{Shape, head_mut, place, tag};
use node::{Link, Slot, Walk, walk};

/// The name for what is damaged.
const WHAT: &str = "map";

handle! {
    /// A hash map in the heap.
    ///
    /// | operation | time | reads | writes |
    /// |---|---|---|---|
    /// | [`get`](Self::get), [`contains_key`](Self::contains_key) | O(1) | header, a slot in each of 1 to 3 directories, the leaf's tags, the entry | – |
    /// | [`get_mut`](Self::get_mut), [`update`](Self::update), [`insert`](Self::insert) of a key that is there | O(1) | the same | the value |
    /// | [`insert`](Self::insert) of a new key, [`remove`](Self::remove) | O(1) amortised | the same | the leaf's tags, the entry, this station's part of the length |
    /// | [`len`](Self::len), [`is_empty`](Self::is_empty) | O(stations) | all parts of the length | – |
    /// | [`iter`](Self::iter), [`retain`](Self::retain), [`clear`](Self::clear) | O(n) | all | |
    ///
    /// A directory is as deep as the map is large: one up to some 50,000 entries, two up to some 4
    /// million. Stations that work on different keys conflict if one of them inserts or removes a key of
    /// the same leaf (some 16 to 20 of all keys), and when values share a line. A leaf that is full
    /// splits alone, which writes one or two lines of a directory. Only a small map, whose upper
    /// directory grows (four times, up to some 10,000 entries), makes all others run again.
    ///
    /// Entries lie in leaves and move when these split; large values (above 64 bytes) are better kept
    /// behind a [`Ptr`].
    ///
    /// The hash has no seed: who may choose keys at will can choose them so that
    /// [`KeysCollide`](crate::ErrorKind::KeysCollide) is what an insertion answers.
    ///
    /// ```
    /// use plurix::collections::HeapMap;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let stock = station.transaction(|tx| tx.named::<HeapMap<u32, u64>>("stock"))?;
    /// station.transaction(|tx| {
    ///     stock.insert(tx, 4711, 20)?;
    ///     stock.insert(tx, 4712, 5)?;
    ///     stock.update(tx, 4711, |count| *count -= 1)
    /// })?;
    /// let total = station.transaction(|tx| {
    ///     assert_eq!(stock.get(tx, 4711)?, Some(&19));
    ///     assert_eq!(stock.get(tx, 1)?, None);
    ///     stock.values(tx)?.sum::<Result<u64>>()
    /// })?;
    /// assert_eq!(total, 24);
    /// # Ok(())
    /// # }
    /// ```
    HeapMap [K: Key, V: Plain],
    /// What a [`HeapMap`] leads to.
    MapHeader holds Header
}

#[plain]
struct Header {
    front: Front,
    stripes: Stripes,
}

/// The line that everybody reads; written when the root changes.
#[plain]
struct Front {
    fingerprint: u64,
    root: u64,
    _unused: [u64; 6],
}

/// Where an entry is, or is to be.
enum Spot {
    Found { leaf: u64, index: usize },
    Vacant { leaf: u64, index: usize },
}

impl<K: Key, V: Plain> HeapMap<K, V> {
    /// Makes an empty map. It takes 640 bytes, and a leaf (192 to 1344 bytes) with the first entry.
    ///
    /// # Errors
    /// As [`Transaction::alloc`].
    pub fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        let front = Front {
            fingerprint: Self::FINGERPRINT,
            root: Link::NONE.0,
            _unused: [0; 6],
        };
        let stripes = Stripes::create(tx)?;
        Ok(Self::from_inner(tx.alloc(Header { front, stripes })?))
    }

    /// A new map with `entries`.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn from_entries<'q>(
        tx: &mut Transaction<'_>,
        entries: impl IntoIterator<Item = (K::Query<'q>, V)>,
    ) -> Result<Self> {
        let map = Self::create(tx)?;
        map.extend(tx, entries)?;
        Ok(map)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// As [`Transaction::get`]; [`LayoutDiffers`](crate::ErrorKind::LayoutDiffers) if this is no map, or
    /// one of other types; [`Corrupt`](crate::ErrorKind::Corrupt).
    #[inline]
    pub fn get<'t>(self, tx: &'t Transaction<'_>, key: K::Query<'_>) -> Result<Option<&'t V>> {
        match self.find(tx, K::hash_of(key), key)? {
            Some((leaf, index)) => leaf::read(tx, Shape::<K, V>::value_at(leaf, index)).map(Some),
            None => Ok(None),
        }
    }

    /// The values of several keys.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many<'t, 'q>(
        self,
        tx: &'t Transaction<'_>,
        keys: impl IntoIterator<Item = K::Query<'q>>,
    ) -> Result<Vec<Option<&'t V>>> {
        keys.into_iter().map(|key| self.get(tx, key)).collect()
    }

    /// Whether there is a value of `key`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains_key(self, tx: &Transaction<'_>, key: K::Query<'_>) -> Result<bool> {
        Ok(self.find(tx, K::hash_of(key), key)?.is_some())
    }

    /// The value of `key`, to be changed in place.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_mut<'t>(
        self,
        tx: &'t mut Transaction<'_>,
        key: K::Query<'_>,
    ) -> Result<Option<&'t mut V>> {
        match self.find(tx, K::hash_of(key), key)? {
            Some((leaf, index)) => open(tx, Shape::<K, V>::value_at(leaf, index)).map(Some),
            None => Ok(None),
        }
    }

    /// Changes the value of `key`, if there is one; answers what `change` does.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn update<R>(
        self,
        tx: &mut Transaction<'_>,
        key: K::Query<'_>,
        change: impl FnOnce(&mut V) -> R,
    ) -> Result<Option<R>> {
        Ok(self.get_mut(tx, key)?.map(change))
    }

    /// Lets `key` have `value`; answers the one it had before. A key that is there stays as it is.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`OutOfMemory`](crate::ErrorKind::OutOfMemory);
    /// [`KeysCollide`](crate::ErrorKind::KeysCollide); what [`Key::store`] answers.
    pub fn insert(
        self,
        tx: &mut Transaction<'_>,
        key: K::Query<'_>,
        value: V,
    ) -> Result<Option<V>> {
        let hash = K::hash_of(key);
        match self.spot(tx, hash, key)? {
            Spot::Found { leaf, index } => {
                let old = open(tx, Shape::<K, V>::value_at(leaf, index))?;
                Ok(Some(std::mem::replace(old, value)))
            }
            Spot::Vacant { leaf, index } => {
                self.fill(tx, (leaf, index), hash, key, value)?;
                Ok(None)
            }
        }
    }

    /// The value of `key`, to be changed in place; `make` makes one if there is none.
    ///
    /// ```
    /// # use plurix::collections::{HeapMap, HeapStr};
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// # station.transaction(|tx| {
    /// let counts = HeapMap::<HeapStr, u64>::create(tx)?;
    /// for word in "the cat and the dog".split(' ') {
    ///     *counts.get_or_insert_with(tx, word, || 0)? += 1;
    /// }
    /// assert_eq!(counts.get(tx, "the")?, Some(&2));
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn get_or_insert_with<'t>(
        self,
        tx: &'t mut Transaction<'_>,
        key: K::Query<'_>,
        make: impl FnOnce() -> V,
    ) -> Result<&'t mut V> {
        let hash = K::hash_of(key);
        let (leaf, index) = match self.spot(tx, hash, key)? {
            Spot::Found { leaf, index } => (leaf, index),
            Spot::Vacant { leaf, index } => {
                self.fill(tx, (leaf, index), hash, key, make())?;
                (leaf, index)
            }
        };
        open(tx, Shape::<K, V>::value_at(leaf, index))
    }

    /// Inserts all `entries`.
    ///
    /// # Errors
    /// As [`insert`](Self::insert); those before the one that failed are in the map.
    pub fn extend<'q>(
        self,
        tx: &mut Transaction<'_>,
        entries: impl IntoIterator<Item = (K::Query<'q>, V)>,
    ) -> Result<()> {
        for (key, value) in entries {
            self.insert(tx, key, value)?;
        }
        Ok(())
    }

    /// Removes `key`; answers the value it had.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn remove(self, tx: &mut Transaction<'_>, key: K::Query<'_>) -> Result<Option<V>> {
        let hash = K::hash_of(key);
        match self.find(tx, hash, key)? {
            Some(entry) => self.take_out(tx, entry, hash).map(Some),
            None => Ok(None),
        }
    }

    /// How many entries there are. Whoever asks runs again if anybody inserts or removes meanwhile,
    /// unless the transaction changes nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn len(self, tx: &Transaction<'_>) -> Result<usize> {
        self.root(tx)?;
        let sum = stripes::sum(tx, self.stripes())?;
        usize::try_from(sum).map_err(|_| corrupt(WHAT))
    }

    /// Whether there is none; conflicts as [`len`](Self::len) does.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn is_empty(self, tx: &Transaction<'_>) -> Result<bool> {
        Ok(self.len(tx)? == 0)
    }

    /// All entries, in an order that means nothing but is the same in each run.
    ///
    /// # Errors
    /// As [`get`](Self::get), for each entry.
    pub fn iter<'t>(self, tx: &'t Transaction<'t>) -> Result<Iter<'t, K, V>> {
        let (root, _) = self.root(tx)?;
        Ok(Iter::new(tx, Tour::new(root, Self::FINGERPRINT)))
    }

    /// All keys, in the order of [`iter`](Self::iter).
    ///
    /// # Errors
    /// As [`get`](Self::get), for each key.
    pub fn keys<'t>(self, tx: &'t Transaction<'t>) -> Result<Keys<'t, K, V>> {
        self.iter(tx).map(Keys)
    }

    /// All values, in the order of [`iter`](Self::iter).
    ///
    /// # Errors
    /// As [`get`](Self::get), for each value.
    pub fn values<'t>(self, tx: &'t Transaction<'t>) -> Result<Values<'t, K, V>> {
        self.iter(tx).map(Values)
    }

    /// The slot that the root's link is in, and the link.
    #[inline]
    fn root(self, tx: &Transaction<'_>) -> Result<(Slot, Link)> {
        let front = tx.get(Ptr::<Front>::at(self.inner().offset()))?;
        check_fingerprint(front.fingerprint, Self::FINGERPRINT, WHAT)?;
        let at = std::mem::offset_of!(Front, root) as u64;
        let root = Slot::root(self.inner().offset().wrapping_add(at));
        Ok((root, Link(front.root)))
    }

    fn stripes(self) -> Ptr<Stripes> {
        let at = std::mem::offset_of!(Header, stripes) as u64;
        Ptr::at(self.inner().offset().wrapping_add(at))
    }

    fn count(self, tx: &mut Transaction<'_>, change: i64) -> Result<()> {
        stripes::add(tx, self.stripes(), change)
    }

    /// The entry that `key`, of this `hash`, has.
    #[inline]
    fn find(
        self,
        tx: &Transaction<'_>,
        hash: u64,
        key: K::Query<'_>,
    ) -> Result<Option<(u64, usize)>> {
        let (root, link) = self.root(tx)?;
        let Some((leaf, depth)) = walk(tx, root, link, hash)?.leaf else {
            return Ok(None);
        };
        let head = leaf::head(tx, leaf, Self::FINGERPRINT, place(hash, depth))?;
        let index = Shape::<K, V>::find(tx, head, leaf, hash, key)?;
        Ok(index.map(|index| (leaf, index)))
    }

    /// The entry that `key` has, or one that it can have, if need be after making room.
    fn spot(self, tx: &mut Transaction<'_>, hash: u64, key: K::Query<'_>) -> Result<Spot> {
        loop {
            let (root, link) = self.root(tx)?;
            let way: Walk = walk(tx, root, link, hash)?;
            let Some((leaf, depth)) = way.leaf else {
                let leaf = Self::add_leaf(tx, &way, hash)?;
                return Ok(Spot::Vacant { leaf, index: 0 });
            };
            let head = leaf::head(tx, leaf, Self::FINGERPRINT, place(hash, depth))?;
            if let Some(index) = Shape::<K, V>::find(tx, head, leaf, hash, key)? {
                return Ok(Spot::Found { leaf, index });
            }
            if let Some(index) = Shape::<K, V>::vacant(head) {
                return Ok(Spot::Vacant { leaf, index });
            }
            // Each time the leaf becomes deeper or its node larger, and both have an end.
            Self::make_room(tx, &way, hash)?;
        }
    }

    /// Puts a new entry where none is.
    fn fill(
        self,
        tx: &mut Transaction<'_>,
        (leaf, index): (u64, usize),
        hash: u64,
        key: K::Query<'_>,
        value: V,
    ) -> Result<()> {
        let key = K::store(tx, key)?;
        Shape::put(tx, leaf, index, (key, value))?;
        head_mut(tx, leaf)?.set_tag(index, tag(hash));
        self.count(tx, 1)
    }
}

fn open<'t, T: Plain>(tx: &'t mut Transaction<'_>, ptr: Ptr<T>) -> Result<&'t mut T> {
    tx.get_mut(ptr).map_err(|error| or_corrupt(error, WHAT))
}
