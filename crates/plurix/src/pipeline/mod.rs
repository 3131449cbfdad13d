//! Many transactions in flight: a station submits one after the other and waits for none.
//!
//! ```text
//!  submit --> waiting --closure runs--> in flight --Committed--> settled
//!                ^                          |
//!                +--- with all behind it ---+ Refused
//! ```
//!
//! Each runs on the changes of those before it, which are not answered yet. One that is refused runs
//! again, and all behind it in their order: closures are restartable, so nobody else notices. What the
//! protocol has to do with it is in `plurix_protocol`'s `station/pipeline.rs`.

mod advance;
mod job;

use std::collections::VecDeque;
use std::sync::Arc;

use plurix_wire::CommitSequence;

use crate::error::{ErrorKind, Result};
use crate::station::Station;
use crate::transaction::{Effects, Transaction};
pub use job::Commit;
use job::{Job, Submission, Unheard};

/// The submissions of one station that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    /// Their closures are to run, in this order.
    waiting: VecDeque<Waiting>,
    /// Their closures have run, and the leader was asked.
    in_flight: VecDeque<InFlight>,
    /// Requests that were not handed to the connection yet.
    unsent: u32,
    /// The first error that nobody asked for, because the handle of its submission was dropped.
    unheard: Unheard,
}

#[derive(Debug)]
struct Waiting {
    job: Arc<dyn Job>,
    /// How often it was refused.
    refusals: u32,
}

struct InFlight {
    sequence: CommitSequence,
    waiting: Waiting,
    on_commit: Effects,
    writes: bool,
}

impl std::fmt::Debug for InFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InFlight")
            .field("sequence", &self.sequence)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }
}

impl Station {
    /// Runs `body` as a [transaction](Self::transaction) and does not wait for its commit: the handle
    /// does. What is submitted next runs on its changes; all commits are in the order of submission. If
    /// others were faster, `body` runs again, and after it those submitted behind it, while any call of
    /// this station waits or submits.
    ///
    /// As many as the page server remembers (64) are in flight; then this call waits for the oldest. A
    /// [`transaction`](Self::transaction) waits for all of them first. An error of a submission whose
    /// handle was dropped is kept for [`flush`](Self::flush).
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let counter = station.transaction(|tx| tx.alloc(0u64))?;
    /// let mut last = None;
    /// for _ in 0..1000 {
    ///     last = Some(station.submit(move |tx| {
    ///         let counter = tx.get_mut(counter)?;
    ///         *counter += 1;
    ///         Ok(*counter)
    ///     }));
    /// }
    /// assert_eq!(last.unwrap().wait(station)?, 1000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A closure that answers an error has not happened, and those behind it go on. It may have seen
    /// what those before it had done; if that comes to nothing, it runs again. Requests are collected
    /// for a moment and sent together; before this station's process turns to something else for long,
    /// [`flush`](Self::flush) sees to it that all are answered. Dropping the station leaves open what
    /// became of those that were not.
    pub fn submit<R: Send + 'static>(
        &mut self,
        body: impl FnMut(&mut Transaction<'_>) -> Result<R> + Send + 'static,
    ) -> Commit<R> {
        let submission = Arc::new(Submission::new(body));
        self.pipeline.waiting.push_back(Waiting {
            job: Arc::clone(&submission) as Arc<dyn Job>,
            refusals: 0,
        });
        if let Err(error) = self.advance() {
            self.fail(error);
        }
        Commit::new(submission, Arc::clone(&self.pipeline.unheard))
    }

    /// Waits until everything that was submitted is settled.
    ///
    /// # Errors
    /// The first error of a submission whose handle was dropped since the last call; one with which
    /// a closure gave up counts only if there is no other.
    pub fn flush(&mut self) -> Result<()> {
        while !self.pipeline.is_empty() {
            self.progress();
        }
        job::take_unheard(&self.pipeline.unheard).map_or(Ok(()), Err)
    }

    /// How many submissions are not settled yet.
    #[must_use]
    pub fn submitted(&self) -> usize {
        self.pipeline.waiting.len() + self.pipeline.in_flight.len()
    }

    /// Settles everything that was submitted before something that has to be alone.
    pub(crate) fn empty_pipeline(&mut self) -> Result<()> {
        while !self.pipeline.is_empty() {
            self.advance()
                .and_then(|()| self.await_answers())
                .inspect_err(|_| self.fail(ErrorKind::NotRun.into()))?;
        }
        Ok(())
    }

    /// Waits until something was settled. What goes wrong is told by the submissions.
    fn progress(&mut self) {
        let progressed = self.advance().and_then(|()| self.await_answers());
        if let Err(error) = progressed {
            self.fail(error);
        }
    }
}
