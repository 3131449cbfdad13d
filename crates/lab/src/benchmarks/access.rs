//! What the library costs where no message is sent: reads and writes of cached objects, and the
//! frame of a transaction around them.

use std::hint::black_box;
use std::sync::Mutex;

use anyhow::Result;
use plurix::{Cluster, Station, Transaction};
use plurix_wire::LINE_BYTES;

use super::cells::cell;
use crate::figure::{Figure, Target};
use crate::machine::Pinned;
use crate::rounds::{Plan, nanoseconds_each};

/// Pages among which the accesses wander; their lines fit the second-level cache.
const PAGES: u64 = 64;
const LINES: u64 = 64;
/// Lines among which repeated accesses wander.
const HOT_PAGES: u64 = 16;
const HOT_LINES: u64 = 8;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let _pinned = Pinned::to(0)?;
    let mut cluster = Cluster::local(1)?;
    let station = &mut cluster.stations()[0];
    fill(station)?;
    Ok(vec![
        repeated_reads(station, plan)?,
        repeated_opens(station, plan)?,
        first_opens(station, plan)?,
        read_only_transactions(station, plan)?,
    ])
}

fn fill(station: &mut Station) -> Result<()> {
    for page in 0..PAGES {
        station.transaction(|tx| {
            (0..LINES).try_for_each(|line| tx.set(cell(page, line), page * LINES + line))
        })?;
    }
    // Once more, to have every page here before anything is timed.
    Ok(station.transaction(|tx| {
        for page in 0..PAGES {
            black_box(tx.get(cell(page, 0))?);
        }
        Ok(())
    })?)
}

/// Runs `timed` in a transaction that is then given up, so that no commit is sent.
fn in_transaction(
    station: &mut Station,
    mut timed: impl FnMut(&mut Transaction<'_>) -> plurix::Result<f64>,
) -> Result<f64> {
    let mut taken = 0.0;
    let given_up = station.transaction(|tx| {
        taken = timed(tx)?;
        Err::<(), _>(tx.abort("measured"))
    });
    match given_up {
        Err(error) if matches!(error.kind(), plurix::ErrorKind::Aborted(_)) => Ok(taken),
        Err(error) => Err(error.into()),
        Ok(()) => unreachable!("the transaction is given up"),
    }
}

/// Page and line of one step of a walk that no compiler can foresee.
fn hot(step: u64) -> (u64, u64) {
    black_box((step % HOT_PAGES, step % HOT_LINES))
}

/// Plain memory of the same shape, for the floors.
fn plain(pages: u64) -> Vec<u64> {
    vec![1; (pages * LINES) as usize * LINE_BYTES / 8]
}

fn plain_index((page, line): (u64, u64)) -> usize {
    (page * LINES + line) as usize * LINE_BYTES / 8
}

fn repeated_reads(station: &mut Station, plan: &Plan) -> Result<Figure> {
    let memory = plain(HOT_PAGES);
    let count = plan.operations;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let floor = nanoseconds_each(count, || {
            let sum = (0..count).fold(0u64, |sum, step| sum + memory[plain_index(hot(step))]);
            black_box(sum);
            Ok::<_, anyhow::Error>(())
        })?;
        let value = in_transaction(station, |tx| {
            nanoseconds_each(count, || {
                let mut sum = 0u64;
                for step in 0..count {
                    let (page, line) = hot(step);
                    sum += *tx.get(cell(page, line))?;
                }
                black_box(sum);
                Ok(())
            })
        })?;
        rounds.push((value, floor));
    }
    Ok(Figure::against(
        "get",
        "tx.get of a cached object",
        "ns",
        "the same reads of a vector",
        &rounds,
        Target::ValueAtMost(10.0),
    ))
}

fn repeated_opens(station: &mut Station, plan: &Plan) -> Result<Figure> {
    let mut memory = plain(HOT_PAGES);
    let count = plan.operations;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let floor = nanoseconds_each(count, || {
            (0..count).for_each(|step| memory[plain_index(hot(step))] += 1);
            black_box(&memory);
            Ok::<_, anyhow::Error>(())
        })?;
        let value = in_transaction(station, |tx| {
            nanoseconds_each(count, || {
                for step in 0..count {
                    let (page, line) = hot(step);
                    *tx.get_mut(cell(page, line))? += 1;
                }
                Ok(())
            })
        })?;
        rounds.push((value, floor));
    }
    Ok(Figure::against(
        "get_mut",
        "repeated tx.get_mut",
        "ns",
        "the same increments in a vector",
        &rounds,
        Target::ValueAtMost(10.0),
    ))
}

fn first_opens(station: &mut Station, plan: &Plan) -> Result<Figure> {
    let memory = plain(PAGES);
    let mut saved = vec![0u64; memory.len()];
    let count = PAGES * LINES;
    let words = LINE_BYTES / 8;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds * 5 {
        let floor = nanoseconds_each(count, || {
            for line in 0..count as usize {
                let at = black_box(line * words);
                saved[at..at + words].copy_from_slice(&memory[at..at + words]);
            }
            black_box(&saved);
            Ok::<_, anyhow::Error>(())
        })?;
        let value = in_transaction(station, |tx| {
            nanoseconds_each(count, || {
                for line in 0..count {
                    let (page, line) = black_box((line / LINES, line % LINES));
                    *tx.get_mut(cell(page, line))? += 1;
                }
                Ok(())
            })
        })?;
        rounds.push((value, floor));
    }
    Ok(Figure::against(
        "first-get_mut",
        "first tx.get_mut of a line in a cached page",
        "ns",
        "to copy the line",
        &rounds,
        Target::ValueAtMost(60.0),
    )
    .note(format!(
        "{count} lines of {PAGES} pages, ascending, in one transaction"
    )))
}

fn read_only_transactions(station: &mut Station, plan: &Plan) -> Result<Figure> {
    let memory = plain(HOT_PAGES);
    let baton = Mutex::new(());
    let count = plan.operations / 8;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let floor = nanoseconds_each(count, || {
            for step in 0..count {
                let held = baton.lock();
                let four = step..step + 4;
                black_box(four.fold(0u64, |sum, step| sum + memory[plain_index(hot(step))]));
                drop(held);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        let value = nanoseconds_each(count, || {
            for step in 0..count {
                black_box(station.transaction(|tx| {
                    let mut sum = 0u64;
                    for step in step..step + 4 {
                        let (page, line) = hot(step);
                        sum += *tx.get(cell(page, line))?;
                    }
                    Ok(sum)
                })?);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        rounds.push((value, floor));
    }
    Ok(Figure::against(
        "read-only",
        "a transaction of 4 cached reads",
        "ns",
        "4 reads of a vector under a lock",
        &rounds,
        Target::ValueAtMost(200.0),
    ))
}
