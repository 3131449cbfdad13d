//! A stack for the protocol to run on in the middle of a page fault. What a thread has by default is
//! enough to say that its own stack overflowed, and no more.

use std::cell::Cell;

use crate::Error;
use crate::sys::AlternateStack;

/// Enough for what a station's driver does while it waits for a page.
const STACK_BYTES: usize = 256 << 10;

thread_local! {
    /// Whether this thread has such a stack.
    static HAS_STACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` in this thread with an alternate stack, on which faults on views are handled. Every
/// thread that touches a view must do so in here. Within another one it only runs `f`.
///
/// # Errors
/// [`Error::Faults`] if the kernel grants no stack; `f` was not run.
pub fn with_fault_stack<R>(f: impl FnOnce() -> R) -> Result<R, Error> {
    if HAS_STACK.get() {
        return Ok(f());
    }
    // Dropped in the reverse order, also if `f` unwinds.
    let _stack = AlternateStack::install(STACK_BYTES).map_err(|source| Error::Faults { source })?;
    let _mark = Mark::set();
    Ok(f())
}

/// Says that this thread has a stack, until it is dropped.
struct Mark;

impl Mark {
    fn set() -> Self {
        HAS_STACK.set(true);
        Self
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        HAS_STACK.set(false);
    }
}
