//! Who is in whose way: a transaction that began before another one committed runs again only if they
//! meet in a line, which the number of runs shows.

use plurix::collections::{HeapBTreeMap, HeapQueue, HeapVec};
use plurix::{Cluster, Result, Station, Transaction};

use super::cluster;

/// How often `one` runs if `other` commits in the middle of its first run.
fn runs(
    cluster: &mut Cluster,
    one: impl Fn(&mut Transaction<'_>) -> Result<()>,
    other: impl Fn(&mut Transaction<'_>) -> Result<()>,
) -> u32 {
    let [first, second] = cluster.stations() else {
        unreachable!("there are two")
    };
    latest(first);
    latest(second);
    let mut runs = 0;
    first
        .transaction(|tx| {
            runs += 1;
            one(tx)?;
            if runs == 1 {
                second.transaction(&other)?;
            }
            Ok(())
        })
        .expect("nothing goes wrong here");
    runs
}

fn latest(station: &mut Station) {
    station.latest().expect("nothing goes wrong here");
}

#[test]
fn pushing_and_popping_conflict_only_where_the_queue_is_nearly_empty() {
    let mut cluster = cluster(2);
    let queue = cluster.stations()[0]
        .transaction(|tx| {
            let queue = HeapQueue::<u64>::create(tx)?;
            queue.extend(tx, 0..20)?;
            Ok(queue)
        })
        .expect("nothing goes wrong here");
    let pop = |tx: &mut Transaction<'_>| queue.pop(tx).map(drop);
    let push = |tx: &mut Transaction<'_>| queue.push(tx, 1);
    assert_eq!(runs(&mut cluster, pop, push), 1);
    assert_eq!(runs(&mut cluster, push, pop), 1);
    assert_eq!(runs(&mut cluster, pop, pop), 2);
    assert_eq!(runs(&mut cluster, push, push), 2);
    let empty = cluster.stations()[0].transaction(|tx| queue.clear(tx));
    empty.expect("nothing goes wrong here");
    let look = |tx: &mut Transaction<'_>| {
        let first = queue.pop(tx)?;
        tx.alloc(first.unwrap_or(0)).map(drop)
    };
    assert_eq!(runs(&mut cluster, look, push), 2, "it was empty and is not");
}

#[test]
fn a_known_element_conflicts_with_nobody_who_pushes() {
    let mut cluster = cluster(2);
    let (vec, third) = cluster.stations()[0]
        .transaction(|tx| {
            let vec = HeapVec::<u64>::create(tx)?;
            vec.extend(tx, 0..100)?;
            Ok((vec, vec.ptr(tx, 3)?.expect("there are a hundred")))
        })
        .expect("nothing goes wrong here");
    let push = |tx: &mut Transaction<'_>| vec.push(tx, 1).map(drop);
    let known = |tx: &mut Transaction<'_>| {
        *tx.get_mut(third)? += 1;
        Ok(())
    };
    let slot = |tx: &mut Transaction<'_>| {
        let fourth = vec.slot(tx, 4)?.expect("there are a hundred");
        tx.set(fourth, 1)
    };
    let index = |tx: &mut Transaction<'_>| vec.set(tx, 5, 1).map(drop);
    assert_eq!(runs(&mut cluster, known, push), 1);
    assert_eq!(runs(&mut cluster, slot, push), 1);
    assert_eq!(runs(&mut cluster, index, push), 2);
}

#[test]
fn a_changed_value_is_in_nobodys_way_but_its_readers() {
    let mut cluster = cluster(2);
    let map = cluster.stations()[0]
        .transaction(|tx| {
            let map = HeapBTreeMap::<u64, u64>::create(tx)?;
            map.extend(tx, (0..1000).map(|key| (2 * key, key)))?;
            Ok(map)
        })
        .expect("nothing goes wrong here");
    let add = |key: u64| {
        move |tx: &mut Transaction<'_>| {
            *map.get_mut(tx, key)?.expect("even keys are there") += 1;
            Ok(())
        }
    };
    let set = |tx: &mut Transaction<'_>| map.set(tx, 10, 1).map(drop);
    let insert = |tx: &mut Transaction<'_>| map.insert(tx, 11, 1).map(drop);
    let look = |tx: &mut Transaction<'_>| {
        let found = map.contains(tx, 10)?;
        tx.alloc(u64::from(found)).map(drop)
    };
    // A line has eight values, a leaf fifty.
    assert_eq!(runs(&mut cluster, add(10), add(40)), 1);
    assert_eq!(runs(&mut cluster, add(10), add(10)), 2);
    assert_eq!(runs(&mut cluster, set, set), 1);
    assert_eq!(runs(&mut cluster, look, set), 1);
    assert_eq!(runs(&mut cluster, look, insert), 2);
    assert_eq!(runs(&mut cluster, add(1000), insert), 1);
}
