//! The leaves of a map: entries, and a line that says which of them may be the one.
//!
//! ```text
//!  line 0     48 tags, a byte each │ fingerprint │ place
//!  line 1..   entries: key, value; key, value; …
//! ```
//!
//! A tag is zero for an entry that is free, else the last byte of the key's hash. Eight tags are
//! compared at once, within a word (Mula; the same idea as in Google's Swiss tables). The place is what
//! the hashes of all keys here begin with, and how many bits of them: who comes here by a damaged link
//! finds another one.

use std::marker::PhantomData;

use plurix_wire::{LINE_BYTES, PAGE_BYTES};

use super::super::key::Key;
use super::super::{corrupt, or_corrupt};
use super::WHAT;
use crate::error::Result;
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// Words of tags.
const WORDS: usize = 6;
const SLOTS_MAX: usize = 8 * WORDS;
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
/// Sizes of leaves, of those that the allocator has and that are whole lines.
const SIZES: [usize; 7] = [192, 256, 320, 448, 640, 896, 1344];
/// A leaf has room for so many entries if the entries are small enough.
const SLOTS_WANTED: usize = 18;
/// A leaf has room for so many entries at least.
const SLOTS_MIN: usize = 8;

/// The first line of a leaf.
#[crate::plain]
pub(super) struct Head {
    tags: [u64; WORDS],
    fingerprint: u64,
    place: u64,
}

/// One of the lines that a leaf is allocated as.
#[crate::plain]
#[repr(C, align(64))]
pub(super) struct Line([u8; LINE_BYTES]);

/// How entries of `K` and `V` lie in a leaf.
pub(super) struct Shape<K, V>(PhantomData<fn() -> (K, V)>);

impl<K: Plain, V: Plain> Shape<K, V> {
    /// Where in an entry the value is.
    const VALUE: usize = size_of::<K>().next_multiple_of(align_of::<V>());
    /// Bytes from one entry to the next.
    const STRIDE: usize = {
        let align = if align_of::<K>() > align_of::<V>() {
            align_of::<K>()
        } else {
            align_of::<V>()
        };
        assert!(
            align <= LINE_BYTES,
            "keys and values of a map are aligned to a line at most"
        );
        (Self::VALUE + size_of::<V>()).next_multiple_of(align)
    };
    /// Bytes of a leaf.
    const BYTES: usize = {
        let mut index = 0;
        let mut bytes = 0;
        while index < SIZES.len() && bytes == 0 {
            if (SIZES[index] - LINE_BYTES) / Self::STRIDE >= SLOTS_WANTED {
                bytes = SIZES[index];
            }
            index += 1;
        }
        let largest = SIZES[SIZES.len() - 1];
        if bytes == 0 && (largest - LINE_BYTES) / Self::STRIDE >= SLOTS_MIN {
            bytes = largest;
        }
        if bytes == 0 {
            bytes = (LINE_BYTES + SLOTS_MIN * Self::STRIDE).next_multiple_of(PAGE_BYTES);
        }
        bytes
    };
    /// Entries of a leaf.
    pub(super) const SLOTS: usize = {
        let fit = (Self::BYTES - LINE_BYTES) / Self::STRIDE;
        if fit < SLOTS_MAX { fit } else { SLOTS_MAX }
    };

    /// A leaf without entries for keys of `place`.
    pub(super) fn alloc(tx: &mut Transaction<'_>, fingerprint: u64, place: u64) -> Result<u64> {
        let lines = tx.alloc_slice_unset::<Line>(Self::BYTES / LINE_BYTES)?;
        let head = Head {
            tags: [0; WORDS],
            fingerprint,
            place,
        };
        tx.set(Ptr::at(lines.offset()), head)?;
        Ok(lines.offset())
    }

    pub(super) fn free(tx: &mut Transaction<'_>, leaf: u64) -> Result<()> {
        let lines = Ptr::<[Line]>::slice_at(leaf, (Self::BYTES / LINE_BYTES) as u64);
        // Who comes here by a link that was left must not take it for a leaf.
        head_mut(tx, leaf)?.fingerprint = 0;
        tx.free(lines).map_err(|error| or_corrupt(error, WHAT))
    }

    #[inline]
    pub(super) fn key_at(leaf: u64, index: usize) -> Ptr<K> {
        Ptr::at(leaf.wrapping_add((LINE_BYTES + index * Self::STRIDE) as u64))
    }

