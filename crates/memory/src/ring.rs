//! Two byte rings in memory that two processes of one host share: what one side pushes, the other
//! pulls, without a system call.
//!
//! ```text
//!  0         4 KiB                  260 KiB                516 KiB
//! +---------+----------------------+----------------------+
//! | control | from host to guest   | from guest to host   |
//! +---------+----------------------+----------------------+
//!
//!  a ring:    tail (counts bytes pulled)     head (counts bytes pushed)
//!             v                              v
//!  ···········###############################············   positions are counts modulo the length
//! ```
//!
//! Each ring has one writer, who alone moves its head, and one reader, who alone moves its tail
//! (Lamport, *Specifying concurrent program modules*, 1983). Either side can sleep, on something
//! else than this memory; it says so before ([`doze`](Rings::doze)), and the other side, having
//! moved something, finds that out ([`must_wake`](Rings::must_wake)) and wakes it. Both first store
//! what they have to say, then pass a sequentially consistent fence, and then load what the other
//! has said: so at least one of them sees the other (Dekker).
//!
//! # Why a hostile peer can do no harm
//!
//! The peer can store anything anywhere in this memory at any time. So nothing that is read here is
//! used twice: how far a side is itself, it keeps in its own memory; how far the other is, it reads
//! once, as an atomic, and refuses if it is further than the ring is long. Bytes are copied out
//! before anybody looks at them, and no reference to them is ever made. The host seals the length,
//! and the guest maps nothing that is not sealed: so no access can leave the memory or fault.
//!
//! Two sides that keep to the rules never touch the same byte at the same time: the writer's copy is
//! ordered before the reader's by the head (release, acquire), the reader's before the writer's next
//! one by the tail. That a peer in another process breaks them can change the bytes that are copied,
//! and nothing else.

#![allow(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::Error;
use crate::sys::Mapping;

/// Bytes of one ring. Under Miri, which is slow, they are few.
const RING_BYTES: usize = if cfg!(miri) { 4 << 10 } else { 256 << 10 };
/// Where the rings begin.
const CONTROL_BYTES: usize = 4096;
/// Bytes that are shared.
const BYTES: usize = CONTROL_BYTES + 2 * RING_BYTES;
/// Words that different sides write stand so far apart, because processors fetch pairs of lines.
const APART: usize = 128;

/// One side of two rings.
pub struct Rings {
    mapping: Mapping,
    outgoing: Ring,
    incoming: Ring,
    /// Where this side says whether it sleeps, and where the other does.
    ours: usize,
    theirs: usize,
    /// Bytes pushed so far.
    pushed: u64,
    /// Bytes that the peer had pulled when this side last looked; it looks only for lack of room.
    pulled_by_peer: u64,
    /// Bytes pulled so far.
    pulled: u64,
}

/// Where a ring has its parts.
#[derive(Clone, Copy)]
struct Ring {
    head: usize,
    tail: usize,
    bytes: usize,
}

impl Ring {
    const fn new(index: usize) -> Self {
        Self {
            head: 2 * index * APART,
            tail: (2 * index + 1) * APART,
            bytes: CONTROL_BYTES + index * RING_BYTES,
        }
    }
}

/// What a side that sleeps wants to be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Something to pull.
    Input = 1,
    /// That, or room to push.
    InputOrRoom = 2,
}

/// A side that does not sleep wants nothing.
const AWAKE: u64 = 0;

impl Rings {
    /// Empty rings, and the descriptor by which a guest [`open`](Self::open)s their other side.
    ///
    /// # Errors
    /// [`Error::Share`] if the system gives no such memory.
    pub fn host() -> Result<(Self, OwnedFd), Error> {
        let (mapping, descriptor) = Mapping::shared(BYTES).map_err(refused)?;
        Ok((Self::new(mapping, 0), descriptor))
    }

    /// The other side of the rings that a host made. It must be the only one.
    ///
    /// # Errors
    /// [`Error::Share`] if they cannot be mapped, or are not what [`host`](Self::host) makes.
    pub fn open(descriptor: &OwnedFd) -> Result<Self, Error> {
        let mapping = Mapping::shared_by(descriptor, BYTES).map_err(refused)?;
        Ok(Self::new(mapping, 1))
    }

