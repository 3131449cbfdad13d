//! The memory beneath two rings as `loom` sees it: it knows of each word and each byte who has
//! accessed it and what that was ordered after, and refuses what a real machine may tear or lose.
//! A [`Flaw`] spoils one side on purpose, which shows that the models can fail.

#![allow(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, fence};

use crate::Error;

/// So few that a ring is soon full and soon goes on at its front.
pub(super) const RING_BYTES: usize = 2;
/// Heads, tails, and the wishes of those who sleep.
const WORDS: usize = 6;

/// One side's access to the memory.
pub(super) struct Shared {
    memory: Arc<Memory>,
    flaw: Option<Flaw>,
}

/// What one side does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It stores words without release.
    RelaxedStores,
    /// It loads words without acquire.
    RelaxedLoads,
    /// It passes no fence between what it says and what it asks.
    NoFence,
}

struct Memory {
    words: [AtomicU64; WORDS],
    bytes: [Byte; 2 * RING_BYTES],
}

struct Byte(UnsafeCell<u8>);

// SAFETY: loom ends a model in which two accesses to a cell are not ordered, before the second.
unsafe impl Sync for Byte {}

#[derive(Clone, Copy)]
pub(super) struct Word(usize);

impl Word {
    pub(super) const fn new(index: usize) -> Self {
        assert!(index < WORDS);
        Self(index)
    }
}

impl Shared {
    /// Never: there is no other process in a model.
    pub(super) fn create() -> Result<(Self, OwnedFd), Error> {
        Err(refused())
    }

    /// Never, likewise.
    pub(super) fn open(_descriptor: &OwnedFd) -> Result<Self, Error> {
        Err(refused())
    }

    /// Both sides, each with its flaw.
    #[cfg(test)]
    pub(super) fn pair(flaws: [Option<Flaw>; 2]) -> (Self, Self) {
        let memory = Arc::new(Memory {
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            bytes: std::array::from_fn(|_| Byte(UnsafeCell::new(0))),
        });
        let side = |flaw| Self {
            memory: Arc::clone(&memory),
            flaw,
        };
        (side(flaws[0]), side(flaws[1]))
    }

    pub(super) fn word(&self, word: Word) -> Access<'_> {
        Access {
            word: &self.memory.words[word.0],
            flaw: self.flaw,
        }
    }

    pub(super) fn fence(&self) {
        if self.flaw != Some(Flaw::NoFence) {
            fence(Ordering::SeqCst);
        }
    }

    pub(super) fn store(&self, at: usize, bytes: &[u8]) {
        for (cell, byte) in self.memory.bytes[at..][..bytes.len()].iter().zip(bytes) {
            // SAFETY: the pointer is valid here, and loom has seen that nobody else uses it.
            cell.0.with_mut(|cell| unsafe { *cell = *byte });
        }
    }

    pub(super) fn load(&self, at: usize, buffer: &mut [u8]) {
        let length = buffer.len();
        for (cell, byte) in self.memory.bytes[at..][..length].iter().zip(buffer) {
            // SAFETY: the pointer is valid here, and loom has seen that nobody writes to it.
            *byte = cell.0.with(|cell| unsafe { *cell });
        }
    }
}

/// A word as a side with a flaw accesses it.
pub(super) struct Access<'a> {
    word: &'a AtomicU64,
    flaw: Option<Flaw>,
}

impl Access<'_> {
    pub(super) fn load(&self, ordering: Ordering) -> u64 {
        self.word.load(self.spoilt(Flaw::RelaxedLoads, ordering))
    }

    pub(super) fn store(&self, value: u64, ordering: Ordering) {
        self.word
            .store(value, self.spoilt(Flaw::RelaxedStores, ordering));
    }

    fn spoilt(&self, flaw: Flaw, ordering: Ordering) -> Ordering {
        if self.flaw == Some(flaw) {
            Ordering::Relaxed
        } else {
            ordering
        }
    }
}

fn refused() -> Error {
    Error::Share {
        bytes: 0,
        source: std::io::ErrorKind::Unsupported.into(),
    }
}
