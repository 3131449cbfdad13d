//! Pages closed by a userfaultfd whose faults come to the faulting thread itself, as `SIGBUS`.
//!
//! ```text
//!            CONTINUE with WP                 WRITEPROTECT, mode 0
//!   closed ───────────────────────► readable ─────────────────────► writable
//!     │ ▲                             │   ▲                           │
//!     │ └────────── DONTNEED ─────────┘   └──── WRITEPROTECT, WP ─────┘
//!     └──────────────────────── CONTINUE ─────────────────────────────▲
//! ```
//!
//! `COPY` and `ZEROPAGE` open a page as well that the memfd does not have yet, and give it its bytes.
//!
//! A closed page is one without an entry in the page table of the program's mapping. Its bytes stay
//! in the memfd, so that a fault on it is MINOR; a page that was never filled raises MISSING.
//! `CONTINUE` maps what the memfd has, which is therefore touched through the alias first.
//!
//! The mapping is registered for one process alone (`UFFD_USER_MODE_ONLY`), which any user may do;
//! a system call that touches what is closed gets `EFAULT`. Source: the kernel's
//! `Documentation/admin-guide/mm/userfaultfd.rst` and `include/uapi/linux/userfaultfd.h`.

#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use plurix_wire::PAGE_BYTES;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mm::{Advice, UserfaultfdFlags, madvise, userfaultfd};

use super::{Mapped, map_twice, read_write};
use crate::sys::{Gate, Memory};
use crate::view::Access;

const USER_MODE_ONLY: UserfaultfdFlags = UserfaultfdFlags::from_bits_retain(1);

const API: u64 = 0xaa;
const FEATURE_MISSING_SHMEM: u64 = 1 << 5;
const FEATURE_SIGBUS: u64 = 1 << 7;
const FEATURE_MINOR_SHMEM: u64 = 1 << 10;
const FEATURE_WP_SHMEM: u64 = 1 << 12;

const REGISTER_MISSING: u64 = 1;
const REGISTER_WP: u64 = 1 << 1;
const REGISTER_MINOR: u64 = 1 << 2;
const CONTINUE_WP: u64 = 1 << 1;
const COPY_WP: u64 = 1 << 1;
const WRITEPROTECT_WP: u64 = 1;

const UFFDIO_API: Opcode = opcode::read_write::<Handshake>(0xaa, 0x3f);
const UFFDIO_REGISTER: Opcode = opcode::read_write::<Register>(0xaa, 0);
const UFFDIO_UNREGISTER: Opcode = opcode::read::<Bytes>(0xaa, 1);
const UFFDIO_COPY: Opcode = opcode::read_write::<Copy>(0xaa, 3);
const UFFDIO_ZEROPAGE: Opcode = opcode::read_write::<Continue>(0xaa, 4);
const UFFDIO_WRITEPROTECT: Opcode = opcode::read_write::<WriteProtect>(0xaa, 6);
const UFFDIO_CONTINUE: Opcode = opcode::read_write::<Continue>(0xaa, 7);

/// `struct uffdio_api`.
#[repr(C)]
struct Handshake {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_range`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Bytes {
    start: u64,
    length: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    range: Bytes,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_writeprotect`.
#[repr(C)]
struct WriteProtect {
    range: Bytes,
    mode: u64,
}

/// `struct uffdio_copy`.
#[repr(C)]
struct Copy {
    target: u64,
    source: u64,
    length: u64,
    mode: u64,
    /// Answer: bytes copied, or an error's number, negative.
    copied: i64,
}

/// `struct uffdio_continue`, and `struct uffdio_zeropage`.
#[repr(C)]
struct Continue {
    range: Bytes,
    mode: u64,
    /// Answer: bytes mapped, or an error's number, negative.
    mapped: i64,
}

/// See the module's text.
pub(super) struct Userfault {
    descriptor: OwnedFd,
    program: Mapped,
    alias: Mapped,
    bytes: usize,
}

impl Userfault {
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        let flags = USER_MODE_ONLY | UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
        // SAFETY: what the descriptor can do to memory is done below, to our own mapping alone.
        let descriptor = unsafe { userfaultfd(flags) }.map_err(named("userfaultfd"))?;
        let mut handshake = Handshake {
            api: API,
            features: FEATURE_SIGBUS
                | FEATURE_MISSING_SHMEM
                | FEATURE_MINOR_SHMEM
                | FEATURE_WP_SHMEM,
            ioctls: 0,
        };
        // SAFETY: this is the type of the argument, which the kernel reads and fills.
        let argument = unsafe { Updater::<UFFDIO_API, _>::new(&mut handshake) };
        // SAFETY: the call only agrees on features.
        unsafe { ioctl(&descriptor, argument) }.map_err(named("UFFDIO_API"))?;
        let (program, alias) = map_twice(bytes, read_write())?;
        let gate = Self {
            descriptor,
            program,
            alias,
            bytes,
        };
        gate.register().map_err(named("UFFDIO_REGISTER"))?;
        Ok(gate)
    }

