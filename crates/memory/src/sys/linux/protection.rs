//! Pages closed by `mprotect`, for kernels that refuse a userfaultfd. Each change of protection from
//! one page to the next costs the kernel an area, of which a process has some 65 000: then it
//! answers `ENOMEM`.

#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{MprotectFlags, ProtFlags, mprotect};

use super::{Mapped, map_twice};
use crate::sys::{Gate, Memory};
use crate::view::Access;

/// See the module's text.
pub(super) struct Protection {
    program: Mapped,
    alias: Mapped,
    bytes: usize,
}

impl Protection {
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        let (program, alias) = map_twice(bytes, ProtFlags::empty())?;
        Ok(Self {
            program,
            alias,
            bytes,
        })
    }

    fn protect(&self, range: Range<usize>, access: Access) -> Result<(), Errno> {
        let flags = match access {
            Access::None => MprotectFlags::empty(),
            Access::Read => MprotectFlags::READ,
            Access::Write => MprotectFlags::READ | MprotectFlags::WRITE,
        };
        // SAFETY: the range lies in this mapping; protection changes no byte, and who touches what
        // is closed is made to wait by the fault's handler.
        unsafe { mprotect(self.program.pointer(range.start), range.len(), flags) }
    }
}

impl Gate for Protection {
    fn program(&self) -> NonNull<u8> {
        self.program.base()
    }

    fn alias(&self) -> NonNull<u8> {
        self.alias.base()
    }

    fn is_uniform(&self) -> bool {
        true
    }

    fn change(&self, range: Range<usize>, _from: Access, to: Access) -> io::Result<u64> {
        self.protect(range, to)?;
        Ok(1)
    }

    fn open(&self) -> io::Result<()> {
        Ok(self.protect(0..self.bytes, Access::Write)?)
    }

    fn discard(&self, range: Range<usize>) -> bool {
        // SAFETY: the range lies in the mapping, and the caller gives its contents up.
        unsafe { self.alias.remove(range) }.is_ok()
    }
}
