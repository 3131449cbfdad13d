//! What a single transaction can promise beyond the rule: that it sees the newest commits, and that it
//! is on disk when it is answered.

use super::run::Begun;
use super::{Poison, Transaction};
use crate::error::{ErrorKind, Result};

/// What the program asked of a transaction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Promises {
    /// The snapshot has everything that was committed before the program asked.
    pub(super) is_latest: bool,
    /// The answer waits for the page server's disk.
    pub(super) is_durable: bool,
}

impl Transaction<'_> {
    /// Sees to it that the snapshot has everything that anybody had committed before this call. A
    /// transaction that changes nothing is strictly serializable with it, as one that changes
    /// something always is.
    ///
    /// It costs a round trip to the page server, once for all attempts of a transaction. As the first
    /// thing in the closure it moves the snapshot. After something was read or written it answers if
    /// nothing was committed since, and else lets the closure run again, at once and once.
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(2)?;
    /// # let [writer, reader] = cluster.stations() else { unreachable!() };
    /// let value = writer.transaction(|tx| tx.alloc(1u64))?;
    /// writer.transaction(|tx| tx.set(value, 2))?;
    /// let seen = reader.transaction(|tx| {
    ///     tx.latest()?;
    ///     tx.get(value).copied()
    /// })?;
    /// assert_eq!(seen, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Restart`] if the transaction must run again.
    pub fn latest(&mut self) -> Result<()> {
        if self.poison.get().is_some() {
            return Err(ErrorKind::Restart.into());
        }
        if self.promises.is_latest {
            return Ok(());
        }
        if self.is_pipelined {
            // What is in flight before it has no place in the order yet.
            return Err(self.poisoned(Poison::Stale));
        }
        let mut driver = self.shared.driver();
        if driver.catch_up().is_err() {
            // The next attempt to wait says why.
            return Err(self.poisoned(Poison::Cut));
        }
        self.promises.is_latest = true;
        if !self.pages.has_writes() && self.pages.read_set().is_empty() {
            driver.machine.abort(self.pages);
            // What it waits for is there: an active station has a session.
            let Begun {
                arena,
                snapshot,
                id,
            } = Begun::on(&mut driver, self.pages)?;
            (self.arena, self.snapshot, self.id) = (arena, snapshot, id);
            self.incarnation = id.incarnation;
            return Ok(());
        }
        let is_newest = driver.machine.is_newest();
        match driver.machine.incarnation() == Some(self.incarnation) {
            true if is_newest => Ok(()),
            true => Err(self.poisoned(Poison::Stale)),
            false => Err(self.poisoned(Poison::Lost)),
        }
    }

    /// Lets the answer of this transaction wait until the page server's disk has what it changed, and
    /// everything before it: also where commits are otherwise answered from memory, no loss of power
    /// can take it back then. If it changes nothing, the answer waits until all that it can have seen
    /// is on disk.
    ///
    /// It costs an fsync of the page server's log and a round trip to ask for it. Everybody else is
    /// served meanwhile, and who asks while one fsync is under way shares the next. Where the page
    /// server answers durably anyway, it costs nothing. [`on_commit`](Self::on_commit) runs after it.
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// station.transaction(|tx| {
    ///     tx.durable();
    ///     tx.alloc(5u64)
    /// })?;
    /// assert!(station.durable() >= station.statistics().last_commit);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If the wait fails (the station is interrupted, or the page server is gone), the transaction
    /// has happened, as with any other answer from memory, and its error says why nobody knows that
    /// it is durable; after a loss of power that took it back it is [`ErrorKind::RolledBack`].
    pub fn durable(&mut self) {
        self.promises.is_durable = true;
    }
}