    fn register(&self) -> Result<(), Errno> {
        let mut register = Register {
            range: self.addresses(0..self.bytes),
            mode: REGISTER_MISSING | REGISTER_WP | REGISTER_MINOR,
            ioctls: 0,
        };
        // SAFETY: this is the type of the argument, which the kernel reads and fills.
        let argument = unsafe { Updater::<UFFDIO_REGISTER, _>::new(&mut register) };
        // SAFETY: the range is our own mapping, which nobody knows yet.
        unsafe { ioctl(&self.descriptor, argument) }
    }

    fn addresses(&self, range: Range<usize>) -> Bytes {
        Bytes {
            start: self.program.pointer(range.start).addr() as u64,
            length: range.len() as u64,
        }
    }

    /// Maps the pages of `range`, which are closed; where `may_be_open`, those that are not stay as
    /// they are. Answers how many system calls that took.
    fn admit(&self, range: Range<usize>, mode: u64, may_be_open: bool) -> io::Result<u64> {
        let (mut at, mut calls, mut touched) = (range.start, 0, None);
        while at < range.end {
            let mut page = Continue {
                range: self.addresses(at..range.end),
                mode,
                mapped: 0,
            };
            // SAFETY: this is the type of the argument, which the kernel reads and fills.
            let argument = unsafe { Updater::<UFFDIO_CONTINUE, _>::new(&mut page) };
            // SAFETY: the range lies in our mapping, and gets the bytes that the memfd has.
            let answer = unsafe { ioctl(&self.descriptor, argument) };
            calls += 1;
            match answer {
                Ok(()) => break,
                // A part was mapped; or nothing, because the mapping was just being changed.
                Err(Errno::AGAIN) => at += usize::try_from(page.mapped).unwrap_or(0),
                Err(Errno::EXIST) if may_be_open => at += PAGE_BYTES,
                // The memfd never had this page; now it has it, zeroed.
                Err(Errno::FAULT) if touched != Some(at) => {
                    self.touch(at);
                    touched = Some(at);
                }
                Err(error) => return Err(named("UFFDIO_CONTINUE")(error)),
            }
        }
        Ok(calls)
    }

    /// Maps zeroed pages that stores are let into; answers how many bytes of them, and whether more can be.
    fn map_zeros(&self, range: Range<usize>) -> (i64, Result<(), Errno>) {
        let mut pages = Continue {
            range: self.addresses(range),
            mode: 0,
            mapped: 0,
        };
        // SAFETY: this is the type of the argument, which the kernel reads and fills.
        let argument = unsafe { Updater::<UFFDIO_ZEROPAGE, _>::new(&mut pages) };
        // SAFETY: the range lies in our mapping, and pages that are there already are refused.
        let answer = unsafe { ioctl(&self.descriptor, argument) };
        (pages.mapped, answer)
    }

    /// Maps pages with these bytes; answers as [`map_zeros`](Self::map_zeros).
    fn map_copies(&self, range: Range<usize>, bytes: &[u8], mode: u64) -> (i64, Result<(), Errno>) {
        let Bytes { start, length } = self.addresses(range);
        let mut pages = Copy {
            target: start,
            source: bytes.as_ptr().addr() as u64,
            length: length.min(bytes.len() as u64),
            mode,
            copied: 0,
        };
        // SAFETY: this is the type of the argument, which the kernel reads and fills.
        let argument = unsafe { Updater::<UFFDIO_COPY, _>::new(&mut pages) };
        // SAFETY: the range lies in our mapping, and pages that are there already are refused; the
        // kernel reads no more than `bytes`.
        let answer = unsafe { ioctl(&self.descriptor, argument) };
        (pages.copied, answer)
    }

    fn touch(&self, at: usize) {
        // SAFETY: the byte lies in the alias, whose bytes are reached by atomic accesses.
        let byte = unsafe { AtomicU8::from_ptr(self.alias.pointer(at).cast()) };
        byte.load(Ordering::Relaxed);
    }

