//! An ordered map: a B+-tree, whose inner nodes change only when nodes are split or merged (Bayer and
//! McCreight, "Organization and Maintenance of Large Ordered Indexes", 1972; Comer, "The Ubiquitous
//! B-Tree", 1979).
//!
//! ```text
//!  header, line 0: fingerprint, root, level of the root
//!  header, lines 1..9: how many entries were added less removed, by arena
//!
//!            inner node: keys, children
//!            /         |          \
//!        leaf ──link──► leaf ──link──► leaf: keys, values
//! ```
//!
//! A key in an inner node is a copy of the first key that its child had when it was made. Keys that have
//! memory of their own, as strings do, share it with this copy; if such a key is removed from its leaf,
//! the copy in the inner node keeps the memory until it goes itself. A copy is told by its bytes.

mod bulk;
mod change;
mod merge;
mod node;
mod path;
mod range;

pub use range::BTreeRange;

use super::{OrderedKey, check_fingerprint, handle, or_corrupt};
use crate::error::Result;
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;
use node::Node;

const WHAT: &str = "ordered map";
/// Levels of a tree; it has far fewer nodes than this allows.
const LEVELS_MAX: usize = 16;
/// Counters of entries, on a line each: stations with other arenas touch other ones.
const STRIPES: usize = 8;

#[crate::plain]
#[repr(C, align(64))]
struct Inner {
    anchor: Anchor,
    counts: [[u64; 8]; STRIPES],
}

/// The header's first line.
#[crate::plain]
struct Anchor {
    fingerprint: u64,
    root: u64,
    level: u64,
    unused: [u64; 5],
}

handle!(
    /// An ordered map in the heap: a B+-tree.
    ///
    /// | operation | cost | reads | writes |
    /// |---|---|---|---|
    /// | [`get`](HeapBTreeMap::get), [`contains`](HeapBTreeMap::contains) | O(log n) | header, a node of each level, the value but for `contains` | |
    /// | [`get_mut`](HeapBTreeMap::get_mut), [`set`](HeapBTreeMap::set) of a key that is there | O(log n) | the same; the value but for `set` | the value |
    /// | [`insert`](HeapBTreeMap::insert), [`remove`](HeapBTreeMap::remove) | O(log n) | the same | the leaf's first line, key, value; a count |
    /// | [`range`](HeapBTreeMap::range), n entries | O(log n + n) | the leaves' keys and values | |
    /// | [`len`](HeapBTreeMap::len) | O(1) | counts, of which there are eight | |
    ///
    /// So who changes a value conflicts with those alone who read or change a value in the same line;
    /// searches do not read it. Who adds or removes a key conflicts with all who search in its leaf,
    /// which has some 50 keys, and a hundred times less often with others, where the leaf is split or
    /// merged. `len` conflicts with whoever adds or removes any key.
    ///
    /// ```
    /// use plurix::collections::HeapBTreeMap;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// station.transaction(|tx| {
    ///     let squares = tx.named::<HeapBTreeMap<u64, u64>>("squares")?;
    ///     for root in 0..10 {
    ///         squares.insert(tx, root * root, root)?;
    ///     }
    ///     assert_eq!(squares.get(tx, 49)?, Some(&7));
    ///     assert_eq!(squares.remove(tx, 49)?, Some(7));
    ///     let mut roots = Vec::new();
    ///     for entry in squares.range(tx, 30..)? {
    ///         let (_, root) = entry?;
    ///         roots.push(*root);
    ///     }
    ///     assert_eq!(roots, [6, 8, 9]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    HeapBTreeMap [K: OrderedKey, V: Plain],
    /// The header of a [`HeapBTreeMap`].
    BTreeHeader holds Inner
);

