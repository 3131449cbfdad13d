//! The sequencer: admits, validates, numbers and applies one transaction.
//!
//! ```text
//!  commit --> admit --known--> answer again
//!               | new
//!               v
//!             reserve --no room--> Refused(LogFull)
//!               |
//!             follow --the one before it was refused--> Refused(Behind)
//!               |
//!             validate --line written after snapshot--> Refused(Conflict)
//!               |
//!             number = newest + 1 --> apply --> Append --> answer, deltas to the holders
//! ```
//!
//! Validation is backward-oriented (Härder 1984): every line that the transaction read must still
//! be the one of its snapshot, so the transaction could as well have run at its number.

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{
    COMMIT_BYTES_MAX, Commit, CommitRefusal, Delta, Item, PageLines, Violation,
};
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{CommitId, CommitNumber, WriteSet};

use super::members::Turn;
use super::outcomes::{Outcome, Verdict};
use super::pages::Slot;
use super::{Command, Durability, Leader};

impl Leader {
    /// Takes the commit request of a member; the answer is an item of its stream.
    pub(super) fn commit(&mut self, slot: Slot, commit: Commit) -> Result<(), Violation> {
        self.check(&commit)?;
        match self.hold_back(slot, commit)? {
            Some(commit) => self.decide(slot, commit),
            None => Ok(()),
        }
    }

    /// Decides on a commit request whose turn it is.
    pub(super) fn decide(&mut self, slot: Slot, commit: Commit) -> Result<(), Violation> {
        let limit = self.settings.outcomes_max;
        let outcomes = &mut self.members.get_mut(slot).outcomes;
        let sequence = commit.sequence;
        let outcome = match outcomes.admit(&commit, limit)? {
            Verdict::Known(Outcome::Committed(_)) if canary::strikes(Canary::WrongNumber) => {
                Outcome::Committed(self.number)
            }
            Verdict::Known(outcome) => outcome,
            // It read at the newest commit, or before.
            Verdict::KnownRead => Outcome::Committed(self.number),
            Verdict::New => {
                let outcome = self.order(slot, commit);
                self.members
                    .get_mut(slot)
                    .outcomes
                    .settle(sequence, outcome);
                outcome
            }
        };
        let item = match outcome {
            Outcome::Committed(number) => Item::Committed { sequence, number },
            Outcome::Refused(_) if canary::strikes(Canary::AcceptRefused) => Item::Committed {
                sequence,
                number: self.number,
            },
            Outcome::Refused(why) => Item::Refused { sequence, why },
        };
        self.members.get_mut(slot).stream.push(self.number, item);
        self.make_urgent(slot);
        Ok(())
    }

    fn check(&self, commit: &Commit) -> Result<(), Violation> {
        if commit.snapshot > self.logged {
            return Err(Violation::SnapshotFromTheFuture);
        }
        if commit.writes.as_bytes().len() > COMMIT_BYTES_MAX {
            return Err(Violation::CommitTooLarge);
        }
        let ascend = commit
            .reads
            .windows(2)
            .all(|pair| pair[0].page < pair[1].page);
        let empty = commit.reads.iter().any(|read| read.lines.0 == 0);
        let idle = commit.writes.is_empty() && commit.follows.is_none();
        let astray = commit
            .follows
            .is_some_and(|before| before >= commit.sequence);
        if !ascend || empty || idle || astray {
            return Err(Violation::MalformedList);
        }
        let beyond = |page| !self.pages.contains(page);
        if commit
            .reads
            .last()
            .is_some_and(|read: &PageLines| beyond(read.page))
            || commit
                .writes
                .sections()
                .any(|section| beyond(section.page()))
        {
            return Err(Violation::PageBeyondHeap);
        }
        Ok(())
    }

    /// Gives the transaction its place in the order, or says why it has none.
    fn order(&mut self, slot: Slot, commit: Commit) -> Outcome {
        let id = CommitId {
            incarnation: self.members.get(slot).member.incarnation,
            sequence: commit.sequence,
        };
        if !self.may_follow(slot, &commit) {
            return Outcome::Refused(CommitRefusal::Behind);
        }
        let seen = &self.members.get(slot).seen;
        if let Some(lines) = self.pages.conflict(&commit.reads, commit.snapshot, seen) {
            self.counters.conflicts += 1;
            self.members.get_mut(slot).conflicts += 1;
            self.count_conflict(slot, lines, &commit.writes);
            return Outcome::Refused(CommitRefusal::Conflict(lines));
        }
        if commit.writes.is_empty() {
            return Outcome::Committed(self.number);
        }
        let is_seen = self.is_seen_by_followers(slot, &commit);
        let Commit {
            acknowledged,
            writes,
            ..
        } = commit;
        let bytes = Record::commit_bytes(&writes) as u64;
        if bytes > self.room {
            self.counters.log_full += 1;
            return Outcome::Refused(CommitRefusal::LogFull);
        }
        self.room -= bytes;
        let number = self.number.next();
        self.number = number;
        if self.settings.durability == Durability::Memory
            || canary::strikes(Canary::AnswerBeforeLog)
        {
            self.logged = number;
        }
        self.apply(slot, number, &writes);
        if is_seen {
            self.let_follow(slot, number);
        }
        let stamp = Stamp {
            generation: self.generation,
            term: self.term,
            number,
        };
        let body = Body::Commit {
            id,
            acknowledged,
            writes,
        };
        self.commands
            .push_back(Command::Append(Record { stamp, body }));
        Outcome::Committed(number)
    }

    fn apply(&mut self, writer: Slot, number: CommitNumber, writes: &WriteSet) {
        self.undo.clear();
        self.pages.apply(number, writes, &mut self.undo);
        self.spread(writer, number, writes);
        self.history.push(number, writes, &self.undo);
        self.counters.commits += 1;
        let state = self.members.get_mut(writer);
        state.commits += 1;
        self.conflict_counts.wrote(number, state.member.station);
    }

    /// Queues the change for everybody else who holds one of its pages.
    fn spread(&mut self, writer: Slot, number: CommitNumber, writes: &WriteSet) {
        // A holder of the only page changed is told all of it.
        let is_one_page = writes.sections().nth(1).is_none();
        for section in writes.sections() {
            let Some(entry) = self.pages.get(section.page()) else {
                continue;
            };
            for &holder in entry.holders.iter().filter(|holder| **holder != writer) {
                let state = self.members.get_mut(holder);
                if std::mem::replace(&mut state.reached, number) == number {
                    continue;
                }
                let writes = if is_one_page {
                    writes.clone()
                } else {
                    writes.restrict(|page| state.held.contains(&page))
                };
                let delta = Delta { number, writes };
                state
                    .stream
                    .push_delta(delta, self.settings.backlog_bytes_max);
                let (turn, list) = match state.watches {
                    true => (Turn::Urgent, &mut self.urgent),
                    false => (Turn::Lazy, &mut self.lazy),
                };
                if state.turn < turn {
                    state.turn = turn;
                    list.push(holder);
                }
            }
        }
    }
}
