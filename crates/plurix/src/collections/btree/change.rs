//! Adding entries, and splitting nodes that are full.

use super::node::{Branch, Node, Position};
use super::path::Path;
use super::{HeapBTreeMap, LEVELS_MAX, WHAT, damage};
use crate::collections::{OrderedKey, corrupt};
use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

impl<K: OrderedKey, V: Plain> HeapBTreeMap<K, V> {
    /// Makes `value` the value of `key`; answers the one before.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), what [`Key::store`](super::super::Key::store)
    /// answers, and as [`len`](Self::len).
    pub fn insert(
        self,
        tx: &mut Transaction<'_>,
        key: K::Query<'_>,
        value: V,
    ) -> Result<Option<V>> {
        let (path, position) = self.locate(tx, key)?;
        match position {
            Ok(position) => {
                let leaf = path.leaf::<K, V>();
                let at = leaf.value(leaf.head(tx, 0)?, position)?;
                let old = std::mem::replace(tx.get_mut(at).map_err(damage)?, value);
                Ok(Some(old))
            }
            Err(position) => {
                self.add(tx, &path, position, key, value)?;
                Ok(None)
            }
        }
    }

    /// Makes `value` the value of `key` without reading the one before, so that of many who set the
    /// same key at once none runs again; answers whether there was one.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn set(self, tx: &mut Transaction<'_>, key: K::Query<'_>, value: V) -> Result<bool> {
        let (path, position) = self.locate(tx, key)?;
        match position {
            Ok(position) => {
                let leaf = path.leaf::<K, V>();
                let at = leaf.value(leaf.head(tx, 0)?, position)?;
                tx.set(at, value).map_err(damage)?;
                Ok(true)
            }
            Err(position) => {
                self.add(tx, &path, position, key, value)?;
                Ok(false)
            }
        }
    }

    /// The value of `key`, to be changed in place; `make` makes one if there is none.
    ///
    /// ```
    /// # use plurix::collections::HeapBTreeMap;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let votes = station.transaction(|tx| {
    ///     let votes = tx.named::<HeapBTreeMap<u32, u64>>("votes")?;
    ///     for candidate in [3, 1, 3] {
    ///         *votes.get_or_insert_with(tx, candidate, || 0)? += 1;
    ///     }
    ///     votes.get(tx, 3).map(|count| count.copied())
    /// })?;
    /// assert_eq!(votes, Some(2));
    /// # Ok(())
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
        let (path, position) = self.locate(tx, key)?;
        if let Err(position) = position {
            self.add(tx, &path, position, key, make())?;
        }
        self.get_mut(tx, key)?.ok_or_else(|| corrupt(WHAT))
    }

    /// The way to the leaf of `key`, and where it is in it.
    pub(super) fn locate(
        self,
        tx: &Transaction<'_>,
        key: K::Query<'_>,
    ) -> Result<(Path, Position)> {
        let path = self.path_to(tx, key)?;
        let leaf = path.leaf::<K, V>();
        let position = leaf.search(tx, leaf.head(tx, 0)?, key)?;
        Ok((path, position))
    }

    /// Adds an entry that is not there, at `position` of the path's leaf; answers whether the leaf had
    /// room, so that the path is still the way to it.
    pub(super) fn add(
        self,
        tx: &mut Transaction<'_>,
        path: &Path,
        position: usize,
        key: K::Query<'_>,
        value: V,
    ) -> Result<bool> {
        let entry = (K::store(tx, key)?, value);
        self.count(tx, 1)?;
        let leaf = path.leaf::<K, V>();
        let head = *leaf.head(tx, 0)?;
        if head.count() < Node::<K, V>::SLOTS {
            leaf.insert(tx, position, entry)?;
            return Ok(true);
        }
        // Behind the last entry of all, more will follow: what is there stays together.
        let at_end = position == head.count() && path.is_last::<K>(tx)?;
        let from = if at_end { position } else { head.count() / 2 };
        let mut moved = leaf.entries(tx, &head, from)?;
        leaf.cut(tx, from)?;
        if position > from || at_end {
            put(&mut moved, position - from, entry)?;
        } else {
            leaf.insert(tx, position, entry)?;
        }
        let right = Node::<K, V>::make(tx, 0, head.link, &moved)?;
        leaf.open(tx)?.link = right.at;
        let (separator, _) = moved.first().ok_or_else(|| corrupt(WHAT))?;
        self.add_child(tx, path, at_end, (*separator, right.at))?;
        Ok(false)
    }

    /// Adds a child behind the one that the path goes to, level by level as long as nodes are full.
    fn add_child(
        self,
        tx: &mut Transaction<'_>,
        path: &Path,
        at_end: bool,
        child: (K, u64),
    ) -> Result<()> {
        let mut added = child;
        for level in 1..=path.top {
            let node: Branch<K> = path.node(level);
            let (head, position) = (*node.head(tx, level)?, path.child(level));
            let count = head.count();
            if count < Branch::<K>::SLOTS {
                return node.insert(tx, position, added);
            }
            let middle = if at_end { count - 1 } else { count / 2 };
            let (key, link) = node.entry(tx, &head, middle)?;
            let mut moved = node.entries(tx, &head, middle + 1)?;
            node.cut(tx, middle)?;
            if position > middle {
                put(&mut moved, position - middle - 1, added)?;
            } else {
                node.insert(tx, position, added)?;
            }
            added = (key, Branch::<K>::make(tx, level, link, &moved)?.at);
        }
        self.grow(tx, path, added)
    }

    /// Puts a new root above the old one and the node that was split from it.
    fn grow(self, tx: &mut Transaction<'_>, path: &Path, child: (K, u64)) -> Result<()> {
        let level = path.top + 1;
        if usize::from(level) >= LEVELS_MAX {
            return Err(corrupt(WHAT));
        }
        let (below, _) = self.root(tx)?;
        let root = Branch::<K>::make(tx, level, below, &[child])?;
        let anchor = tx.get_mut(self.anchor_at())?;
        (anchor.root, anchor.level) = (root.at, u64::from(level));
        Ok(())
    }
}

/// Puts an entry among those that are moved to a new node.
fn put<E>(moved: &mut Vec<E>, position: usize, entry: E) -> Result<()> {
    if position > moved.len() {
        return Err(corrupt(WHAT));
    }
    moved.insert(position, entry);
    Ok(())
}
