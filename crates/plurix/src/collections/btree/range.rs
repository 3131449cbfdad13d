//! Iterating over the entries, or a range of them, from either end.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use super::node::Node;
use super::path::Path;
use super::{HeapBTreeMap, WHAT, damage};
use crate::collections::{OrderedKey, corrupt};
use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

/// Entries of a [`HeapBTreeMap`] in order; made by [`HeapBTreeMap::range`] and
/// [`HeapBTreeMap::iter`]. After an error it ends.
#[derive(Debug)]
pub struct BTreeRange<'t, 's, K: OrderedKey, V: Plain> {
    tx: &'t Transaction<'s>,
    ends: Option<Ends>,
    /// More leaves than these are in no heap.
    leaves_left: u64,
    entry: PhantomData<fn() -> (K, V)>,
}

/// What is left of a range: at least one entry.
#[derive(Debug)]
struct Ends {
    /// The leaf of the first entry, and where it is there.
    front: (u64, usize),
    /// The way to the leaf of the last entry.
    back: Path,
    /// Behind that entry.
    end: usize,
}

impl<K: OrderedKey, V: Plain> HeapBTreeMap<K, V> {
    /// All entries, in order of their keys; from the last on with [`rev`](Iterator::rev).
    ///
    /// # Errors
    /// As [`len`](Self::len); so may each entry.
    pub fn iter<'t, 's>(self, tx: &'t Transaction<'s>) -> Result<BTreeRange<'t, 's, K, V>> {
        let all: (Bound<K::Query<'_>>, _) = (Bound::Unbounded, Bound::Unbounded);
        self.range(tx, all)
    }

    /// The entries whose keys are in `range`, in order; from the last on with [`rev`](Iterator::rev).
    ///
    /// ```
    /// # use plurix::collections::HeapBTreeMap;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let newest = station.transaction(|tx| {
    ///     let events = tx.named::<HeapBTreeMap<u64, u32>>("events")?;
    ///     events.extend(tx, (0..100).map(|time| (time, time as u32 % 7)))?;
    ///     let newest = events.range(tx, ..50)?.rev().take(2);
    ///     newest.map(|entry| entry.map(|(time, _)| *time)).collect::<Result<Vec<_>>>()
    /// })?;
    /// assert_eq!(newest, [49, 48]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`len`](Self::len); so may each entry.
    pub fn range<'q, 't, 's>(
        self,
        tx: &'t Transaction<'s>,
        range: impl RangeBounds<K::Query<'q>>,
    ) -> Result<BTreeRange<'t, 's, K, V>> {
        let mut found = BTreeRange {
            tx,
            ends: None,
            leaves_left: Node::<K, V>::most(tx),
            entry: PhantomData,
        };
        let Some(front) = found.front(self, range.start_bound().cloned())? else {
            return Ok(found);
        };
        let leaf = Node::<K, V>::new(front.0);
        let first = leaf.key(tx, leaf.head(tx, 0)?, front.1)?;
        let is_inside = match range.end_bound() {
            Bound::Unbounded => true,
            Bound::Included(end) => first.compare(tx, *end)? != Ordering::Greater,
            Bound::Excluded(end) => first.compare(tx, *end)? == Ordering::Less,
        };
        if is_inside {
            let (back, end) = found.back(self, range.end_bound().cloned())?;
            found.ends = Some(Ends { front, back, end });
        }
        Ok(found)
    }
}

