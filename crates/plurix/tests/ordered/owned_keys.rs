//! Ordered maps whose keys have memory of their own: it is freed exactly once, whether a leaf has the
//! key, an inner node, or both.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use plurix::collections::{HeapBTreeMap, Key, OrderedKey};
use plurix::{Ptr, Result, Transaction};
use proptest::prelude::*;

use super::{blocks, cluster, programs, run};

/// A number in a block of its own.
#[plurix::plain]
struct Boxed(Ptr<u64>);

impl Key for Boxed {
    type Query<'q> = u64;
    const OWNS: bool = true;

    fn hash_of(query: u64) -> u64 {
        query
    }

    fn hash(&self, tx: &Transaction<'_>) -> Result<u64> {
        tx.get(self.0).copied()
    }

    fn is(&self, tx: &Transaction<'_>, query: u64) -> Result<bool> {
        Ok(*tx.get(self.0)? == query)
    }

    fn store(tx: &mut Transaction<'_>, query: u64) -> Result<Self> {
        tx.alloc(query).map(Self)
    }

    fn release(self, tx: &mut Transaction<'_>) -> Result<()> {
        // Whoever still reads it is found out.
        tx.set(self.0, u64::MAX)?;
        tx.free(self.0)
    }
}

impl OrderedKey for Boxed {
    fn compare(&self, tx: &Transaction<'_>, query: u64) -> Result<Ordering> {
        Ok(tx.get(self.0)?.cmp(&query))
    }
}

fn contents(tx: &Transaction<'_>, map: HeapBTreeMap<Boxed, u64>) -> Result<BTreeMap<u64, u64>> {
    map.iter(tx)?
        .map(|entry| {
            let (key, value) = entry?;
            Ok((*tx.get(key.0)?, *value))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A step inserts or removes as many keys from one on.
    #[test]
    fn no_key_is_lost_or_freed_twice(
        programs in programs((any::<bool>(), 0u64..2000, 1u64..400)),
        is_cleared in any::<bool>(),
    ) {
        let mut cluster = cluster(3);
        let before = blocks(&mut cluster.stations()[0]);
        let map = cluster.stations()[0]
            .transaction(HeapBTreeMap::<Boxed, u64>::create)
            .unwrap();
        let model = run(&mut cluster, &programs, BTreeMap::new(), |tx, model, step| {
            let &(inserts, from, count) = step;
            for key in from..from + count {
                if inserts {
                    assert_eq!(map.insert(tx, key, key + 1)?, model.insert(key, key + 1));
                } else {
                    assert_eq!(map.remove(tx, key)?, model.remove(&key));
                }
            }
            Ok(())
        });
        let station = &mut cluster.stations()[2];
        station.latest().unwrap();
        let found = station.transaction(|tx| contents(tx, map)).unwrap();
        prop_assert_eq!(&found, &model);
        station.transaction(|tx| {
            if is_cleared {
                map.clear(tx)?;
            }
            map.destroy(tx)
        }).unwrap();
        prop_assert_eq!(blocks(station), before);
    }
}
