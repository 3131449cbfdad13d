//! Mappings on Linux: one memfd for a heap, anonymous memory for tables, files for log segments,
//! sealed memfds for what two processes share.

#![allow(unsafe_code)]

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

use super::Memory;

/// Nobody can shorten or lengthen what bears these.
const LENGTH_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// One mapping, unmapped when dropped.
pub(super) struct View {
    base: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for View {}

/// A shared mapping of a memfd that nobody else holds: the descriptor is closed on return.
pub(super) fn heap(bytes: usize) -> io::Result<View> {
    let memory = memory_file("plurix-heap", MemfdFlags::empty())?;
    ftruncate(&memory, bytes as u64)?;
    let view = map(&memory, bytes, MapFlags::SHARED | MapFlags::NORESERVE)?;
    view.advise(Advice::LinuxDontFork)?;
    view.advise(Advice::LinuxDontDump)?;
    match view.advise(Advice::LinuxNoHugepage) {
        // The kernel was built without huge pages, which is what is wanted.
        Ok(()) | Err(Errno::INVAL) => Ok(view),
        Err(error) => Err(error.into()),
    }
}

/// Private zeroed memory that costs nothing until touched.
pub(super) fn table(bytes: usize) -> io::Result<View> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the kernel chooses an unused range.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, read_write(), flags) }?;
    let view = View::new(base, bytes);
    view.advise(Advice::LinuxDontFork)?;
    view.advise(Advice::LinuxDontDump)?;
    Ok(view)
}

/// A shared mapping of the first `bytes` of `file`.
pub(super) fn file(file: &File, bytes: usize) -> io::Result<View> {
    let view = map(file, bytes, MapFlags::SHARED)?;
    view.advise(Advice::LinuxDontFork)?;
    Ok(view)
}

/// To truncate a file beyond RLIMIT_FSIZE raises SIGXFSZ, which ends the process: a memfd is a file.
pub(super) fn heap_bytes_max() -> u64 {
    getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX)
}

/// A shared mapping of a memfd whose length is sealed, and its descriptor.
pub(super) fn shared(bytes: usize) -> io::Result<(View, OwnedFd)> {
    if bytes as u64 > heap_bytes_max() {
        return Err(Errno::FBIG.into());
    }
    let memory = memory_file("plurix-shared", MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memory, bytes as u64)?;
    fcntl_add_seals(&memory, LENGTH_SEALS | SealFlags::SEAL)?;
    let view = shared_by(&memory, bytes)?;
    Ok((view, memory))
}

/// A shared mapping of such a memfd.
pub(super) fn shared_by(memory: &OwnedFd, bytes: usize) -> io::Result<View> {
    let is_sealed = fcntl_get_seals(memory)?.contains(LENGTH_SEALS);
    if !is_sealed || fstat(memory)?.st_size != bytes as i64 {
        return Err(Errno::INVAL.into());
    }
    let view = map(memory, bytes, MapFlags::SHARED)?;
    view.advise(Advice::LinuxDontFork)?;
    view.advise(Advice::LinuxDontDump)?;
    Ok(view)
}

fn memory_file(name: &str, flags: MemfdFlags) -> io::Result<OwnedFd> {
    let flags = flags | MemfdFlags::CLOEXEC;
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 do not know the flag; some later ones are set up to insist on it.
        Err(Errno::INVAL) => Ok(memfd_create(name, flags)?),
        answer => Ok(answer?),
    }
}

fn map(file: impl AsFd, bytes: usize, flags: MapFlags) -> io::Result<View> {
    // SAFETY: the kernel chooses an unused range.
    let base = unsafe { mmap(ptr::null_mut(), bytes, read_write(), flags, file, 0) }?;
    Ok(View::new(base, bytes))
}

fn read_write() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

impl View {
    fn new(base: *mut c_void, bytes: usize) -> Self {
        let base = NonNull::new(base).expect("the kernel maps nothing at address zero unasked");
        Self { base, bytes }
    }

    /// Advice that leaves the contents as they are.
    fn advise(&self, advice: Advice) -> Result<(), Errno> {
        // SAFETY: the range is this view's own, and the advice leaves its contents alone.
        unsafe { madvise(self.base.as_ptr(), self.bytes, advice) }
    }
}

impl Memory for View {
    fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }

    fn give_back(&mut self, range: Range<usize>) -> bool {
        let start = self.base.as_ptr().wrapping_byte_add(range.start);
        // SAFETY: the caller's range lies in this view, and `&mut self` stands for its contents.
        unsafe { madvise(start, range.len(), Advice::LinuxRemove) }.is_ok()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the range is this view's own, and no reference into it outlives its owner.
        let answer = unsafe { munmap(self.base.as_ptr(), self.bytes) };
        debug_assert!(answer.is_ok(), "unmapping a whole mapping cannot fail");
    }
}
