//! The heap's collections: a map against the standard library's of the same size, how fast one station
//! fills it, and how often stations that work on different keys disturb each other.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use plurix::collections::{Counter, HeapMap};
use plurix::{Cluster, Station};

use crate::figure::{Figure, Target, number};
use crate::process::{Server, ServerKind, Transport};
use crate::rounds::{Extent, Plan, Random, nanoseconds_each};

type Map = HeapMap<u64, u64>;

/// Gets of one transaction.
const GETS: u64 = 1000;
/// Inserts of one transaction.
const INSERTS: u64 = 100;
/// Entries of the map that stations work on at once.
const SHARED: u64 = 1_000_000;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let is_quick = plan.extent == Extent::Quick;
    let mut figures = Vec::new();
    for size in [100_000, 1_000_000] {
        if size == 100_000 || !is_quick {
            figures.push(gets(plan, size)?);
        }
    }
    figures.push(inserts_by_rings(plan)?);
    figures.push(inserts_in_process(plan)?);
    figures.push(adds(plan)?);
    let shared = if is_quick { 100_000 } else { SHARED };
    for stations in [2, 4] {
        figures.push(conflicts(plan, stations, shared)?);
    }
    Ok(figures)
}

/// Key `index` of a benchmark: such that neither map sees a pattern.
fn key(index: u64) -> u64 {
    Random(index).next()
}

fn filled(station: &mut Station, size: u64) -> Result<Map> {
    let map = station.transaction(Map::create)?;
    for first in (0..size).step_by(10_000) {
        let entries = (first..size.min(first + 10_000)).map(|index| (key(index), index));
        station.transaction(|tx| map.extend(tx, entries.clone()))?;
    }
    Ok(map)
}

