//! The memory beneath two rings: words that both sides access, and bytes that are copied in and out.
//! All that is unsafe about the rings is here, and the models of `loom` put theirs in its place.

#![allow(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::Error;
use crate::sys::Mapping;

/// Bytes of one ring. Under Miri, which is slow, they are few.
pub(super) const RING_BYTES: usize = if cfg!(miri) { 4 << 10 } else { 256 << 10 };
/// Where the rings begin.
const CONTROL_BYTES: usize = 4096;
/// Bytes that are shared.
pub(super) const BYTES: usize = CONTROL_BYTES + 2 * RING_BYTES;
/// Words that different sides write stand so far apart, because processors fetch pairs of lines.
const APART: usize = 128;

/// One side's access to the memory, which is always [`BYTES`] long.
pub(super) struct Shared(Mapping);

/// Which word of the control page. That it lies there was checked when it was named.
#[derive(Clone, Copy)]
pub(super) struct Word(usize);

impl Word {
    pub(super) const fn new(index: usize) -> Self {
        assert!(index < CONTROL_BYTES / APART);
        Self(index * APART)
    }
}

impl Shared {
    /// Zeroed memory, and the descriptor by which the other side [`open`](Self::open)s it.
    pub(super) fn create() -> Result<(Self, OwnedFd), Error> {
        let (mapping, descriptor) = Mapping::shared(BYTES).map_err(refused)?;
        Ok((Self(mapping), descriptor))
    }

    pub(super) fn open(descriptor: &OwnedFd) -> Result<Self, Error> {
        Ok(Self(
            Mapping::shared_by(descriptor, BYTES).map_err(refused)?,
        ))
    }

    /// Both sides in this process, on memory of the kernel, where that can be had.
    #[cfg(test)]
    pub(super) fn pair() -> (Self, Self) {
        if cfg!(all(target_os = "linux", not(miri))) {
            let (host, descriptor) = Self::create().unwrap();
            (host, Self::open(&descriptor).unwrap())
        } else {
            let (host, guest) = Mapping::shared_pair(BYTES).unwrap();
            (Self(host), Self(guest))
        }
    }

    #[inline]
    pub(super) fn word(&self, word: Word) -> &AtomicU64 {
        // SAFETY: the control page lies at the front of the mapping, which is page-aligned and
        // lives as long as `self`; here and in the peer it is accessed by atomics only.
        unsafe { AtomicU64::from_ptr(self.0.pointer(word.0).cast()) }
    }

    /// What each side passes between what it says and what it asks of the other's words.
    #[inline]
    pub(super) fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    /// Copies `bytes` to `at`, which counts from the beginning of the first ring. The rings see to
    /// it that a peer that keeps to the rules does not touch them at the same time.
    #[inline]
    pub(super) fn store(&self, at: usize, bytes: &[u8]) {
        let to = self.bytes(at, bytes.len());
        // SAFETY: the range lies in the mapping; `bytes` lie elsewhere, for no reference to bytes
        // of the mapping is ever made.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Copies the bytes at `at` into `buffer`, likewise.
    #[inline]
    pub(super) fn load(&self, at: usize, buffer: &mut [u8]) {
        let from = self.bytes(at, buffer.len());
        // SAFETY: the range lies in the mapping and is initialised; the buffer lies elsewhere, for
        // no reference to bytes of the mapping is ever made.
        unsafe { from.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) }
    }

    /// The address of `length` bytes of the rings; never of the control page.
    #[inline]
    fn bytes(&self, at: usize, length: usize) -> *mut u8 {
        let is_inside = length <= 2 * RING_BYTES && at <= 2 * RING_BYTES - length;
        assert!(is_inside, "rings have an end");
        self.0.pointer(CONTROL_BYTES + at)
    }
}

fn refused(source: std::io::Error) -> Error {
    Error::Share {
        bytes: BYTES as u64,
        source,
    }
}
