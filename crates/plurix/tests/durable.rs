//! Who needs a commit to be durable waits for the page server's disk, and for that alone.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plurix::{Cluster, ClusterOptions, Durability, ErrorKind, Ptr, Station};
use plurix_wire::CommitNumber;

/// A page that no structure of the heap uses in these tests, which do not allocate.
const WORD: Ptr<u64> = Ptr::at(1 << 34);

fn commit(station: &mut Station, value: u64) -> CommitNumber {
    station.transaction(|tx| tx.set(WORD, value)).unwrap();
    station.statistics().last_commit
}

#[test]
fn in_memory_mode_a_commit_is_durable_once_somebody_has_waited_for_it() {
    let mut cluster = Cluster::local(2).unwrap();
    let [first, second] = cluster.stations() else {
        unreachable!()
    };
    for value in 0..20 {
        let number = commit(first, value);
        // The one that waits need not be the one that has committed, nor have heard of it.
        assert!(second.wait_durable(number, None).unwrap());
        assert!(second.durable() >= number);
    }
    let newest = commit(first, 0);
    assert!(first.durable() < newest, "nobody has asked");
}

#[test]
fn several_stations_wait_at_a_time() {
    let mut cluster = Cluster::local(4).unwrap();
    std::thread::scope(|scope| {
        for station in cluster.stations() {
            scope.spawn(|| {
                for value in 0..50 {
                    let number = commit(station, value);
                    assert!(station.wait_durable(number, None).unwrap());
                }
            });
        }
    });
}

#[test]
fn in_durable_mode_what_was_answered_is_durable() {
    let mut options = ClusterOptions::new(1);
    options.server.durability = Durability::Durable;
    let mut cluster = Cluster::start(options).unwrap();
    let station = &mut cluster.stations()[0];
    let number = commit(station, 1);
    assert!(station.durable() >= number);
    assert!(station.wait_durable(number, Some(Duration::ZERO)).unwrap());
}

#[test]
fn a_commit_that_is_none_is_not_waited_for() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let number = CommitNumber(commit(station, 1).0 + 1);
    let error = station.wait_durable(number, None).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSuchCommit(none) if *none == number));
    commit(station, 2);
    assert!(station.wait_durable(number, None).unwrap());
}
