//! `HeapBTreeMap` against `BTreeMap`.

use std::collections::BTreeMap;
use std::ops::Bound;

use plurix::collections::HeapBTreeMap;
use plurix::{Plain, Result, Transaction};
use proptest::prelude::*;

use super::{blocks, cluster, programs, run};

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, u64),
    Set(u16, u64),
    Remove(u16),
    Get(u16),
    Count(u16),
    /// Inserts as many keys from one on, or removes them.
    InsertRun(u16, u16),
    RemoveRun(u16, u16),
    PopFirst,
    PopLast,
    Range(Bound<u16>, Bound<u16>, u8),
    Clear,
}

fn key() -> impl Strategy<Value = u16> {
    prop_oneof![0u16..64, 0u16..3000]
}

fn bound() -> impl Strategy<Value = Bound<u16>> {
    prop_oneof![
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (key(), any::<u64>()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => (key(), any::<u64>()).prop_map(|(key, value)| Step::Set(key, value)),
        5 => key().prop_map(Step::Remove),
        3 => key().prop_map(Step::Get),
        2 => key().prop_map(Step::Count),
        2 => (key(), 0u16..600).prop_map(|(from, count)| Step::InsertRun(from, count)),
        2 => (key(), 0u16..800).prop_map(|(from, count)| Step::RemoveRun(from, count)),
        1 => Just(Step::PopFirst),
        1 => Just(Step::PopLast),
        3 => (bound(), bound(), any::<u8>()).prop_map(|(from, to, sides)| Step::Range(from, to, sides)),
        1 => Just(Step::Clear),
    ]
}

/// A value of some size, made of a number.
trait Value: Plain + PartialEq + std::fmt::Debug {
    fn of(number: u64) -> Self;
}

impl Value for u64 {
    fn of(number: u64) -> Self {
        number
    }
}

impl Value for [u64; 40] {
    fn of(number: u64) -> Self {
        [number; 40]
    }
}

fn is_empty_or_inverted(from: Bound<u16>, to: Bound<u16>) -> bool {
    let (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) =
        (from, to)
    else {
        return false;
    };
    a > b || a == b && (matches!(from, Bound::Excluded(_)) || matches!(to, Bound::Excluded(_)))
}

/// Takes entries from both ends as the bits of `sides` say.
fn range<V: Value>(
    tx: &Transaction<'_>,
    map: HeapBTreeMap<u16, V>,
    model: &BTreeMap<u16, V>,
    (from, to): (Bound<u16>, Bound<u16>),
    sides: u8,
) -> Result<()> {
    let mut found = map.range(tx, (from, to))?;
    if is_empty_or_inverted(from, to) {
        assert!(found.next().is_none());
        return Ok(());
    }
    let mut expected = model.range((from, to));
    for turn in 0u32.. {
        let (entry, wanted) = if sides.rotate_left(turn) & 1 == 0 {
            (found.next(), expected.next())
        } else {
            (found.next_back(), expected.next_back())
        };
        assert_eq!(entry.transpose()?, wanted);
        if wanted.is_none() {
            break;
        }
    }
    Ok(())
}

fn take<V: Value>(
    tx: &mut Transaction<'_>,
    map: HeapBTreeMap<u16, V>,
    model: &mut BTreeMap<u16, V>,
    step: &Step,
) -> Result<()> {
    match *step {
        Step::Insert(key, number) => {
            let value = V::of(number);
            assert_eq!(map.insert(tx, key, value)?, model.insert(key, value));
        }
        Step::Set(key, number) => {
            let value = V::of(number);
            let was_there = model.insert(key, value).is_some();
            assert_eq!(map.set(tx, key, value)?, was_there);
        }
        Step::Remove(key) => assert_eq!(map.remove(tx, key)?, model.remove(&key)),
        Step::Get(key) => {
            assert_eq!(map.get(tx, key)?, model.get(&key));
            assert_eq!(map.contains(tx, key)?, model.contains_key(&key));
        }
        Step::Count(key) => {
            let value = map.get_or_insert_with(tx, key, || V::of(7))?;
            assert_eq!(value, model.entry(key).or_insert_with(|| V::of(7)));
            *value = V::of(9);
            model.insert(key, V::of(9));
        }
        Step::InsertRun(from, count) => {
            let run = from..from.saturating_add(count);
            map.extend(tx, run.clone().map(|key| (key, V::of(key.into()))))?;
            model.extend(run.map(|key| (key, V::of(key.into()))));
        }
        Step::RemoveRun(from, count) => {
            for key in from..from.saturating_add(count) {
                assert_eq!(map.remove(tx, key)?, model.remove(&key));
            }
        }
        Step::PopFirst => assert_eq!(map.pop_first(tx)?, model.pop_first()),
        Step::PopLast => assert_eq!(map.pop_last(tx)?, model.pop_last()),
        Step::Range(from, to, sides) => range(tx, map, model, (from, to), sides)?,
        Step::Clear => {
            map.clear(tx)?;
            model.clear();
        }
    }
    assert_eq!(map.len(tx)?, model.len() as u64);
    assert_eq!(map.first(tx)?, model.first_key_value());
    assert_eq!(map.last(tx)?, model.last_key_value());
    Ok(())
}

fn check<V: Value>(programs: &[super::Program<Step>]) {
    let mut cluster = cluster(3);
    let before = blocks(&mut cluster.stations()[0]);
    let map = cluster.stations()[0]
        .transaction(HeapBTreeMap::<u16, V>::create)
        .expect("nothing goes wrong here");
    let model = run(
        &mut cluster,
        programs,
        BTreeMap::new(),
        |tx, model, step| take(tx, map, model, step),
    );
    let station = &mut cluster.stations()[1];
    station.latest().expect("nothing goes wrong here");
    station
        .transaction(|tx| {
            let all = (Bound::Unbounded, Bound::Unbounded);
            for sides in [0, 0xff] {
                range(tx, map, &model, all, sides)?;
            }
            map.destroy(tx)
        })
        .expect("nothing goes wrong here");
    assert_eq!(blocks(station), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_ordered_map_is_what_std_says(programs in programs(step())) {
        check::<u64>(&programs);
    }

    #[test]
    fn so_is_one_whose_nodes_hold_few_entries(programs in programs(step())) {
        check::<[u64; 40]>(&programs);
    }
}

#[test]
fn a_sorted_input_fills_the_leaves() {
    let mut cluster = cluster(1);
    let station = &mut cluster.stations()[0];
    let before = blocks(station);
    let map = station
        .transaction(|tx| {
            let map = HeapBTreeMap::<u64, u64>::create(tx)?;
            map.extend(tx, (0..5000).map(|key| (key, key)))?;
            Ok(map)
        })
        .expect("nothing goes wrong here");
    // 100 full leaves of 50, two or three inner nodes and a root, and the header.
    assert!(blocks(station) - before <= 105);
    station
        .transaction(|tx| {
            for key in 0..5000 {
                map.remove(tx, key)?;
            }
            assert!(map.is_empty(tx)?);
            Ok(())
        })
        .expect("nothing goes wrong here");
    assert_eq!(blocks(station) - before, 2, "a header and a leaf");
}
