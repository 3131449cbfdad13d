//! Outboxes over real sockets, pages and logs, in one process: numbers, order, claims and sinks.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io;
use std::thread;
use std::time::Duration;

use plurix::outbox::{Delivery, Entry, Journal, Sink};
use plurix::{Cluster, ErrorKind, Options, Station};
use proptest::prelude::*;

const NAME: &str = "receipts";

fn push(station: &mut Station, content: &[u8]) -> u64 {
    let pushed = station.transaction(|tx| tx.outbox(NAME)?.push(content));
    pushed.unwrap()
}

fn push_bytes(station: &mut Station, values: std::ops::Range<u8>) {
    for value in values {
        push(station, &[value]);
    }
}

/// Delivers what is there, and answers it.
fn deliver(station: &mut Station) -> Vec<(u64, Vec<u8>)> {
    station.latest().unwrap();
    let mut told = Vec::new();
    let delivery = station.deliver(NAME, |entry| {
        told.push((entry.number, entry.content.clone()));
        Ok(())
    });
    assert_eq!(delivery.unwrap(), Delivery::Done(told.len() as u64));
    told
}

#[test]
fn what_several_stations_push_is_delivered_in_order_and_without_gaps() {
    const EACH: u64 = 300;
    let mut cluster = Cluster::local(4).unwrap();
    let [deliverer, pushers @ ..] = cluster.stations() else {
        unreachable!()
    };
    let count = EACH * pushers.len() as u64;
    thread::scope(|scope| {
        for (index, station) in pushers.iter_mut().enumerate() {
            scope.spawn(move || {
                for step in 0..EACH {
                    push(station, format!("{index} {step}").as_bytes());
                }
            });
        }
        let mut told: Vec<(u64, String)> = Vec::new();
        while (told.len() as u64) < count {
            let delivery = deliverer.deliver(NAME, |entry| {
                let content = String::from_utf8(entry.content.clone());
                told.push((entry.number, content.unwrap()));
                Ok(())
            });
            assert!(matches!(delivery.unwrap(), Delivery::Done(_)));
            deliverer.wait_for_news(Duration::from_millis(1)).unwrap();
        }
        let numbers = told.iter().map(|(number, _)| *number);
        assert!(numbers.eq(1..=count));
        for index in 0..3 {
            let own = told
                .iter()
                .filter_map(|(_, content)| content.strip_prefix(&format!("{index} ")));
            let expected = (0..EACH).map(|step| step.to_string());
            assert!(own.eq(expected), "in the order in which it was pushed");
        }
    });
}

#[test]
fn pushing_and_delivering_meet_in_the_allocator_alone_and_that_once_a_batch() {
    const BATCH: u64 = 100;
    let mut cluster = Cluster::local(2).unwrap();
    let [pusher, deliverer] = cluster.stations() else {
        unreachable!()
    };
    let mut left = BATCH;
    for _ in 0..BATCH {
        push(pusher, b"before");
    }
    deliverer.latest().unwrap();
    // For each entry that is taken another one is pushed, behind the batch.
    let delivery = deliverer.deliver(NAME, |_| {
        if left > 0 {
            left -= 1;
            push(pusher, b"meanwhile");
        }
        Ok(())
    });
    assert_eq!(delivery.unwrap(), Delivery::Done(2 * BATCH));
    let restarts = pusher.statistics().restarts + deliverer.statistics().restarts;
    assert!(restarts < BATCH / 10, "{restarts}");
}

#[test]
fn an_aborted_push_leaves_no_number_behind() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    assert_eq!(push(station, b"one"), 1);
    let aborted = station.transaction(|tx| {
        assert_eq!(tx.outbox(NAME)?.push(b"never")?, 2);
        Err::<(), _>(tx.abort("changed its mind"))
    });
    assert!(aborted.is_err());
    let two = station.transaction(|tx| {
        let mut outbox = tx.outbox(NAME)?;
        Ok((outbox.push(b"two")?, outbox.push(b"three")?))
    });
    assert_eq!(two.unwrap(), (2, 3));
    let told: Vec<Vec<u8>> = deliver(station).into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, [&b"one"[..], b"two", b"three"]);
}

#[test]
fn what_a_sink_does_not_take_stays() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    push_bytes(station, 0..5);
    let failed = station.deliver(NAME, |entry| match entry.number {
        1..=2 => Ok(()),
        _ => Err(io::Error::other("out of paper")),
    });
    let error = failed.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NotDelivered { number: 3, .. }),
        "{error}"
    );
    let told = deliver(station);
    assert_eq!(
        told.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        [3, 4, 5]
    );
    assert!(deliver(station).is_empty());
}

