//! Memory from the allocator in place of mappings: for Miri, which knows no memfd, for the
//! simulator, which wants many small heaps, and as the stand-in where there is no port.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
#[cfg(not(all(target_os = "linux", not(miri))))]
use std::fs::File;
use std::io;
use std::ops::Range;
#[cfg(not(all(target_os = "linux", not(miri))))]
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use plurix_wire::PAGE_BYTES;

use super::{Gate, Memory};
use crate::view::Access;
#[cfg(not(all(target_os = "linux", not(miri))))]
use crate::view::Mechanism;

/// Asked for at this alignment, zeroed memory comes from `calloc`, which leaves large blocks
/// untouched; at a page's alignment the allocator would fill all of it with zeros.
const ALIGN: usize = 16;

/// One allocation, freed when dropped.
pub(super) struct Allocation {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an allocation belongs to the process, not to a thread.
unsafe impl Send for Allocation {}

// SAFETY: a shared reference only tells where it begins.
unsafe impl Sync for Allocation {}

/// Zeroed memory for a heap.
pub(super) fn heap(bytes: usize) -> io::Result<Allocation> {
    allocate(bytes)
}

/// Zeroed memory for a table.
pub(super) fn table(bytes: usize) -> io::Result<Allocation> {
    allocate(bytes)
}

/// Files cannot be mapped here.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(super) fn file(_file: &File, _bytes: usize) -> io::Result<Allocation> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nor can memory be shared with another process.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(super) fn shared(_bytes: usize) -> io::Result<(Allocation, OwnedFd)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As [`shared`].
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(super) fn shared_by(_descriptor: &OwnedFd, _bytes: usize) -> io::Result<Allocation> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Memory that two owners in one process share, as two processes share what is native: for Miri,
/// which finds races.
#[cfg(test)]
pub(super) fn shared_pair(bytes: usize) -> io::Result<(Half, Half)> {
    let both = std::sync::Arc::new(allocate(bytes)?);
    Ok((Half(both.clone()), Half(both)))
}

/// One of two owners.
#[cfg(test)]
pub(super) struct Half(std::sync::Arc<Allocation>);

#[cfg(test)]
impl Memory for Half {
    fn base(&self) -> NonNull<u8> {
        self.0.base()
    }

    fn give_back(&mut self, _range: Range<usize>) -> bool {
        false
    }
}

/// A view's memory; nothing keeps the program from it but the view itself.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(super) fn view(bytes: usize, mechanism: Mechanism) -> io::Result<Box<dyn Gate>> {
    match mechanism {
        Mechanism::Emulated => emulated_view(bytes),
        Mechanism::Userfault | Mechanism::Protection => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// That of an emulated view.
pub(super) fn emulated_view(bytes: usize) -> io::Result<Box<dyn Gate>> {
    Ok(Box::new(allocate(bytes)?))
}

impl Gate for Allocation {
    fn program(&self) -> NonNull<u8> {
        self.base()
    }

    fn alias(&self) -> NonNull<u8> {
        self.base()
    }

    fn is_uniform(&self) -> bool {
        true
    }

    fn change(&self, _range: Range<usize>, _from: Access, _to: Access) -> io::Result<u64> {
        Ok(0)
    }

    fn open(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _range: Range<usize>) -> bool {
        false
    }
}

/// No page faults are caught here.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(super) fn catch_faults(_serve: super::Serve) -> io::Result<()> {
    Ok(())
}

/// Nor does anybody need a stack for them.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) struct AlternateStack;

#[cfg(not(all(target_os = "linux", not(miri))))]
impl AlternateStack {
    /// Does nothing.
    pub(crate) fn install(_bytes: usize) -> io::Result<Self> {
        Ok(Self)
    }
}

/// Nor does anything trap.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) struct TrapFloor;

#[cfg(not(all(target_os = "linux", not(miri))))]
impl TrapFloor {
    /// Refuses.
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called.
    pub(crate) fn trap(&mut self) {}
}

/// The allocator refuses politely, so any size may be tried.
pub(super) fn heap_bytes_max() -> u64 {
    u64::MAX
}

fn allocate(bytes: usize) -> io::Result<Allocation> {
    let padded = bytes
        .checked_add(PAGE_BYTES)
        .ok_or(io::ErrorKind::OutOfMemory)?;
    let layout = Layout::from_size_align(padded, ALIGN).map_err(io::Error::other)?;
    // SAFETY: the layout is larger than zero bytes.
    let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(io::ErrorKind::OutOfMemory)?;
    Ok(Allocation { start, layout })
}

impl Memory for Allocation {
    fn base(&self) -> NonNull<u8> {
        let padding = self.start.addr().get().wrapping_neg() % PAGE_BYTES;
        // SAFETY: the padding is less than a page, by which the allocation exceeds what was asked.
        unsafe { self.start.add(padding) }
    }

    fn give_back(&mut self, _range: Range<usize>) -> bool {
        false
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once, and no reference outlives the owner.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
