//! Operations on many entries of a map at once.

use std::cmp::Ordering;

use zerocopy::FromZeros as _;

use super::node::{Branch, Node};
use super::path::Path;
use super::{Anchor, HeapBTreeMap, STRIPES, damage, is_copy};
use crate::collections::OrderedKey;
use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

impl<K: OrderedKey, V: Plain> HeapBTreeMap<K, V> {
    /// Inserts what `entries` yields. Entries in rising order behind all that are there, as of a sorted
    /// input into an empty map, are appended without a search, and fill the leaves.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn extend<'q>(
        self,
        tx: &mut Transaction<'_>,
        entries: impl IntoIterator<Item = (K::Query<'q>, V)>,
    ) -> Result<()> {
        let mut last: Option<Path> = None;
        for (key, value) in entries {
            let path = match last.take() {
                Some(path) => path,
                None => self.last_path(tx)?,
            };
            match self.position_behind(tx, &path, key)? {
                Some(position) => {
                    let had_room = self.add(tx, &path, position, key, value)?;
                    last = had_room.then_some(path);
                }
                None => drop(self.insert(tx, key, value)?),
            }
        }
        Ok(())
    }

    /// Where in the last leaf `key` belongs if it is behind all keys.
    fn position_behind(
        self,
        tx: &Transaction<'_>,
        path: &Path,
        key: K::Query<'_>,
    ) -> Result<Option<usize>> {
        let leaf = path.leaf::<K, V>();
        let head = leaf.head(tx, 0)?;
        let Some(last) = head.count().checked_sub(1) else {
            return Ok((path.top == 0).then_some(0));
        };
        let order = leaf.key(tx, head, last)?.compare(tx, key)?;
        Ok((order == Ordering::Less).then_some(last + 1))
    }

    /// Removes all entries and frees their memory. O(n).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn clear(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.free_all(tx)?;
        let root = Node::<K, V>::make(tx, 0, 0, &[])?;
        let anchor = tx.get_mut(self.anchor_at())?;
        (anchor.root, anchor.level) = (root.at, 0);
        for stripe in 0..STRIPES {
            *tx.get_mut(self.count_at(stripe))? = 0;
        }
        Ok(())
    }

    /// Frees the map with all its entries; what the values point to stays. O(n).
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.free_all(tx)?;
        // A handle that is left over somewhere is told that there is no map any more.
        *tx.get_mut(self.anchor_at())? = Anchor::new_zeroed();
        tx.free(self.inner()).map_err(damage)
    }

    fn free_all(self, tx: &mut Transaction<'_>) -> Result<()> {
        let (root, level) = self.root(tx)?;
        free_tree::<K, V>(tx, root, level, None)
    }
}

/// Frees a node and all below it. `separator` is the key above that leads to it, whose memory its first
/// entry may share.
fn free_tree<K: OrderedKey, V: Plain>(
    tx: &mut Transaction<'_>,
    at: u64,
    level: u8,
    separator: Option<K>,
) -> Result<()> {
    if level == 0 {
        return free_leaf::<K, V>(tx, Node::new(at), separator);
    }
    let node = Branch::<K>::new(at);
    let head = *node.head(tx, level)?;
    let children = node.entries(tx, &head, 0)?;
    // The node goes first: of one that is met twice, the second time tells.
    node.free(tx)?;
    free_tree::<K, V>(tx, head.link, level - 1, separator)?;
    for (key, child) in children {
        free_tree::<K, V>(tx, child, level - 1, Some(key))?;
    }
    Ok(())
}

fn free_leaf<K: OrderedKey, V: Plain>(
    tx: &mut Transaction<'_>,
    leaf: Node<K, V>,
    separator: Option<K>,
) -> Result<()> {
    let head = *leaf.head(tx, 0)?;
    let mut keys = Vec::with_capacity(head.count() + 1);
    for position in 0..head.count() {
        keys.push(*leaf.key(tx, &head, position)?);
    }
    if let Some(separator) = separator
        && !keys.first().is_some_and(|first| is_copy(first, &separator))
    {
        keys.push(separator);
    }
    leaf.free(tx)?;
    keys.into_iter().try_for_each(|key| key.release(tx))
}
