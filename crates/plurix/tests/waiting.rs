//! Transactions that wait for a change of what they have read.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plurix::{Cluster, ErrorKind, Options, Ptr, Station};

/// A page that no structure of the heap uses in these tests, which do not allocate.
const BASE: u64 = 1 << 34;

/// The first word of a line of its own.
fn word(line: u64) -> Ptr<u64> {
    Ptr::at(BASE + line * 64)
}

/// Takes a number out of a slot as soon as there is one.
fn take(station: &mut Station, slot: u64) -> u64 {
    let taken = station.transaction(|tx| match *tx.get(word(slot))? {
        0 => Err(tx.wait_for_change()),
        number => tx.set(word(slot), 0).map(|()| number),
    });
    taken.unwrap()
}

/// Puts a number into a slot as soon as that is empty.
fn put(station: &mut Station, slot: u64, number: u64) {
    let put = station.transaction(|tx| match *tx.get(word(slot))? {
        0 => {
            *tx.get_mut(word(slot))? = number;
            Ok(())
        }
        _ => Err(tx.wait_for_change()),
    });
    put.unwrap();
}

#[test]
fn numbers_pass_through_slots_without_a_loss_on_every_transport() {
    const NUMBERS: u64 = 2_000;
    let mut cluster = Cluster::local(2).unwrap();
    let mut options = Options::default();
    options.shared_memory = false;
    let mut last = Station::join(cluster.address(), options).unwrap();
    let [first, middle] = cluster.stations() else {
        unreachable!()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (1..=NUMBERS).for_each(|number| put(first, 0, number)));
        scope.spawn(|| {
            for _ in 0..NUMBERS {
                let number = take(middle, 0);
                put(middle, 1, number * 3);
            }
        });
        for number in 1..=NUMBERS {
            assert_eq!(take(&mut last, 1), number * 3);
        }
    });
}

#[test]
fn many_wait_for_one_and_each_number_is_taken_once() {
    const NUMBERS: u64 = 300;
    let mut cluster = Cluster::local(4).unwrap();
    let [producer, consumers @ ..] = cluster.stations() else {
        unreachable!()
    };
    let sum = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for station in consumers {
            let sum = &sum;
            scope.spawn(move || {
                loop {
                    match take(station, 0) {
                        u64::MAX => return,
                        number => sum.fetch_add(number, Ordering::Relaxed),
                    };
                }
            });
        }
        (1..=NUMBERS).for_each(|number| put(producer, 0, number));
        (0..3).for_each(|_| put(producer, 0, u64::MAX));
    });
    assert_eq!(sum.into_inner(), NUMBERS * (NUMBERS + 1) / 2);
}

#[test]
fn other_lines_wake_nobody() {
    let mut cluster = Cluster::local(2).unwrap();
    let [waiter, writer] = cluster.stations() else {
        unreachable!()
    };
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            take(waiter, 0);
            waiter.statistics().waits
        });
        for number in 0..500 {
            writer.transaction(|tx| tx.set(word(1), number)).unwrap();
        }
        writer.transaction(|tx| tx.set(word(0), 1)).unwrap();
        // None if all was over before it began.
        assert!(waits.join().unwrap() <= 1);
    });
}

#[test]
fn a_wait_with_a_limit_is_told_that_it_is_over_and_then_refused() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let limit = Duration::from_millis(20);
    let mut told = Vec::new();
    let result = station.transaction(|tx| {
        tx.get(word(0))?;
        told.push(tx.has_timed_out());
        Err::<(), _>(tx.wait_for_change_for(limit))
    });
    assert!(matches!(
        result.unwrap_err().kind(),
        ErrorKind::TimedOut { seconds } if *seconds >= limit.as_secs_f64()
    ));
    assert_eq!(told, [false, true]);
    let next = station.transaction(|tx| Ok(tx.has_timed_out()));
    assert!(!next.unwrap(), "it was another transaction's limit");
}

#[test]
fn a_wait_has_no_effects() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let result = station.transaction(|tx| {
        *tx.get_mut(word(0))? = 9;
        tx.on_commit(|| panic!("it has not committed"));
        Err::<(), _>(tx.wait_for_change_for(Duration::ZERO))
    });
    assert!(result.is_err());
    let left = station.transaction(|tx| tx.get(word(0)).copied());
    assert_eq!(left.unwrap(), 0);
}

#[test]
fn an_interrupt_ends_the_wait() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let interrupt = station.interrupt_handle();
    let mut attempts = 0;
    let result = station.transaction(|tx| {
        attempts += 1;
        tx.get(word(0))?;
        interrupt.interrupt();
        Err::<(), _>(tx.wait_for_change())
    });
    assert!(matches!(result.unwrap_err().kind(), ErrorKind::Interrupted));
    assert_eq!(attempts, 1);
}

#[test]
fn who_has_read_nothing_has_nothing_to_wait_for() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let result = station.transaction(|tx| Err::<(), _>(tx.wait_for_change()));
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NothingToWaitFor));
    station.transaction(|tx| tx.set(word(0), 1)).unwrap();
}
