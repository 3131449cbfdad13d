//! Fairness among writers: the token. Optimistic transactions starve whoever takes long while others
//! are quick. A station that was refused too often asks for the token; while it holds it, commits of
//! others wait, so that its next attempt cannot be refused.
//!
//! ```text
//!   Request::Token --> queue --first--> holder: Item::Token, lease = 2 x attempt, at most token_max
//!                        ^                |  commits of others wait, in order
//!                        | asks again     |
//!                        |                v
//!        its connection or life ends, it commits, returns the token, or its lease is over:
//!        what waited is decided, then the next one holds it
//! ```
//!
//! Reads, misses and everything but commits go on. What waits is decided *between* two holders, so
//! however many ask for the token, a commit waits for one of them.
//!
//! **Invariants**: one holder at a time; a commit waits for `token_max` at most, and commits are
//! decided in the order in which they came; the token is granted in the order of asking; nothing of
//! it outlives the connection on which it was asked for, nor the leadership.

use std::collections::VecDeque;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Commit, Item, Violation};

use super::Leader;
use super::pages::Slot;
use crate::{Span, Time};

/// A lease is so many times the holder's last attempt: the next one may take somewhat longer, and
/// grant and commit must travel.
const LEASE_ATTEMPTS: u64 = 2;
/// A lease is no shorter than this: below, threads that have to be woken count for more than the
/// attempt.
const LEASE_MIN: Span = Span::from_millis(2);

/// Who holds the token, who wants it, and what waits for it.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Token {
    holder: Option<Holder>,
    /// Who asked for it, and for how long its attempts take.
    queue: VecDeque<(Slot, Span)>,
    /// Commits of others, in the order in which they came.
    waiting: VecDeque<(Slot, Commit)>,
    waiting_bytes: usize,
}

#[derive(Debug, Clone, Copy, Hash)]
struct Holder {
    slot: Slot,
    /// When the lease is over.
    until: Time,
}

impl Token {
    /// When [`expire`](Self::expire) is due.
    pub(super) fn due(&self) -> Option<Time> {
        self.holder.map(|holder| holder.until)
    }

    /// Ends a lease that is over; answers whether there was one.
    pub(super) fn expire(&mut self, now: Time) -> bool {
        self.holder.take_if(|holder| now >= holder.until).is_some()
    }

    /// The station needs it no more.
    pub(super) fn return_from(&mut self, slot: Slot) {
        self.holder = self.holder.filter(|holder| holder.slot != slot);
        self.queue.retain(|(asker, _)| *asker != slot);
    }

    /// The station's connection or life has ended: what it asked for it asks for again, if it lives.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.return_from(slot);
        self.waiting.retain(|(writer, _)| *writer != slot);
        self.waiting_bytes = self
            .waiting
            .iter()
            .map(|(_, commit)| bytes_of(commit))
            .sum();
    }

    /// All connections end.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Leader {
    /// A member wants the token for attempts as long as `attempt`. Whoever holds it and asks again
    /// has lost it, and is the last in the queue.
    pub(super) fn ask_token(&mut self, slot: Slot, attempt: Span) {
        self.token.return_from(slot);
        self.token.queue.push_back((slot, attempt));
    }

    /// Puts a commit aside while another member holds the token; gives it back if it may be decided
    /// now.
    pub(super) fn hold_back(
        &mut self,
        slot: Slot,
        commit: Commit,
    ) -> Result<Option<Commit>, Violation> {
        let token = &mut self.token;
        match token.holder {
            Some(holder) if holder.slot == slot => {
                token.holder = None;
                return Ok(Some(commit));
            }
            Some(_) if canary::strikes(Canary::SkipToken) => return Ok(Some(commit)),
            Some(_) => {}
            None if token.waiting.is_empty() => return Ok(Some(commit)),
            // It may follow one of those that wait.
            None => {}
        }
        let own = token.waiting.iter().filter(|(writer, _)| *writer == slot);
        let outcomes = &self.members.get(slot).outcomes;
        outcomes.check(commit.sequence, commit.acknowledged)?;
        if !outcomes.has_room(&commit, own.count(), self.settings.outcomes_max) {
            return Err(Violation::TooManyInFlight);
        }
        token.waiting_bytes += bytes_of(&commit);
        token.waiting.push_back((slot, commit));
        if token.waiting_bytes > self.settings.token_bytes_max {
            token.holder = None;
        }
        Ok(None)
    }

    /// If nobody holds the token: decides what has waited, then grants it to the next.
    pub(super) fn pass_token(&mut self, now: Time) {
        while self.token.holder.is_none() {
            if let Some((slot, commit)) = self.token.waiting.pop_front() {
                self.token.waiting_bytes -= bytes_of(&commit);
                if let Err(violation) = self.decide(slot, commit) {
                    self.violation(slot, violation);
                }
                self.schedule(now);
            } else if let Some((slot, attempt)) = self.token.queue.pop_front() {
                let lease = Span(attempt.0.saturating_mul(LEASE_ATTEMPTS)).max(LEASE_MIN);
                let until = now + lease.min(self.settings.token_max);
                self.token.holder = Some(Holder { slot, until });
                let stream = &mut self.members.get_mut(slot).stream;
                stream.push(self.number, Item::Token);
                self.make_urgent(slot);
            } else {
                return;
            }
        }
    }

    /// How many commits wait for the holder of the token, and their bytes. For oracles.
    #[must_use]
    pub fn held_back(&self) -> (usize, usize) {
        (self.token.waiting.len(), self.token.waiting_bytes)
    }
}

/// What a waiting commit counts for.
fn bytes_of(commit: &Commit) -> usize {
    size_of::<Commit>() + size_of_val(&commit.reads[..]) + commit.writes.as_bytes().len()
}
