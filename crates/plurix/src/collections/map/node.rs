//! The directory of a map: links, the slots that hold them, and the way from the root to a leaf.
//!
//! ```text
//!  link       where it leads, a multiple of 64 │ code: the depth of a leaf, or the size of a node
//!  hash       root: 12 bits at most │ node: 6 │ node: 6 │ …              │ tag: the last 8
//!  depth      how many bits of the hash, from the first on, the keys of a leaf have in common
//! ```
//!
//! A node is nothing but slots, each a link of eight bytes. A leaf whose depth is less than that of the
//! node's slots is what several slots, side by side, lead to.

use super::super::{corrupt, or_corrupt};
use super::WHAT;
use super::leaf::Line;
use crate::error::Result;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// The largest depth: what is left of a hash beside it tells where in a leaf a key may be.
pub(super) const DEPTH_MAX: u32 = 57;
/// Bits by which a node grows: the smallest node fills a line.
pub(super) const BITS_STEP: u32 = 3;
const ROOT_BITS_MAX: u32 = 12;
const INNER_BITS_MAX: u32 = 6;
/// The code of a link to a node of no bits, were there one; each step adds one.
const NODE_CODE: u64 = 59;
const CODE_MASK: u64 = 63;

/// Links of a line.
const LINK_LINE: usize = size_of::<Line>() / size_of::<u64>();

/// Where the links of a directory begin.
pub(super) type Slots = Ptr<[u64]>;

/// What a slot holds; zero for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) u64);

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Nothing,
    Leaf { at: u64, depth: u32 },
    Node { at: u64, bits: u32 },
}

impl Link {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn leaf(at: u64, depth: u32) -> Self {
        Self(at | u64::from(depth))
    }

    pub(super) fn node(at: u64, bits: u32) -> Self {
        Self(at | (NODE_CODE + u64::from(bits / BITS_STEP)))
    }

    #[inline]
    pub(super) fn target(self) -> Result<Target> {
        let (at, code) = (self.0 & !CODE_MASK, self.0 & CODE_MASK);
        if self.0 == 0 {
            Ok(Target::Nothing)
        } else if code <= u64::from(DEPTH_MAX) && at != 0 {
            let depth = code as u32;
            Ok(Target::Leaf { at, depth })
        } else if code > NODE_CODE && at != 0 {
            let bits = (code - NODE_CODE) as u32 * BITS_STEP;
            Ok(Target::Node { at, bits })
        } else {
            Err(corrupt(WHAT))
        }
    }
}

/// A slot of a directory. The map's header counts as a node of one slot and no bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Where the node's slots begin.
    pub(super) node: u64,
    /// Bits of the hash by which the node tells its slots apart.
    pub(super) bits: u32,
    /// Bits of the hash before them.
    pub(super) base: u32,
    pub(super) index: u64,
}

impl Slot {
    /// The slot that holds the root's link, at `at`.
    #[inline]
    pub(super) fn root(at: u64) -> Self {
        Self {
            node: at,
            bits: 0,
            base: 0,
            index: 0,
        }
    }

    /// The slot for `hash` in a node of `bits` at `at` that this slot leads to.
    #[inline]
    pub(super) fn below(self, at: u64, bits: u32, hash: u64) -> Result<Self> {
        let base = self.depth();
        if base + bits > DEPTH_MAX {
            return Err(corrupt(WHAT));
        }
        Ok(Self {
            node: at,
            bits,
            base,
            index: (hash << base) >> (64 - bits),
        })
    }

    /// Bits of the hash that lead to this slot.
    #[inline]
    pub(super) fn depth(self) -> u32 {
        self.base + self.bits
    }

    #[inline]
    pub(super) fn ptr(self) -> Ptr<u64> {
        Ptr::at(self.node.wrapping_add(self.index * 8))
    }

    /// All slots of the node.
    pub(super) fn node(self) -> Slots {
        Ptr::slice_at(self.node, 1 << self.bits)
    }

    /// The slots that a leaf of `depth` fills, this one among them.
    pub(super) fn shared(self, depth: u32) -> Result<Slots> {
        if depth < self.base || depth > self.depth() {
            return Err(corrupt(WHAT));
        }
        let count = 1 << (self.depth() - depth);
        let first = self.index & !(count - 1);
        Ok(Ptr::slice_at(self.node.wrapping_add(first * 8), count))
    }

