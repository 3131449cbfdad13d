//! A node: up to 50 entries in slots, and a line that says in which order they are. Leaves hold keys
//! and values, inner nodes hold keys and children.
//!
//! ```text
//!  line 0:  link, check, level, how many, order of slots     whoever adds or removes writes this
//!  then     keys, by slot                                    searches read line 0 and these
//!  then     values, by slot, from a new line on              whoever changes a value writes here
//! ```
//!
//! An entry that is added takes any free slot, so a few bytes of the order move and no entry does
//! (Mao, Kohler and Morris, "Cache Craftiness for Fast Multicore Key-Value Storage", EuroSys 2012).

use std::cmp::Ordering;
use std::marker::PhantomData;

use super::{WHAT, damage};
use crate::collections::OrderedKey;
use crate::collections::blocks::{self, LINE_BYTES};
use crate::collections::corrupt;
use crate::error::Result;
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// Slots that the order has room for.
const ORDER: usize = 50;
/// A node is no longer than this if it then has so many slots: a size class of the allocator, and a
/// page. One of larger entries is as long as it must be.
const SIZES: [(usize, usize); 2] = [(1344, 16), (4096, 8)];
/// Slots of a node of the largest entries.
const SLOTS_MIN: usize = 8;

/// The first line of a node.
#[crate::plain]
#[repr(C, align(64))]
pub(super) struct Head {
    /// Of a leaf, the next one; of an inner node, the child for what is before its first key.
    pub(super) link: u64,
    /// Tells a node from what else may be there.
    check: u32,
    /// Zero of leaves.
    level: u8,
    count: u8,
    /// The slots of the entries in order.
    order: [u8; ORDER],
}

impl Head {
    pub(super) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// The slots that have entries, in order.
    fn slots(&self) -> &[u8] {
        &self.order[..self.count().min(ORDER)]
    }

    /// The first slot that has none.
    fn free_slot(&self) -> usize {
        let slots = self.slots().iter();
        let bits = slots.map(|slot| 1u64.checked_shl((*slot).into()).unwrap_or(0));
        bits.fold(0, |used, bit| used | bit).trailing_ones() as usize
    }
}

/// A node at an offset; of an inner one, `V` is the offset of a child.
pub(super) struct Node<K, V> {
    pub(super) at: u64,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Node<K, V> {}

/// An inner node.
pub(super) type Branch<K> = Node<K, u64>;

/// Where a key is among a node's entries, or where it would be.
pub(super) type Position = std::result::Result<usize, usize>;

impl<K: OrderedKey, V: Plain> Node<K, V> {
    /// How many entries a node has at most.
    pub(super) const SLOTS: usize = {
        assert!(size_of::<K>() > 0 && size_of::<V>() > 0, "it has bytes");
        assert!(align_of::<K>() <= LINE_BYTES && align_of::<V>() <= LINE_BYTES);
        let (mut found, mut size) = (0, 0);
        while size < SIZES.len() && found == 0 {
            let mut slots = ORDER;
            while slots > 0 && Self::bytes_of(slots) > SIZES[size].0 {
                slots -= 1;
            }
            if slots >= SIZES[size].1 {
                found = slots;
            }
            size += 1;
        }
        if found == 0 { SLOTS_MIN } else { found }
    };
    /// Where its values begin.
    const VALUES_AT: usize =
        LINE_BYTES + (Self::SLOTS * size_of::<K>()).next_multiple_of(LINE_BYTES);
    /// Its length.
    const BYTES: usize = Self::bytes_of(Self::SLOTS);
    const CHECK: u32 = (<K as Plain>::LAYOUT.0 ^ <V as Plain>::LAYOUT.0.rotate_left(7)) as u32 | 1;

    const fn bytes_of(slots: usize) -> usize {
        let keys = (slots * size_of::<K>()).next_multiple_of(LINE_BYTES);
        LINE_BYTES + keys + (slots * size_of::<V>()).next_multiple_of(LINE_BYTES)
    }

    pub(super) fn new(at: u64) -> Self {
        let entry = PhantomData;
        Self { at, entry }
    }

    /// How many nodes a heap can hold.
    pub(super) fn most(tx: &Transaction<'_>) -> u64 {
        blocks::blocks_max(tx, Self::BYTES)
    }

    /// Makes a node.
    pub(super) fn make(
        tx: &mut Transaction<'_>,
        level: u8,
        link: u64,
        entries: &[(K, V)],
    ) -> Result<Self> {
        let node = Self::new(blocks::allocate(tx, Self::BYTES)?);
        let mut order = [0; ORDER];
        order
            .iter_mut()
            .zip(0..)
            .for_each(|(slot, own)| *slot = own);
        let head = Head {
            link,
            check: Self::CHECK,
            level,
            count: entries.len() as u8,
            order,
        };
        tx.set(Ptr::at(node.at), head)?;
        let (keys, values): (Vec<K>, Vec<V>) = entries.iter().copied().unzip();
        let count = entries.len() as u64;
        tx.set_slice(Ptr::slice_at(node.key_at(0)?.offset(), count), &keys)?;
        tx.set_slice(Ptr::slice_at(node.value_at(0)?.offset(), count), &values)?;
        Ok(node)
    }

    pub(super) fn free(self, tx: &mut Transaction<'_>) -> Result<()> {
        // What still leads here is told that there is no node any more.
        self.open(tx)?.check = 0;
        blocks::free(tx, self.at, Self::BYTES, WHAT)
    }

