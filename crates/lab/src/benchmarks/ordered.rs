//! Vectors, ordered maps and queues in the heap, against the standard library's of the same size. One
//! station, local cluster.

use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use plurix::collections::{HeapBTreeMap, HeapQueue, HeapVec};
use plurix::{Cluster, Station, Transaction};

use crate::figure::{Figure, Target};
use crate::rounds::{Extent, Plan, Random, nanoseconds_each};

/// Operations of one transaction that reads.
const READS: u64 = 1000;
/// Operations of one transaction that writes.
const WRITES: u64 = 100;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let size = match plan.extent {
        Extent::Quick => 100_000,
        Extent::Short | Extent::Full => 1_000_000,
    };
    let mut cluster = Cluster::local(1)?;
    let station = &mut cluster.stations()[0];
    Ok(vec![
        vector_gets(plan, station, size)?,
        vector_pushes(plan, station)?,
        tree_gets(plan, station, size)?,
        tree_range(plan, station, size)?,
        tree_inserts(plan, station)?,
        queue(plan, station)?,
    ])
}

/// Key `index` of a tree: in no order.
fn key(index: u64) -> u64 {
    Random(index).next()
}

/// Nanoseconds of an operation of the heap and of the standard library's, round by round; each gets a
/// random number.
fn reads(
    plan: &Plan,
    station: &mut Station,
    mut ours: impl FnMut(&Transaction<'_>, u64) -> plurix::Result<u64>,
    mut theirs: impl FnMut(u64) -> u64,
) -> Result<Vec<(f64, f64)>> {
    let count = plan.operations / READS * READS;
    let mut rounds = Vec::new();
    for round in 0..plan.rounds as u64 {
        let number = |step| Random(round << 32 | step).next();
        let floor = nanoseconds_each(count, || {
            let sum = (0..count).fold(0u64, |sum, step| sum.wrapping_add(theirs(number(step))));
            black_box(sum);
            Ok::<_, anyhow::Error>(())
        })?;
        let value = nanoseconds_each(count, || {
            for first in (0..count).step_by(READS as usize) {
                black_box(station.transaction(|tx| {
                    (first..first + READS).try_fold(0u64, |sum, step| {
                        Ok(sum.wrapping_add(ours(tx, number(step))?))
                    })
                })?);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        rounds.push((value, floor));
    }
    Ok(rounds)
}

/// Thousands of operations a second, ours by the clock: the station waits for each commit. Each gets the
/// number of the operation.
fn writes(
    plan: &Plan,
    station: &mut Station,
    mut ours: impl FnMut(&mut Transaction<'_>, u64) -> plurix::Result<()>,
    mut theirs: impl FnMut(u64),
) -> Result<Vec<(f64, f64)>> {
    let count = (plan.operations / 32).next_multiple_of(WRITES);
    let mut rounds = Vec::new();
    for round in 0..plan.rounds as u64 {
        let start = round * count;
        let floor = nanoseconds_each(count, || {
            (start..start + count).for_each(&mut theirs);
            Ok::<_, anyhow::Error>(())
        })?;
        let begun = Instant::now();
        for first in (start..start + count).step_by(WRITES as usize) {
            station
                .transaction(|tx| (first..first + WRITES).try_for_each(|step| ours(tx, step)))?;
        }
        let value = begun.elapsed().as_nanos() as f64 / count as f64;
        rounds.push((1e6 / value, 1e6 / floor));
    }
    Ok(rounds)
}

fn vector_gets(plan: &Plan, station: &mut Station, size: u64) -> Result<Figure> {
    let model: Vec<u64> = (0..size).collect();
    let vector = station.transaction(HeapVec::<u64>::create)?;
    for part in model.chunks(10_000) {
        station.transaction(|tx| vector.extend_from_slice(tx, part))?;
    }
    let below = |number: u64| Random(number).below(size);
    let rounds = reads(
        plan,
        station,
        |tx, number| Ok(*vector.get(tx, below(number))?.expect("it has so many")),
        |number| model[below(number) as usize],
    )?;
    Ok(Figure::against(
        "vector-get",
        format!("HeapVec::get of {size} cached words, {READS} in a transaction"),
        "ns",
        "Vec",
        &rounds,
        Target::None,
    ))
}

fn vector_pushes(plan: &Plan, station: &mut Station) -> Result<Figure> {
    let vector = station.transaction(HeapVec::<u64>::create)?;
    let mut model = Vec::new();
    let rounds = writes(
        plan,
        station,
        |tx, step| vector.push(tx, step).map(drop),
        |step| model.push(step),
    )?;
    Ok(Figure::against(
        "vector-push",
        format!("HeapVec::push, {WRITES} in a transaction"),
        "1000/s",
        "Vec::push",
        &rounds,
        Target::None,
    ))
}

type Tree = HeapBTreeMap<u64, u64>;

fn filled(station: &mut Station, size: u64) -> Result<(Tree, BTreeMap<u64, u64>)> {
    let tree = station.transaction(Tree::create)?;
    for first in (0..size).step_by(10_000) {
        let entries = (first..size.min(first + 10_000)).map(|index| (key(index), index));
        station.transaction(|tx| {
            let mut entries = entries.clone();
            entries.try_for_each(|(key, value)| tree.insert(tx, key, value).map(drop))
        })?;
    }
    Ok((tree, (0..size).map(|index| (key(index), index)).collect()))
}

fn tree_gets(plan: &Plan, station: &mut Station, size: u64) -> Result<Figure> {
    let (tree, model) = filled(station, size)?;
    let wanted = |number: u64| key(Random(number).below(size));
    let rounds = reads(
        plan,
        station,
        |tx, number| Ok(*tree.get(tx, wanted(number))?.expect("it was inserted")),
        |number| model[&wanted(number)],
    )?;
    Ok(Figure::against(
        "tree-get",
        format!(
            "HeapBTreeMap::get of {size} cached entries of two words, {READS} in a transaction"
        ),
        "ns",
        "BTreeMap::get",
        &rounds,
        Target::None,
    ))
}

fn tree_range(plan: &Plan, station: &mut Station, size: u64) -> Result<Figure> {
    let (tree, model) = filled(station, size)?;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let floor = nanoseconds_each(size, || {
            black_box(
                model
                    .values()
                    .fold(0u64, |sum, value| sum.wrapping_add(*value)),
            );
            Ok::<_, anyhow::Error>(())
        })?;
        let value = nanoseconds_each(size, || {
            let sum = station.transaction(|tx| {
                tree.iter(tx)?
                    .try_fold(0u64, |sum, entry| Ok(sum.wrapping_add(*entry?.1)))
            });
            sum.map(black_box).map(drop)
        })?;
        rounds.push((value, floor));
    }
    Ok(Figure::against(
        "tree-iterate",
        format!("an entry of a HeapBTreeMap of {size}, in order"),
        "ns",
        "BTreeMap",
        &rounds,
        Target::None,
    ))
}

fn tree_inserts(plan: &Plan, station: &mut Station) -> Result<Figure> {
    let tree = station.transaction(Tree::create)?;
    let mut model = BTreeMap::new();
    let rounds = writes(
        plan,
        station,
        |tx, step| tree.insert(tx, key(step), step).map(drop),
        |step| {
            model.insert(key(step), step);
        },
    )?;
    Ok(Figure::against(
        "tree-insert",
        format!("HeapBTreeMap::insert of new keys in no order, {WRITES} in a transaction"),
        "1000/s",
        "BTreeMap::insert",
        &rounds,
        Target::None,
    ))
}

fn queue(plan: &Plan, station: &mut Station) -> Result<Figure> {
    let queue = station.transaction(HeapQueue::<u64>::create)?;
    let mut model = VecDeque::new();
    let rounds = writes(
        plan,
        station,
        |tx, step| {
            queue.push(tx, step)?;
            // The second half of a transaction empties the queue.
            if step % WRITES >= WRITES / 2 {
                black_box(queue.pop(tx)?);
                black_box(queue.pop(tx)?);
            }
            Ok(())
        },
        |step| {
            model.push_back(step);
            if step % WRITES >= WRITES / 2 {
                black_box(model.pop_front());
                black_box(model.pop_front());
            }
        },
    )?;
    Ok(Figure::against(
        "queue",
        format!("HeapQueue: entries pushed and popped, {WRITES} in a transaction"),
        "1000/s",
        "VecDeque",
        &rounds,
        Target::None,
    ))
}
