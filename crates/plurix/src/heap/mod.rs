//! The heap's own management, which lives in the heap as transactional data: superblock, allocator
//! and name directory.
//!
//! ```text
//!  tx.alloc, tx.free          tx.set_root, tx.root
//!        │                          │
//!   alloc ──── which block? ◄──── names       hash buckets, chained entries
//!    │     │
//!    │     └─► slab    small blocks: one-page slabs in arenas, one arena a station
//!    │          │ pages, 16 at a time
//!    └─► runs ◄─┘      large blocks: runs of pages by a buddy system over the page map
//!         └─► scrub    zeroes what was used before
//! ```
//!
//! All of it is written with [`Transaction::get`](crate::Transaction::get),
//! [`get_mut`](crate::Transaction::get_mut) and [`set`](crate::Transaction::set), as a program would
//! do it. So there are no locks and no recovery: two stations that take the same block conflict,
//! and an attempt that fails leaves no trace. What stations allocate at the same time lies in
//! different lines as far as can be: each has an arena with its own slabs, lists and counters.
//!
//! A program can write anywhere, by a pointer that was not its own. Nothing read here is therefore
//! trusted: page numbers are checked against the heap, links against what they lead to, and a
//! contradiction is [`ErrorKind::Corrupt`].

mod alloc;
mod check;
mod classes;
pub(crate) mod layout;
mod names;
mod places;
mod reach;
mod runs;
mod scrub;
mod slab;
mod superblock;
mod usage;
mod written;

pub use check::HeapReport;
pub use names::Root;
pub(crate) use names::list as roots;
pub use places::{PageBlock, PageUse, Place};
pub(crate) use runs::Taken;
pub(crate) use scrub::OWN_BYTES_MAX;
pub use usage::Usage;

use crate::error::{Error, ErrorKind, Result};
use crate::station::Station;
use crate::transaction::Transaction;
use layout::Geometry;

impl Station {
    /// Opens the heap; the first station to do so lays it out.
    ///
    /// # Errors
    /// [`ErrorKind::HeapFormat`] if it is not one that this version can use.
    pub(crate) fn open_heap(&mut self) -> Result<()> {
        self.transaction(superblock::open)
    }
}

/// The allocator, at work in one transaction.
struct Allocator<'a, 's> {
    tx: &'a mut Transaction<'s>,
    geometry: Geometry,
}

impl<'a, 's> Allocator<'a, 's> {
    fn new(tx: &'a mut Transaction<'s>) -> Self {
        let geometry = Geometry::of(tx.pages.len());
        Self { tx, geometry }
    }
}

#[cold]
fn corrupt(what: &'static str) -> Error {
    ErrorKind::Corrupt { what }.into()
}

/// The error of following a link: one that leads nowhere is damage, not a program's mistake.
#[cold]
fn or_corrupt(error: Error, what: &'static str) -> Error {
    match error.kind() {
        ErrorKind::Restart => error,
        _ => corrupt(what),
    }
}

#[cfg(test)]
mod tests;