    #[inline]
    pub(super) fn value_at(leaf: u64, index: usize) -> Ptr<V> {
        let at = LINE_BYTES + index * Self::STRIDE + Self::VALUE;
        Ptr::at(leaf.wrapping_add(at as u64))
    }

    /// Puts an entry where none is.
    #[inline]
    pub(super) fn put(
        tx: &mut Transaction<'_>,
        leaf: u64,
        index: usize,
        (key, value): (K, V),
    ) -> Result<()> {
        write(tx, Self::key_at(leaf, index), key)?;
        write(tx, Self::value_at(leaf, index), value)
    }

    /// The entry of the key that `query` means.
    #[inline]
    pub(super) fn find(
        tx: &Transaction<'_>,
        head: &Head,
        leaf: u64,
        hash: u64,
        query: K::Query<'_>,
    ) -> Result<Option<usize>>
    where
        K: Key,
    {
        let pattern = u64::from(tag(hash)) * LOW;
        for word in 0..Self::SLOTS.div_ceil(8) {
            let mut matches = zero_bytes(head.tags[word] ^ pattern);
            while matches != 0 {
                let index = word * 8 + matches.trailing_zeros() as usize / 8;
                // A byte after one that matches may seem to match, too; those without an entry, too.
                if index < Self::SLOTS
                    && head.tag(index) != 0
                    && read(tx, Self::key_at(leaf, index))?.is(tx, query)?
                {
                    return Ok(Some(index));
                }
                matches &= matches - 1;
            }
        }
        Ok(None)
    }

    /// An entry that is free.
    #[inline]
    pub(super) fn vacant(head: &Head) -> Option<usize> {
        (0..Self::SLOTS.div_ceil(8)).find_map(|word| {
            let free = zero_bytes(head.tags[word]);
            let index = word * 8 + free.trailing_zeros() as usize / 8;
            (free != 0 && index < Self::SLOTS).then_some(index)
        })
    }
}

impl Head {
    #[inline]
    pub(super) fn tag(&self, index: usize) -> u8 {
        (self.tags[index / 8] >> (index % 8 * 8)) as u8
    }

    pub(super) fn set_tag(&mut self, index: usize, tag: u8) {
        let shift = index % 8 * 8;
        self.tags[index / 8] &= !(0xff << shift);
        self.tags[index / 8] |= u64::from(tag) << shift;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags == [0; WORDS]
    }

    pub(super) fn set_place(&mut self, place: u64) {
        self.place = place;
    }

    /// The entries in use, ascending.
    pub(super) fn used(&self, slots: usize) -> impl Iterator<Item = usize> + use<> {
        let tags = self.tags;
        (0..slots).filter(move |index| tags[index / 8] >> (index % 8 * 8) as u8 & 0xff != 0)
    }
}

/// What the keys of a leaf of `depth`, `hash` among their hashes, have in common.
#[inline]
pub(super) fn place(hash: u64, depth: u32) -> u64 {
    (hash & !(u64::MAX >> depth)) | u64::from(depth)
}

/// The last byte of a hash, but never zero.
#[inline]
pub(super) fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// The head of the leaf at `leaf`, which must be one of `place` in a map of this `fingerprint`.
#[inline]
pub(super) fn head<'t>(
    tx: &'t Transaction<'_>,
    leaf: u64,
    fingerprint: u64,
    place: u64,
) -> Result<&'t Head> {
    let head = read(tx, Ptr::<Head>::at(leaf))?;
    if head.fingerprint == fingerprint && head.place == place {
        Ok(head)
    } else {
        Err(corrupt(WHAT))
    }
}

#[inline]
pub(super) fn head_mut<'t>(tx: &'t mut Transaction<'_>, leaf: u64) -> Result<&'t mut Head> {
    tx.get_mut(Ptr::<Head>::at(leaf))
        .map_err(|error| or_corrupt(error, WHAT))
}

/// What a leaf holds at `ptr`.
#[inline]
pub(super) fn read<'t, T: Plain>(tx: &'t Transaction<'_>, ptr: Ptr<T>) -> Result<&'t T> {
    tx.get(ptr).map_err(|error| or_corrupt(error, WHAT))
}

/// Writes what a leaf holds at `ptr`. Whoever might write there reads the leaf's tags, so that it need
/// not count as read.
#[inline]
fn write<T: Plain>(tx: &mut Transaction<'_>, ptr: Ptr<T>, value: T) -> Result<()> {
    tx.set(ptr, value).map_err(|error| or_corrupt(error, WHAT))
}

/// The highest bit of each byte that is zero, and of some after such a byte.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}
