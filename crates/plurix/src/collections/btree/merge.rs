//! Removing entries, and merging nodes that are nearly empty.

use super::node::{Branch, Node};
use super::path::Path;
use super::{HeapBTreeMap, is_copy};
use crate::collections::{OrderedKey, PlainKey};
use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

impl<K: OrderedKey, V: Plain> HeapBTreeMap<K, V> {
    /// Removes `key`; answers its value. A leaf of which a quarter is left is merged with a neighbour
    /// if both together leave a quarter free.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn remove(self, tx: &mut Transaction<'_>, key: K::Query<'_>) -> Result<Option<V>> {
        let (path, position) = self.locate(tx, key)?;
        match position {
            Ok(position) => self
                .remove_at(tx, &path, position)
                .map(|(_, value)| Some(value)),
            Err(_) => Ok(None),
        }
    }

    fn remove_at(self, tx: &mut Transaction<'_>, path: &Path, position: usize) -> Result<(K, V)> {
        let leaf = path.leaf::<K, V>();
        let head = *leaf.head(tx, 0)?;
        let entry = leaf.entry(tx, &head, position)?;
        leaf.remove(tx, position)?;
        self.count(tx, -1)?;
        let separator = path.separator::<K>(tx)?;
        if !separator.is_some_and(|separator| is_copy(&separator, &entry.0)) {
            entry.0.release(tx)?;
        }
        self.merge_leaf(tx, path)?;
        Ok(entry)
    }

    /// Merges the path's leaf with one beside it if there is little in it.
    fn merge_leaf(self, tx: &mut Transaction<'_>, path: &Path) -> Result<()> {
        let count = path.leaf::<K, V>().head(tx, 0)?.count();
        if path.top == 0 || count > Node::<K, V>::SLOTS / 4 {
            return Ok(());
        }
        let Some((separator, [left, right])) = pair::<K>(tx, path, 1)? else {
            return Ok(());
        };
        let (left, right) = (Node::<K, V>::new(left), Node::<K, V>::new(right));
        let (into, from) = (*left.head(tx, 0)?, *right.head(tx, 0)?);
        if !fits(into.count(), from.count(), Node::<K, V>::SLOTS) {
            return Ok(());
        }
        let moved = right.entries(tx, &from, 0)?;
        for (entry, position) in moved.iter().zip(into.count()..) {
            left.insert(tx, position, *entry)?;
        }
        left.open(tx)?.link = from.link;
        right.free(tx)?;
        let parent: Branch<K> = path.node(1);
        let key = *parent.key(tx, parent.head(tx, 1)?, separator)?;
        parent.remove(tx, separator)?;
        if !moved.first().is_some_and(|(first, _)| is_copy(first, &key)) {
            key.release(tx)?;
        }
        self.merge_branches(tx, path)
    }

    /// Merges inner nodes of the path as [`merge_leaf`](Self::merge_leaf) does leaves, and takes away
    /// roots that have one child.
    fn merge_branches(self, tx: &mut Transaction<'_>, path: &Path) -> Result<()> {
        for level in 1..path.top {
            let node: Branch<K> = path.node(level);
            if node.head(tx, level)?.count() > Branch::<K>::SLOTS / 4 {
                return Ok(());
            }
            let Some((separator, [left, right])) = pair::<K>(tx, path, level + 1)? else {
                return Ok(());
            };
            let (left, right) = (Branch::<K>::new(left), Branch::<K>::new(right));
            let (into, from) = (*left.head(tx, level)?, *right.head(tx, level)?);
            if !fits(into.count() + 1, from.count(), Branch::<K>::SLOTS) {
                return Ok(());
            }
            let parent: Branch<K> = path.node(level + 1);
            let key = *parent.key(tx, parent.head(tx, level + 1)?, separator)?;
            let moved = right.entries(tx, &from, 0)?;
            left.insert(tx, into.count(), (key, from.link))?;
            for (entry, position) in moved.into_iter().zip(into.count() + 1..) {
                left.insert(tx, position, entry)?;
            }
            right.free(tx)?;
            parent.remove(tx, separator)?;
        }
        self.shrink(tx)
    }

    fn shrink(self, tx: &mut Transaction<'_>) -> Result<()> {
        loop {
            let (root, level) = self.root(tx)?;
            let node = Branch::<K>::new(root);
            if level == 0 || node.head(tx, level)?.count() > 0 {
                return Ok(());
            }
            let below = node.head(tx, level)?.link;
            let anchor = tx.get_mut(self.anchor_at())?;
            (anchor.root, anchor.level) = (below, u64::from(level - 1));
            node.free(tx)?;
        }
    }
}

impl<K: PlainKey + Ord, V: Plain> HeapBTreeMap<K, V> {
    /// Removes the first entry.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn pop_first(self, tx: &mut Transaction<'_>) -> Result<Option<(K, V)>> {
        match self.first(tx)?.map(|(key, _)| *key) {
            Some(key) => Ok(self.remove(tx, key)?.map(|value| (key, value))),
            None => Ok(None),
        }
    }

    /// Removes the last entry.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn pop_last(self, tx: &mut Transaction<'_>) -> Result<Option<(K, V)>> {
        match self.last(tx)?.map(|(key, _)| *key) {
            Some(key) => Ok(self.remove(tx, key)?.map(|value| (key, value))),
            None => Ok(None),
        }
    }
}

/// The path's child of its node of `level`, with one beside it, and the entry between them; `None` if
/// the node has one child.
fn pair<K: OrderedKey>(
    tx: &Transaction<'_>,
    path: &Path,
    level: u8,
) -> Result<Option<(usize, [u64; 2])>> {
    let parent: Branch<K> = path.node(level);
    let head = parent.head(tx, level)?;
    if head.count() == 0 {
        return Ok(None);
    }
    let left = path.child(level).saturating_sub(1);
    let children = [
        parent.child(tx, head, left)?,
        parent.child(tx, head, left + 1)?,
    ];
    Ok(Some((left, children)))
}

/// Whether nodes with so many entries become one: with room left, lest it be split again at once. An
/// empty one always goes.
fn fits(left: usize, right: usize, slots: usize) -> bool {
    let is_empty = left == 0 || right == 0;
    left + right <= if is_empty { slots } else { slots * 3 / 4 }
}
