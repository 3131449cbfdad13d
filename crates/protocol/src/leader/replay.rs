//! From the log back to a leader: the heap, the outcomes and the members as of the last record.

use plurix_wire::message::Member;
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{CommitNumber, Generation, PageNumber, Term};

use super::history::History;
use super::members::{Link, MemberState};
use super::{Leader, StateError};
use crate::Time;

/// Why a log cannot be the history of a heap, although each record is whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A commit does not follow the one before it.
    #[error("commit {found} follows {newest}; the log is not the one this heap was written with")]
    Gap {
        /// The newest commit replayed.
        newest: CommitNumber,
        /// The commit found after it.
        found: CommitNumber,
    },
    /// A record is older than one before it.
    #[error("term or generation goes back after {newest}; segments of two logs were mixed")]
    GoesBack {
        /// The newest commit replayed.
        newest: CommitNumber,
    },
    /// The state in a checkpoint cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A commit writes beyond the heap.
    #[error("{found} writes beyond the heap; the heap was larger when the log was written")]
    BeyondHeap {
        /// The commit.
        found: CommitNumber,
    },
}

impl Leader {
    /// Takes the next record of the log.
    ///
    /// # Errors
    /// [`ReplayError`] if the record cannot follow those before it; the leader is then of no use.
    pub fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        let stamp = record.stamp;
        let newest = self.number;
        if stamp.term < self.term || stamp.generation < self.generation {
            return Err(ReplayError::GoesBack { newest });
        }
        self.term = stamp.term;
        match &record.body {
            Body::Commit {
                id,
                acknowledged,
                writes,
            } => {
                if stamp.number != newest.next() || stamp.generation != self.generation {
                    return Err(ReplayError::Gap {
                        newest,
                        found: stamp.number,
                    });
                }
                if writes
                    .sections()
                    .any(|section| !self.pages.contains(section.page()))
                {
                    return Err(ReplayError::BeyondHeap {
                        found: stamp.number,
                    });
                }
                self.number = stamp.number;
                self.pages.replay(stamp.number, writes);
                if let Some(slot) = self.members.of_incarnation(id.incarnation) {
                    let outcomes = &mut self.members.get_mut(slot).outcomes;
                    outcomes.replay(id.sequence, *acknowledged, stamp.number);
                }
            }
            Body::RecoveryLine(_) => {
                if stamp.number != newest.next() || stamp.generation != self.generation {
                    return Err(ReplayError::Gap {
                        newest,
                        found: stamp.number,
                    });
                }
                // What it wrote is gone, and the line before is the newest one again.
                self.number = stamp.number;
            }
            Body::Joined(member) => self.replay_join(*member),
            Body::Left(incarnation) => {
                if let Some(slot) = self.members.of_incarnation(*incarnation) {
                    self.members.remove(slot);
                }
            }
            Body::Generation => {
                if stamp.number != newest {
                    return Err(ReplayError::Gap {
                        newest,
                        found: stamp.number,
                    });
                }
                self.generation = stamp.generation;
                self.cuts.push((stamp.generation, stamp.number));
            }
            Body::Term | Body::Clean => {}
        }
        Ok(())
    }

    fn replay_join(&mut self, member: Member) {
        if self.members.of_incarnation(member.incarnation).is_some() {
            return;
        }
        let link = Link::Lost { since: Time(0) };
        self.members
            .insert(MemberState::new(member, link, Time(0), CommitNumber(0)));
    }

    /// Starts from a checkpoint: it was cut at `stamp`, holds `pages`, and came with `state`. The log
    /// behind it is replayed next.
    ///
    /// # Errors
    /// [`ReplayError`] if this is no state of this heap; the leader is then of no use.
    pub fn start_from(
        &mut self,
        stamp: Stamp,
        state: &[u8],
        pages: impl IntoIterator<Item = PageNumber>,
    ) -> Result<(), ReplayError> {
        self.decode_state(&stamp, state)?;
        (self.generation, self.term, self.number) = (stamp.generation, stamp.term, stamp.number);
        self.checkpointing.start(Time(0), stamp);
        if !self.pages.start_from(stamp.number, pages) {
            return Err(ReplayError::BeyondHeap {
                found: stamp.number,
            });
        }
        Ok(())
    }

    /// Begins the leadership of `term`, which is on disk; everything replayed may be revealed. If
    /// answered commits may be missing, `new_generation` separates what follows from what was lost.
    ///
    /// It need not be the one after the last in the log: a generation may have been begun, shown to
    /// stations, and lost with its record.
    ///
    /// # Panics
    /// If the term or the generation is not newer than those of the log.
    pub fn start(&mut self, now: Time, term: Term, new_generation: Option<Generation>) {
        assert!(term > self.term, "a term begins once");
        assert!(
            new_generation.is_none_or(|generation| generation > self.generation),
            "a generation begins once"
        );
        self.term = term;
        self.logged = self.number;
        self.started = now;
        self.begin_counting(now);
        self.next_tick = now;
        self.checkpointing.start(now, self.checkpointing.durable);
        self.history = History::new(self.number.next(), self.settings.history_bytes_max);
        self.append(Body::Term);
        if let Some(generation) = new_generation {
            self.generation = generation;
            self.cuts.push((self.generation, self.number));
            self.append(Body::Generation);
        }
        for slot in self.members.slots() {
            self.members.relink(slot, Link::Lost { since: now });
        }
    }
}