impl<'t, K: OrderedKey, V: Plain> BTreeRange<'t, '_, K, V> {
    /// The first entry at or behind a bound.
    fn front(
        &mut self,
        map: HeapBTreeMap<K, V>,
        bound: Bound<K::Query<'_>>,
    ) -> Result<Option<(u64, usize)>> {
        let tx = self.tx;
        let (path, position) = match bound {
            Bound::Unbounded => (map.first_path(tx)?, 0),
            Bound::Included(key) => {
                let (path, position) = map.locate(tx, key)?;
                (path, position.unwrap_or_else(|position| position))
            }
            Bound::Excluded(key) => {
                let (path, position) = map.locate(tx, key)?;
                (
                    path,
                    position.map_or_else(|position| position, |own| own + 1),
                )
            }
        };
        self.forward(path.leaf::<K, V>().at, position)
    }

    /// The last entry before a bound, if there is one: the way to its leaf, and the position behind it.
    fn back(
        &mut self,
        map: HeapBTreeMap<K, V>,
        bound: Bound<K::Query<'_>>,
    ) -> Result<(Path, usize)> {
        let tx = self.tx;
        let (path, end) = match bound {
            Bound::Unbounded => {
                let path = map.last_path(tx)?;
                let count = path.leaf::<K, V>().head(tx, 0)?.count();
                (path, count)
            }
            Bound::Included(key) => {
                let (path, position) = map.locate(tx, key)?;
                (
                    path,
                    position.map_or_else(|position| position, |own| own + 1),
                )
            }
            Bound::Excluded(key) => {
                let (path, position) = map.locate(tx, key)?;
                (path, position.unwrap_or_else(|position| position))
            }
        };
        self.backward(path, end)
    }

    /// The entry at `position` of a leaf, or the first one behind.
    fn forward(&mut self, leaf: u64, position: usize) -> Result<Option<(u64, usize)>> {
        let (mut leaf, mut position) = (leaf, position);
        loop {
            let head = Node::<K, V>::new(leaf).head(self.tx, 0)?;
            if position < head.count() {
                return Ok(Some((leaf, position)));
            }
            if head.link == 0 {
                return Ok(None);
            }
            self.leaf_passed()?;
            (leaf, position) = (head.link, 0);
        }
    }

    /// The way to the leaf that has an entry before `end`, or of those before it; there is one.
    fn backward(&mut self, path: Path, end: usize) -> Result<(Path, usize)> {
        let (mut path, mut end) = (path, end);
        while end == 0 {
            self.leaf_passed()?;
            let before = path.before::<K>(self.tx)?;
            path = before.ok_or_else(|| corrupt(WHAT))?;
            end = path.leaf::<K, V>().head(self.tx, 0)?.count();
        }
        Ok((path, end))
    }

    fn leaf_passed(&mut self) -> Result<()> {
        self.leaves_left = self
            .leaves_left
            .checked_sub(1)
            .ok_or_else(|| corrupt(WHAT))?;
        Ok(())
    }

    fn entry(&self, leaf: u64, position: usize) -> Result<(&'t K, &'t V)> {
        let leaf = Node::<K, V>::new(leaf);
        let head = leaf.head(self.tx, 0)?;
        let value = self.tx.get(leaf.value(head, position)?).map_err(damage)?;
        Ok((leaf.key(self.tx, head, position)?, value))
    }

    fn step(&mut self, ends: Ends) -> Result<(&'t K, &'t V)> {
        let (leaf, position) = ends.front;
        let found = self.entry(leaf, position)?;
        let is_last = leaf == ends.back.leaf::<K, V>().at && position + 1 >= ends.end;
        if !is_last {
            let front = self.forward(leaf, position + 1)?;
            let front = front.ok_or_else(|| corrupt(WHAT))?;
            self.ends = Some(Ends { front, ..ends });
        }
        Ok(found)
    }

    fn step_back(&mut self, ends: Ends) -> Result<(&'t K, &'t V)> {
        let (leaf, position) = (ends.back.leaf::<K, V>().at, ends.end - 1);
        let found = self.entry(leaf, position)?;
        if ends.front != (leaf, position) {
            let (back, end) = self.backward(ends.back, position)?;
            self.ends = Some(Ends { back, end, ..ends });
        }
        Ok(found)
    }
}

impl<'t, K: OrderedKey, V: Plain> Iterator for BTreeRange<'t, '_, K, V> {
    type Item = Result<(&'t K, &'t V)>;

    fn next(&mut self) -> Option<Self::Item> {
        let ends = self.ends.take()?;
        Some(self.step(ends))
    }
}

impl<K: OrderedKey, V: Plain> DoubleEndedIterator for BTreeRange<'_, '_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let ends = self.ends.take()?;
        Some(self.step_back(ends))
    }
}
