//! Maps against the standard library's, and how rarely stations conflict.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{HeapMap, HeapStr, Key};
use super::{MIB, assert_no_leak, cluster, is_other_layout, programs, run};
use crate::{Plain, Result, Transaction};

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, u64),
    InsertSome(u16, u16),
    Remove(u16),
    RemoveSome(u16, u16),
    Update(u16),
    GetOrInsert(u16),
    Retain(u16),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0u16..4000;
    prop_oneof![
        8 => (key(), any::<u64>()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => (key(), 1u16..600).prop_map(|(first, count)| Step::InsertSome(first, count)),
        4 => key().prop_map(Step::Remove),
        2 => (key(), 1u16..400).prop_map(|(first, count)| Step::RemoveSome(first, count)),
        3 => key().prop_map(Step::Update),
        3 => key().prop_map(Step::GetOrInsert),
        1 => (1u16..9).prop_map(Step::Retain),
        1 => Just(Step::Clear),
    ]
}

type Model = BTreeMap<u16, u64>;

/// Does `step` in the map, whose keys and values `key` and `value` make, and in the model.
fn play<K: Key, V: Plain + PartialEq + std::fmt::Debug>(
    map: HeapMap<K, V>,
    tx: &mut Transaction<'_>,
    model: &mut Model,
    step: &Step,
    insert: impl Fn(&mut Transaction<'_>, u16, V) -> Result<Option<V>>,
    remove: impl Fn(&mut Transaction<'_>, u16) -> Result<Option<V>>,
    value: impl Fn(u64) -> V + Copy,
) -> Result<()> {
    match *step {
        Step::Insert(key, new) => {
            let old = model.insert(key, new);
            assert_eq!(insert(tx, key, value(new))?, old.map(value));
        }
        Step::InsertSome(first, count) => {
            for key in first..first + count {
                let old = model.insert(key, u64::from(count));
                assert_eq!(insert(tx, key, value(count.into()))?, old.map(value));
            }
        }
        Step::Remove(key) => assert_eq!(remove(tx, key)?, model.remove(&key).map(value)),
        Step::RemoveSome(first, count) => {
            for key in first..first + count {
                assert_eq!(remove(tx, key)?, model.remove(&key).map(value));
            }
        }
        Step::Clear => {
            model.clear();
            map.clear(tx)?;
        }
        Step::Update(_) | Step::GetOrInsert(_) | Step::Retain(_) => {}
    }
    Ok(())
}

fn check_numbers(map: HeapMap<u16, u64>, tx: &Transaction<'_>, model: &Model) -> Result<()> {
    let found: Result<Model> = map
        .iter(tx)?
        .map(|entry| entry.map(|(k, v)| (*k, *v)))
        .collect();
    assert_eq!(&found?, model);
    assert_eq!(
        (map.len(tx)?, map.is_empty(tx)?),
        (model.len(), model.is_empty())
    );
    assert_eq!(map.keys(tx)?.count(), model.len());
    assert_eq!(map.values(tx)?.count(), model.len());
    for key in (0..4600).step_by(7) {
        assert_eq!(map.get(tx, key)?, model.get(&key), "{key}");
        assert_eq!(map.contains_key(tx, key)?, model.contains_key(&key));
    }
    let keys = [1, 2, 3, 3999];
    assert_eq!(map.get_many(tx, keys)?, keys.map(|key| model.get(&key)));
    Ok(())
}

fn number_step(
    map: HeapMap<u16, u64>,
    tx: &mut Transaction<'_>,
    model: &mut Model,
    step: &Step,
) -> Result<()> {
    match *step {
        Step::Update(key) => {
            let change = |value: &mut u64| {
                *value = value.wrapping_mul(3);
                *value
            };
            let changed = map.update(tx, key, change)?;
            assert_eq!(changed, model.get_mut(&key).map(change));
        }
        Step::GetOrInsert(key) => {
            let value = map.get_or_insert_with(tx, key, || 7)?;
            let expected = model.entry(key).or_insert(7);
            assert_eq!(value, expected);
            (*value, *expected) = (9, 9);
        }
        Step::Retain(modulus) => {
            model.retain(|key, value| (u64::from(*key) + *value) % u64::from(modulus) != 0);
            map.retain(tx, |_, key, value| {
                Ok((u64::from(*key) + *value) % u64::from(modulus) != 0)
            })?;
        }
        _ => {
            let insert = |tx: &mut Transaction<'_>, key, value| map.insert(tx, key, value);
            let remove = |tx: &mut Transaction<'_>, key| map.remove(tx, key);
            play(map, tx, model, step, insert, remove, |value| value)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_map_does_what_the_model_does(
        stations in 1usize..=3,
        programs in programs(step(), 12),
    ) {
        let mut cluster = cluster(stations, 8 * MIB);
        let made = cluster.stations()[0].transaction(HeapMap::<u16, u64>::create);
        let map = made.unwrap();
        run(
            &mut cluster,
            &programs,
            Model::new(),
            |tx, model, step| number_step(map, tx, model, step),
            |tx, model| check_numbers(map, tx, model),
        );
        let station = &mut cluster.stations()[0];
        station.transaction(|tx| map.destroy(tx)).unwrap();
        assert_no_leak(station);
    }

    #[test]
    fn a_map_of_strings_and_large_values_does_what_the_model_does(
        stations in 1usize..=2,
        programs in programs(step(), 6),
    ) {
        let mut cluster = cluster(stations, 64 * MIB);
        let made = cluster.stations()[0].transaction(HeapMap::<HeapStr, [u64; 30]>::create);
        let map = made.unwrap();
        let name = |key: u16| format!("key number {key}");
        run(
            &mut cluster,
            &programs,
            Model::new(),
            |tx, model, step| {
                let insert =
                    |tx: &mut Transaction<'_>, key, value| map.insert(tx, &name(key), value);
                let remove = |tx: &mut Transaction<'_>, key| map.remove(tx, &name(key));
                play(map, tx, model, step, insert, remove, |value| [value; 30])
            },
            |tx, model| {
                assert_eq!(map.len(tx)?, model.len());
                for (&key, &value) in model {
                    assert_eq!(map.get(tx, &name(key))?, Some(&[value; 30]));
                }
                for entry in map.iter(tx)? {
                    let (key, value) = entry?;
                    let key = key.as_str(tx)?.rsplit(' ').next().unwrap().parse().unwrap();
                    assert_eq!(model.get(&key), Some(&value[0]));
                }
                Ok(())
            },
        );
        let station = &mut cluster.stations()[0];
        station.transaction(|tx| map.destroy(tx)).unwrap();
        assert_no_leak(station);
    }
}

#[test]
fn a_map_emptied_key_by_key_keeps_little() {
    let mut cluster = cluster(1, 64 * MIB);
    let station = &mut cluster.stations()[0];
    let made = station.transaction(HeapMap::<u64, u64>::create);
    let map = made.unwrap();
    for first in (0..100_000).step_by(10_000) {
        let entries = (first..first + 10_000).map(|key| (key, key));
        station
            .transaction(|tx| map.extend(tx, entries.clone()))
            .unwrap();
    }
    let full = station.check_heap().unwrap().usage.allocated_bytes;
    assert!(full < 100_000 * 34, "{full} bytes for 1.6 MB");
    for first in (0..100_000).step_by(10_000) {
        let keys = first..first + 10_000;
        let removed = station.transaction(|tx| {
            keys.clone().try_for_each(|key| {
                assert_eq!(map.remove(tx, key)?, Some(key));
                Ok(())
            })
        });
        removed.unwrap();
    }
    // The header, the length, and the root.
    let usage = station.check_heap().unwrap().usage;
    assert_eq!(
        (usage.blocks, usage.allocated_bytes),
        (3, 128 + 512 + 32_768)
    );
    station.transaction(|tx| map.destroy(tx)).unwrap();
    assert_no_leak(station);
}

#[test]
fn maps_nest() {
    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    let result = station.transaction(|tx| {
        let outer = HeapMap::<u32, HeapMap<u32, u32>>::create(tx)?;
        for first in 0..10 {
            let inner = HeapMap::from_entries(tx, (0..first).map(|key| (key, first * key)))?;
            outer.insert(tx, first, inner)?;
        }
        let inner = *outer.get(tx, 7)?.unwrap();
        assert_eq!(inner.get(tx, 6)?, Some(&42));
        let inners: Result<Vec<_>> = outer.values(tx)?.map(|inner| inner.copied()).collect();
        for inner in inners? {
            inner.destroy(tx)?;
        }
        outer.destroy(tx)
    });
    result.unwrap();
    assert_no_leak(station);
}

#[test]
fn a_map_of_other_types_is_refused() {
    let mut cluster = cluster(1, 2 * MIB);
    let station = &mut cluster.stations()[0];
    let result = station.transaction(|tx| {
        let map = tx.named::<HeapMap<u32, u64>>("map")?;
        assert_eq!(tx.named::<HeapMap<u32, u64>>("map")?, map);
        assert!(is_other_layout(
            &tx.named::<HeapMap<u64, u64>>("map").unwrap_err()
        ));
        let other = HeapMap::<u64, u64>::from_ptr(crate::Ptr::at(map.as_ptr().offset()));
        assert!(is_other_layout(&other.get(tx, 1).unwrap_err()));
        assert!(is_other_layout(&other.insert(tx, 1, 1).unwrap_err()));
        map.destroy(tx)?;
        assert!(is_other_layout(&map.len(tx).unwrap_err()));
        Ok(())
    });
    result.unwrap();
}

#[test]
fn stations_that_insert_and_update_different_keys_rarely_conflict() {
    const STATIONS: u64 = 4;
    const EACH: u64 = 400;
    let mut cluster = cluster(STATIONS as usize, 64 * MIB);
    let made = cluster.stations()[0]
        .transaction(|tx| HeapMap::<u64, u64>::from_entries(tx, (0..100_000).map(|key| (key, 0))));
    let map = made.unwrap();
    let mut work: Vec<_> = cluster.stations().iter_mut().zip(0u64..).collect();
    for (station, _) in &mut work {
        // The first of a station takes pages for its arena from all.
        station.latest().unwrap();
        station.transaction(|tx| tx.alloc([0u64; 56])).unwrap();
    }
    let counts: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let threads = work.into_iter().map(|(station, number)| {
            scope.spawn(move || {
                let before = station.statistics();
                for step in 0..EACH {
                    let (new, old) = (1_000_000 + step * STATIONS, step * STATIONS);
                    station
                        .transaction(|tx| {
                            map.insert(tx, new + number, step)?;
                            map.update(tx, old + number, |value| *value += 1)
                        })
                        .unwrap();
                }
                let after = station.statistics();
                (
                    after.commits - before.commits,
                    after.restarts - before.restarts,
                )
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let commits: u64 = counts.iter().map(|(commits, _)| commits).sum();
    let restarts: u64 = counts.iter().map(|(_, restarts)| restarts).sum();
    println!("{restarts} restarts in {commits} commits of {STATIONS} stations");
    assert_eq!(commits, STATIONS * EACH);
    // Each commit writes a leaf of some 6,000; that another station just read it is as rare.
    assert!(restarts * 50 < commits, "{restarts} of {commits}");
    let station = &mut cluster.stations()[0];
    station.latest().unwrap();
    let length = station.transaction(|tx| map.len(tx)).unwrap();
    assert_eq!(length as u64, 100_000 + commits);
}
