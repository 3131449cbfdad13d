//! Raw memory from the operating system: all that has to be written anew to port Plurix.
//!
//! [`Mapping`] owns a page-aligned range of initialised bytes, from the kernel or, emulated, from
//! the allocator. It knows nothing of references: whoever makes one out of its pointer argues why
//! that is sound. [`ZeroedSlice`] is the safe view for tables of plain cells.

#![allow(unsafe_code)]
#![cfg_attr(
    loom,
    allow(dead_code, reason = "the memory of the rings is modelled there")
)]

mod emulated;
mod gate;
#[cfg(all(target_os = "linux", not(miri)))]
mod linux;
mod zeroed;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;

#[cfg(not(all(target_os = "linux", not(miri))))]
use emulated as native;
#[cfg(all(target_os = "linux", not(miri)))]
use linux as native;

pub(crate) use gate::{Gate, ViewMemory};
pub(crate) use native::{AlternateStack, TrapFloor};
pub(crate) use zeroed::ZeroedSlice;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("heap offsets are used as addresses: Plurix needs a 64-bit target");

/// Where memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The kernel's mappings; the allocator where there is no port, and under Miri.
    Native,
    /// The allocator.
    Emulated,
}

/// How a page fault that the kernel does not serve comes to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// `SIGSEGV`: the mapping forbids the access.
    Segment,
    /// `SIGBUS`: a userfaultfd says so.
    Bus,
}

/// Who serves a page fault: told the address, and whether it was a store, where the processor tells.
/// If it answers `true` the instruction is tried again, else the fault is treated as if nobody had
/// been asked.
pub(crate) type Serve = fn(Trap, usize, Option<bool>) -> bool;

/// Asks `serve` at each page fault of this process that the kernel does not serve. To be called once.
pub(crate) fn catch_faults(serve: Serve) -> io::Result<()> {
    native::catch_faults(serve)
}

/// Ends the process where no code of others may run.
pub(crate) fn abort(why: &str) -> ! {
    // SAFETY: if standard error is closed, nothing is written.
    let standard_error = unsafe { BorrowedFd::borrow_raw(2) };
    // If nobody can be told, it ends as well.
    let _ = rustix::io::write(standard_error, why.as_bytes());
    std::process::abort()
}

/// Owns one range of memory and releases it when dropped.
trait Memory: Send {
    /// The first byte; aligned to a page, all bytes initialised.
    fn base(&self) -> NonNull<u8>;

    /// Returns the memory behind `range` (whole pages) to the system, if that can be done; then
    /// its bytes are zero. Answers whether it was done.
    fn give_back(&mut self, range: Range<usize>) -> bool;

    /// Has memory behind `range` (whole pages) at once, if that can be done; its bytes stay as they
    /// are. Answers whether it was done.
    fn populate(&self, _range: Range<usize>) -> bool {
        false
    }
}

/// A page-aligned range of initialised bytes.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    memory: Box<dyn Memory>,
}