#[test]
fn a_station_that_dies_between_taking_and_removing_leaves_the_entries_to_the_next() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    push_bytes(station, 0..3);
    // A panic of the sink unwinds through the delivery, as if the process had ended there.
    let mut first = Station::join(cluster.address(), Options::default()).unwrap();
    let died = thread::spawn(move || {
        first.deliver(NAME, |entry| {
            assert!(entry.number < 3, "dies with two taken");
            Ok(())
        })
    });
    assert!(died.join().is_err());
    let station = &mut cluster.stations()[0];
    let told = deliver(station);
    assert_eq!(
        told.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

#[test]
fn one_station_delivers_at_a_time() {
    let mut cluster = Cluster::local(2).unwrap();
    let [first, second] = cluster.stations() else {
        unreachable!()
    };
    push(first, b"x");
    assert_eq!(deliver(first).len(), 1);
    push(first, b"y");
    second.latest().unwrap();
    let refused = second.deliver(NAME, |_| unreachable!("it is claimed"));
    assert_eq!(refused.unwrap(), Delivery::Claimed);
    first.release_outbox(NAME).unwrap();
    assert_eq!(deliver(second), [(2, b"y".to_vec())]);
    // Nobody else's claim is given back.
    push(first, b"z");
    first.release_outbox(NAME).unwrap();
    let refused = first.deliver(NAME, |_| Ok(()));
    assert_eq!(refused.unwrap(), Delivery::Claimed);
}

#[test]
fn an_outbox_that_nobody_made_is_empty() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    assert!(deliver(station).is_empty());
    station.release_outbox(NAME).unwrap();
    let other = station.transaction(|tx| {
        let word = tx.alloc(0u64)?;
        tx.set_root("word", word)
    });
    other.unwrap();
    let error = station
        .transaction(|tx| tx.outbox("word")?.push(b"x"))
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LayoutDiffers { .. }));
}

#[test]
fn a_journal_of_another_heap_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = Journal::open(&path).unwrap();
    for contents in [vec![b"a", b"b"], vec![b"c"]] {
        let mut cluster = Cluster::local(1).unwrap();
        let station = &mut cluster.stations()[0];
        for content in &contents {
            push(station, *content);
        }
        let delivery = station.deliver_to(NAME, &mut journal);
        match contents.len() {
            2 => assert_eq!(delivery.unwrap(), Delivery::Done(2)),
            _ => assert!(matches!(
                delivery.unwrap_err().kind(),
                ErrorKind::ForeignSink {
                    newest: 2,
                    pushed: 1,
                    ..
                }
            )),
        }
    }
}

#[test]
fn what_was_delivered_takes_no_room() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let mut round = || {
        for length in 0..100 {
            push(station, &vec![1; length * 50]);
        }
        assert_eq!(deliver(station).len(), 100);
        let usage = station.usage().unwrap();
        station.check_heap().unwrap();
        usage
    };
    let first = round();
    (0..3).for_each(|_| assert_eq!(round(), first));
}

/// What happens to an outbox.
#[derive(Debug, Clone)]
enum Event {
    /// Several entries in one transaction, of so many bytes.
    Push(Vec<usize>),
    Abort(usize),
    /// The sink takes so many entries, then fails.
    Deliver(usize),
    /// Another handle goes on, the other's claim being given back or dead.
    Change {
        orderly: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let length = || prop_oneof![8 => 0..100usize, 1 => 0..20_000usize];
    prop_oneof![
        4 => proptest::collection::vec(length(), 1..4).prop_map(Event::Push),
        1 => length().prop_map(Event::Abort),
        4 => (0..6usize).prop_map(Event::Deliver),
        1 => any::<bool>().prop_map(|orderly| Event::Change { orderly }),
    ]
}

/// A sink that takes so many entries, and remembers what it has if it is a good one.
struct Limited {
    left: usize,
    remembers: bool,
    taken: Vec<Entry>,
}

impl Sink for Limited {
    fn newest(&self) -> u64 {
        let newest = self.taken.last().map_or(0, |entry| entry.number);
        if self.remembers { newest } else { 0 }
    }

    fn take(&mut self, entry: &Entry) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("full"))?;
        self.taken.push(entry.clone());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_entries_come_in_order_and_once(
        remembers: bool,
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let mut cluster = Cluster::local(1).unwrap();
        let address = cluster.address().clone();
        let mut other = Some(cluster.join().unwrap());
        let station = &mut cluster.stations()[0];
        let mut waiting = VecDeque::new();
        let mut pushed = 0;
        let mut sink = Limited { left: 0, remembers, taken: Vec::new() };
        for event in &events {
            match event {
                Event::Push(lengths) => {
                    let contents: Vec<_> = lengths.iter().map(|length| vec![7u8; *length]).collect();
                    let numbers = station.transaction(|tx| {
                        let mut outbox = tx.outbox(NAME)?;
                        contents.iter().map(|content| outbox.push(content)).collect::<Result<Vec<_>, _>>()
                    }).unwrap();
                    for (number, content) in numbers.into_iter().zip(contents) {
                        pushed += 1;
                        prop_assert_eq!(number, pushed);
                        waiting.push_back((number, content));
                    }
                }
                Event::Abort(length) => {
                    let aborted = station.transaction(|tx| {
                        tx.outbox(NAME)?.push(&vec![9; *length])?;
                        Err::<(), _>(tx.abort("no"))
                    });
                    prop_assert!(aborted.is_err());
                }
                Event::Deliver(count) => {
                    (sink.left, sink.taken) = (*count, sink.taken.split_off(sink.taken.len().saturating_sub(1)));
                    let before = sink.taken.len();
                    let holder = other.as_mut().unwrap();
                    holder.latest().unwrap();
                    let delivery = holder.deliver_to(NAME, &mut sink);
                    prop_assert_eq!(delivery.is_err(), *count < waiting.len());
                    for taken in &sink.taken[before..] {
                        let expected = waiting.pop_front().unwrap();
                        prop_assert_eq!((taken.number, taken.content.clone()), expected);
                    }
                }
                Event::Change { orderly } => {
                    let mut old = other.take().unwrap();
                    if *orderly {
                        old.release_outbox(NAME).unwrap();
                    }
                    drop(old);
                    other = Some(Station::join(&address, Options::default()).unwrap());
                }
            }
        }
        let station = &mut cluster.stations()[0];
        station.latest().unwrap();
        station.check_heap().unwrap();
    }
}
