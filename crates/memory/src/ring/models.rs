//! The rings under `loom`. It objects if two sides touch one byte without order between them, and
//! if nobody is left who could wake the others; the models object if a byte is not the one expected.
//!
//! Each model takes the flaws of the two sides: without any it must hold, with one it must not.

use super::shared::Flaw;
use super::sleeper::Sleeper;
use super::*;
use crate::exploration::{explore, objection};

/// Of the host, and of the guest.
type Flaws = [Option<Flaw>; 2];
type Model = fn(Flaws);

const SOUND: Flaws = [None, None];

fn pair(flaws: Flaws) -> (Rings, Rings) {
    let (host, guest) = Shared::pair(flaws);
    (Rings::new(host, 0), Rings::new(guest, 1))
}

/// Nobody sleeps, and each tries a few times only. The host writes once around the ring.
fn stream(flaws: Flaws) {
    let (mut host, mut guest) = pair(flaws);
    let writer = loom::thread::spawn(move || {
        let first = host.push([&[1][..], &[2]]).unwrap();
        assert_eq!(first, 2, "an empty ring has room");
        2 + host.push([&[3][..]]).unwrap()
    });
    let mut seen = Vec::new();
    let mut pull = |guest: &mut Rings| {
        let mut buffer = [0; 2];
        let count = guest.pull(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..count]);
    };
    pull(&mut guest);
    pull(&mut guest);
    let pushed = writer.join().unwrap();
    pull(&mut guest);
    pull(&mut guest);
    assert_eq!(seen, [1, 2, 3][..pushed]);
}

/// The guest sleeps whenever there is nothing.
fn reader_sleeps(flaws: Flaws) {
    let (mut host, mut guest) = Sleeper::pair(pair(flaws));
    let writer = loom::thread::spawn(move || {
        host.push(&[1]);
        host.push(&[2]);
    });
    expect(&mut guest, &[1, 2]);
    writer.join().unwrap();
}

/// The host sleeps for want of room, the guest for want of bytes.
fn both_sleep(flaws: Flaws) {
    let (mut host, mut guest) = Sleeper::pair(pair(flaws));
    let writer = loom::thread::spawn(move || host.push(&[1, 2, 3]));
    expect(&mut guest, &[1, 2, 3]);
    writer.join().unwrap();
}

/// A question and its answer.
fn conversation(flaws: Flaws) {
    let (mut host, mut guest) = Sleeper::pair(pair(flaws));
    let there = loom::thread::spawn(move || {
        expect(&mut guest, &[1]);
        guest.push(&[2]);
    });
    host.push(&[1]);
    expect(&mut host, &[2]);
    there.join().unwrap();
}

fn expect(side: &mut Sleeper, bytes: &[u8]) {
    let mut seen = Vec::new();
    while seen.len() < bytes.len() {
        let mut buffer = [0; RING_BYTES];
        let count = side.pull(&mut buffer);
        seen.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(seen, bytes);
}

#[test]
fn bytes_arrive_in_order_and_no_two_touch_one() {
    explore("rings, a stream of which nobody sleeps", || stream(SOUND));
}

#[test]
fn no_wake_up_of_a_reader_is_lost() {
    explore("rings, a reader that sleeps", || reader_sleeps(SOUND));
}

#[test]
fn no_wake_up_of_a_writer_is_lost() {
    explore("rings, both sleep, one for want of room", || {
        both_sleep(SOUND)
    });
}

#[test]
fn no_wake_up_is_lost_in_a_conversation() {
    explore("rings, a question and its answer", || conversation(SOUND));
}

/// Every release, acquire and fence is needed, and loom sees that it is.
#[test]
fn each_flaw_is_found() {
    const RACE: &str = "Causality violation: Concurrent read and write accesses";
    const LOST: &str = "deadlock";
    let host = |flaw| [Some(flaw), None];
    let guest = |flaw| [None, Some(flaw)];
    let cases: [(Model, Flaws, &str); 8] = [
        // The head says that bytes are there, the tail that they may be overwritten.
        (stream, host(Flaw::RelaxedStores), RACE),
        (stream, guest(Flaw::RelaxedLoads), RACE),
        (stream, guest(Flaw::RelaxedStores), RACE),
        (stream, host(Flaw::RelaxedLoads), RACE),
        // A fence is missing where the host wakes, or where the guest goes to sleep.
        (reader_sleeps, host(Flaw::NoFence), LOST),
        (reader_sleeps, guest(Flaw::NoFence), LOST),
        (both_sleep, host(Flaw::NoFence), LOST),
        (both_sleep, guest(Flaw::NoFence), LOST),
    ];
    for (model, flaws, expected) in cases {
        let objection = objection(move || model(flaws));
        assert!(objection.starts_with(expected), "{flaws:?}: {objection}");
    }
}
