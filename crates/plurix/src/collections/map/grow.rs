//! How a map grows: a leaf that is full splits alone, and a node whose slots no longer tell its leaves
//! apart is made larger, or gets a node below it.

use super::super::key::Key;
use super::super::{corrupt, or_corrupt};
use super::leaf::{self, Shape, head_mut, place};
use super::node::{self, BITS_STEP, DEPTH_MAX, Link, Slot, Walk, links, links_mut};
use super::{HeapMap, WHAT};
use crate::error::{ErrorKind, Result};
use crate::plain::Plain;
use crate::transaction::Transaction;

impl<K: Key, V: Plain> HeapMap<K, V> {
    /// Makes a leaf for `hash`, where none is, of as many slots as are empty and belong together.
    pub(super) fn add_leaf(tx: &mut Transaction<'_>, walk: &Walk, hash: u64) -> Result<u64> {
        let slot = walk.slot;
        let mut depth = slot.depth();
        while depth > slot.base {
            let wider = links(tx, slot.shared(depth - 1)?)?;
            if wider.iter().any(|&link| link != 0) {
                break;
            }
            depth -= 1;
        }
        let leaf = Shape::<K, V>::alloc(tx, Self::FINGERPRINT, place(hash, depth))?;
        links_mut(tx, slot.shared(depth)?)?.fill(Link::leaf(leaf, depth).0);
        Ok(leaf)
    }

    /// Makes room in the full leaf at the end of `walk`; the way to it is another one afterwards.
    pub(super) fn make_room(tx: &mut Transaction<'_>, walk: &Walk, hash: u64) -> Result<()> {
        let (leaf, depth) = walk.leaf.ok_or_else(|| corrupt(WHAT))?;
        if depth == DEPTH_MAX {
            let keys = Shape::<K, V>::SLOTS;
            return Err(ErrorKind::KeysCollide { keys }.into());
        }
        if depth < walk.slot.depth() {
            Self::split(tx, walk.slot, leaf, depth, hash)
        } else if walk.slot.bits < walk.slot.bits_max() {
            enlarge(tx, walk)
        } else {
            let link = Link::leaf(leaf, depth).0;
            let below = make_node(tx, &[link; 1 << BITS_STEP])?;
            *tx.get_mut(walk.slot.ptr())
                .map_err(|error| or_corrupt(error, WHAT))? = below.0;
            Ok(())
        }
    }

    /// Moves the entries whose next bit of the hash is set to a leaf of their own.
    fn split(tx: &mut Transaction<'_>, slot: Slot, leaf: u64, depth: u32, hash: u64) -> Result<()> {
        let old = *leaf::head(tx, leaf, Self::FINGERPRINT, place(hash, depth))?;
        let bit = 1 << (63 - depth);
        let (low, high) = (place(hash & !bit, depth + 1), place(hash | bit, depth + 1));
        let mut moving = [false; 64];
        let (mut kept, mut moved) = (false, false);
        for index in old.used(Shape::<K, V>::SLOTS) {
            let key = leaf::read(tx, Shape::<K, V>::key_at(leaf, index))?;
            let hash = key.hash(tx)?;
            match place(hash, depth + 1) {
                found if found == high => (moving[index], moved) = (true, true),
                found if found == low => kept = true,
                _ => return Err(corrupt(WHAT)),
            }
        }
        let mut halves = [Link::NONE; 2];
        if kept && moved {
            let new = Shape::<K, V>::alloc(tx, Self::FINGERPRINT, high)?;
            let indices = old.used(Shape::<K, V>::SLOTS);
            move_entries::<K, V>(tx, leaf, new, indices.filter(|&index| moving[index]))?;
            halves[1] = Link::leaf(new, depth + 1);
        }
        let stays = usize::from(!kept && moved);
        head_mut(tx, leaf)?.set_place(if stays == 1 { high } else { low });
        halves[stays] = Link::leaf(leaf, depth + 1);
        let slots = slot.shared(depth)?;
        let links = links_mut(tx, slots)?;
        if links.iter().any(|&link| link != Link::leaf(leaf, depth).0) {
            return Err(corrupt(WHAT));
        }
        let (first, second) = links.split_at_mut(slots.len() / 2);
        first.fill(halves[0].0);
        second.fill(halves[1].0);
        Ok(())
    }
}

/// Moves entries of a leaf to the beginning of an empty one.
fn move_entries<K: Key, V: Plain>(
    tx: &mut Transaction<'_>,
    from: u64,
    to: u64,
    indices: impl Iterator<Item = usize>,
) -> Result<()> {
    for (place, index) in indices.enumerate() {
        let key = *leaf::read(tx, Shape::<K, V>::key_at(from, index))?;
        let value = *leaf::read(tx, Shape::<K, V>::value_at(from, index))?;
        Shape::<K, V>::put(tx, to, place, (key, value))?;
        let head = head_mut(tx, from)?;
        let tag = head.tag(index);
        head.set_tag(index, 0);
        head_mut(tx, to)?.set_tag(place, tag);
    }
    Ok(())
}

/// Replaces the node at the end of `walk` by one of eight slots for each of its.
fn enlarge(tx: &mut Transaction<'_>, walk: &Walk) -> Result<()> {
    let parent = walk.parent.ok_or_else(|| corrupt(WHAT))?;
    let old = walk.slot.node();
    let links = links(tx, old)?.iter();
    let links: Vec<u64> = links.flat_map(|&link| [link; 1 << BITS_STEP]).collect();
    let new = make_node(tx, &links)?;
    *tx.get_mut(parent.ptr())
        .map_err(|error| or_corrupt(error, WHAT))? = new.0;
    node::free(tx, old)
}

fn make_node(tx: &mut Transaction<'_>, links: &[u64]) -> Result<Link> {
    Ok(Link::node(node::alloc(tx, links)?, links.len().ilog2()))
}
