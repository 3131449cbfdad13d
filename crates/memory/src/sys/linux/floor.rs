//! The floor under every page fault that a program serves itself: a trap, a handler that does
//! nothing, and the return. For the laboratory.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::ptr;

use libc::{sigaction, siginfo_t};
use plurix_wire::PAGE_BYTES;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::Mapped;

/// Length of the one instruction that faults here.
const INSTRUCTION_BYTES: i64 = 2;

/// Takes over `SIGSEGV` from its making until it is dropped: for a process that does nothing else
/// meanwhile.
pub(crate) struct TrapFloor {
    closed: Mapped,
    before: sigaction,
}

impl TrapFloor {
    /// Refuses where the processor's instruction is not known.
    pub(crate) fn new() -> io::Result<Self> {
        if !cfg!(target_arch = "x86_64") {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses an unused range.
        let base =
            unsafe { mmap_anonymous(ptr::null_mut(), PAGE_BYTES, ProtFlags::empty(), flags) }?;
        let closed = Mapped::new(base, PAGE_BYTES);
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = skip;
        // SAFETY: all fields are plain numbers, or an optional function.
        let mut action: sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: as above.
        let mut before: sigaction = unsafe { mem::zeroed() };
        // SAFETY: both point to actions.
        match unsafe { sigaction(libc::SIGSEGV, &action, &mut before) } {
            0 => Ok(Self { closed, before }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// One trap and its return.
    #[inline]
    pub(crate) fn trap(&mut self) {
        let closed = self.closed.pointer(0);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `mov al, [rdi]` of a closed page faults, and the handler skips its two bytes.
        unsafe {
            asm!(".byte 0x8a, 0x07", in("rdi") closed, out("al") _, options(nostack));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = closed;
    }
}

impl Drop for TrapFloor {
    fn drop(&mut self) {
        // SAFETY: sets again what was set before.
        unsafe { sigaction(libc::SIGSEGV, &self.before, ptr::null_mut()) };
    }
}

extern "C" fn skip(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    {
        let context = context.cast::<libc::ucontext_t>();
        // SAFETY: the kernel passes the thread's registers, and takes them back on return.
        let registers = unsafe { &mut (*context).uc_mcontext.gregs };
        registers[libc::REG_RIP as usize] += INSTRUCTION_BYTES;
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (context, INSTRUCTION_BYTES);
}
