//! The way from the root to a leaf.

use super::node::{Branch, Node, Position};
use super::{HeapBTreeMap, LEVELS_MAX, WHAT};
use crate::collections::{OrderedKey, corrupt};
use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

/// A node for each level from the root to a leaf, and which child follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    /// By level; of the leaf, 0 stands for a child.
    steps: [(u64, usize); LEVELS_MAX],
    /// The root's level.
    pub(super) top: u8,
}

/// Which child of each node to go to.
#[derive(Clone, Copy)]
enum Way<Q> {
    First,
    Last,
    To(Q),
}

impl Path {
    pub(super) fn node<K: OrderedKey, V: Plain>(&self, level: u8) -> Node<K, V> {
        Node::new(self.steps[usize::from(level)].0)
    }

    pub(super) fn leaf<K: OrderedKey, V: Plain>(&self) -> Node<K, V> {
        self.node(0)
    }

    /// The child that follows the node of `level`.
    pub(super) fn child(&self, level: u8) -> usize {
        self.steps[usize::from(level)].1
    }

    /// Whether the leaf is the last one, as far as the nodes above know.
    pub(super) fn is_last<K: OrderedKey>(&self, tx: &Transaction<'_>) -> Result<bool> {
        for level in 1..=self.top {
            let head = self.node::<K, u64>(level).head(tx, level)?;
            if self.child(level) < head.count() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The key that everything in the leaf is at or behind; `None` for the first leaf.
    pub(super) fn separator<K: OrderedKey>(&self, tx: &Transaction<'_>) -> Result<Option<K>> {
        for level in 1..=self.top {
            if let Some(entry) = self.child(level).checked_sub(1) {
                let node = self.node::<K, u64>(level);
                let head = node.head(tx, level)?;
                return node.key(tx, head, entry).copied().map(Some);
            }
        }
        Ok(None)
    }

    /// The way to the leaf before; `None` if this is the first one.
    pub(super) fn before<K: OrderedKey>(mut self, tx: &Transaction<'_>) -> Result<Option<Self>> {
        for level in 1..=self.top {
            if let Some(child) = self.child(level).checked_sub(1) {
                self.steps[usize::from(level)].1 = child;
                let node = self.node::<K, u64>(level);
                let next = node.child(tx, node.head(tx, level)?, child)?;
                self.descend::<K>(tx, next, level - 1, Way::Last)?;
                return Ok(Some(self));
            }
        }
        Ok(None)
    }

    /// Goes on from `node` of `level` to a leaf.
    fn descend<K: OrderedKey>(
        &mut self,
        tx: &Transaction<'_>,
        mut node: u64,
        level: u8,
        way: Way<K::Query<'_>>,
    ) -> Result<()> {
        for level in (1..=level).rev() {
            let branch = Branch::<K>::new(node);
            let head = branch.head(tx, level)?;
            let child = match way {
                Way::First => 0,
                Way::Last => head.count(),
                Way::To(query) => behind(branch.search(tx, head, query)?),
            };
            self.steps[usize::from(level)] = (node, child);
            node = branch.child(tx, head, child)?;
        }
        self.steps[0] = (node, 0);
        Ok(())
    }
}

/// The child for a key that was searched among those of an inner node.
#[inline]
fn behind(position: Position) -> usize {
    match position {
        Ok(entry) => entry + 1,
        Err(entry) => entry,
    }
}

impl<K: OrderedKey, V: Plain> HeapBTreeMap<K, V> {
    /// The leaf in which `query` is, if it is anywhere.
    #[inline]
    pub(super) fn leaf_of(self, tx: &Transaction<'_>, query: K::Query<'_>) -> Result<Node<K, V>> {
        let (mut node, top) = self.root(tx)?;
        for level in (1..=top).rev() {
            let branch = Branch::<K>::new(node);
            let head = branch.head(tx, level)?;
            node = branch.child(tx, head, behind(branch.search(tx, head, query)?))?;
        }
        Ok(Node::new(node))
    }

    /// The way to that leaf.
    pub(super) fn path_to(self, tx: &Transaction<'_>, query: K::Query<'_>) -> Result<Path> {
        self.path(tx, Way::To(query))
    }

    pub(super) fn first_path(self, tx: &Transaction<'_>) -> Result<Path> {
        self.path(tx, Way::First)
    }

    pub(super) fn last_path(self, tx: &Transaction<'_>) -> Result<Path> {
        self.path(tx, Way::Last)
    }

    fn path(self, tx: &Transaction<'_>, way: Way<K::Query<'_>>) -> Result<Path> {
        let (root, top) = self.root(tx)?;
        let mut path = Path {
            steps: [(0, 0); LEVELS_MAX],
            top,
        };
        path.descend::<K>(tx, root, top, way)?;
        Ok(path)
    }

    /// The root and its level.
    #[inline]
    pub(super) fn root(self, tx: &Transaction<'_>) -> Result<(u64, u8)> {
        let anchor = self.anchor(tx)?;
        let level = usize::try_from(anchor.level).ok();
        match level.filter(|level| *level < LEVELS_MAX) {
            Some(level) => Ok((anchor.root, level as u8)),
            None => Err(corrupt(WHAT)),
        }
    }
}
