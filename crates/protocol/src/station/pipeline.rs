//! Requests in flight that nobody waits for: later transactions run on their changes before they are
//! answered.
//!
//! ```text
//!  submit --> in flight --Committed--> settled            the changes stay
//!                 |
//!                 +-------Refused----> settled            the changes of this one and of all behind it
//!                                                         are taken back; they are to be run again
//! ```
//!
//! Memory is then as of the snapshot, with the changes of all that is in flight on top. What others
//! change goes beneath, between transactions. If they changed a line that something in flight has read
//! or written, the two *clash*: its fate is unknown, and what a transaction would see may never come to
//! be. So none begins until everything in flight is answered.
//!
//! **Invariant**: outcomes are settled in the order of submission, and nothing behind a refused
//! request commits: the leader refuses what follows it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Commit, Page, PageLines};
use plurix_wire::{CommitNumber, CommitSequence, LineMask, PageNumber, WriteSet};
use rustc_hash::FxHashMap;

use crate::page_set::PageSet;

use super::outbox::Submitted;
use super::{Answer, Outcome, Pages, Station, Transaction};

/// What is in flight, and what has been settled and not been asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipeline {
    /// Ascending by sequence, without gaps.
    in_flight: VecDeque<Submitted>,
    /// Bytes of the changes in flight.
    bytes: usize,
    touched: FxHashMap<PageNumber, Touched>,
    /// Pages that were brought to this commit or beyond since something is in flight.
    refreshed: FxHashMap<PageNumber, CommitNumber>,
    clashed: bool,
    settled: VecDeque<(CommitSequence, Outcome)>,
}

/// What of one page was read or written by something in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Touched {
    lines: LineMask,
    /// By so many requests; the lines are forgotten with the last of them.
    requests: u32,
}

impl Pipeline {
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    fn push(&mut self, submitted: Submitted) {
        let commit = submitted.commit();
        self.bytes += commit.writes.as_bytes().len();
        for (page, lines) in touched(commit) {
            let entry = self.touched.entry(page).or_default();
            entry.lines.0 |= lines.0;
            entry.requests += 1;
        }
        self.in_flight.push_back(submitted);
    }

    fn pop(&mut self) -> Option<Submitted> {
        let submitted = self.in_flight.pop_front()?;
        let commit = submitted.commit();
        self.bytes -= commit.writes.as_bytes().len();
        for (page, _) in touched(commit) {
            if let Some(entry) = self.touched.get_mut(&page) {
                entry.requests -= 1;
                if entry.requests == 0 {
                    self.touched.remove(&page);
                }
            }
        }
        self.rest();
        Some(submitted)
    }

    fn clear(&mut self) {
        self.in_flight.clear();
        self.bytes = 0;
        self.touched.clear();
        self.rest();
    }

    /// With nothing in flight there is nothing to clash with.
    fn rest(&mut self) {
        if self.in_flight.is_empty() {
            self.refreshed.clear();
            self.clashed = false;
        }
    }

    pub(super) fn get(&self, sequence: CommitSequence) -> Option<&Submitted> {
        let first = self.in_flight.front()?.commit().sequence;
        let index = sequence.0.checked_sub(first.0)?;
        self.in_flight.get(usize::try_from(index).ok()?)
    }

    pub(super) fn submitted_mut(&mut self) -> impl Iterator<Item = &mut Submitted> {
        self.in_flight.iter_mut()
    }

    /// Whether something in flight has read or written the page.
    pub(super) fn touches(&self, page: PageNumber) -> bool {
        self.touched.contains_key(&page)
    }

    /// Others have changed this.
    pub(super) fn note(&mut self, writes: &WriteSet) {
        self.clashed = self.clashed
            || writes.sections().any(|section| {
                let touched = self.touched.get(&section.page());
                touched.is_some_and(|touched| touched.lines.0 & section.lines().0 != 0)
            });
    }

    /// A page that was asked for takes its place in the stream; if it is `in_memory` already, what has
    /// changed since was not seen.
    pub(super) fn note_page(&mut self, page: &Page, in_memory: Option<CommitNumber>) {
        if let Some(seen) = in_memory {
            let since = page.since.iter().filter(|delta| delta.number > seen);
            since.for_each(|delta| self.note(&delta.writes));
        }
        self.refreshed.insert(page.page, page.held_from);
    }

    /// Lines were brought up to date.
    pub(super) fn note_lines(&mut self, writes: &WriteSet, number: CommitNumber) {
        self.note(writes);
        let pages = writes.sections().map(|section| (section.page(), number));
        self.refreshed.extend(pages);
    }

    /// A page leaves memory, and with it what was changed there.
    pub(super) fn note_gone(&mut self) {
        self.clashed = !self.in_flight.is_empty();
    }

    /// The leader has answered; memory is as of just before that.
    pub(super) fn answer(
        &mut self,
        sequence: CommitSequence,
        answer: Answer,
        held: &PageSet,
        memory: &mut impl Pages,
    ) {
        let oldest = self.in_flight.front();
        if oldest.is_none_or(|oldest| oldest.commit().sequence != sequence) {
            return; // It followed one that was refused.
        }
        match answer {
            Ok(number) => {
                let submitted = self.in_flight.front().expect("looked at above");
                for section in submitted.commit().writes.sections() {
                    let page = section.page();
                    // After a resume the refreshed lines contain it.
                    let refreshed = self.refreshed.get(&page);
                    let beneath = refreshed.is_none_or(|refresh| *refresh < number);
                    memory.keep(sequence, &section, beneath && held.contains(page));
                }
                self.pop();
            }
            Err(_) => {
                memory.take_back();
                self.clear();
            }
        }
        self.settled.push_back((sequence, answer.into()));
    }