    /// The kernel takes the mark off and leaves the entries of the page table read-only, so that the
    /// first store to each page would trap once more, into the kernel alone. All at once is cheaper.
    fn make_writable(&self, range: Range<usize>) {
        let start = self.program.pointer(range.start);
        // SAFETY: the range lies in our mapping; no byte changes. Kernels before 5.14 do not know
        // how, and pages that were taken from the mapping are passed over: those trap.
        let _ = unsafe { madvise(start, range.len(), Advice::LinuxPopulateWrite) };
    }

    fn write_protect(&self, range: Range<usize>, mode: u64) -> io::Result<u64> {
        let mut calls = 0;
        loop {
            let mut pages = WriteProtect {
                range: self.addresses(range.clone()),
                mode,
            };
            // SAFETY: this is the type of the argument, which the kernel reads.
            let argument = unsafe { Updater::<UFFDIO_WRITEPROTECT, _>::new(&mut pages) };
            // SAFETY: the range lies in our mapping; protection changes no byte.
            let answer = unsafe { ioctl(&self.descriptor, argument) };
            calls += 1;
            match answer {
                Ok(()) => return Ok(calls),
                // The mapping was just being changed, so that nothing was done.
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(named("UFFDIO_WRITEPROTECT")(error)),
            }
        }
    }
}

impl Gate for Userfault {
    fn program(&self) -> NonNull<u8> {
        self.program.base()
    }

    fn alias(&self) -> NonNull<u8> {
        self.alias.base()
    }

    fn is_uniform(&self) -> bool {
        false
    }

    fn change(&self, range: Range<usize>, from: Access, to: Access) -> io::Result<u64> {
        match (from, to) {
            (_, Access::None) => {
                let start = self.program.pointer(range.start);
                // SAFETY: the range lies in our mapping; of a shared one this drops the entries of
                // the page table, and the bytes stay in the memfd.
                unsafe { madvise(start, range.len(), Advice::LinuxDontNeed) }?;
                Ok(1)
            }
            (Access::None, Access::Read) => self.admit(range, CONTINUE_WP, false),
            (Access::None, Access::Write) => self.admit(range, 0, false),
            (_, Access::Read) => self.write_protect(range, WRITEPROTECT_WP),
            (_, Access::Write) => {
                let calls = self.write_protect(range.clone(), 0)?;
                self.make_writable(range);
                Ok(calls + 1)
            }
        }
    }

    fn bring(&self, range: Range<usize>, bytes: &[u8], access: Access) -> (usize, u64) {
        let (mut done, mut calls) = (0, 0);
        while done < range.len() {
            let rest = range.start + done..range.end;
            let (mapped, answer) = match (access, bytes.is_empty()) {
                (Access::Write, true) => self.map_zeros(rest),
                (Access::Write, false) => self.map_copies(rest, &bytes[done..], 0),
                (Access::Read, false) => self.map_copies(rest, &bytes[done..], COPY_WP),
                // The kernel has no way to do it at once.
                (Access::Read, true) | (Access::None, _) => break,
            };
            calls += 1;
            match answer {
                Ok(()) => done = range.len(),
                // A part was mapped; or nothing, because the mapping was just being changed.
                Err(Errno::AGAIN) => done += usize::try_from(mapped).unwrap_or(0),
                // There is memory, or none left: the long way, whoever goes it will see.
                Err(_) => break,
            }
        }
        (done, calls)
    }

    fn renew(&self, range: Range<usize>, access: Access) -> io::Result<()> {
        match access {
            Access::None => Ok(()),
            Access::Read => self.admit(range, CONTINUE_WP, true).map(drop),
            Access::Write => {
                self.admit(range.clone(), 0, true)?;
                // A page that was there may have kept a mark, if the kernel once stopped half-way.
                self.write_protect(range, 0).map(drop)
            }
        }
    }

    fn open(&self) -> io::Result<()> {
        let mut range = self.addresses(0..self.bytes);
        // SAFETY: this is the type of the argument, which the kernel reads.
        let argument = unsafe { Updater::<UFFDIO_UNREGISTER, _>::new(&mut range) };
        // SAFETY: the range is our own mapping, which becomes an ordinary one.
        unsafe { ioctl(&self.descriptor, argument) }.map_err(named("UFFDIO_UNREGISTER"))
    }

    fn discard(&self, range: Range<usize>) -> bool {
        // SAFETY: the range lies in the mapping, and the caller gives its contents up.
        unsafe { self.alias.remove(range) }.is_ok()
    }
}

/// Says which call failed, and keeps the kind of its failure.
fn named(call: &'static str) -> impl Fn(Errno) -> io::Error {
    move |error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{call}: {error}"))
    }
}
