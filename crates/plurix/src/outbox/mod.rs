//! Outboxes: what a transaction wants to tell the world outside of the heap, and the way there.
//!
//! A closure that runs again must not print. So it [pushes](Outbox::push) an entry into an outbox,
//! which is part of the heap: if the transaction commits, the entry is there once, with a number that
//! it keeps for ever; if not, it never was. A *deliverer* takes the entries out, in order, once no
//! failure can take them back:
//!
//! ```text
//!  transactions            heap                          deliverer
//!   push ------>  [17][18][19][20]  --read at a snapshot--> wait until that is durable
//!                                                             |
//!                 [19][20]         <--remove through 18----- sink took 17, 18
//! ```
//!
//! ```
//! # use plurix::{Cluster, Result};
//! # fn main() -> Result<()> {
//! # let mut cluster = Cluster::local(1)?;
//! # let station = &mut cluster.stations()[0];
//! station.transaction(|tx| tx.outbox("receipts")?.push(b"paid 30"))?;
//! let mut told = Vec::new();
//! station.deliver("receipts", |entry| {
//!     told.push((entry.number, entry.content.clone()));
//!     Ok(())
//! })?;
//! assert_eq!(told, [(1, b"paid 30".to_vec())]);
//! # Ok(())
//! # }
//! ```
//!
//! **What is promised.** The numbers of an outbox are 1, 2, 3, … in the order of the commits that
//! pushed. Entries are delivered in that order, each *at least once*, and only when a loss of power of
//! the page server's machine cannot take back the commit that pushed it, in both modes of durability.
//! If the deliverer dies between a sink's taking an entry and its removal, the next one delivers that
//! entry again, with the same number. A sink that remembers the number of the last entry which it took
//! makes *exactly once* of that: [`Journal`] does, [`Printer`] nearly.
//!
//! Two transactions that push to one outbox at the same time conflict, as two that increase one counter
//! do, which its dense numbers are. Where the order among stations does not matter, give each its own.
//! Pushing and delivering meet in the allocator alone, where a delivery gives back the memory of the
//! entries, up to 256 at a time.

mod deliver;
mod journal;
mod printer;
mod queue;

use std::io;

pub use deliver::Delivery;
pub use journal::Journal;
pub use printer::Printer;
pub use queue::Outbox;

/// One thing to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its number: 1 for the first of its outbox, and so on without gaps. It never changes.
    pub number: u64,
    /// What was pushed.
    pub content: Vec<u8>,
}

/// Where entries go. A closure that takes an [`Entry`] is one that remembers nothing.
pub trait Sink {
    /// The number of the newest entry that it has taken, as far as it remembers: entries up to there
    /// are not offered again. Zero if it has none, or remembers nothing.
    fn newest(&self) -> u64 {
        0
    }

    /// Takes an entry. They come in order; after a failure, one that was taken can come again.
    ///
    /// # Errors
    /// Whatever keeps it from doing so. Delivery ends, and the entry stays in the outbox.
    fn take(&mut self, entry: &Entry) -> io::Result<()>;

    /// Everything taken so far is about to be removed from the heap: brings it on disk, if it is to
    /// survive a loss of power here.
    ///
    /// # Errors
    /// Whatever keeps it from doing so. What was taken since the last time stays in the outbox.
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&Entry) -> io::Result<()>> Sink for F {
    fn take(&mut self, entry: &Entry) -> io::Result<()> {
        self(entry)
    }
}
