//! Counters: kept by the coordinator, who answers additions in order.

use std::collections::{BTreeMap, VecDeque};

use plurix_wire::message::peer::ToPeer;
use plurix_wire::{Rank, SyncId};

use super::{COORDINATOR, Error, Member, View};

/// Names an addition until its answer is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Additions of this station.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    next: u64,
    /// Asked for, in order.
    asked: VecDeque<Ticket>,
    answered: BTreeMap<Ticket, u64>,
}

impl Member {
    /// Adds to a counter, which begins at zero; [`before`](Self::before) tells what it was.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    pub fn add(
        &mut self,
        counter: SyncId,
        value: u64,
        view: &mut impl View,
    ) -> Result<Ticket, Error> {
        let ticket = Ticket(self.counters.next);
        self.counters.next += 1;
        self.counters.asked.push_back(ticket);
        self.tell(COORDINATOR, ToPeer::Add { counter, value });
        self.settle(view)?;
        Ok(ticket)
    }

    /// What the counter was before an addition, once the answer is here; it is taken.
    pub fn before(&mut self, ticket: Ticket) -> Option<u64> {
        self.counters.answered.remove(&ticket)
    }

    pub(super) fn added(&mut self, from: Rank, before: u64) -> Result<(), Error> {
        let ticket = self.counters.asked.pop_front();
        let ticket = ticket.filter(|_| from == COORDINATOR);
        let ticket = ticket.ok_or(Error::Violation(from, "an answer to no addition"))?;
        self.counters.answered.insert(ticket, before);
        Ok(())
    }
}
