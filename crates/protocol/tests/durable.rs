//! Who needs to know that a commit is durable learns it as soon as the disk says so, and never before.

mod pair;

use pair::Pair;
use plurix_protocol::Time;
use plurix_protocol::leader::{Durability, Event};
use plurix_protocol::station::{self, Outcome, Settings, Station};
use plurix_wire::message::{
    Batch, Request, SessionRefusal, ToLeader, ToStation, Violation, Welcome,
};
use plurix_wire::{CommitNumber, Generation, Incarnation, StationId, StreamSequence, Term};

/// The commit at which each station's knowledge of the disk ends.
fn known(pair: &Pair) -> Vec<u64> {
    let stations = pair.stations.iter();
    stations.map(|station| station.durable().0).collect()
}

fn ask(pair: &mut Pair, index: usize, number: u64) -> bool {
    let known = pair.stations[index].ask_durable(CommitNumber(number));
    pair.run();
    known
}

#[test]
fn who_asks_is_told_at_once_and_the_others_with_the_next_batch() {
    let mut pair = Pair::new(2, |_| {});
    pair.write(0, 3, 1);
    assert!(ask(&mut pair, 0, 1));
    assert_eq!(
        (pair.syncs, known(&pair)),
        ((1, CommitNumber(1)), vec![0, 0])
    );
    pair.on_disk(1);
    assert_eq!(known(&pair), [1, 0]);
    assert!(!pair.stations[0].awaits_durable());
    for _ in 0..20 {
        pair.settle();
    }
    assert_eq!(known(&pair), [1, 1]);
    // What is known is not asked for.
    assert!(ask(&mut pair, 1, 1));
    assert_eq!(pair.syncs.0, 1);
}

#[test]
fn one_sync_is_under_way_and_who_asks_meanwhile_is_served_by_the_next() {
    let mut pair = Pair::new(3, |_| {});
    for index in 0..3 {
        pair.write(index, 3, index as u8);
        assert!(ask(&mut pair, index, index as u64 + 1));
    }
    assert_eq!(
        pair.syncs,
        (1, CommitNumber(1)),
        "the first one is under way"
    );
    pair.on_disk(1);
    assert_eq!(known(&pair), [1, 0, 0]);
    assert_eq!(
        pair.syncs,
        (2, CommitNumber(3)),
        "the others wait for another"
    );
    pair.on_disk(3);
    assert_eq!(known(&pair), [1, 3, 3]);
    assert_eq!(pair.syncs.0, 2, "nobody waits");
}

#[test]
fn who_asks_for_what_the_disk_has_hears_at_once() {
    let mut pair = Pair::new(2, |_| {});
    pair.write(0, 3, 1);
    pair.on_disk(1);
    assert_eq!(known(&pair), [0, 0]);
    ask(&mut pair, 0, 1);
    assert_eq!((pair.syncs.0, known(&pair)), (0, vec![1, 0]));
}

#[test]
fn what_the_disk_has_never_goes_back() {
    let mut pair = Pair::new(1, |_| {});
    pair.write(0, 3, 1);
    pair.write(0, 3, 2);
    pair.on_disk(2);
    pair.on_disk(1);
    ask(&mut pair, 0, 2);
    assert_eq!((pair.leader.durable().0, known(&pair)), (2, vec![2]));
}

#[test]
fn a_wish_outlives_its_connection() {
    let mut pair = Pair::new(1, |_| {});
    pair.write(0, 3, 1);
    ask(&mut pair, 0, 1);
    pair.reconnect(0);
    assert!(pair.stations[0].awaits_durable());
    pair.on_disk(1);
    assert_eq!(known(&pair), [1]);
}

#[test]
fn a_wish_outlives_its_life() {
    let mut pair = Pair::new(1, |_| {});
    pair.write(0, 3, 1);
    let life = pair.stations[0].incarnation();
    ask(&mut pair, 0, 1);
    pair.silence(0);
    // Refused as one that is dead, it joins anew.
    pair.reconnect(0);
    pair.reconnect(0);
    assert_ne!(pair.stations[0].incarnation(), life);
    pair.on_disk(1);
    assert_eq!(known(&pair), [1]);
}

#[test]
fn in_durable_mode_what_is_answered_is_durable() {
    let mut pair = Pair::new(1, |settings| settings.durability = Durability::Durable);
    pair.begin(0);
    pair.stations[0].commit(Vec::new(), pair::byte(3, 1));
    pair.run();
    pair.leader.handle(pair.now, Event::Logged(CommitNumber(1)));
    pair.run();
    let number = CommitNumber(1);
    let outcome = pair.stations[0].settle(&mut pair.memories[0]);
    assert_eq!(outcome, Outcome::Committed(number));
    assert_eq!((known(&pair), pair.syncs.0), (vec![1], 0));
}

#[test]
fn a_commit_that_nobody_was_told_of_is_not_asked_for() {
    let mut pair = Pair::new(1, |_| {});
    assert!(!ask(&mut pair, 0, 1));
    assert_eq!(pair.syncs.0, 0);
    // A station that asks all the same breaks the protocol.
    let station = &pair.stations[0];
    let message = ToLeader::Request {
        incarnation: station.incarnation().expect("a member"),
        generation: station.generation().expect("a member"),
        request: Request::Durable {
            through: CommitNumber(1),
        },
    };
    let connection = plurix_protocol::ConnectionId(0);
    pair.leader.handle(
        pair.now,
        Event::Message {
            connection,
            message,
        },
    );
    pair.run();
    let refusal = SessionRefusal::Violation(Violation::SnapshotFromTheFuture);
    assert_eq!(pair.stations[0].state(), station::State::Ended(refusal));
}

/// A person has restored a checkpoint that the station had not seen beyond. What it was told of the
/// disk was of commits that did not happen.
#[test]
fn what_was_durable_in_another_generation_is_believed_as_far_as_it_was_seen() {
    let mut station = Station::new(Settings::default());
    let hears = |station: &mut Station, term, durable| {
        let generation = Generation(term as u32);
        let through = CommitNumber(3);
        let welcome = Welcome {
            station: StationId(1),
            incarnation: Incarnation(7),
            term: Term(term),
            generation,
            through,
            heap_bytes: pair::HEAP_BYTES,
            silence_ms_max: 1000,
            in_flight_max: 64,
            members: Vec::new(),
        };
        let batch = Batch {
            term: Term(term),
            generation,
            sequence: StreamSequence(1),
            through,
            durable: CommitNumber(durable),
            last: true,
            items: Vec::new(),
        };
        station.connected(Time(0));
        station
            .handle(Time(0), ToStation::Welcome(welcome))
            .unwrap();
        let welcomed = station.durable().0;
        station.handle(Time(0), ToStation::Batch(batch)).unwrap();
        station.disconnected();
        (welcomed, station.durable().0)
    };
    assert_eq!(hears(&mut station, 1, 10), (0, 10));
    assert_eq!(hears(&mut station, 1, 10), (10, 10));
    assert_eq!(hears(&mut station, 2, 4), (3, 4));
}