    /// The life in which all this was submitted has ended; `answer` tells what it still learnt.
    pub(super) fn end(&mut self, answer: impl Fn(CommitSequence) -> Option<Answer>) {
        for submitted in &self.in_flight {
            let sequence = submitted.commit().sequence;
            let outcome = answer(sequence).map_or(Outcome::Unknown, Outcome::from);
            self.settled.push_back((sequence, outcome));
            if matches!(outcome, Outcome::Refused(_)) {
                break; // And with it all behind it.
            }
        }
        self.clear();
    }
}

impl Station {
    /// Whether one more request may be in flight; else [`absorb`](Self::absorb) answers first. The
    /// leader says how many outcomes it remembers.
    #[must_use]
    pub fn may_submit(&self) -> bool {
        self.session.as_ref().is_none_or(|session| {
            let unsettled = session.sequence.0 - session.settled.0;
            unsettled < u64::from(session.in_flight_max)
                && self.pipeline.bytes <= self.settings.queue_bytes_max
        })
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pipeline.in_flight.len()
    }

    /// Whether something in flight may be refused because of what others have changed, so that no
    /// transaction begins before it is answered.
    #[must_use]
    pub fn is_clashed(&self) -> bool {
        self.pipeline.clashed && !canary::strikes(Canary::IgnoreClash)
    }

    /// Asks the leader to commit the running transaction and ends it: its changes stay, until they
    /// are answered and, if need be, taken back. One that has changed nothing is asked for, too, if
    /// something is in flight: whether it has seen one state of the heap, the leader knows. Answers
    /// the request's number; `None`, and the transaction has not happened, if its life has ended.
    ///
    /// Ask [`may_submit`](Self::may_submit) before the transaction begins. What a leader has said since
    /// then, on a new connection, holds for the next one.
    ///
    /// # Panics
    /// If no transaction is running.
    pub fn submit(
        &mut self,
        reads: Vec<PageLines>,
        writes: WriteSet,
        memory: &mut impl Pages,
    ) -> Option<CommitSequence> {
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::Running => {}
            Transaction::Doomed => {
                memory.rollback();
                return None;
            }
            _ => panic!("no transaction is running"),
        }
        let snapshot = self.cache.snapshot();
        let session = self.session.as_mut();
        let session = session.expect("a transaction runs in a session");
        session.sequence = session.sequence.next();
        let newest = self.pipeline.in_flight.back();
        let commit = Commit {
            sequence: session.sequence,
            acknowledged: session.settled,
            snapshot,
            follows: Some(newest.map_or(CommitSequence(0), |newest| newest.commit().sequence)),
            reads,
            writes,
        };
        let sequence = commit.sequence;
        memory.pend(sequence, &commit.writes);
        let submitted = Submitted::new(session.incarnation, session.generation, commit);
        self.pipeline.push(submitted);
        self.send(sequence);
        Some(sequence)
    }

    /// Takes what has arrived into memory, between transactions.
    pub fn absorb(&mut self, memory: &mut impl Pages) {
        debug_assert!(matches!(self.transaction, Transaction::None));
        if self.cache.is_idle() {
            return;
        }
        if self.pipeline.is_empty() {
            self.cache.apply(memory, None);
            return;
        }
        self.cache.apply_beneath(memory, &mut self.pipeline);
        if let Some(session) = &mut self.session {
            let oldest = self.pipeline.in_flight.front();
            session.settled = oldest.map_or(session.sequence, |oldest| {
                CommitSequence(oldest.commit().sequence.0 - 1)
            });
        }
    }

    /// Whether [`absorb`](Self::absorb) would settle something, or something is settled.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        !self.pipeline.settled.is_empty() || self.cache.has_answers()
    }

    /// The next request that was settled, in the order of submission. With a refused one, all that
    /// were submitted behind it are refused; of those nothing more is said.
    pub fn next_settled(&mut self) -> Option<(CommitSequence, Outcome)> {
        self.pipeline.settled.pop_front()
    }

    /// Gives up what is in flight: what becomes of it is never learnt, so the station must not begin
    /// another transaction.
    pub fn give_up_pipeline(&mut self, memory: &mut impl Pages) {
        memory.take_back();
        self.pipeline.end(|_| None);
    }
}

/// The lines that a request has read or written, by page; a page may come twice.
fn touched(commit: &Commit) -> impl Iterator<Item = (PageNumber, LineMask)> {
    let reads = commit.reads.iter().map(|read| (read.page, read.lines));
    let sections = commit.writes.sections();
    reads.chain(sections.map(|section| (section.page(), section.lines())))
}

/// All of it, in an order that does not depend on how it came about.
impl Hash for Pipeline {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            in_flight,
            bytes,
            touched,
            refreshed,
            clashed,
            settled,
        } = self;
        (in_flight, bytes, clashed, settled).hash(state);
        touched.iter().collect::<BTreeMap<_, _>>().hash(state);
        refreshed.iter().collect::<BTreeMap<_, _>>().hash(state);
    }
}
