//! A transaction that takes long, among many that are quick.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plurix::{Cluster, ClusterOptions, Error, ErrorKind, Ptr, Station};

/// A page that no structure of the heap uses in these tests, which do not allocate.
const BASE: u64 = 1 << 34;
const LINES: u64 = 256;

fn word(line: u64) -> Ptr<u64> {
    Ptr::at(BASE + line * 64)
}

/// Changes all lines, which takes some milliseconds.
fn change_all(station: &mut Station) -> Result<u64, Error> {
    station.transaction(|tx| {
        for line in 0..LINES {
            *tx.get_mut(word(line))? += 1;
            if line % 16 == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        tx.get(word(0)).copied()
    })
}

/// Lets all but the first station change lines all the time, while that does `work`.
fn among_quick_ones<R: Send>(
    cluster: &mut Cluster,
    work: impl FnOnce(&mut Station) -> R + Send,
) -> (R, u64) {
    let done = AtomicBool::new(false);
    let [slow, quick @ ..] = cluster.stations() else {
        unreachable!()
    };
    std::thread::scope(|scope| {
        let quick: Vec<_> = quick
            .iter_mut()
            .enumerate()
            .map(|(index, station)| {
                let done = &done;
                scope.spawn(move || {
                    let mut line = index as u64;
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        line = (line * 31 + 7) % LINES;
                        let add = station.transaction(|tx| {
                            *tx.get_mut(word(line))? += 1;
                            Ok(())
                        });
                        add.unwrap();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let result = work(slow);
        done.store(true, Ordering::Relaxed);
        let count = quick.into_iter().map(|it| it.join().unwrap()).sum();
        (result, count)
    })
}

#[test]
fn a_long_writer_finishes_among_short_ones() {
    let mut cluster = Cluster::local(3).unwrap();
    let (changed, quick) = among_quick_ones(&mut cluster, |station| {
        for _ in 0..5 {
            change_all(station).unwrap();
        }
        station.statistics().commits
    });
    assert!(changed >= 5);
    let station = &mut cluster.stations()[0];
    station.latest().unwrap();
    let sum = station.transaction(|tx| {
        let mut sum = 0;
        for line in 0..LINES {
            sum += *tx.get(word(line))?;
        }
        Ok(sum)
    });
    assert_eq!(sum.unwrap(), 5 * LINES + quick, "nothing was lost");
}

#[test]
fn who_takes_longer_than_others_wait_is_told_so() {
    let mut options = ClusterOptions::new(3);
    options.server.token_max = Duration::from_micros(100);
    let mut cluster = Cluster::start(options).unwrap();
    let (result, quick) = among_quick_ones(&mut cluster, change_all);
    let error = result.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TooLong { tries: 4, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--token-max"), "{error}");
    assert!(quick > 0);
}

#[test]
fn several_long_writers_take_turns() {
    let mut cluster = Cluster::local(3).unwrap();
    std::thread::scope(|scope| {
        for station in cluster.stations() {
            scope.spawn(|| {
                for _ in 0..5 {
                    change_all(station).unwrap();
                }
            });
        }
    });
    let station = &mut cluster.stations()[0];
    station.latest().unwrap();
    let value = station.transaction(|tx| tx.get(word(0)).copied());
    assert_eq!(value.unwrap(), 15);
}