    fn new(mapping: Mapping, side: usize) -> Self {
        Self {
            mapping,
            outgoing: Ring::new(side),
            incoming: Ring::new(1 - side),
            ours: (4 + side) * APART,
            theirs: (5 - side) * APART,
            pushed: 0,
            pulled_by_peer: 0,
            pulled: 0,
        }
    }

    /// Whether there is something to [`pull`](Self::pull). Costs next to nothing until there is.
    #[inline]
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.word(self.incoming.head).load(Ordering::Acquire) != self.pulled
    }

    /// Whether something can be [`push`](Self::push)ed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let pulled = self.word(self.outgoing.tail).load(Ordering::Acquire);
        self.pushed.wrapping_sub(pulled) < RING_BYTES as u64
    }

    /// Pushes `parts`, one after the other, as far as there is room, and shows them to the peer
    /// all at once. Answers how many bytes that were.
    ///
    /// # Errors
    /// [`Error::Ring`] if the peer has written nonsense.
    pub fn push<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>) -> Result<usize, Error> {
        let begin = self.pushed;
        let mut end = begin;
        for part in parts {
            if self.room(end) < part.len() {
                let pulled = self.word(self.outgoing.tail).load(Ordering::Acquire);
                distance(end, pulled)?;
                self.pulled_by_peer = pulled;
            }
            let taken = part.len().min(self.room(end));
            self.copy_in(end, &part[..taken]);
            end += taken as u64;
            if taken < part.len() {
                break;
            }
        }
        if end > begin {
            self.pushed = end;
            self.word(self.outgoing.head).store(end, Ordering::Release);
        }
        Ok((end - begin) as usize)
    }

    /// Pulls into `buffer` what is there, as far as it goes; answers how many bytes that were.
    ///
    /// # Errors
    /// [`Error::Ring`] if the peer has written nonsense.
    pub fn pull(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let head = self.word(self.incoming.head).load(Ordering::Acquire);
        let count = distance(head, self.pulled)?.min(buffer.len());
        if count > 0 {
            self.copy_out(self.pulled, &mut buffer[..count]);
            self.pulled += count as u64;
            self.word(self.incoming.tail)
                .store(self.pulled, Ordering::Release);
        }
        Ok(count)
    }

    /// Says that this side is about to sleep, and for what it wants to be woken. Answers whether it
    /// may: `false` if that has come already. [`rouse`](Self::rouse) must follow the sleep.
    pub fn doze(&self, wish: Wish) -> bool {
        self.word(self.ours).store(wish as u64, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_sleep = !(self.has_input() || wish == Wish::InputOrRoom && self.has_room());
        if !may_sleep {
            self.rouse();
        }
        may_sleep
    }

    /// Says that this side is awake. A wake-up may be under way nevertheless.
    pub fn rouse(&self) {
        self.word(self.ours).store(AWAKE, Ordering::Relaxed);
    }

    /// Whether the peer sleeps and wants to be woken for what was just done: [`Wish::Input`] after
    /// a push, [`Wish::InputOrRoom`] after a pull. It is answered only once for each sleep.
    #[must_use]
    pub fn must_wake(&self, done: Wish) -> bool {
        fence(Ordering::SeqCst);
        let wish = self.word(self.theirs);
        // What is taken back by the swap may be a later and smaller wish: to wake too often is safe.
        wish.load(Ordering::Relaxed) >= done as u64 && wish.swap(AWAKE, Ordering::Relaxed) != AWAKE
    }

    /// Room for what begins at `end`, as far as is known without looking.
    fn room(&self, end: u64) -> usize {
        RING_BYTES - end.wrapping_sub(self.pulled_by_peer) as usize
    }

    /// A word of the control page that both sides access.
    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at + 8 <= CONTROL_BYTES && at.is_multiple_of(8));
        // SAFETY: the control page lies at the front of the mapping, which is page-aligned and
        // lives as long as `self`; here and in the peer it is accessed by atomics only.
        unsafe { AtomicU64::from_ptr(self.mapping.pointer(at).cast()) }
    }

    /// Copies `bytes` into the outgoing ring. The caller has made sure that the peer has pulled
    /// what was there.
    fn copy_in(&self, position: u64, bytes: &[u8]) {
        let at = position as usize % RING_BYTES;
        let (first, second) = bytes.split_at(bytes.len().min(RING_BYTES - at));
        for (at, part) in [
            (self.outgoing.bytes + at, first),
            (self.outgoing.bytes, second),
        ] {
            // SAFETY: no reference into the mapping is ever made, but to the words of the control
            // page, so `part` lies elsewhere.
            unsafe { self.mapping.store(at, part) }
        }
    }

    /// Copies bytes out of the incoming ring. The caller has made sure that the peer has pushed
    /// them.
    fn copy_out(&self, position: u64, buffer: &mut [u8]) {
        let at = position as usize % RING_BYTES;
        let length = buffer.len().min(RING_BYTES - at);
        let (first, second) = buffer.split_at_mut(length);
        for (at, part) in [
            (self.incoming.bytes + at, first),
            (self.incoming.bytes, second),
        ] {
            assert!(self.mapping.contains(at, part.len()), "a ring has an end");
            // SAFETY: the range lies in the mapping, by the assertion, and is initialised; the
            // buffer lies elsewhere, for no reference to bytes of the mapping is ever made.
            unsafe {
                self.mapping
                    .pointer(at)
                    .copy_to_nonoverlapping(part.as_mut_ptr(), part.len());
            }
        }
    }
}

