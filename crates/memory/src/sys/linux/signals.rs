//! Page faults that the kernel does not serve come to the faulting thread as signals. The handler
//! asks whether the address is one of ours; if not, it does what would have been done without it.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem;
use std::ptr;
use std::sync::OnceLock;

use libc::{sigaction, siginfo_t, stack_t, ucontext_t};
use plurix_wire::PAGE_BYTES;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

use super::Mapped;
use crate::sys::{Memory, Serve, Trap};

/// Who is asked.
static SERVE: OnceLock<Serve> = OnceLock::new();
/// What handled each signal before.
static BEFORE_SEGMENT: OnceLock<sigaction> = OnceLock::new();
static BEFORE_BUS: OnceLock<sigaction> = OnceLock::new();

/// See [`crate::sys::catch_faults`].
pub(in crate::sys) fn catch_faults(serve: Serve) -> io::Result<()> {
    SERVE.get_or_init(|| serve);
    install(libc::SIGSEGV, &BEFORE_SEGMENT)?;
    install(libc::SIGBUS, &BEFORE_BUS)
}

fn install(signal: c_int, before: &OnceLock<sigaction>) -> io::Result<()> {
    if before.get().is_some() {
        return Ok(());
    }
    // Kept before the handler can run, which needs it.
    let old = exchange(signal, None)?;
    before.get_or_init(|| old);
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_fault;
    let mut action = default_action();
    action.sa_sigaction = handler as usize;
    // Not deferred: the protocol runs in the handler, and a fault of its own must not hang.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    exchange(signal, Some(&action)).map(drop)
}

fn default_action() -> sigaction {
    // SAFETY: all fields are plain numbers, or an optional function; zero is SIG_DFL.
    unsafe { mem::zeroed() }
}