impl<K: OrderedKey, V: Plain> HeapBTreeMap<K, V> {
    /// An empty map.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), and as [`Transaction::get`].
    pub fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        let root = Node::<K, V>::make(tx, 0, 0, &[])?;
        let inner = tx.alloc(Inner {
            anchor: Anchor {
                fingerprint: Self::FINGERPRINT,
                root: root.at,
                level: 0,
                unused: [0; 5],
            },
            counts: [[0; 8]; STRIPES],
        })?;
        Ok(Self::from_ptr(Ptr::at(inner.offset())))
    }

    /// How many entries there are. O(1), but it conflicts with whoever adds or removes one.
    ///
    /// # Errors
    /// [`LayoutDiffers`](crate::ErrorKind::LayoutDiffers) if this is no map from `K` to `V`,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is damaged, and as [`Transaction::get`].
    pub fn len(self, tx: &Transaction<'_>) -> Result<u64> {
        self.anchor(tx)?;
        let mut sum = 0u64;
        for stripe in 0..STRIPES {
            sum = sum.wrapping_add(*tx.get(self.count_at(stripe))?);
        }
        Ok(sum)
    }

    /// Whether there are no entries. Reads the first leaf, not the counts.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty(self, tx: &Transaction<'_>) -> Result<bool> {
        Ok(self.first(tx)?.is_none())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    #[inline]
    pub fn get<'t>(self, tx: &'t Transaction<'_>, key: K::Query<'_>) -> Result<Option<&'t V>> {
        match self.ptr(tx, key)? {
            Some(value) => tx.get(value).map(Some).map_err(damage),
            None => Ok(None),
        }
    }

    /// The value of `key`, to be changed in place.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn get_mut<'t>(
        self,
        tx: &'t mut Transaction<'_>,
        key: K::Query<'_>,
    ) -> Result<Option<&'t mut V>> {
        match self.ptr(tx, key)? {
            Some(value) => tx.get_mut(value).map(Some).map_err(damage),
            None => Ok(None),
        }
    }

    /// Whether `key` is there. Does not read its value.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn contains(self, tx: &Transaction<'_>, key: K::Query<'_>) -> Result<bool> {
        Ok(self.ptr(tx, key)?.is_some())
    }

    /// Where the value of `key` is until the transaction, or another one, adds or removes a key.
    fn ptr(self, tx: &Transaction<'_>, key: K::Query<'_>) -> Result<Option<Ptr<V>>> {
        let leaf = self.leaf_of(tx, key)?;
        let head = leaf.head(tx, 0)?;
        match leaf.search(tx, head, key)? {
            Ok(position) => leaf.value(head, position).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The first entry.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn first<'t>(self, tx: &'t Transaction<'_>) -> Result<Option<(&'t K, &'t V)>> {
        self.iter(tx)?.next().transpose()
    }

    /// The last entry.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn last<'t>(self, tx: &'t Transaction<'_>) -> Result<Option<(&'t K, &'t V)>> {
        self.iter(tx)?.next_back().transpose()
    }

    #[inline]
    fn anchor<'t>(self, tx: &'t Transaction<'_>) -> Result<&'t Anchor> {
        let anchor = tx.get(self.anchor_at())?;
        check_fingerprint(anchor.fingerprint, Self::FINGERPRINT, WHAT)?;
        Ok(anchor)
    }

    fn anchor_at(self) -> Ptr<Anchor> {
        Ptr::at(self.0)
    }

    fn count_at(self, stripe: usize) -> Ptr<u64> {
        let within = size_of::<Anchor>() + stripe * size_of::<[u64; 8]>();
        Ptr::at(self.0.saturating_add(within as u64))
    }

    /// Counts entries that were added, or removed if it is negative.
    fn count(self, tx: &mut Transaction<'_>, added: i64) -> Result<()> {
        let count = tx.get_mut(self.count_at(tx.arena % STRIPES))?;
        *count = count.wrapping_add_signed(added);
        Ok(())
    }
}

/// Whether two keys are one, which shares its memory.
fn is_copy<K: OrderedKey>(a: &K, b: &K) -> bool {
    a.as_bytes() == b.as_bytes()
}

/// What is behind a link of the tree is not there.
#[cold]
fn damage(error: crate::Error) -> crate::Error {
    or_corrupt(error, WHAT)
}