impl std::fmt::Debug for Rings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rings")
            .field("pushed", &self.pushed)
            .field("pulled", &self.pulled)
            .finish_non_exhaustive()
    }
}

/// Bytes between a head and a tail.
fn distance(head: u64, tail: u64) -> Result<usize, Error> {
    let distance = head.wrapping_sub(tail);
    if distance > RING_BYTES as u64 {
        return Err(Error::Ring);
    }
    Ok(distance as usize)
}

fn refused(source: std::io::Error) -> Error {
    Error::Share {
        bytes: BYTES as u64,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;
    use std::time::Duration;

    /// Fewer under Miri, which is slow.
    const TURNS: usize = if cfg!(miri) { 200 } else { 50_000 };
    const PIECES: usize = if cfg!(miri) { 20 } else { 300 };

    /// Two sides in this process: sharing memory of the kernel, where that can be had.
    fn pair() -> (Rings, Rings) {
        if cfg!(all(target_os = "linux", not(miri))) {
            let (host, descriptor) = Rings::host().unwrap();
            (host, Rings::open(&descriptor).unwrap())
        } else {
            let (host, guest) = Mapping::shared_pair(BYTES).unwrap();
            (Rings::new(host, 0), Rings::new(guest, 1))
        }
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

    /// A side, and how the two wake each other.
    struct Sleeper {
        rings: Rings,
        bell: Receiver<()>,
        peer: Sender<()>,
    }

    impl Sleeper {
        fn pair() -> (Self, Self) {
            let (host, guest) = pair();
            let (to_host, of_host) = channel();
            let (to_guest, of_guest) = channel();
            let sleeper = |rings, bell, peer| Self { rings, bell, peer };
            (
                sleeper(host, of_host, to_guest),
                sleeper(guest, of_guest, to_host),
            )
        }

        /// Sleeps if it may. Were a wake-up lost, this would fail.
        fn sleep(&self, wish: Wish) {
            if self.rings.doze(wish) {
                let woken = self.bell.recv_timeout(Duration::from_secs(20));
                assert!(woken.is_ok(), "a wake-up was lost");
                self.rings.rouse();
            }
        }

        fn wake(&self, done: Wish) {
            if self.rings.must_wake(done) {
                // The peer may have ended.
                let _ = self.peer.send(());
            }
        }

        fn push(&mut self, bytes: &[u8]) {
            let mut at = 0;
            while at < bytes.len() {
                at += self.rings.push([&bytes[at..]]).unwrap();
                self.wake(Wish::Input);
                if at < bytes.len() {
                    self.sleep(Wish::InputOrRoom);
                }
            }
        }

        fn pull(&mut self, buffer: &mut [u8]) -> usize {
            loop {
                let count = self.rings.pull(buffer).unwrap();
                if count > 0 {
                    self.wake(Wish::InputOrRoom);
                    return count;
                }
                self.sleep(Wish::Input);
            }
        }
    }

    #[test]
    fn no_wake_up_is_lost_in_a_conversation() {
        let (mut host, mut guest) = Sleeper::pair();
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
        let (mut host, mut guest) = Sleeper::pair();
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
            let word = host.word(host.outgoing.head);
            word.store(nonsense, Ordering::Release);
            assert!(matches!(guest.pull(&mut [0; 9]), Err(Error::Ring)));
            let word = guest.word(guest.incoming.tail);
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
}