/// Sets what handles `signal`, if anything is given; answers what did so before.
fn exchange(signal: c_int, action: Option<&sigaction>) -> io::Result<sigaction> {
    let mut old = default_action();
    let new = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both point to actions, or `new` to nothing, which sets nothing.
    match unsafe { sigaction(signal, new, &mut old) } {
        0 => Ok(old),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs in the thread that faulted, on its alternate stack if it has one.
extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: only tells where this thread's error number is.
    let error_number = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's own, at an address that stays.
    let before = unsafe { error_number.read() };
    // SAFETY: the kernel passes what SA_SIGINFO promises.
    let info_given = unsafe { &*info };
    if !is_served(signal, info_given, context) {
        pass_on(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { error_number.write(before) };
}

fn is_served(signal: c_int, info: &siginfo_t, context: *mut c_void) -> bool {
    let trap = match (signal, info.si_code) {
        // SEGV_MAPERR and SEGV_ACCERR; others are of no page, and what somebody sent is no fault.
        (libc::SIGSEGV, 1 | 2) => Trap::Segment,
        (libc::SIGBUS, libc::BUS_ADRERR) => Trap::Bus,
        _ => return false,
    };
    let Some(serve) = SERVE.get() else {
        return false;
    };
    // SAFETY: faults at addresses carry one.
    let address = unsafe { info.si_addr() }.addr();
    serve(trap, address, is_store(context.cast()))
}

/// Whether the access was a store: bit 1 of the page fault's error code.
#[cfg(target_arch = "x86_64")]
fn is_store(context: *mut ucontext_t) -> Option<bool> {
    // SAFETY: the kernel passes the thread's registers.
    let registers = unsafe { &(*context).uc_mcontext.gregs };
    Some(registers[libc::REG_ERR as usize] & 1 << 1 != 0)
}

/// Whether the access was a store: `WnR` of the exception syndrome, which is among the records
/// behind the registers.
#[cfg(target_arch = "aarch64")]
fn is_store(context: *mut ucontext_t) -> Option<bool> {
    const ESR_MAGIC: u32 = 0x4553_5201;
    const WRITE_NOT_READ: u64 = 1 << 6;
    // SAFETY: the kernel passes the thread's registers; the records follow them, 16-byte aligned.
    let machine = unsafe { &raw const (*context).uc_mcontext };
    let mut record = machine
        .wrapping_byte_add(mem::offset_of!(libc::mcontext_t, pstate) + 8)
        .map_addr(|address| address.next_multiple_of(16))
        .cast::<u32>();
    loop {
        // SAFETY: each record begins with its magic number; the last one is zero.
        let magic = unsafe { record.read() };
        // SAFETY: its length follows.
        let length = unsafe { record.wrapping_add(1).read() };
        if magic == 0 || length == 0 {
            return None;
        }
        if magic == ESR_MAGIC {
            // SAFETY: the syndrome follows.
            let syndrome = unsafe { record.wrapping_add(2).cast::<u64>().read_unaligned() };
            return Some(syndrome & WRITE_NOT_READ != 0);
        }
        record = record.wrapping_byte_add(length as usize);
    }
}

/// Elsewhere nobody tells.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn is_store(_context: *mut ucontext_t) -> Option<bool> {
    None
}

/// Does what would have been done without this handler.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = match signal {
        libc::SIGSEGV => BEFORE_SEGMENT.get(),
        _ => BEFORE_BUS.get(),
    };
    let handler = before.map_or(libc::SIG_DFL, |action| action.sa_sigaction);
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // The instruction faults again and ends the process, as the kernel does even where such a
        // fault is ignored.
        let _ = exchange(signal, Some(&default_action()));
        // SAFETY: the kernel passes what SA_SIGINFO promises.
        let code = unsafe { (*info).si_code };
        if code <= 0 && handler == libc::SIG_DFL {
            // Somebody sent it, and no instruction will repeat it.
            // SAFETY: raises a signal in this thread.
            unsafe { libc::raise(signal) };
        }
    } else if before.is_some_and(|action| action.sa_flags & libc::SA_SIGINFO != 0) {
        // SAFETY: who installed it with this flag gave a function of this type.
        let handler = unsafe {
            mem::transmute::<usize, extern "C" fn(c_int, *mut siginfo_t, *mut c_void)>(handler)
        };
        handler(signal, info, context);
    } else {
        // SAFETY: who installed it without the flag gave a function of this type.
        let handler = unsafe { mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        handler(signal);
    }
}

/// A stack for the handlers of the thread that installed it, until it is dropped there. Its lowest
/// page is closed, so that too deep a handler ends the process and damages nothing.
pub(crate) struct AlternateStack {
    before: stack_t,
    _memory: Mapped,
}

impl AlternateStack {
    /// Gives this thread an alternate stack of `bytes`, whole pages.
    pub(crate) fn install(bytes: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let length = bytes + PAGE_BYTES;
        // SAFETY: the kernel chooses an unused range.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), length, protection, flags) }?;
        let memory = Mapped::new(base, length);
        // SAFETY: the page is the lowest of a mapping that nobody uses yet.
        unsafe { mprotect(base, PAGE_BYTES, MprotectFlags::empty()) }?;
        let stack = stack_t {
            ss_sp: memory.base().as_ptr().wrapping_add(PAGE_BYTES).cast(),
            ss_flags: 0,
            ss_size: bytes,
        };
        Ok(Self {
            before: alternate_stack(&stack)?,
            _memory: memory,
        })
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let answer = alternate_stack(&self.before);
        assert!(
            answer.is_ok(),
            "a thread cannot give back the stack that it runs on"
        );
    }
}

/// Sets this thread's alternate stack; answers the one before.
fn alternate_stack(stack: &stack_t) -> io::Result<stack_t> {
    let mut before = stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    // SAFETY: what is set is no stack, or memory that stays until another one is set.
    match unsafe { libc::sigaltstack(stack, &mut before) } {
        0 => Ok(before),
        _ => Err(io::Error::last_os_error()),
    }
}
