//! Waiting for a change: a transaction that found nothing to do sleeps until it may find something.
//! This is `retry` of Harris, Marlow, Peyton Jones and Herlihy, "Composable Memory Transactions"
//! (PPoPP 2005): the lines read say what a change must touch, so nobody has to signal anything, and
//! no wake-up can be forgotten.
//!
//! ```text
//!   begin --> closure --Err(tx.wait_for_change())--> undone --> sleeps in the driver
//!     ^                                                            | a commit of another station
//!     +------------------------------------------------------------+ touches a line that was read
//! ```

use std::time::{Duration, Instant};

use plurix_protocol::station::Station as Machine;

use super::{Poison, Transaction};
use crate::error::{Error, ErrorKind, Result};
use crate::station::Station;

/// What a transaction waits for beside a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// How long all waits of one transaction may take.
    limit: Option<Duration>,
}

/// The waits of one transaction so far.
#[derive(Debug, Default)]
pub(super) struct Waits {
    since: Option<Instant>,
    pub(super) timed_out: bool,
}

impl Transaction<'_> {
    /// Waits until something that this attempt has read is changed by anybody else: return what this
    /// answers from the closure. The attempt ends without effects, the station sleeps, and the
    /// closure runs again at a snapshot that has the change. It may find the same again, for what
    /// counts is the line of 64 bytes and not the value; so it decides anew.
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(2)?;
    /// # let [consumer, producer] = cluster.stations() else { unreachable!() };
    /// let job = producer.transaction(|tx| tx.alloc(0u64))?;
    /// std::thread::scope(|scope| {
    ///     let consumed = scope.spawn(|| {
    ///         consumer.transaction(|tx| match std::mem::take(tx.get_mut(job)?) {
    ///             0 => Err(tx.wait_for_change()),
    ///             number => Ok(number),
    ///         })
    ///     });
    ///     producer.transaction(|tx| tx.set(job, 7))?;
    ///     assert_eq!(consumed.join().unwrap()?, 7);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// Read as little as the decision needs: each line that was read can end the wait. What
    /// `set` and `set_slice` overwrite does not count. Memory that was allocated in the attempt is
    /// given back, and the allocator's lines count as read, so decide before you allocate.
    ///
    /// Within an activity this is allowed. The station then runs no other activity while it waits;
    /// if all stations wait for what only an activity that nobody runs would bring, they wait for
    /// ever.
    ///
    /// [`Station::interrupt_handle`] ends the wait with [`ErrorKind::Interrupted`].
    pub fn wait_for_change(&self) -> Error {
        self.wait(Wish { limit: None })
    }

    /// As [`wait_for_change`](Self::wait_for_change), for no longer than `limit`, which counts from
    /// the first wait of this transaction. Then the closure runs once more, and
    /// [`has_timed_out`](Self::has_timed_out) tells it so; if it asks to wait again, the transaction
    /// answers [`ErrorKind::TimedOut`].
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let job = station.transaction(|tx| tx.alloc(0u64))?;
    /// let found = station.transaction(|tx| match *tx.get(job)? {
    ///     0 if tx.has_timed_out() => Ok(None),
    ///     0 => Err(tx.wait_for_change_for(Duration::from_millis(5))),
    ///     number => Ok(Some(number)),
    /// })?;
    /// assert_eq!(found, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_for_change_for(&self, limit: Duration) -> Error {
        self.wait(Wish { limit: Some(limit) })
    }

    /// Whether the limit of [`wait_for_change_for`](Self::wait_for_change_for) was over before this
    /// attempt began.
    #[must_use]
    pub fn has_timed_out(&self) -> bool {
        self.has_timed_out
    }

    fn wait(&self, wish: Wish) -> Error {
        // An attempt that cannot succeed has nothing to wait for: what it read may be out of date.
        match self.poison.get() {
            None => self.poisoned(Poison::Waits(wish)),
            Some(_) => ErrorKind::Restart.into(),
        }
    }
}

impl Station {
    /// Ends the attempt, whose lines read are those to watch.
    pub(super) fn end_until_changed(&mut self, wish: &Wish) -> Result<()> {
        let reads = self.pages.read_set();
        let mut driver = self.shared.driver();
        if reads.is_empty() && wish.limit.is_none() {
            driver.machine.abort(&mut self.pages);
            return Err(ErrorKind::NothingToWaitFor.into());
        }
        driver.machine.abort_until_change(&reads, &mut self.pages);
        Ok(())
    }

    /// Sleeps until one of the lines watched has changed, or the limit is over.
    pub(super) fn wait_until_changed(&mut self, waits: &mut Waits, wish: Wish) -> Result<()> {
        let mut driver = self.shared.driver();
        let now = driver.host.now();
        let since = *waits.since.get_or_insert(now);
        let waited = now - since;
        if let (Some(_), true) = (wish.limit, waits.timed_out) {
            let seconds = waited.as_secs_f64();
            return Err(ErrorKind::TimedOut { seconds }.into());
        }
        self.statistics.waits += 1;
        let left = wish.limit.map(|limit| limit.saturating_sub(waited));
        waits.timed_out = !driver.wait(left, Machine::has_changed)?;
        Ok(())
    }
}
