//! Transactions over real sockets, pages and logs, in one process.

#![allow(clippy::unwrap_used)]

use std::thread;

use plurix::{Cluster, ErrorKind, Options, Ptr, Station};

/// A page that no structure of the heap uses in these tests, which do not allocate.
const BASE: u64 = 1 << 34;

fn word(index: u64) -> Ptr<u64> {
    Ptr::at(BASE + index * 8)
}

#[test]
fn what_one_station_commits_another_reads() {
    let mut cluster = Cluster::local(2).unwrap();
    let [first, second] = cluster.stations() else {
        unreachable!()
    };
    first.transaction(|tx| tx.set(word(0), 7)).unwrap();
    first
        .transaction(|tx| {
            let value = *tx.get(word(0))?;
            *tx.get_mut(word(1))? += value;
            Ok(())
        })
        .unwrap();
    second.latest().unwrap();
    let seen = second
        .transaction(|tx| Ok((*tx.get(word(0))?, *tx.get(word(1))?)))
        .unwrap();
    assert_eq!(seen, (7, 7));
}

#[test]
fn stations_with_and_without_shared_memory_work_together() {
    let mut cluster = Cluster::local(1).unwrap();
    let mut options = Options::default();
    options.shared_memory = false;
    let mut remote = Station::join(cluster.address(), options).unwrap();
    let (mut writer, mut reader) = (&mut cluster.stations()[0], &mut remote);
    // More than a ring or a socket takes at a time.
    let words: Vec<u64> = (0..100_000).collect();
    for _ in 0..2 {
        let written = writer
            .transaction(|tx| tx.alloc_slice_from(&words))
            .unwrap();
        reader.latest().unwrap();
        let equal = reader.transaction(|tx| Ok(*tx.get(written)? == words[..]));
        assert!(equal.unwrap());
        std::mem::swap(&mut writer, &mut reader);
    }
}

#[test]
fn increments_by_many_stations_are_all_counted() {
    const STATIONS: usize = 4;
    const TIMES: u64 = 500;
    let mut cluster = Cluster::local(STATIONS).unwrap();
    thread::scope(|scope| {
        for station in cluster.stations() {
            scope.spawn(move || {
                for _ in 0..TIMES {
                    station
                        .transaction(|tx| {
                            *tx.get_mut(word(3))? += 1;
                            Ok(())
                        })
                        .unwrap();
                }
            });
        }
    });
    let mut reader = cluster.join().unwrap();
    reader.latest().unwrap();
    let count = reader.transaction(|tx| Ok(*tx.get(word(3))?)).unwrap();
    assert_eq!(count, STATIONS as u64 * TIMES);
}

#[test]
fn an_aborted_transaction_has_not_happened() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let error = station
        .transaction(|tx| {
            tx.set(word(0), 1)?;
            Err::<(), _>(tx.abort("changed my mind"))
        })
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Aborted(_)));
    assert_eq!(station.transaction(|tx| Ok(*tx.get(word(0))?)).unwrap(), 0);
}

#[test]
fn a_read_only_transaction_fetches_once_and_commits_nothing() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let before = station.statistics();
    for _ in 0..100 {
        station.transaction(|tx| Ok(*tx.get(word(9))?)).unwrap();
    }
    let after = station.statistics();
    assert_eq!(after.reads - before.reads, 100);
    assert_eq!(after.misses - before.misses, 1);
    assert_eq!(after.commits, before.commits);
}

#[test]
fn an_attempt_knows_its_snapshot_and_the_id_it_commits_under() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let mut seen = Vec::new();
    for writes in [true, false, true] {
        let before = station.snapshot();
        let (snapshot, id) = station
            .transaction(|tx| {
                if writes {
                    *tx.get_mut(word(0))? += 1;
                }
                Ok((tx.snapshot(), tx.id()))
            })
            .unwrap();
        assert_eq!((snapshot, id.incarnation), (before, station.incarnation()));
        if writes {
            assert_eq!(station.statistics().last_commit, snapshot.next());
        }
        seen.push(id.sequence);
    }
    // One that changed nothing has used no id.
    assert!(seen[1] == seen[0].next() && seen[2] == seen[1]);
}
