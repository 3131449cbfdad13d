//! Mappings on Linux: one memfd for a heap, anonymous memory for tables, files for log segments,
//! sealed memfds for what two processes share. In modules of their own: the memory of a view, and
//! the signals by which page faults reach this process.

#![allow(unsafe_code)]

mod floor;
mod protection;
mod signals;
mod userfault;

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::process::{Resource, getrlimit};

use super::{Gate, Memory};
use crate::view::Mechanism;

pub(crate) use floor::TrapFloor;
pub(crate) use signals::AlternateStack;
pub(super) use signals::catch_faults;

/// Nobody can shorten or lengthen what bears these.
const LENGTH_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// One mapping, unmapped when dropped.
pub(super) struct Mapped {
    base: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapped {}

// SAFETY: a shared reference only tells where it begins, or advises the kernel.
unsafe impl Sync for Mapped {}

/// A shared mapping of a memfd that nobody else holds: the descriptor is closed on return.
pub(super) fn heap(bytes: usize) -> io::Result<Mapped> {
    let memory = memory_file("plurix-heap", MemfdFlags::empty())?;
    ftruncate(&memory, bytes as u64)?;
    map_pages(&memory, bytes, read_write())
}

/// A shared mapping of pages that come and go one by one.
fn map_pages(memory: &OwnedFd, bytes: usize, protection: ProtFlags) -> io::Result<Mapped> {
    let flags = MapFlags::SHARED | MapFlags::NORESERVE;
    let mapped = map(memory, bytes, protection, flags)?;
    mapped.advise(Advice::LinuxDontFork)?;
    mapped.advise(Advice::LinuxDontDump)?;
    match mapped.advise(Advice::LinuxNoHugepage) {
        // The kernel was built without huge pages, which is what is wanted.
        Ok(()) | Err(Errno::INVAL) => Ok(mapped),
        Err(error) => Err(error.into()),
    }
}

/// A view's memory, all of it closed to the program.
pub(super) fn view(bytes: usize, mechanism: Mechanism) -> io::Result<Box<dyn Gate>> {
    if bytes as u64 > heap_bytes_max() {
        return Err(Errno::FBIG.into());
    }
    match mechanism {
        Mechanism::Userfault => Ok(Box::new(userfault::Userfault::new(bytes)?)),
        Mechanism::Protection => Ok(Box::new(protection::Protection::new(bytes)?)),
        Mechanism::Emulated => super::emulated::emulated_view(bytes),
    }
}

/// One memfd mapped twice: for the program with `protection`, and for the protocol.
fn map_twice(bytes: usize, protection: ProtFlags) -> io::Result<(Mapped, Mapped)> {
    let memory = memory_file("plurix-view", MemfdFlags::empty())?;
    ftruncate(&memory, bytes as u64)?;
    let program = map_pages(&memory, bytes, protection)?;
    Ok((program, map_pages(&memory, bytes, read_write())?))
}

/// Private zeroed memory that costs nothing until touched.
pub(super) fn table(bytes: usize) -> io::Result<Mapped> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the kernel chooses an unused range.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, read_write(), flags) }?;
    let mapped = Mapped::new(base, bytes);
    mapped.advise(Advice::LinuxDontFork)?;
    mapped.advise(Advice::LinuxDontDump)?;
    Ok(mapped)
}

/// A shared mapping of the first `bytes` of `file`.
pub(super) fn file(file: &File, bytes: usize) -> io::Result<Mapped> {
    let mapped = map(file, bytes, read_write(), MapFlags::SHARED)?;
    mapped.advise(Advice::LinuxDontFork)?;
    Ok(mapped)
}

/// To truncate a file beyond RLIMIT_FSIZE raises SIGXFSZ, which ends the process: a memfd is a file.
pub(super) fn heap_bytes_max() -> u64 {
    getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX)
}

/// A shared mapping of a memfd whose length is sealed, and its descriptor.
pub(super) fn shared(bytes: usize) -> io::Result<(Mapped, OwnedFd)> {
    if bytes as u64 > heap_bytes_max() {
        return Err(Errno::FBIG.into());
    }
    let memory = memory_file("plurix-shared", MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memory, bytes as u64)?;
    fcntl_add_seals(&memory, LENGTH_SEALS | SealFlags::SEAL)?;
    let mapped = shared_by(&memory, bytes)?;
    Ok((mapped, memory))
}

/// A shared mapping of such a memfd.
pub(super) fn shared_by(memory: &OwnedFd, bytes: usize) -> io::Result<Mapped> {
    let is_sealed = fcntl_get_seals(memory)?.contains(LENGTH_SEALS);
    if !is_sealed || fstat(memory)?.st_size != bytes as i64 {
        return Err(Errno::INVAL.into());
    }
    let mapped = map(memory, bytes, read_write(), MapFlags::SHARED)?;
    mapped.advise(Advice::LinuxDontFork)?;
    mapped.advise(Advice::LinuxDontDump)?;
    Ok(mapped)
}

fn memory_file(name: &str, flags: MemfdFlags) -> io::Result<OwnedFd> {
    let flags = flags | MemfdFlags::CLOEXEC;
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 do not know the flag; some later ones are set up to insist on it.
        Err(Errno::INVAL) => Ok(memfd_create(name, flags)?),
        answer => Ok(answer?),
    }
}

fn map(
    file: impl AsFd,
    bytes: usize,
    protection: ProtFlags,
    flags: MapFlags,
) -> io::Result<Mapped> {
    // SAFETY: the kernel chooses an unused range.
    let base = unsafe { mmap(ptr::null_mut(), bytes, protection, flags, file, 0) }?;
    Ok(Mapped::new(base, bytes))
}

fn read_write() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

impl Mapped {
    fn new(base: *mut c_void, bytes: usize) -> Self {
        let base = NonNull::new(base).expect("the kernel maps nothing at address zero unasked");
        Self { base, bytes }
    }

    /// Address of byte `at`.
    fn pointer(&self, at: usize) -> *mut c_void {
        self.base.as_ptr().wrapping_byte_add(at)
    }

    /// Returns the memory behind `range` to the system.
    ///
    /// # Safety
    /// The range lies in this mapping, and nobody relies on its contents.
    unsafe fn remove(&self, range: Range<usize>) -> Result<(), Errno> {
        // SAFETY: by the caller's promise.
        unsafe { madvise(self.pointer(range.start), range.len(), Advice::LinuxRemove) }
    }

    /// Advice that leaves the contents as they are.
    fn advise(&self, advice: Advice) -> Result<(), Errno> {
        // SAFETY: the range is this mapping's own, and the advice leaves its contents alone.
        unsafe { madvise(self.base.as_ptr(), self.bytes, advice) }
    }
}

impl Memory for Mapped {
    fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }

    fn give_back(&mut self, range: Range<usize>) -> bool {
        // SAFETY: the caller's range lies in this mapping, and `&mut self` stands for its contents.
        unsafe { self.remove(range) }.is_ok()
    }

    fn populate(&self, range: Range<usize>) -> bool {
        let advice = Advice::LinuxPopulateWrite;
        // SAFETY: the caller's range lies in this mapping, and the advice leaves its contents alone.
        unsafe { madvise(self.pointer(range.start), range.len(), advice) }.is_ok()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping's own, and no reference into it outlives its owner.
        let answer = unsafe { munmap(self.base.as_ptr(), self.bytes) };
        debug_assert!(answer.is_ok(), "unmapping a whole mapping cannot fail");
    }
}
