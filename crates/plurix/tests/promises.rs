//! What one transaction can ask for beyond the rule: the newest snapshot, and an answer that is durable.

#![allow(clippy::unwrap_used)]

use plurix::{Cluster, ClusterOptions, Durability, Ptr};

/// A page that no structure of the heap uses in these tests, which do not allocate.
const BASE: u64 = 1 << 34;

fn word(line: u64) -> Ptr<u64> {
    Ptr::at(BASE + line * 64)
}

#[test]
fn the_newest_snapshot_as_the_first_thing_needs_no_second_attempt() {
    let mut cluster = Cluster::local(2).unwrap();
    let [writer, reader] = cluster.stations() else {
        unreachable!()
    };
    let mut attempts = 0;
    for value in 1..200 {
        writer.transaction(|tx| tx.set(word(0), value)).unwrap();
        let seen = reader.transaction(|tx| {
            attempts += 1;
            tx.latest()?;
            tx.latest()?;
            Ok((*tx.get(word(0))?, tx.snapshot()))
        });
        assert_eq!(
            seen.unwrap(),
            (value, writer.statistics().last_commit),
            "what was answered before"
        );
    }
    assert_eq!(attempts, 199);
}

#[test]
fn after_a_read_it_runs_again_once_if_there_is_anything_newer() {
    let mut cluster = Cluster::local(2).unwrap();
    let [writer, reader] = cluster.stations() else {
        unreachable!()
    };
    reader.transaction(|tx| tx.get(word(0)).copied()).unwrap();
    for (is_newer, expected) in [(true, 2), (false, 1)] {
        let mut attempts = 0;
        let seen = reader.transaction(|tx| {
            attempts += 1;
            let before = *tx.get(word(0))?;
            if attempts == 1 && is_newer {
                writer.transaction(|tx| tx.set(word(0), 5))?;
            }
            tx.latest()?;
            Ok((before, *tx.get(word(0))?))
        });
        assert_eq!((seen.unwrap(), attempts), ((5, 5), expected));
    }
}

#[test]
fn what_was_written_before_survives_the_question_or_is_done_again() {
    let mut cluster = Cluster::local(2).unwrap();
    let [writer, reader] = cluster.stations() else {
        unreachable!()
    };
    for value in 1..50 {
        writer.transaction(|tx| tx.set(word(0), value)).unwrap();
        reader
            .transaction(|tx| {
                tx.set(word(1), value)?;
                tx.latest()?;
                let copied = *tx.get(word(0))?;
                tx.set(word(2), copied)
            })
            .unwrap();
        writer.latest().unwrap();
        let seen = writer.transaction(|tx| Ok((*tx.get(word(1))?, *tx.get(word(2))?)));
        assert_eq!(seen.unwrap(), (value, value));
    }
}

#[test]
fn a_durable_answer_comes_when_the_disk_has_the_commit() {
    for durability in [Durability::Memory, Durability::Durable] {
        let mut options = ClusterOptions::new(2);
        options.server.durability = durability;
        let mut cluster = Cluster::start(options).unwrap();
        let [first, second] = cluster.stations() else {
            unreachable!()
        };
        for value in 0..20 {
            first
                .transaction(|tx| {
                    tx.durable();
                    tx.set(word(0), value)
                })
                .unwrap();
            assert!(first.durable() >= first.statistics().last_commit);
        }
        first.transaction(|tx| tx.set(word(0), 77)).unwrap();
        let read = second.transaction(|tx| {
            tx.latest()?;
            tx.durable();
            Ok((*tx.get(word(0))?, tx.snapshot()))
        });
        let (value, snapshot) = read.unwrap();
        assert_eq!(value, 77);
        assert!(second.durable() >= snapshot, "what it read is on disk");
    }
}

#[test]
fn effects_of_a_durable_transaction_follow_the_disk() {
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    let (send, effects) = std::sync::mpsc::channel();
    station
        .transaction(|tx| {
            tx.durable();
            let send = send.clone();
            tx.on_commit(move || send.send(()).unwrap());
            tx.set(word(0), 1)
        })
        .unwrap();
    assert_eq!(effects.try_iter().count(), 1);
    assert!(station.durable() >= station.statistics().last_commit);
}
