//! Activities: claimed, run and completed exactly once, also when stations end in the middle.

#![allow(clippy::unwrap_used)]

use std::thread;

use plurix::activity::{Activity, Done, Spawned, Work};
use plurix::{Cluster, ErrorKind, Ptr, Result, Station};

struct Add;

impl Activity for Add {
    const NAME: &'static str = "add";
    type Argument = [u64; 2];
    type Output = u64;

    fn run(work: Work<'_, Self>, [counter, amount]: [u64; 2]) -> Result<Done<Self>> {
        work.complete(|tx| {
            *tx.get_mut(Ptr::<u64>::at(counter))? += amount;
            Ok(amount)
        })
    }
}

struct Nest;

impl Activity for Nest {
    const NAME: &'static str = "nest";
    type Argument = [u64; 2];
    type Output = u64;

    fn run(work: Work<'_, Self>, [counter, depth]: [u64; 2]) -> Result<Done<Self>> {
        work.complete(|tx| {
            if depth > 0 {
                tx.spawn::<Self>([counter, depth - 1])?;
                tx.spawn::<Self>([counter, depth - 1])?;
            }
            tx.spawn::<Add>([counter, 1])?;
            Ok(depth)
        })
    }
}

struct Fail;

impl Activity for Fail {
    const NAME: &'static str = "fail";
    type Argument = u64;
    type Output = u64;

    fn run(work: Work<'_, Self>, _: u64) -> Result<Done<Self>> {
        work.complete(|tx| Err(tx.abort("no such thing")))
    }
}

fn register(station: &mut Station) {
    station.register::<Add>();
    station.register::<Nest>();
}

fn counter(station: &mut Station) -> Ptr<u64> {
    station.transaction(|tx| tx.alloc(0u64)).unwrap()
}

fn value(station: &mut Station, counter: Ptr<u64>) -> u64 {
    station.latest().unwrap();
    station.transaction(|tx| Ok(*tx.get(counter)?)).unwrap()
}

#[test]
fn activities_that_spawn_activities_are_all_run_once() {
    let mut cluster = Cluster::local(3).unwrap();
    let counter = counter(&mut cluster.stations()[0]);
    let root = [counter.offset(), 6];
    cluster.stations()[0]
        .transaction(|tx| tx.spawn::<Nest>(root).map(drop))
        .unwrap();
    thread::scope(|scope| {
        for station in cluster.stations() {
            register(station);
            station.latest().unwrap();
            scope.spawn(|| station.wait_all().unwrap());
        }
    });
    let station = &mut cluster.stations()[0];
    assert_eq!(value(station, counter), 127);
    let progress = station.activities().unwrap();
    assert_eq!((progress.completed, progress.outstanding()), (254, 0));
}

#[test]
fn results_can_be_taken() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    register(station);
    let counter = counter(station);
    let before = station.usage().unwrap();
    let spawned: Spawned<u64> = station
        .transaction(|tx| tx.spawn::<Add>([counter.offset(), 5]))
        .unwrap();
    assert_eq!(station.transaction(|tx| tx.result(spawned)).unwrap(), None);
    station.wait_all().unwrap();
    assert_eq!(
        station.transaction(|tx| tx.take_result(spawned)).unwrap(),
        Some(5)
    );
    assert_eq!(
        station.usage().unwrap().allocated_bytes,
        before.allocated_bytes
    );
    station.check_heap().unwrap();
}

#[test]
fn a_failure_is_told_and_nothing_waits_for_it() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    station.register::<Fail>();
    let spawned = station.transaction(|tx| tx.spawn::<Fail>(0)).unwrap();
    let error = station.wait_all().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ActivityFailed { name, .. } if name == "fail"));
    assert!(station.transaction(|tx| tx.result(spawned)).is_err());
    assert_eq!(station.forget_failures().unwrap(), 1);
    station.wait_all().unwrap();
}

#[test]
fn what_nobody_registered_is_named_and_stays_pending() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    station
        .transaction(|tx| tx.spawn::<Fail>(0).map(drop))
        .unwrap();
    let error = station.wait_all().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotRegistered(name) if name == "fail"));
    assert_eq!(station.activities().unwrap().pending, 1);
}

/// Dies with its first claim: panics in the middle of it.
struct Deadly;

impl Activity for Deadly {
    const NAME: &'static str = "add";
    type Argument = [u64; 2];
    type Output = u64;

    fn run(_: Work<'_, Self>, _: [u64; 2]) -> Result<Done<Self>> {
        panic!("this station dies here");
    }
}

#[test]
fn the_claim_of_a_dead_station_is_run_by_another() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    register(station);
    let counter = counter(station);
    station
        .transaction(|tx| tx.spawn::<Add>([counter.offset(), 3]).map(drop))
        .unwrap();
    let mut victim = cluster.join().unwrap();
    let died = thread::spawn(move || {
        victim.register::<Deadly>();
        victim.latest().unwrap();
        victim.run_activity()
    });
    assert!(died.join().is_err());
    let station = &mut cluster.stations()[0];
    station.latest().unwrap();
    station.wait_all().unwrap();
    assert_eq!(value(station, counter), 3);
}
