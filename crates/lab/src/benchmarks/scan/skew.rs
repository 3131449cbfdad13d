//! Small transactions on a heap of 16 times the cache, of which a tenth gets nine of ten accesses, against
//! the same ones by a station that has all of the heap.

use std::time::Instant;

use anyhow::Result;
use plurix::Station;
use plurix_wire::PAGE_BYTES;

use super::{PIECE_PAGES, scan, server};
use crate::benchmarks::cells::cell;
use crate::figure::{Figure, Spread, Target, number};
use crate::machine::Pinned;
use crate::process::Transport;
use crate::rounds::{Plan, Random};

/// The heap, in caches.
const HEAP_CACHES: u64 = 16;
/// Objects that a transaction reads; it changes the last of them.
const READS: u64 = 4;

pub(super) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let _pinned = Pinned::to(0)?;
    let directory = tempfile::tempdir()?;
    let pages = plan.heap_pages;
    let server = server(directory.path(), Transport::Shared, pages)?;
    let mut options = Transport::Shared.options();
    let mut whole = Station::join(&server.address, options.clone())?;
    options.cache_bytes = pages * PAGE_BYTES as u64 / HEAP_CACHES;
    let mut small = Station::join(&server.address, options)?;
    scan(&mut whole, pages, PIECE_PAGES)?;
    let mut random = Random(11);
    // Until the small cache holds what it will.
    work(plan, &mut small, pages, &mut random)?;
    let (mut rounds, mut misses) = (Vec::new(), Vec::new());
    for _ in 0..plan.throughput_rounds {
        let (all, _) = work(plan, &mut whole, pages, &mut random)?;
        let (some, missed) = work(plan, &mut small, pages, &mut random)?;
        rounds.push((some, all));
        misses.push(missed);
    }
    let missed = number(Spread::of(misses).median);
    Ok(vec![
        Figure::against(
            "heap-16x",
            format!(
                "transactions that read {READS} objects and change one, {} at 90/10, a cache of a 16th",
                plan.heap()
            ),
            "1/s",
            "the same with all of the heap here",
            &rounds,
            Target::None,
        )
        .note(format!("{missed} misses a transaction")),
    ])
}

/// Works for a round; answers transactions a second, and misses of each.
fn work(plan: &Plan, station: &mut Station, pages: u64, random: &mut Random) -> Result<(f64, f64)> {
    let before = station.statistics();
    let begun = Instant::now();
    while begun.elapsed() < plan.throughput_round {
        let chosen: [u64; READS as usize] = std::array::from_fn(|_| choose(random, pages));
        let line = random.below(64);
        station.transaction(|tx| {
            for page in &chosen {
                tx.get(cell(*page, line))?;
            }
            *tx.get_mut(cell(chosen[READS as usize - 1], line))? += 1;
            Ok(())
        })?;
    }
    let taken = begun.elapsed().as_secs_f64();
    let now = station.statistics();
    let commits = (now.commits - before.commits) as f64;
    Ok((
        commits / taken,
        (now.misses - before.misses) as f64 / commits,
    ))
}

/// A page: one of the tenth that is used most, nine times of ten, and these lie apart.
fn choose(random: &mut Random, pages: u64) -> u64 {
    let hot = pages / 10;
    if random.below(10) < 9 {
        random.below(hot) * 10
    } else {
        random.below(pages)
    }
}
