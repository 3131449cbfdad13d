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

#[cfg(test)]
#[cfg(loom)]
mod models;
#[cfg(not(loom))]
mod shared;
#[cfg(loom)]
#[path = "modelled.rs"]
mod shared;
#[cfg(test)]
mod sleeper;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use crate::Error;
use shared::{RING_BYTES, Shared, Word};

/// One side of two rings.
pub struct Rings {
    shared: Shared,
    outgoing: Ring,
    incoming: Ring,
    /// Where this side says whether it sleeps, and where the other does.
    ours: Word,
    theirs: Word,
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
    head: Word,
    tail: Word,
    bytes: usize,
}

impl Ring {
    const fn new(index: usize) -> Self {
        Self {
            head: Word::new(2 * index),
            tail: Word::new(2 * index + 1),
            bytes: index * RING_BYTES,
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
        let (shared, descriptor) = Shared::create()?;
        Ok((Self::new(shared, 0), descriptor))
    }

    /// The other side of the rings that a host made. It must be the only one.
    ///
    /// # Errors
    /// [`Error::Share`] if they cannot be mapped, or are not what [`host`](Self::host) makes.
    pub fn open(descriptor: &OwnedFd) -> Result<Self, Error> {
        Ok(Self::new(Shared::open(descriptor)?, 1))
    }

    fn new(shared: Shared, side: usize) -> Self {
        Self {
            shared,
            outgoing: Ring::new(side),
            incoming: Ring::new(1 - side),
            ours: Word::new(4 + side),
            theirs: Word::new(5 - side),
            pushed: 0,
            pulled_by_peer: 0,
            pulled: 0,
        }
    }

    /// Whether there is something to [`pull`](Self::pull). Costs next to nothing until there is.
    #[inline]
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.shared.word(self.incoming.head).load(Ordering::Acquire) != self.pulled
    }

    /// Whether something can be [`push`](Self::push)ed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let pulled = self.shared.word(self.outgoing.tail).load(Ordering::Acquire);
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
                let pulled = self.shared.word(self.outgoing.tail).load(Ordering::Acquire);
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
            self.shared
                .word(self.outgoing.head)
                .store(end, Ordering::Release);
        }
        Ok((end - begin) as usize)
    }

    /// Pulls into `buffer` what is there, as far as it goes; answers how many bytes that were.
    ///
    /// # Errors
    /// [`Error::Ring`] if the peer has written nonsense.
    pub fn pull(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let head = self.shared.word(self.incoming.head).load(Ordering::Acquire);
        let count = distance(head, self.pulled)?.min(buffer.len());
        if count > 0 {
            self.copy_out(self.pulled, &mut buffer[..count]);
            self.pulled += count as u64;
            self.shared
                .word(self.incoming.tail)
                .store(self.pulled, Ordering::Release);
        }
        Ok(count)
    }

    /// Says that this side is about to sleep, and for what it wants to be woken. Answers whether it
    /// may: `false` if that has come already. [`rouse`](Self::rouse) must follow the sleep.
    pub fn doze(&self, wish: Wish) -> bool {
        self.shared
            .word(self.ours)
            .store(wish as u64, Ordering::Relaxed);
        self.shared.fence();
        let may_sleep = !(self.has_input() || wish == Wish::InputOrRoom && self.has_room());
        if !may_sleep {
            self.rouse();
        }
        may_sleep
    }

    /// Says that this side is awake. A wake-up may be under way nevertheless.
    pub fn rouse(&self) {
        self.shared.word(self.ours).store(AWAKE, Ordering::Relaxed);
    }

    /// Whether the peer sleeps and wants to be woken for what was just done: [`Wish::Input`] after
    /// a push, [`Wish::InputOrRoom`] after a pull. It is answered only once for each sleep.
    #[must_use]
    pub fn must_wake(&self, done: Wish) -> bool {
        self.shared.fence();
        let wish = self.shared.word(self.theirs);
        let must_wake = wish.load(Ordering::Relaxed) >= done as u64;
        if must_wake {
            // What this takes back may be a later wish than the one that was seen, or none any
            // more. The peer is woken for it all the same, and to wake too often is safe.
            wish.store(AWAKE, Ordering::Relaxed);
        }
        must_wake
    }

    /// Room for what begins at `end`, as far as is known without looking.
    fn room(&self, end: u64) -> usize {
        RING_BYTES - end.wrapping_sub(self.pulled_by_peer) as usize
    }

    /// Copies `bytes` into the outgoing ring. The caller has made sure that the peer has pulled
    /// what was there.
    #[inline]
    fn copy_in(&self, position: u64, bytes: &[u8]) {
        let at = position as usize % RING_BYTES;
        let (first, second) = bytes.split_at(bytes.len().min(RING_BYTES - at));
        self.shared.store(self.outgoing.bytes + at, first);
        self.shared.store(self.outgoing.bytes, second);
    }

    /// Copies bytes out of the incoming ring. The caller has made sure that the peer has pushed
    /// them.
    #[inline]
    fn copy_out(&self, position: u64, buffer: &mut [u8]) {
        let at = position as usize % RING_BYTES;
        let length = buffer.len().min(RING_BYTES - at);
        let (first, second) = buffer.split_at_mut(length);
        self.shared.load(self.incoming.bytes + at, first);
        self.shared.load(self.incoming.bytes, second);
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
