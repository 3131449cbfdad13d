//! What a page fault costs before anybody has done anything about it: the floor under all others.

use crate::Error;
use crate::sys;

/// A trap on a closed page, a handler that only returns behind the instruction, and the return. For
/// the laboratory: while it exists, nothing else may fault in the process.
pub struct TrapFloor(sys::TrapFloor);

impl TrapFloor {
    /// Takes `SIGSEGV` over until it is dropped.
    ///
    /// # Errors
    /// [`Error::Faults`] if the kernel refuses, or on a processor whose instructions it knows not.
    pub fn new() -> Result<Self, Error> {
        let floor = sys::TrapFloor::new();
        floor.map(Self).map_err(|source| Error::Faults { source })
    }

    /// One trap and its return.
    #[inline]
    pub fn trap(&mut self) {
        self.0.trap();
    }
}
