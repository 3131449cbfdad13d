//! Maps whose bytes anybody has written over: an error, no panic, no endless loop.

use proptest::prelude::*;

use super::super::HeapMap;
use super::{MIB, cluster, is_corrupt};
use crate::station::Station;
use crate::{Ptr, Result, Transaction};

const KEYS: u32 = 20_000;

fn filled(station: &mut Station) -> HeapMap<u32, u64> {
    let entries = || (0..KEYS).map(|key| (key, u64::from(key)));
    let made = station.transaction(|tx| HeapMap::from_entries(tx, entries()));
    made.unwrap()
}

/// Everything that a map can do; whatever it answers.
fn try_all(map: HeapMap<u32, u64>, tx: &mut Transaction<'_>) {
    for key in (0..KEYS).step_by(97) {
        let _ = map.get(tx, key).map(|value| value.copied());
        let _ = map.update(tx, key, |value| *value += 1);
        let _ = map.insert(tx, key + KEYS, 5);
        let _ = map.remove(tx, key);
    }
    let _ = map.len(tx);
    if let Ok(entries) = map.iter(tx) {
        entries.for_each(drop);
    }
    let _ = map.retain(tx, |_, key, _| Ok(key % 2 == 0));
    let _ = map.destroy(tx);
}

/// Where the root's slots, a slot's node and a leaf of the map are.
fn parts(map: HeapMap<u32, u64>, tx: &Transaction<'_>) -> Result<Vec<u64>> {
    let header = map.as_ptr().offset();
    let root = *tx.get(Ptr::<u64>::at(header + 8))? & !63;
    let first = *tx.get(Ptr::<u64>::at(root))? & !63;
    let last = *tx.get(Ptr::<u64>::at(root + 4095 * 8))? & !63;
    Ok(vec![header, header + 64, root, first, last])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_written_into_a_map_there_is_an_error_at_worst(
        damages in prop::collection::vec((0usize..5, 0u64..64, any::<u64>(), 0usize..4), 1..6),
    ) {
        let mut cluster = cluster(1, 8 * MIB);
        let station = &mut cluster.stations()[0];
        let map = filled(station);
        let result = station.transaction(|tx| {
            let parts = parts(map, tx)?;
            for &(part, word, value, kind) in &damages {
                // Garbage, links to the map's own parts as nodes and leaves, and single bits.
                let at = Ptr::<u64>::at(parts[part] + word * 8);
                let old = *tx.get(at)?;
                let value = match kind {
                    0 => value,
                    1 => parts[value as usize % 5] + 60 + value / 8 % 4,
                    2 => parts[value as usize % 5] + value / 8 % 58,
                    _ => old ^ 1 << (value % 64),
                };
                tx.set(at, value)?;
            }
            try_all(map, tx);
            Err::<(), _>(tx.abort("seen"))
        });
        prop_assert!(result.is_err());
    }
}

#[test]
fn a_directory_that_leads_to_itself_has_an_end() {
    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    let map = filled(station);
    let result = station.transaction(|tx| {
        let root_link = Ptr::<u64>::at(map.as_ptr().offset() + 8);
        let root = *tx.get(root_link)?;
        let slots = Ptr::<[u64]>::slice_at(root & !63, 4096);
        for link in [root, (root & !63) + 60] {
            tx.get_mut(slots)?.fill(link);
            assert!(is_corrupt(&map.get(tx, 1).unwrap_err()));
            assert!(
                map.iter(tx)?
                    .last()
                    .is_some_and(|last| is_corrupt(&last.unwrap_err()))
            );
        }
        // Nodes of nothing but nodes of nothing.
        let mut below = 0;
        for _ in 0..9 {
            let node = tx.alloc([below; 64])?;
            below = node.offset() + 61;
        }
        tx.get_mut(slots)?.fill(below);
        assert!(is_corrupt(&map.iter(tx)?.next().unwrap().unwrap_err()));
        assert!(is_corrupt(&map.clear(tx).unwrap_err()));
        Err::<(), _>(tx.abort("seen"))
    });
    assert!(result.is_err());
}
