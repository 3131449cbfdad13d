//! Fairness: who was refused too often commits before others, one at a time, in the order of asking, and
//! nobody waits for it for longer than the bound.

mod pair;

use pair::{Pair, byte, line};
use plurix_protocol::Span;
use plurix_protocol::leader::Event;
use plurix_protocol::station::{Miss, Outcome};
use plurix_wire::{CommitNumber, PageNumber};

const PAGE: u32 = 3;
const ATTEMPT: Span = Span::from_millis(50);
const LEASE: Span = Span::from_millis(100);

fn ask(pair: &mut Pair, index: usize) {
    pair.stations[index].ask_token(ATTEMPT);
    pair.run();
}

fn holders(pair: &Pair) -> Vec<bool> {
    let stations = pair.stations.iter();
    stations.map(|station| station.has_token()).collect()
}

/// A transaction that reads the page and asks to commit a change of it, without waiting.
fn submit(pair: &mut Pair, index: usize, value: u8) {
    read(pair, index);
    pair.stations[index].commit(line(PAGE), byte(PAGE, value));
    pair.run();
}

fn read(pair: &mut Pair, index: usize) {
    pair.begin(index);
    while pair.memories[index].byte(PAGE, 0).is_none() {
        let miss = pair.stations[index].miss(PageNumber(PAGE), &pair.memories[index]);
        assert!(matches!(miss, Miss::Pending | Miss::Installed), "{miss:?}");
        pair.run();
    }
}

fn settle(pair: &mut Pair, index: usize) -> Option<Outcome> {
    pair.stations[index]
        .is_answered()
        .then(|| pair.stations[index].settle(&mut pair.memories[index]))
}

fn committed(number: u64) -> Option<Outcome> {
    Some(Outcome::Committed(CommitNumber(number)))
}

fn pass(pair: &mut Pair, span: Span) {
    pair.now = pair.now + span;
    for station in &mut pair.stations {
        station.tick(pair.now);
    }
    pair.leader.handle(pair.now, Event::Tick);
    pair.run();
}

#[test]
fn others_wait_until_the_holder_has_committed() {
    let mut pair = Pair::new(3, |_| {});
    ask(&mut pair, 0);
    assert_eq!(holders(&pair), [true, false, false]);
    read(&mut pair, 0);
    submit(&mut pair, 1, 7);
    submit(&mut pair, 2, 8);
    assert_eq!(settle(&mut pair, 1), None);
    pair.stations[0].commit(line(PAGE), byte(PAGE, 9));
    pair.run();
    assert_eq!(settle(&mut pair, 0), committed(1));
    assert!(!pair.stations[0].has_token(), "it is spent");
    // They read the same line, so that they are refused, in the order in which they came.
    assert!(matches!(settle(&mut pair, 1), Some(Outcome::Refused(_))));
    assert!(matches!(settle(&mut pair, 2), Some(Outcome::Refused(_))));
    assert_eq!(pair.leader.held_back(), (0, 0));
}

#[test]
fn a_holder_that_does_not_commit_delays_others_by_its_lease_and_no_more() {
    let mut pair = Pair::new(2, |_| {});
    ask(&mut pair, 0);
    let granted = pair.now;
    submit(&mut pair, 1, 7);
    assert_eq!(settle(&mut pair, 1), None);
    pass(&mut pair, Span(LEASE.0 - 1));
    assert_eq!(settle(&mut pair, 1), None);
    assert!(pair.leader.next_timeout() <= granted + LEASE);
    pass(&mut pair, Span(1));
    assert_eq!(settle(&mut pair, 1), committed(1));
    read(&mut pair, 0);
    pair.stations[0].commit(line(PAGE), byte(PAGE, 9));
    pair.run();
    assert_eq!(settle(&mut pair, 0), committed(2), "like anybody else's");
}

#[test]
fn no_lease_is_longer_than_the_setting() {
    let mut pair = Pair::new(2, |settings| settings.token_max = Span::from_millis(10));
    ask(&mut pair, 0);
    submit(&mut pair, 1, 7);
    pass(&mut pair, Span::from_millis(10));
    assert_eq!(settle(&mut pair, 1), committed(1));
}

#[test]
fn who_asks_first_is_first_and_what_waited_is_decided_in_between() {
    let mut pair = Pair::new(4, |_| {});
    for index in [2, 0, 1] {
        ask(&mut pair, index);
    }
    assert_eq!(holders(&pair), [false, false, true, false]);
    submit(&mut pair, 3, 1);
    for (turn, index) in [2, 0, 1].into_iter().enumerate() {
        assert!(pair.stations[index].has_token());
        assert_eq!(holders(&pair).iter().filter(|held| **held).count(), 1);
        if turn == 1 {
            // It did not have to wait for both.
            assert_eq!(settle(&mut pair, 3).map(|_| ()), Some(()));
        }
        pair.begin(index);
        pair.stations[index].commit(Vec::new(), byte(PAGE + 1, 1));
        pair.run();
        assert!(matches!(
            settle(&mut pair, index),
            Some(Outcome::Committed(_))
        ));
    }
    assert_eq!(holders(&pair), [false; 4]);
}

#[test]
fn a_holder_that_returns_it_dies_or_loses_its_connection_holds_up_nobody() {
    let ends: [fn(&mut Pair); 4] = [
        |pair| pair.stations[0].return_token(),
        |pair| pair.stations[0].leave(),
        |pair| pair.close(0, true),
        |pair| pair.close(0, false),
    ];
    for (case, end) in ends.into_iter().enumerate() {
        let mut pair = Pair::new(3, |_| {});
        ask(&mut pair, 0);
        ask(&mut pair, 2);
        submit(&mut pair, 1, 7);
        end(&mut pair);
        pair.run();
        assert_eq!(settle(&mut pair, 1), committed(1), "case {case}");
        assert!(pair.stations[2].has_token(), "the next one, case {case}");
    }
}

#[test]
fn a_commit_that_waited_when_its_connection_was_lost_is_decided_once() {
    let mut pair = Pair::new(2, |_| {});
    ask(&mut pair, 0);
    submit(&mut pair, 1, 7);
    pair.reconnect(1);
    assert_eq!(pair.leader.held_back().0, 1, "it was sent again");
    pass(&mut pair, LEASE);
    assert_eq!(settle(&mut pair, 1), committed(1));
    assert_eq!(pair.leader.number(), CommitNumber(1));
}

#[test]
fn reads_go_on_while_commits_wait() {
    let mut pair = Pair::new(2, |_| {});
    pair.write(0, PAGE, 5);
    ask(&mut pair, 0);
    pair.stations[1].ask_latest();
    pair.run();
    assert!(pair.stations[1].has_latest());
    read(&mut pair, 1);
    assert_eq!(pair.memories[1].byte(PAGE, 0), Some(5));
}

#[test]
fn what_waits_is_bounded() {
    let mut pair = Pair::new(2, |settings| settings.token_bytes_max = 1);
    ask(&mut pair, 0);
    submit(&mut pair, 1, 7);
    assert_eq!(settle(&mut pair, 1), committed(1), "the lease is over");
}

#[test]
fn a_holder_that_asks_again_does_not_prolong_its_lease() {
    let mut pair = Pair::new(2, |_| {});
    ask(&mut pair, 0);
    submit(&mut pair, 1, 7);
    ask(&mut pair, 0);
    assert_eq!(settle(&mut pair, 1), committed(1));
    assert!(pair.stations[0].has_token());
}