    /// Its first line, once that is seen to be one of a node of this level.
    #[inline]
    pub(super) fn head<'t>(self, tx: &'t Transaction<'_>, level: u8) -> Result<&'t Head> {
        let head = tx.get(Ptr::<Head>::at(self.at)).map_err(damage)?;
        let fits = head.check == Self::CHECK && head.level == level;
        if fits && head.count() <= Self::SLOTS {
            Ok(head)
        } else {
            Err(corrupt(WHAT))
        }
    }

    /// Its first line, to be changed.
    pub(super) fn open<'t>(self, tx: &'t mut Transaction<'_>) -> Result<&'t mut Head> {
        tx.get_mut(Ptr::at(self.at)).map_err(damage)
    }

    /// The slot of entry `position`.
    #[inline]
    fn slot(head: &Head, position: usize) -> Result<usize> {
        match head.slots().get(position) {
            Some(&slot) if usize::from(slot) < Self::SLOTS => Ok(usize::from(slot)),
            _ => Err(corrupt(WHAT)),
        }
    }

    fn key_at(self, slot: usize) -> Result<Ptr<K>> {
        let within = LINE_BYTES + slot * size_of::<K>();
        blocks::beyond(self.at, within as u64, WHAT).map(Ptr::at)
    }

    fn value_at(self, slot: usize) -> Result<Ptr<V>> {
        let within = Self::VALUES_AT + slot * size_of::<V>();
        blocks::beyond(self.at, within as u64, WHAT).map(Ptr::at)
    }

    /// Where the value of entry `position` is.
    pub(super) fn value(self, head: &Head, position: usize) -> Result<Ptr<V>> {
        self.value_at(Self::slot(head, position)?)
    }

    /// The key of entry `position`.
    pub(super) fn key<'t>(
        self,
        tx: &'t Transaction<'_>,
        head: &Head,
        position: usize,
    ) -> Result<&'t K> {
        let key = self.key_at(Self::slot(head, position)?)?;
        tx.get(key).map_err(damage)
    }

    /// Entry `position`, copied.
    pub(super) fn entry(
        self,
        tx: &Transaction<'_>,
        head: &Head,
        position: usize,
    ) -> Result<(K, V)> {
        let value = *tx.get(self.value(head, position)?).map_err(damage)?;
        Ok((*self.key(tx, head, position)?, value))
    }

    /// Entries from `from` on, copied.
    pub(super) fn entries(
        self,
        tx: &Transaction<'_>,
        head: &Head,
        from: usize,
    ) -> Result<Vec<(K, V)>> {
        (from..head.count())
            .map(|position| self.entry(tx, head, position))
            .collect()
    }

    /// Where `query` is. All keys are read as one: who changes one of them writes line 0, too.
    #[inline]
    pub(super) fn search(
        self,
        tx: &Transaction<'_>,
        head: &Head,
        query: K::Query<'_>,
    ) -> Result<Position> {
        let keys = Ptr::<[K]>::slice_at(self.key_at(0)?.offset(), Self::SLOTS as u64);
        let keys = tx.get(keys).map_err(damage)?;
        let (mut low, mut high) = (0, head.count());
        while low < high {
            let middle = (low + high) / 2;
            let key = keys.get(Self::slot(head, middle)?);
            match key.ok_or_else(|| corrupt(WHAT))?.compare(tx, query)? {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(Ok(middle)),
                Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    /// Adds an entry at `position`, for which there is room.
    pub(super) fn insert(
        self,
        tx: &mut Transaction<'_>,
        position: usize,
        (key, value): (K, V),
    ) -> Result<()> {
        let head = self.open(tx)?;
        let (slot, count) = (head.free_slot(), head.count());
        if slot >= Self::SLOTS || count >= Self::SLOTS || position > count {
            return Err(corrupt(WHAT));
        }
        head.order.copy_within(position..count, position + 1);
        head.order[position] = slot as u8;
        head.count += 1;
        tx.set(self.key_at(slot)?, key).map_err(damage)?;
        tx.set(self.value_at(slot)?, value).map_err(damage)
    }

    /// Removes entry `position`, which is there.
    pub(super) fn remove(self, tx: &mut Transaction<'_>, position: usize) -> Result<()> {
        let head = self.open(tx)?;
        let count = head.count();
        if position >= count || count > Self::SLOTS {
            return Err(corrupt(WHAT));
        }
        head.order.copy_within(position + 1..count, position);
        head.count -= 1;
        Ok(())
    }

    /// Removes all entries from `from` on.
    pub(super) fn cut(self, tx: &mut Transaction<'_>, from: usize) -> Result<()> {
        let head = self.open(tx)?;
        head.count = head.count.min(from as u8);
        Ok(())
    }
}

impl<K: OrderedKey> Branch<K> {
    /// Child `index`, of one more than there are keys.
    #[inline]
    pub(super) fn child(self, tx: &Transaction<'_>, head: &Head, index: usize) -> Result<u64> {
        match index.checked_sub(1) {
            None => Ok(head.link),
            Some(entry) => tx.get(self.value(head, entry)?).copied().map_err(damage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<K: OrderedKey, V: Plain>(expected: usize) {
        assert_eq!(Node::<K, V>::SLOTS, expected);
        assert!(Node::<K, V>::VALUES_AT.is_multiple_of(LINE_BYTES));
        let end = Node::<K, V>::VALUES_AT + expected * size_of::<V>();
        assert!(end <= Node::<K, V>::BYTES);
    }

    #[test]
    fn nodes_have_many_small_entries_and_some_large_ones() {
        check::<u64, u64>(50);
        check::<u8, u8>(50);
        check::<[u8; 32], u64>(32);
        check::<u64, [u64; 16]>(29);
        check::<u64, [u64; 512]>(SLOTS_MIN);
    }
}