fn gets(plan: &Plan, size: u64) -> Result<Figure> {
    let mut cluster = Cluster::local(1)?;
    let station = &mut cluster.stations()[0];
    let map = filled(station, size)?;
    let model: HashMap<u64, u64> = (0..size).map(|index| (key(index), index)).collect();
    let count = plan.operations / GETS * GETS;
    let mut rounds = Vec::new();
    for round in 0..plan.rounds as u64 {
        let wanted = |step| key(Random(round << 32 | step).below(size));
        let floor = nanoseconds_each(count, || {
            let sum = (0..count).fold(0u64, |sum, step| sum.wrapping_add(model[&wanted(step)]));
            black_box(sum);
            Ok::<_, anyhow::Error>(())
        })?;
        let value = nanoseconds_each(count, || {
            for first in (0..count).step_by(GETS as usize) {
                black_box(station.transaction(|tx| {
                    let mut sum = 0u64;
                    for step in first..first + GETS {
                        let value = map.get(tx, wanted(step))?;
                        sum = sum.wrapping_add(*value.expect("each key was inserted"));
                    }
                    Ok(sum)
                })?);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        rounds.push((value, floor));
    }
    Ok(Figure::against(
        format!("map-get-{}k", size / 1000),
        format!("HeapMap::get of {size} cached entries of two words, {GETS} in a transaction"),
        "ns",
        "HashMap::get of as many",
        &rounds,
        Target::RatioAtMost(5.0),
    ))
}

fn inserts_by_rings(plan: &Plan) -> Result<Figure> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(directory.path(), ServerKind::default())?;
    let mut station = Station::join(&server.address, Transport::Shared.options())?;
    inserts(
        plan,
        &mut station,
        "map-insert",
        "page server of its own process",
    )
}

fn inserts_in_process(plan: &Plan) -> Result<Figure> {
    let mut cluster = Cluster::local(1)?;
    let station = &mut cluster.stations()[0];
    inserts(plan, station, "map-insert-local", "local cluster")
}

/// Fills one map, round by round.
fn inserts(plan: &Plan, station: &mut Station, name: &str, place: &str) -> Result<Figure> {
    let map = station.transaction(Map::create)?;
    let mut model = HashMap::new();
    let count = (plan.operations / 32).next_multiple_of(INSERTS);
    let mut rounds = Vec::new();
    for round in 0..plan.rounds as u64 {
        let entries = |first: u64, count: u64| (first..first + count).map(|i| (key(i), i));
        let start = round * count;
        let floor = nanoseconds_each(count, || {
            model.extend(entries(start, count));
            Ok::<_, anyhow::Error>(())
        })?;
        // By the clock: the station waits for each commit.
        let begun = Instant::now();
        for first in (start..start + count).step_by(INSERTS as usize) {
            station.transaction(|tx| map.extend(tx, entries(first, INSERTS)))?;
        }
        let value = begun.elapsed().as_nanos() as f64 / count as f64;
        rounds.push((1e6 / value, 1e6 / floor));
    }
    Ok(Figure::against(
        name,
        format!("HeapMap::insert of new keys, {INSERTS} in a transaction, one station, {place}"),
        "1000/s",
        "HashMap::insert",
        &rounds,
        Target::ValueAtLeast(300.0),
    ))
}

/// Commits and restarts of stations that worked at once, and how long it took, in seconds.
struct Work {
    commits: u64,
    restarts: u64,
    seconds: f64,
}

/// Lets each station run `each` transactions at the same time.
fn together(
    stations: &mut [Station],
    each: u64,
    work: impl Fn(&mut Station, u64, u64) -> plurix::Result<()> + Sync,
) -> Result<Work> {
    let count = |stations: &[Station]| {
        let all = stations.iter().map(Station::statistics);
        all.fold((0, 0), |(commits, restarts), found| {
            (commits + found.commits, restarts + found.restarts)
        })
    };
    let before = count(stations);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let work = &work;
        let threads = stations.iter_mut().zip(0..).map(|(station, number)| {
            scope.spawn(move || (0..each).try_for_each(|step| work(station, number, step)))
        });
        let threads: Vec<_> = threads.collect();
        let mut ended = threads.into_iter().map(|thread| thread.join());
        ended.try_for_each(|ended| ended.expect("a station's thread does not panic"))
    })?;
    let after = count(stations);
    Ok(Work {
        commits: after.0 - before.0,
        restarts: after.1 - before.1,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn adds(plan: &Plan) -> Result<Figure> {
    let mut cluster = Cluster::local(2)?;
    let stations = cluster.stations();
    let counter = stations[0].transaction(|tx| tx.named::<Counter>("counter"))?;
    for station in &mut *stations {
        station.latest()?;
    }
    let (mut rates, mut restarts) = (Vec::new(), 0);
    for _ in 0..plan.rounds {
        let work = together(stations, plan.round_trips as u64, |station, _, _| {
            station.transaction(|tx| counter.add(tx, 1))
        })?;
        rates.push(work.commits as f64 / work.seconds);
        restarts += work.restarts;
    }
    Ok(Figure::new(
        "counter-add",
        "Counter::add, one in a transaction, 2 stations of a local cluster",
        "commits/s",
        rates,
        Target::None,
    )
    .note(format!("{restarts} restarts")))
}

/// Stations insert and update keys of one map, each its own.
fn conflicts(plan: &Plan, count: u64, size: u64) -> Result<Figure> {
    const EACH: u64 = 5;
    let mut cluster = Cluster::local(count as usize)?;
    let stations = cluster.stations();
    let map = filled(&mut stations[0], size)?;
    for station in &mut *stations {
        station.latest()?;
        station.transaction(|tx| tx.alloc([0u64; 56]))?;
    }
    let transactions = plan.round_trips as u64 / 4;
    let (mut shares, mut rates) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds.min(7) as u64 {
        let work = together(stations, transactions, |station, number, step| {
            let first = ((round * transactions + step) * count + number) * EACH;
            station.transaction(|tx| {
                for index in first..first + EACH {
                    map.insert(tx, key(size + index), index)?;
                    map.update(tx, key(index % size), |value| *value += 1)?;
                }
                Ok(())
            })
        })?;
        shares.push(100.0 * work.restarts as f64 / work.commits as f64);
        rates.push(work.commits as f64 / work.seconds);
    }
    let rate = crate::figure::Spread::of(rates).median;
    Ok(Figure::new(
        format!("map-conflicts-{count}"),
        format!(
            "restarts in 100 commits: {EACH} inserts and {EACH} updates each, of different keys of {size}, {count} stations"
        ),
        "%",
        shares,
        Target::ValueAtMost(2.0),
    )
    .note(format!("{} commits/s", number(rate))))
}
