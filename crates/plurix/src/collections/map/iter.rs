//! All of a map: the way through its leaves, and iterators over what is in them.

use std::marker::PhantomData;

use super::super::corrupt;
use super::super::key::Key;
use super::leaf::{self, Head, Shape, place};
use super::node::{self, Slot, Slots, Target};
use super::{HeapMap, WHAT};
use crate::error::Result;
use crate::plain::Plain;
use crate::transaction::Transaction;

/// What is found on the way.
pub(super) enum Found<'t> {
    Leaf {
        at: u64,
        /// See [`place`].
        place: u64,
        head: &'t Head,
    },
    /// A node, after all that is below it.
    Node(Slots),
}

/// The way through the leaves, in the order of their hashes. The map may change behind it, but not
/// before it.
///
/// It ends, whatever it finds: each node on the way takes bits of the hash, of which there are only so
/// many; below each node is a leaf; and a leaf that was met before is at the wrong place.
pub(super) struct Tour {
    fingerprint: u64,
    stack: Vec<Frame>,
}

struct Frame {
    /// The next slot to look at.
    slot: Slot,
    /// What the hashes of all keys below the node begin with.
    prefix: u64,
    found: bool,
}

impl Tour {
    pub(super) fn new(root: Slot, fingerprint: u64) -> Self {
        let frame = Frame {
            slot: root,
            prefix: 0,
            found: false,
        };
        let stack = vec![frame];
        Self { fingerprint, stack }
    }

    pub(super) fn next<'t>(&mut self, tx: &'t Transaction<'_>) -> Result<Option<Found<'t>>> {
        while let Some(frame) = self.stack.last_mut() {
            let slot = frame.slot;
            if slot.index >> slot.bits != 0 {
                if !frame.found && slot.base > 0 {
                    return Err(corrupt(WHAT));
                }
                self.stack.pop();
                if slot.bits > 0 {
                    return Ok(Some(Found::Node(slot.node())));
                }
                continue;
            }
            let target = node::read(tx, slot)?.target()?;
            frame.slot.index += 1;
            frame.found |= target != Target::Nothing;
            let hash = match slot.depth() {
                0 => 0,
                depth => frame.prefix | slot.index << (64 - depth),
            };
            match target {
                Target::Nothing => {}
                Target::Node { at, bits } => {
                    let frame = Frame {
                        slot: slot.below(at, bits, hash)?,
                        prefix: hash,
                        found: false,
                    };
                    self.stack.push(frame);
                }
                Target::Leaf { at, depth } => {
                    let count = slot.shared(depth)?.len() as u64;
                    frame.slot.index = slot.index + count;
                    let place = place(hash, depth);
                    // It checks that the first slot of the leaf was met first, too.
                    let head = leaf::head(tx, at, self.fingerprint, place)?;
                    if slot.index % count != 0 {
                        return Err(corrupt(WHAT));
                    }
                    return Ok(Some(Found::Leaf { at, place, head }));
                }
            }
        }
        Ok(None)
    }
}

/// All that a map consists of.
#[derive(Default)]
pub(super) struct Census {
    /// Where each leaf is, and its [`place`].
    pub(super) leaves: Vec<(u64, u64)>,
    pub(super) nodes: Vec<Slots>,
}

/// The entries of a [`HeapMap`]; ends with the first error.
pub struct Iter<'t, K: Key, V: Plain> {
    tx: &'t Transaction<'t>,
    /// None after an error.
    tour: Option<Tour>,
    leaf: u64,
    tags: Option<&'t Head>,
    index: usize,
    _types: PhantomData<fn() -> (K, V)>,
}

impl<'t, K: Key, V: Plain> Iter<'t, K, V> {
    pub(super) fn new(tx: &'t Transaction<'t>, tour: Tour) -> Self {
        Self {
            tx,
            tour: Some(tour),
            leaf: 0,
            tags: None,
            index: 0,
            _types: PhantomData,
        }
    }

    /// Leaf and index of the next entry.
    fn advance(&mut self) -> Result<Option<(u64, usize)>> {
        loop {
            if let Some(head) = self.tags {
                while self.index < Shape::<K, V>::SLOTS {
                    let index = self.index;
                    self.index += 1;
                    if head.tag(index) != 0 {
                        return Ok(Some((self.leaf, index)));
                    }
                }
            }
            let Some(tour) = &mut self.tour else {
                return Ok(None);
            };
            match tour.next(self.tx)? {
                None => {
                    (self.tour, self.tags) = (None, None);
                }
                Some(Found::Node(_)) => {}
                Some(Found::Leaf { at, head, .. }) => {
                    (self.leaf, self.tags, self.index) = (at, Some(head), 0);
                }
            }
        }
    }

    fn step<R>(&mut self, read: impl FnOnce(&Self, u64, usize) -> Result<R>) -> Option<Result<R>> {
        let result = self.advance().transpose()?;
        let result = result.and_then(|(leaf, index)| read(self, leaf, index));
        if result.is_err() {
            (self.tour, self.tags) = (None, None);
        }
        Some(result)
    }

    fn key(&self, leaf: u64, index: usize) -> Result<&'t K> {
        leaf::read(self.tx, Shape::<K, V>::key_at(leaf, index))
    }

    fn value(&self, leaf: u64, index: usize) -> Result<&'t V> {
        leaf::read(self.tx, Shape::<K, V>::value_at(leaf, index))
    }
}

impl<'t, K: Key, V: Plain> Iterator for Iter<'t, K, V> {
    type Item = Result<(&'t K, &'t V)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(|iter, leaf, index| Ok((iter.key(leaf, index)?, iter.value(leaf, index)?)))
    }
}

/// The keys of a [`HeapMap`]; ends with the first error.
#[derive(Debug)]
pub struct Keys<'t, K: Key, V: Plain>(pub(super) Iter<'t, K, V>);

impl<'t, K: Key, V: Plain> Iterator for Keys<'t, K, V> {
    type Item = Result<&'t K>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.step(Iter::key)
    }
}

/// The values of a [`HeapMap`]; ends with the first error.
#[derive(Debug)]
pub struct Values<'t, K: Key, V: Plain>(pub(super) Iter<'t, K, V>);

impl<'t, K: Key, V: Plain> Iterator for Values<'t, K, V> {
    type Item = Result<&'t V>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.step(Iter::value)
    }
}

impl<K: Key, V: Plain> std::fmt::Debug for Iter<'_, K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

impl<K: Key, V: Plain> HeapMap<K, V> {
    /// All leaves and nodes.
    pub(super) fn collect(self, tx: &Transaction<'_>) -> Result<Census> {
        let (root, _) = self.root(tx)?;
        let mut tour = Tour::new(root, Self::FINGERPRINT);
        let mut census = Census::default();
        while let Some(found) = tour.next(tx)? {
            match found {
                Found::Leaf { at, place, .. } => census.leaves.push((at, place)),
                Found::Node(slots) => census.nodes.push(slots),
            }
        }
        Ok(census)
    }
}