// SAFETY: `base` points into `memory`, which is Send and owned; nothing is bound to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Zeroed memory for a heap of `bytes`, whole pages; address space only, until touched.
    pub(crate) fn heap(backend: Backend, bytes: usize) -> io::Result<Self> {
        match backend {
            Backend::Native => Ok(Self::new(native::heap(bytes)?, bytes)),
            Backend::Emulated => Ok(Self::new(emulated::heap(bytes)?, bytes)),
        }
    }

    /// Zeroed memory for a table of `bytes`; address space only, until touched.
    fn table(backend: Backend, bytes: usize) -> io::Result<Self> {
        match backend {
            Backend::Native => Ok(Self::new(native::table(bytes)?, bytes)),
            Backend::Emulated => Ok(Self::new(emulated::table(bytes)?, bytes)),
        }
    }

    /// The first `bytes` of `file`, shared with it: stores reach the file.
    pub(crate) fn file(file: &File, bytes: usize) -> io::Result<Self> {
        Ok(Self::new(native::file(file, bytes)?, bytes))
    }

    /// Zeroed memory to be shared with another process, and the descriptor by which that one maps
    /// it. Nobody can ever shorten it.
    pub(crate) fn shared(bytes: usize) -> io::Result<(Self, OwnedFd)> {
        let (memory, descriptor) = native::shared(bytes)?;
        Ok((Self::new(memory, bytes), descriptor))
    }

    /// What another process made by [`shared`](Self::shared), of the same length. Refuses memory
    /// that could be shortened, for to touch what is gone ends the process.
    pub(crate) fn shared_by(descriptor: &OwnedFd, bytes: usize) -> io::Result<Self> {
        Ok(Self::new(native::shared_by(descriptor, bytes)?, bytes))
    }

    /// Zeroed memory that two owners in this process share, from the allocator.
    #[cfg(test)]
    pub(crate) fn shared_pair(bytes: usize) -> io::Result<(Self, Self)> {
        let (one, other) = emulated::shared_pair(bytes)?;
        Ok((Self::new(one, bytes), Self::new(other, bytes)))
    }

    fn new(memory: impl Memory + 'static, bytes: usize) -> Self {
        Self {
            base: memory.base(),
            bytes,
            memory: Box::new(memory),
        }
    }

    /// Length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Address of byte `at`; to be dereferenced only below [`len`](Self::len).
    #[inline]
    pub(crate) fn pointer(&self, at: usize) -> *mut u8 {
        self.base.as_ptr().wrapping_add(at)
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Safety
    /// No reference into `at..at + bytes.len()` is alive, and `bytes` lies outside of it.
    ///
    /// # Panics
    /// If the range leaves the mapping.
    #[inline]
    pub(crate) unsafe fn store(&self, at: usize, bytes: &[u8]) {
        assert!(
            self.contains(at, bytes.len()),
            "a store must not leave its mapping"
        );
        // SAFETY: the range is inside the mapping, by the assertion; the caller excludes
        // references into it and an overlap.
        unsafe {
            self.pointer(at)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        }
    }

    /// The `N` bytes at `at`.
    ///
    /// # Safety
    /// Nothing writes to them while the reference lives.
    ///
    /// # Panics
    /// If the range leaves the mapping.
    #[inline]
    pub(crate) unsafe fn array<const N: usize>(&self, at: usize) -> &[u8; N] {
        assert!(self.contains(at, N), "a load must not leave its mapping");
        // SAFETY: the range is inside the mapping and initialised; a byte array has alignment 1;
        // the caller excludes writers.
        unsafe { &*self.pointer(at).cast() }
    }

    /// Whether `at..at + length` lies inside the mapping.
    #[inline]
    pub(crate) fn contains(&self, at: usize, length: usize) -> bool {
        length <= self.bytes && at <= self.bytes - length
    }

    /// Has memory behind `range` (whole pages) at once, if that can be done; its bytes stay as they
    /// are. Answers whether it was done.
    ///
    /// # Panics
    /// If the range leaves the mapping.
    pub(crate) fn populate(&self, range: Range<usize>) -> bool {
        assert!(range.start <= range.end && range.end <= self.bytes);
        self.memory.populate(range)
    }

    /// Returns the memory behind `range` (whole pages) to the system, if that can be done; then
    /// its bytes are zero. Answers whether it was done.
    ///
    /// # Panics
    /// If the range leaves the mapping.
    pub(crate) fn give_back(&mut self, range: Range<usize>) -> bool {
        assert!(range.start <= range.end && range.end <= self.bytes);
        self.memory.give_back(range)
    }
}

/// The largest heap for which [`Mapping::heap`] may be asked without harm to the process.
pub(crate) fn heap_bytes_max(backend: Backend) -> u64 {
    match backend {
        Backend::Native => native::heap_bytes_max(),
        Backend::Emulated => emulated::heap_bytes_max(),
    }
}