    /// How many bits the node may come to have.
    pub(super) fn bits_max(self) -> u32 {
        match (self.bits, self.base) {
            (0, _) => 0,
            (_, 0) => ROOT_BITS_MAX,
            (_, base) => INNER_BITS_MAX.min(DEPTH_MAX - base),
        }
    }
}

/// Where the way to a key ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// The slot that leads to the node of `slot`; none for the root's.
    pub(super) parent: Option<Slot>,
    pub(super) slot: Slot,
    /// The leaf there, and its depth.
    pub(super) leaf: Option<(u64, u32)>,
}

/// Goes from the root's slot, whose link is `link`, to where the keys of `hash` are.
#[inline]
pub(super) fn walk(tx: &Transaction<'_>, root: Slot, link: Link, hash: u64) -> Result<Walk> {
    let (mut parent, mut slot, mut link) = (None, root, link);
    // Each round takes bits of the hash, and there are only so many.
    loop {
        match link.target()? {
            Target::Node { at, bits } => {
                parent = Some(slot);
                slot = slot.below(at, bits, hash)?;
                link = read(tx, slot)?;
            }
            Target::Leaf { at, depth } => {
                if depth < slot.base || depth > slot.depth() {
                    return Err(corrupt(WHAT));
                }
                let leaf = Some((at, depth));
                return Ok(Walk { parent, slot, leaf });
            }
            Target::Nothing => {
                let leaf = None;
                return Ok(Walk { parent, slot, leaf });
            }
        }
    }
}

/// What `slot` holds.
#[inline]
pub(super) fn read(tx: &Transaction<'_>, slot: Slot) -> Result<Link> {
    match tx.get(slot.ptr()) {
        Ok(link) => Ok(Link(*link)),
        Err(error) => Err(or_corrupt(error, WHAT)),
    }
}

pub(super) fn links<'t>(tx: &'t Transaction<'_>, slots: Slots) -> Result<&'t [u64]> {
    tx.get(slots).map_err(|error| or_corrupt(error, WHAT))
}

pub(super) fn links_mut<'t>(tx: &'t mut Transaction<'_>, slots: Slots) -> Result<&'t mut [u64]> {
    tx.get_mut(slots).map_err(|error| or_corrupt(error, WHAT))
}

/// A node of as many slots as there are `links`.
pub(super) fn alloc(tx: &mut Transaction<'_>, links: &[u64]) -> Result<u64> {
    let lines = tx.alloc_slice_unset::<Line>(links.len().div_ceil(LINK_LINE))?;
    let slots = Slots::slice_at(lines.offset(), links.len() as u64);
    tx.set_slice(slots, links)?;
    Ok(lines.offset())
}

pub(super) fn free(tx: &mut Transaction<'_>, node: Slots) -> Result<()> {
    let lines = node.len().div_ceil(LINK_LINE) as u64;
    tx.free(Ptr::<[Line]>::slice_at(node.offset(), lines))
        .map_err(|error| or_corrupt(error, WHAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_what_it_leads_to() {
        let leaf = Link::leaf(4096, DEPTH_MAX).target().unwrap();
        let (at, depth) = (4096, DEPTH_MAX);
        assert_eq!(leaf, Target::Leaf { at, depth });
        for bits in [3, 6, 9, 12] {
            let node = Link::node(64, bits).target().unwrap();
            assert_eq!(node, Target::Node { at: 64, bits });
        }
        assert_eq!(Link::NONE.target().unwrap(), Target::Nothing);
        for damaged in [1, 63, 4096 + 58, 4096 + 59] {
            assert!(Link(damaged).target().is_err(), "{damaged}");
        }
    }

    #[test]
    fn the_deepest_node_still_fits_the_hash() {
        let mut slot = Slot::root(8).below(64, ROOT_BITS_MAX, u64::MAX).unwrap();
        while slot.depth() < DEPTH_MAX {
            let bits = Slot {
                base: slot.depth(),
                ..slot
            }
            .bits_max();
            assert!(bits >= BITS_STEP && bits.is_multiple_of(BITS_STEP));
            slot = slot.below(64, bits, u64::MAX).unwrap();
            assert_eq!(slot.index, (1 << bits) - 1);
        }
        assert!(slot.below(64, BITS_STEP, 0).is_err());
    }
}
