//! The rings between threads, on real memory; Miri runs these too.

use std::thread;

use super::shared::BYTES;
use super::sleeper::Sleeper;
use super::*;

/// Fewer under Miri, which is slow.
const TURNS: usize = if cfg!(miri) { 200 } else { 50_000 };
const PIECES: usize = if cfg!(miri) { 20 } else { 300 };

fn pair() -> (Rings, Rings) {
    let (host, guest) = Shared::pair();
    (Rings::new(host, 0), Rings::new(guest, 1))
}

fn pull(rings: &mut Rings) -> Vec<u8> {
    let mut buffer = vec![0; 2 * RING_BYTES];
    let count = rings.pull(&mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

#[test]
fn what_one_side_pushes_the_other_pulls() {
    let (mut host, mut guest) = pair();
    assert!(!guest.has_input() && pull(&mut guest).is_empty());
    assert_eq!(host.push([&b"one"[..], b"", b" and two"]).unwrap(), 11);
    assert_eq!(guest.push([&b"back"[..]]).unwrap(), 4);
    assert!(guest.has_input());
    assert_eq!(pull(&mut guest), b"one and two");
    assert_eq!(pull(&mut host), b"back");
    assert!(!guest.has_input() && !host.has_input());
}

#[test]
fn a_full_ring_takes_what_fits_and_goes_on_behind_its_end() {
    let (mut host, mut guest) = pair();
    let bytes: Vec<u8> = (0..RING_BYTES + 1000).map(|at| (at % 251) as u8).collect();
    assert_eq!(host.push([&bytes[..]]).unwrap(), RING_BYTES);
    assert!(!host.has_room());
    assert_eq!(host.push([&b"more"[..]]).unwrap(), 0);
    let mut front = [0; 700];
    assert_eq!(guest.pull(&mut front).unwrap(), 700);
    assert!(host.has_room());
    assert_eq!(host.push([&bytes[RING_BYTES..]]).unwrap(), 700);
    let mut all = front.to_vec();
    all.extend(pull(&mut guest));
    assert_eq!(all, bytes[..RING_BYTES + 700]);
}

/// Nobody sleeps or wakes, so that heads and tails alone keep the order.
#[test]
fn two_that_are_awake_exchange_a_stream() {
    const TOTAL: usize = PIECES * RING_BYTES / 3;
    let (mut host, mut guest) = pair();
    let writer = thread::spawn(move || {
        let piece: Vec<u8> = (0..251).collect();
        let mut at = 0;
        while at < TOTAL {
            let part = &piece[at % 251..251.min(at % 251 + TOTAL - at)];
            at += host.push([part]).unwrap();
            thread::yield_now();
        }
    });
    let (mut at, mut buffer) = (0, vec![0; RING_BYTES / 7 + 1]);
    while at < TOTAL {
        let count = guest.pull(&mut buffer).unwrap();
        let expected = (at..at + count).map(|at| (at % 251) as u8);
        assert!(buffer[..count].iter().copied().eq(expected), "from {at}");
        at += count;
        thread::yield_now();
    }
    writer.join().unwrap();
}

#[test]
fn who_sleeps_is_woken_once_and_only_for_what_it_wants() {
    let (mut host, mut guest) = pair();
    host.push([&b"x"[..]]).unwrap();
    assert!(!host.must_wake(Wish::Input), "the guest is awake");
    assert!(!guest.doze(Wish::Input), "there is something");
    pull(&mut guest);
    assert!(guest.doze(Wish::Input));
    assert!(!host.must_wake(Wish::InputOrRoom), "room is not its wish");
    assert!(host.must_wake(Wish::Input));
    assert!(!host.must_wake(Wish::Input), "it is being woken");
    guest.rouse();
    assert!(!guest.doze(Wish::InputOrRoom), "there is room");
    guest.push([&vec![0; RING_BYTES][..]]).unwrap();
    assert!(guest.doze(Wish::InputOrRoom));
    pull(&mut host);
    assert!(host.must_wake(Wish::InputOrRoom));
    assert!(guest.doze(Wish::Input));
    guest.rouse();
    assert!(!host.must_wake(Wish::Input));
}

#[test]
fn no_wake_up_is_lost_in_a_conversation() {
    let (mut host, mut guest) = Sleeper::pair(pair());
    let there = thread::spawn(move || {
        for _ in 0..TURNS {
            guest.pull(&mut [0; 8]);
            guest.push(b"answer");
        }
    });
    for _ in 0..TURNS {
        host.push(b"question");
        host.pull(&mut [0; 8]);
    }
    there.join().unwrap();
}

#[test]
fn no_wake_up_is_lost_in_a_stream() {
    const PIECE: usize = RING_BYTES / 3 + 1;
    let (mut host, mut guest) = Sleeper::pair(pair());
    let writer = thread::spawn(move || {
        let piece: Vec<u8> = (0..PIECE).map(|at| at as u8).collect();
        (0..PIECES).for_each(|_| host.push(&piece));
    });
    let (mut at, mut buffer) = (0, vec![0; RING_BYTES / 7 + 1]);
    while at < PIECES * PIECE {
        let count = guest.pull(&mut buffer);
        let expected = (at..at + count).map(|at| (at % PIECE) as u8);
        assert!(buffer[..count].iter().copied().eq(expected), "from {at}");
        at += count;
    }
    writer.join().unwrap();
}

#[test]
fn a_peer_that_writes_nonsense_is_refused() {
    let (mut host, mut guest) = pair();
    host.push([&b"abc"[..]]).unwrap();
    for nonsense in [RING_BYTES as u64 + 4, 1 << 40, 1 << 63] {
        let word = host.shared.word(host.outgoing.head);
        word.store(nonsense, Ordering::Release);
        assert!(matches!(guest.pull(&mut [0; 9]), Err(Error::Ring)));
        let word = guest.shared.word(guest.incoming.tail);
        word.store(nonsense, Ordering::Release);
        let whole = vec![0; RING_BYTES];
        assert!(matches!(host.push([&whole[..]]), Err(Error::Ring)));
    }
}

#[test]
#[cfg(all(target_os = "linux", not(miri)))]
fn memory_that_could_be_shortened_is_not_mapped() {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    let open = |flags, length: u64| {
        let memory = memfd_create("test", flags).unwrap();
        ftruncate(&memory, length).unwrap();
        Rings::open(&memory)
    };
    let (flags, length) = (MemfdFlags::ALLOW_SEALING, BYTES as u64);
    for memory in [open(flags, length), open(MemfdFlags::empty(), length)] {
        assert!(matches!(memory, Err(Error::Share { .. })));
    }
    let (_host, descriptor) = Rings::host().unwrap();
    assert!(ftruncate(&descriptor, 0).is_err());
    assert!(ftruncate(&descriptor, 2 * length).is_err());
}
