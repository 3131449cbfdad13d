//! How a map gets rid of things: a leaf that has lost its last entry is freed, and a node that has lost
//! its last leaf.

use super::super::key::Key;
use super::super::{or_corrupt, stripes};
use super::leaf::{self, Shape, head_mut};
use super::node::{self, Link, links, links_mut, walk};
use super::{HeapMap, WHAT};
use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

impl<K: Key, V: Plain> HeapMap<K, V> {
    /// Takes entry `index` out of the leaf for `hash` at `leaf`; answers its value.
    pub(super) fn take_out(
        self,
        tx: &mut Transaction<'_>,
        (leaf, index): (u64, usize),
        hash: u64,
    ) -> Result<V> {
        let value = *leaf::read(tx, Shape::<K, V>::value_at(leaf, index))?;
        if K::OWNS {
            let key = *leaf::read(tx, Shape::<K, V>::key_at(leaf, index))?;
            key.release(tx)?;
        }
        let head = head_mut(tx, leaf)?;
        head.set_tag(index, 0);
        if head.is_empty() {
            self.prune(tx, hash)?;
        }
        self.count(tx, -1)?;
        Ok(value)
    }

    /// Frees the leaf for `hash`, which is empty, and the nodes that are empty without it.
    fn prune(self, tx: &mut Transaction<'_>, hash: u64) -> Result<()> {
        let (root, link) = self.root(tx)?;
        let found = walk(tx, root, link, hash)?;
        if let Some((leaf, depth)) = found.leaf {
            Shape::<K, V>::free(tx, leaf)?;
            links_mut(tx, found.slot.shared(depth)?)?.fill(Link::NONE.0);
        }
        loop {
            let (root, link) = self.root(tx)?;
            let found = walk(tx, root, link, hash)?;
            let node = found.slot.node();
            let Some(parent) = found.parent.filter(|_| found.slot.base > 0) else {
                return Ok(());
            };
            if links(tx, node)?.iter().any(|&link| link != Link::NONE.0) {
                return Ok(());
            }
            *tx.get_mut(parent.ptr())
                .map_err(|error| or_corrupt(error, WHAT))? = Link::NONE.0;
            node::free(tx, node)?;
        }
    }

    /// Removes all entries for which `keep` answers false. O(n); reads all, and writes what
    /// [`remove`](Self::remove) does of those removed.
    ///
    /// ```
    /// # use plurix::collections::HeapMap;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// # station.transaction(|tx| {
    /// let map = HeapMap::<u32, u32>::create(tx)?;
    /// map.extend(tx, (0..10).map(|i| (i, i * i)))?;
    /// map.retain(tx, |_, key, _| Ok(key % 2 == 0))?;
    /// assert_eq!(map.len(tx)?, 5);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `keep` answers, when some entries may have been removed; as [`remove`](Self::remove).
    pub fn retain(
        self,
        tx: &mut Transaction<'_>,
        mut keep: impl FnMut(&Transaction<'_>, &K, &V) -> Result<bool>,
    ) -> Result<()> {
        for (leaf, place) in self.collect(tx)?.leaves {
            let head = leaf::head(tx, leaf, Self::FINGERPRINT, place)?;
            for index in head.used(Shape::<K, V>::SLOTS) {
                let key = leaf::read(tx, Shape::<K, V>::key_at(leaf, index))?;
                let value = leaf::read(tx, Shape::<K, V>::value_at(leaf, index))?;
                if !keep(tx, key, value)? {
                    // The place leads to the leaf as the key's hash does.
                    self.take_out(tx, (leaf, index), place)?;
                }
            }
        }
        Ok(())
    }

    /// Removes all entries and frees their memory. O(n); conflicts with everybody who uses the map.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`TooLarge`](crate::ErrorKind::TooLarge), when the transaction ends, if
    /// it changes more than one can: then remove parts of it first.
    pub fn clear(self, tx: &mut Transaction<'_>) -> Result<()> {
        let census = self.collect(tx)?;
        for (leaf, place) in census.leaves {
            if K::OWNS {
                let head = leaf::head(tx, leaf, Self::FINGERPRINT, place)?;
                for index in head.used(Shape::<K, V>::SLOTS) {
                    let key = *leaf::read(tx, Shape::<K, V>::key_at(leaf, index))?;
                    key.release(tx)?;
                }
            }
            Shape::<K, V>::free(tx, leaf)?;
        }
        for node in census.nodes {
            node::free(tx, node)?;
        }
        let (root, _) = self.root(tx)?;
        *tx.get_mut(root.ptr())? = Link::NONE.0;
        stripes::reset(tx, self.stripes())
    }

    /// Frees the map and all that is its own. What its values lead to is the program's to free.
    ///
    /// # Errors
    /// As [`clear`](Self::clear).
    pub fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.clear(tx)?;
        stripes::destroy(tx, self.stripes())?;
        tx.get_mut(self.inner())?.front.fingerprint = 0;
        tx.free(self.inner())
    }
}
