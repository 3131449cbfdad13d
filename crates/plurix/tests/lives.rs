//! Who has taken something, and whether that life still lasts.

#![allow(clippy::unwrap_used)]

use std::thread;

use plurix::{Cluster, Incarnation, Result, Station};

fn sees(station: &mut Station, life: Incarnation) -> bool {
    station.latest().unwrap();
    station.transaction(|tx| Ok(tx.is_alive(life))).unwrap()
}

#[test]
fn a_transaction_runs_in_the_life_of_its_station_and_none_has_the_number_zero() {
    let mut cluster = Cluster::local(2).unwrap();
    let lives: Vec<Incarnation> = cluster
        .stations()
        .iter_mut()
        .map(|station| {
            let life = station.transaction(|tx| Ok(tx.incarnation())).unwrap();
            assert_eq!(life, station.incarnation());
            life
        })
        .collect();
    assert_ne!(lives[0], lives[1]);
    for station in cluster.stations() {
        assert!(lives.iter().all(|&life| sees(station, life)));
        assert!(!sees(station, Incarnation(0)));
    }
}

#[test]
fn whoever_sees_a_death_sees_all_that_the_dead_station_committed() {
    let mut cluster = Cluster::local(1).unwrap();
    let mut other = cluster.join().unwrap();
    let life = other.incarnation();
    let station = &mut cluster.stations()[0];
    let counter = station.transaction(|tx| tx.alloc(0u64)).unwrap();
    assert!(sees(station, life));
    let dying = thread::spawn(move || -> Result<u64> {
        other.latest()?;
        for count in 1..=200 {
            other.transaction(|tx| tx.set(counter, count))?;
        }
        Ok(200)
    });
    let look = |tx: &mut plurix::Transaction<'_>| Ok((tx.is_alive(life), *tx.get(counter)?));
    loop {
        station.latest().unwrap();
        let (is_alive, count) = station.transaction(look).unwrap();
        if !is_alive {
            assert_eq!(count, 200);
            break;
        }
    }
    assert_eq!(dying.join().unwrap().unwrap(), 200);
}

#[test]
fn a_successor_is_another_life() {
    let mut cluster = Cluster::local(1).unwrap();
    let first = cluster.join().unwrap();
    let (number, life) = (first.number(), first.incarnation());
    drop(first);
    let second = cluster.join().unwrap();
    assert_eq!(second.number(), number);
    assert_ne!(second.incarnation(), life);
    let station = &mut cluster.stations()[0];
    assert!(!sees(station, life));
    assert!(sees(station, second.incarnation()));
}
