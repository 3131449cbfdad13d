//! What a station knows of the page server's disk.

use std::time::Duration;

use plurix_wire::CommitNumber;

use super::Station;
use crate::error::{ErrorKind, Result};

impl Station {
    /// The newest commit that is known here to survive a loss of power of the page server's machine,
    /// with everything before it. With `durable` commits that is every commit that was answered.
    #[must_use]
    pub fn durable(&self) -> CommitNumber {
        self.shared.driver().machine.durable()
    }

    /// Waits until `commit`, and everything before it, survives a loss of power of the page server's
    /// machine, or `limit` is over; answers whether it does. The page server brings its log on disk
    /// for that, and serves everybody meanwhile.
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// station.transaction(|tx| tx.alloc(5u64))?;
    /// let commit = station.statistics().last_commit;
    /// assert!(station.wait_durable(commit, None)?);
    /// assert!(station.durable() >= commit);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchCommit`] if nothing of that number has been committed;
    /// [`ErrorKind::RolledBack`] if it was lost; if the station can never be a member again, or was
    /// interrupted.
    pub fn wait_durable(&mut self, commit: CommitNumber, limit: Option<Duration>) -> Result<bool> {
        let mut is_new = false;
        loop {
            let mut driver = self.shared.driver();
            if driver.machine.ask_durable(commit) {
                return driver.wait(limit, |machine| machine.durable() >= commit);
            }
            if is_new {
                return Err(ErrorKind::NoSuchCommit(commit).into());
            }
            // Another station may have told of a commit that has not arrived here.
            drop(driver);
            self.latest()?;
            is_new = true;
        }
    }
}
