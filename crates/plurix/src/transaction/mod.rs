//! Transactions: restartable closures that see one snapshot of the heap.
//!
//! ```text
//!   begin --> closure --Ok--> nothing written? done, nothing is sent
//!     ^          |              else commit --Committed--> on_commit, done
//!     |        Err|poisoned           |
//!     |          v                    v Refused
//!     +------ roll back <-------------+
//! ```
//!
//! The closure may run any number of times and must have no effects of its own; what shall happen
//! once goes into [`Transaction::on_commit`]. If an access finds that the transaction cannot
//! succeed, it answers an error and poisons the transaction: whatever the closure then answers is
//! ignored, and it runs again.

mod access;
mod fairness;
mod promises;
mod run;
mod waiting;

use std::cell::Cell;

use plurix_memory::HeapMemory;
use plurix_wire::{CommitId, CommitNumber, Generation, Incarnation};

use crate::error::{Error, ErrorKind};
use crate::heap::Taken;
use crate::station::Shared;
use promises::Promises;
pub(crate) use run::{Begun, Effects, Patience};
use waiting::Wish;

/// A running transaction. `&T` and `&mut T` lent by it are plain memory: the heap does not change
/// beneath them.
pub struct Transaction<'s> {
    pub(crate) pages: &'s mut HeapMemory,
    pub(crate) shared: &'s Shared,
    /// Why it cannot succeed any more.
    poison: Cell<Option<Poison>>,
    misses: Cell<u64>,
    on_commit: Effects,
    /// The arena its allocations come from.
    pub(crate) arena: usize,
    pub(crate) incarnation: Incarnation,
    snapshot: CommitNumber,
    id: CommitId,
    /// How many bytes of large blocks it may zero itself; for more it is given up, so that they are
    /// zeroed before it.
    pub(crate) zeroing_left: u64,
    /// The limit of a wait is over.
    has_timed_out: bool,
    promises: Promises,
    /// Others are in flight before it.
    is_pipelined: bool,
}

/// Why a transaction must run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poison {
    SnapshotTooOld,
    /// The snapshot must be the newest, and is not, or not known to be.
    Stale,
    Lost,
    /// Waiting for a page failed for good; the next attempt to wait says why.
    Cut,
    /// These pages, free before it, must be zeroed first.
    Unscrubbed(Taken),
    /// The program waits for a change of what it has read.
    Waits(Wish),
}

impl Transaction<'_> {
    /// Gives the transaction up: return what this answers from the closure. Nothing that it did
    /// has happened.
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let refused = station.transaction(|tx| {
    ///     let account = tx.alloc(5u64)?;
    ///     if *tx.get(account)? < 10 {
    ///         return Err(tx.abort("insufficient funds"));
    ///     }
    ///     Ok(())
    /// });
    /// assert!(refused.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        ErrorKind::Aborted(why.into()).into()
    }

    /// Runs `effect` once this transaction is in the heap, at most once: if the process dies in
    /// between, it does not run.
    pub fn on_commit(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.on_commit.push(Box::new(effect));
    }

    /// The commit at which this attempt sees the heap.
    #[must_use]
    pub fn snapshot(&self) -> CommitNumber {
        self.snapshot
    }

    /// The generation of the heap that commit numbers belong to.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.shared
            .driver()
            .machine
            .generation()
            .unwrap_or_default()
    }

    /// The id under which this attempt commits, if it changes something: the page server's log
    /// names it. An attempt that does not get so far leaves the id to the next one.
    #[must_use]
    pub fn id(&self) -> CommitId {
        self.id
    }

    /// This life of the station: what a program writes beside something that it takes, so that others
    /// can ask whether it still [is alive](Self::is_alive). No other life of any station is the same.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether this life of a station is among the living, as of the snapshot. One that is not has no
    /// commit after the snapshot, and never comes back: what it had taken can be taken from it.
    ///
    /// A death changes no memory, so it ends no [`wait_for_change`](Self::wait_for_change). Who waits
    /// for one looks again from time to time, by
    /// [`wait_for_change_for`](Self::wait_for_change_for).
    ///
    /// ```
    /// use plurix::{Cluster, Incarnation, Ptr, Result, Station};
    ///
    /// /// Takes what is free, or was taken by a station that is dead.
    /// fn take(station: &mut Station, owner: Ptr<u64>) -> Result<bool> {
    ///     station.transaction(|tx| {
    ///         let is_free = !tx.is_alive(Incarnation(*tx.get(owner)?));
    ///         if is_free {
    ///             tx.set(owner, tx.incarnation().0)?;
    ///         }
    ///         Ok(is_free)
    ///     })
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// let mut cluster = Cluster::local(1)?;
    /// let mut other = cluster.join()?;
    /// let station = &mut cluster.stations()[0];
    /// let owner = station.transaction(|tx| tx.alloc(0u64))?; // no life has the number 0
    /// other.latest()?;
    /// assert!(take(&mut other, owner)?);
    /// station.latest()?;
    /// assert!(!take(station, owner)?);
    /// drop(other);
    /// while !take(station, owner)? {
    ///     station.latest()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_alive(&self, incarnation: Incarnation) -> bool {
        incarnation == self.incarnation || self.shared.driver().machine.is_alive(incarnation)
    }

    /// Gives the attempt up: it needs zeros where `taken` may have been written.
    pub(crate) fn must_scrub(&self, taken: Taken) -> Error {
        self.poisoned(Poison::Unscrubbed(taken))
    }

    fn poisoned(&self, poison: Poison) -> Error {
        self.poison.set(Some(poison));
        ErrorKind::Restart.into()
    }
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("poison", &self.poison.get())
            .finish_non_exhaustive()
    }
}
