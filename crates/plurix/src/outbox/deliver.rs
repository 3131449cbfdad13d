//! Delivering an outbox: claim, read, wait until durable, hand over, remove.
//!
//! ```text
//!   claim and read --> wait until the snapshot is durable --> sink takes each --> settle --> remove
//!     ^    |                                                                                   |
//!     |    +-- nothing there: done                                                             |
//!     +----------------------------------------------------------------------------------------+
//! ```
//!
//! A station that was taken for dead while it delivers has lost its claim, and another one may
//! deliver the same entries. It finds out before the next entry, if it can, and removes nothing.
//! That it may hand over one entry beside its successor, nobody outside of the sink can prevent; a
//! sink that both can reach must let one in at a time, as [`Journal`](super::Journal) does.

use plurix_wire::canary::{self, Canary};

use super::queue::{self, Batch};
use super::{Entry, Sink};
use crate::error::{ErrorKind, Result};
use crate::station::Station;

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// So many entries were handed over or known to the sink, and removed; there are no more.
    Done(u64),
    /// A station that is alive delivers this outbox.
    Claimed,
}

impl Station {
    /// Hands over the entries of an outbox to `take`, in order and outside of any transaction, once
    /// each is durable, and removes them; until there are none. Where nothing was ever pushed, there
    /// are none. Waits for the page server's disk, not for new entries: for these,
    /// [`wait_for_news`](Self::wait_for_news).
    ///
    /// The first station that delivers an outbox claims it, until its life ends or it
    /// [gives the claim back](Self::release_outbox).
    ///
    /// # Errors
    /// [`ErrorKind::NotDelivered`] if `take` answers an error: those before it are delivered.
    /// As [`transaction`](Self::transaction); what was handed over may then come again.
    pub fn deliver(
        &mut self,
        outbox: &str,
        mut take: impl FnMut(&Entry) -> std::io::Result<()>,
    ) -> Result<Delivery> {
        self.deliver_to(outbox, &mut take)
    }

    /// [`deliver`](Self::deliver) to a sink that may remember what it has.
    ///
    /// # Errors
    /// As [`deliver`](Self::deliver); [`ErrorKind::ForeignSink`] if the sink has more than was ever
    /// pushed.
    pub fn deliver_to(&mut self, outbox: &str, sink: &mut dyn Sink) -> Result<Delivery> {
        let mut delivered = 0;
        loop {
            let Some(batch) = self.transaction(|tx| queue::claim(tx, outbox))? else {
                return Ok(Delivery::Claimed);
            };
            if batch.entries.is_empty() {
                return Ok(Delivery::Done(delivered));
            }
            if sink.newest() > batch.pushed {
                return Err(ErrorKind::ForeignSink {
                    outbox: outbox.to_owned(),
                    newest: sink.newest(),
                    pushed: batch.pushed,
                }
                .into());
            }
            if !canary::strikes(Canary::DeliverEarly) {
                self.wait_durable(batch.snapshot, None)?;
            }
            let (taken, failure) = self.hand_over(&batch, sink);
            if let Some(last) = taken {
                let held =
                    self.transaction(|tx| queue::remove(tx, outbox, batch.claimer, last.number))?;
                if held {
                    delivered += last.number - batch.entries[0].number + 1;
                }
            }
            if let Some((number, source)) = failure {
                return Err(ErrorKind::NotDelivered {
                    outbox: outbox.to_owned(),
                    number,
                    source,
                }
                .into());
            }
        }
    }

    /// Lets another station deliver an outbox that this one has claimed.
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction).
    pub fn release_outbox(&mut self, outbox: &str) -> Result<()> {
        self.transaction(|tx| queue::release(tx, outbox))
    }

    /// Hands over a batch, as long as the claim holds; answers the last entry that the sink has for
    /// certain, and at which number it failed, if it did.
    fn hand_over<'b>(
        &self,
        batch: &'b Batch,
        sink: &mut dyn Sink,
    ) -> (Option<&'b Entry>, Option<(u64, std::io::Error)>) {
        let mut taken = None;
        let mut failure = None;
        for entry in &batch.entries {
            if self.incarnation() != batch.claimer {
                break;
            }
            if entry.number > sink.newest()
                && let Err(error) = sink.take(entry)
            {
                failure = Some((entry.number, error));
                break;
            }
            taken = Some(entry);
        }
        match taken.map(|_| sink.settle()) {
            Some(Err(error)) => (None, failure.or(Some((batch.entries[0].number, error)))),
            Some(Ok(())) | None => (taken, failure),
        }
    }
}
