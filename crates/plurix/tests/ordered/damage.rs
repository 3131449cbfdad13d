//! Garbage in headers, nodes and segments: a typed error, no panic, no endless loop.

use plurix::collections::{HeapBTreeMap, HeapQueue, HeapVec};
use plurix::{ErrorKind, Ptr, Result, Station, Transaction};
use proptest::prelude::*;

use super::cluster;

/// One of each, with some contents.
#[derive(Debug, Clone, Copy)]
struct All {
    vec: HeapVec<u64>,
    map: HeapBTreeMap<u64, u64>,
    queue: HeapQueue<u64>,
}

fn make(tx: &mut Transaction<'_>) -> Result<All> {
    let all = All {
        vec: HeapVec::create(tx)?,
        map: HeapBTreeMap::create(tx)?,
        queue: HeapQueue::create(tx)?,
    };
    all.vec.extend(tx, 0..200)?;
    all.map.extend(tx, (0..3000).map(|key| (key * 2, key)))?;
    all.queue.extend(tx, 0..300)?;
    for _ in 0..100 {
        all.queue.pop(tx)?;
    }
    Ok(all)
}

type Use = fn(&mut Transaction<'_>, All) -> Result<()>;

/// Some use of everything; each must end whatever the heap holds.
const USES: [Use; 12] = [
    |tx, all| all.vec.push(tx, 1).map(drop),
    |tx, all| all.vec.swap_remove(tx, 17).map(drop),
    |tx, all| all.vec.to_vec(tx).map(drop),
    |tx, all| all.vec.iter(tx)?.try_for_each(|value| value.map(drop)),
    |tx, all| all.vec.destroy(tx),
    |tx, all| {
        for key in (0..6000).step_by(7) {
            all.map.get(tx, key)?;
            all.map.insert(tx, key, key)?;
            all.map.remove(tx, key + 2)?;
        }
        Ok(())
    },
    |tx, all| all.map.iter(tx)?.try_for_each(|entry| entry.map(drop)),
    |tx, all| {
        let mut entries = all.map.range(tx, 100..5000)?.rev();
        entries.try_for_each(|entry| entry.map(drop))
    },
    |tx, all| all.map.destroy(tx),
    |tx, all| {
        for _ in 0..250 {
            all.queue.push(tx, 7)?;
            all.queue.pop(tx)?;
            all.queue.len(tx)?;
        }
        Ok(())
    },
    |tx, all| all.queue.iter(tx)?.try_for_each(|value| value.map(drop)),
    |tx, all| all.queue.destroy(tx),
];

fn use_all(station: &mut Station, all: All) -> Vec<ErrorKind> {
    let results = USES.iter().map(|one| {
        // Taken back, so that each meets the damage as it was made.
        let result = station.transaction(|tx| {
            one(tx, all)?;
            Err::<(), _>(tx.abort("as told"))
        });
        result.expect_err("it is taken back").into_kind()
    });
    results.collect()
}

fn is_undamaged(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Aborted(_))
}

/// Where the parts begin: headers, a segment, nodes of each level, another segment.
fn parts(tx: &Transaction<'_>, all: All) -> Result<[u64; 7]> {
    let word = |at: u64| tx.get(Ptr::<u64>::at(at)).copied();
    let [vec, map, queue] = [
        all.vec.as_ptr().offset(),
        all.map.as_ptr().offset(),
        all.queue.as_ptr().offset(),
    ];
    let root = word(map + 8)?;
    let first_leaf = word(root)?;
    Ok([
        vec,
        map,
        queue,
        word(queue + 8)?,
        root,
        first_leaf,
        word(first_leaf)?,
    ])
}

#[test]
fn what_is_of_other_types_or_destroyed_is_refused() {
    let mut cluster = cluster(1);
    let station = &mut cluster.stations()[0];
    let refused = |result: Result<()>| {
        let error = result.expect_err("it is none");
        assert!(
            matches!(error.kind(), ErrorKind::LayoutDiffers { .. }),
            "{error}"
        );
    };
    station
        .transaction(|tx| {
            let all = make(tx)?;
            let other = HeapVec::<u32>::from_ptr(Ptr::at(all.vec.as_ptr().offset()));
            refused(other.len(tx).map(drop));
            let other = HeapBTreeMap::<u64, u32>::from_ptr(Ptr::at(all.map.as_ptr().offset()));
            refused(other.get(tx, 2).map(drop));
            let other = HeapQueue::<i64>::from_ptr(Ptr::at(all.queue.as_ptr().offset()));
            refused(other.pop(tx).map(drop));
            tx.set_root("vec", all.vec.as_ptr())?;
            refused(tx.named::<HeapVec<i64>>("vec").map(drop));
            all.vec.destroy(tx)?;
            all.map.destroy(tx)?;
            all.queue.destroy(tx)?;
            refused(all.vec.push(tx, 1).map(drop));
            refused(all.map.insert(tx, 1, 1).map(drop));
            refused(all.queue.push(tx, 1));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_null_handle_leads_nowhere() {
    let mut cluster = cluster(1);
    let station = &mut cluster.stations()[0];
    let error = station.transaction(|tx| HeapVec::<u64>::null().push(tx, 1));
    assert!(matches!(error.unwrap_err().kind(), ErrorKind::Null));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn garbage_gives_an_error_and_neither_panics_nor_hangs(
        damage in prop::collection::vec((0usize..7, 0u64..256, any::<u32>(), 0u32..5), 1..6)
    ) {
        let mut cluster = cluster(1);
        let station = &mut cluster.stations()[0];
        let all = station.transaction(make).unwrap();
        prop_assert!(use_all(station, all).iter().all(is_undamaged));
        let parts = station.transaction(|tx| parts(tx, all)).unwrap();
        station.transaction(|tx| {
            for &(part, at, value, how) in &damage {
                // Mostly in the first lines, where the links are.
                let at = if at % 4 == 0 { at } else { at % 16 };
                let word = tx.get_mut(Ptr::<u32>::at(parts[part] + at * 4))?;
                *word = match how {
                    0 => value,
                    1 => value % 512,
                    2 => *word ^ (1 << (value % 32)),
                    // Links to other parts, and circles.
                    _ => parts[value as usize % parts.len()] as u32,
                };
            }
            Ok(())
        }).unwrap();
        for kind in use_all(station, all) {
            prop_assert!(is_undamaged(&kind) || matches!(
                kind,
                ErrorKind::Corrupt { .. } | ErrorKind::LayoutDiffers { .. }
                    | ErrorKind::OutOfMemory { .. } | ErrorKind::TooLarge { .. }
            ), "{kind}");
        }
    }
}
