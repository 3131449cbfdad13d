//! The counts of all words, in the heap: a hash table with chained entries.
//!
//! ```text
//!  buckets   ─┬───┬───┬───┬─── … ───┬───┐
//!             │   │ ● │   │ ●       │   │     partition 0 │ partition 1 │ …
//!             └───┴─┼─┴───┴─┼───────┴───┘
//!                   ▼       ▼
//!                 entry   entry ─► entry      next, hash, count, length, and the word itself
//! ```
//!
//! A bucket is a word's hash scaled to the number of buckets, and a partition is a range of them, so
//! that two stations that merge different partitions meet nowhere. The number of buckets is fixed:
//! it follows from the length of the text, and buckets that are never used cost no memory. Entries
//! that come together lie together, each beside its word, so that most probes touch one line.

use plurix::{Ptr, Result, Transaction, plain};
use zerocopy::IntoBytes;

use crate::run::element;

/// Partitions of a table.
pub(super) const PARTITIONS: usize = 16;
/// A natural text has about one new word in so many bytes, or less.
const TEXT_BYTES_PER_BUCKET: u64 = 64;
const BUCKETS_MIN: u64 = 1 << 10;
const BUCKETS_MAX: u64 = 1 << 22;

/// A table's place in the heap.
#[plain]
pub(super) struct Table {
    buckets: Ptr<[Ptr<Entry>]>,
}

/// A word and its count; the word's bytes follow.
#[plain]
pub(super) struct Entry {
    next: Ptr<Entry>,
    hash: u64,
    count: u64,
    /// Length of the word in bytes.
    length: u64,
}

/// How often a word was seen somewhere.
pub(super) struct Counted<'a> {
    hash: u64,
    word: &'a [u8],
    count: u64,
}

/// Sorts counts into the partitions of any table.
pub(super) fn partition<'a>(
    counts: impl IntoIterator<Item = (&'a [u8], u64)>,
) -> [Vec<Counted<'a>>; PARTITIONS] {
    let mut partitions = [const { Vec::new() }; PARTITIONS];
    for (word, count) in counts {
        let hash = hash(word);
        partitions[scale(hash, PARTITIONS)].push(Counted { hash, word, count });
    }
    partitions
}

impl Table {
    /// An empty table for the words of `text_bytes` bytes of text.
    pub(super) fn new(tx: &mut Transaction<'_>, text_bytes: u64) -> Result<Self> {
        let expected = (text_bytes / TEXT_BYTES_PER_BUCKET).clamp(BUCKETS_MIN, BUCKETS_MAX);
        let buckets = tx.alloc_slice(expected.next_power_of_two() as usize)?;
        Ok(Self { buckets })
    }

    /// Adds `words`, which are distinct and of one partition.
    pub(super) fn merge(&self, tx: &mut Transaction<'_>, words: &[Counted<'_>]) -> Result<()> {
        let mut new = Vec::new();
        for word in words {
            match self.find(tx, word)? {
                Some(entry) => tx.get_mut(entry)?.count += word.count,
                None => new.push(word),
            }
        }
        self.insert(tx, &new)
    }

    /// All words of a partition with their counts, in no order.
    pub(super) fn words(
        &self,
        tx: &Transaction<'_>,
        partition: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>> {
        let length = self.buckets.len() / PARTITIONS;
        let mut words = Vec::new();
        for bucket in partition * length..(partition + 1) * length {
            let mut next = *tx.get(element(self.buckets, bucket)?)?;
            while !next.is_null() {
                let entry = tx.get(next)?;
                words.push((tx.get(entry.word(next))?.to_vec(), entry.count));
                next = entry.next;
            }
        }
        Ok(words)
    }

    fn find(&self, tx: &Transaction<'_>, wanted: &Counted<'_>) -> Result<Option<Ptr<Entry>>> {
        let mut next = *tx.get(self.bucket(wanted.hash)?)?;
        while !next.is_null() {
            let entry = tx.get(next)?;
            if entry.hash == wanted.hash && tx.get(entry.word(next))? == wanted.word {
                return Ok(Some(next));
            }
            next = entry.next;
        }
        Ok(None)
    }

    /// Puts words that are not there yet into one block of entries.
    fn insert(&self, tx: &mut Transaction<'_>, words: &[&Counted<'_>]) -> Result<()> {
        let bytes: usize = words.iter().map(|word| Entry::bytes(word.word)).sum();
        // A slice of words, for the alignment of the entries.
        let block = tx.alloc_slice::<u64>(bytes / size_of::<u64>())?;
        let mut contents = Vec::with_capacity(bytes);
        for word in words {
            let bucket = self.bucket(word.hash)?;
            let entry = Entry {
                next: *tx.get(bucket)?,
                hash: word.hash,
                count: word.count,
                length: word.word.len() as u64,
            };
            tx.set(bucket, Ptr::at(block.offset() + contents.len() as u64))?;
            contents.extend_from_slice(entry.as_bytes());
            contents.extend_from_slice(word.word);
            contents.resize(contents.len().next_multiple_of(size_of::<u64>()), 0);
        }
        tx.set_slice(Ptr::slice_at(block.offset(), bytes as u64), &contents)
    }

    fn bucket(&self, hash: u64) -> Result<Ptr<Ptr<Entry>>> {
        element(self.buckets, scale(hash, self.buckets.len()))
    }
}

impl Entry {
    /// Bytes of an entry with its word.
    fn bytes(word: &[u8]) -> usize {
        (size_of::<Self>() + word.len()).next_multiple_of(size_of::<u64>())
    }

    /// The word of the entry that lies at `own`.
    fn word(&self, own: Ptr<Self>) -> Ptr<[u8]> {
        Ptr::slice_at(
            own.offset().saturating_add(size_of::<Self>() as u64),
            self.length,
        )
    }
}

/// A number below `count` that grows with the hash.
fn scale(hash: u64, count: usize) -> usize {
    ((u128::from(hash) * count as u128) >> 64) as usize
}

/// FNV-1a (Fowler, Noll, Vo), with the finaliser of MurmurHash3 (Appleby) to fill the upper bits:
/// it is part of the heap's format, so it is not left to a library.
fn hash(word: &[u8]) -> u64 {
    let mut hash = word.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plurix::Cluster;
    use proptest::prelude::*;

    use super::super::tally;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn merged_counts_are_those_of_a_map(
            texts in prop::collection::vec("([ab]{0,3}|[a-z]{30,90} ){0,60}", 1..12),
        ) {
            let mut cluster = Cluster::local(1).unwrap();
            let station = &mut cluster.stations()[0];
            let table = station.transaction(|tx| Table::new(tx, 0)).unwrap();
            let mut model = BTreeMap::<Vec<u8>, u64>::new();
            for text in &texts {
                let counts = tally(text.as_bytes());
                counts.iter().for_each(|(word, count)| *model.entry(word.to_vec()).or_default() += count);
                for words in &partition(counts) {
                    station.transaction(|tx| table.merge(tx, words)).unwrap();
                }
            }
            let mut found = BTreeMap::new();
            for partition in 0..PARTITIONS {
                let words = station.transaction(|tx| table.words(tx, partition)).unwrap();
                for (word, count) in words {
                    prop_assert!(found.insert(word, count).is_none(), "a word has one entry");
                }
            }
            prop_assert_eq!(found, model);
        }
    }
}
