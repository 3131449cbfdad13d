//! What became of a station's newest commit requests, so that one sent again is answered again
//! and never carried out twice. Bounded: a station acknowledges what it needs no more.

use std::collections::VecDeque;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Commit, CommitRefusal, PageLines, Violation};
use plurix_wire::{CommitNumber, CommitSequence};

/// The fate of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Committed(CommitNumber),
    Refused(CommitRefusal),
}

/// What to do with a request that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new: carry it out.
    New,
    /// It was carried out before: answer this again.
    Known(Outcome),
    /// It changed nothing, and one that follows it has committed.
    KnownRead,
}

/// The requests of one incarnation that it may still ask about.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Outcomes {
    window: VecDeque<(CommitSequence, Outcome)>,
    newest: CommitSequence,
    /// The newest that was not refused.
    newest_committed: CommitSequence,
    acknowledged: CommitSequence,
}

/// What survives a restart of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) newest: CommitSequence,
    pub(crate) acknowledged: CommitSequence,
    /// Ascending by sequence.
    pub(crate) window: Vec<(CommitSequence, CommitNumber)>,
}

impl Outcomes {
    /// Classifies the request and forgets what `acknowledged` covers. At most `limit` outcomes are
    /// kept; a station with more in flight breaks the protocol.
    pub(crate) fn admit(&mut self, commit: &Commit, limit: usize) -> Result<Verdict, Violation> {
        let Commit {
            sequence,
            acknowledged,
            ..
        } = *commit;
        self.check(sequence, acknowledged)?;
        self.acknowledge(acknowledged);
        if sequence > self.newest {
            return if self.window.len() < limit {
                Ok(Verdict::New)
            } else {
                Err(Violation::TooManyInFlight)
            };
        }
        // Commits survive a restart of the leader, refusals do not: what is neither acknowledged
        // nor remembered was refused. Nor do requests that changed nothing; but a newer one has
        // committed, and a station that knew of a refusal would have acknowledged that with it.
        Ok(match self.outcome(sequence) {
            Some(outcome) => Verdict::Known(outcome),
            None if commit.writes.is_empty() => Verdict::KnownRead,
            None => Verdict::Known(refused_before()),
        })
    }

    /// What became of a request, if that is remembered.
    pub(crate) fn outcome(&self, sequence: CommitSequence) -> Option<Outcome> {
        // Mostly it is asked for the newest.
        let mut known = self.window.iter().rev();
        known.find_map(|(known, outcome)| (*known == sequence).then_some(*outcome))
    }

    /// Whether a station may say this at all.
    pub(crate) fn check(
        &self,
        sequence: CommitSequence,
        acknowledged: CommitSequence,
    ) -> Result<(), Violation> {
        if acknowledged >= sequence || sequence <= self.acknowledged {
            return Err(Violation::SequenceOutOfWindow);
        }
        Ok(())
    }

    /// Whether a request may wait beside `waiting` others of its station.
    pub(crate) fn has_room(&self, commit: &Commit, waiting: usize, limit: usize) -> bool {
        let kept = self.window.iter().map(|(sequence, _)| *sequence);
        let kept = kept.filter(|sequence| *sequence > commit.acknowledged);
        commit.sequence <= self.newest || kept.count() + waiting < limit
    }

    /// How many outcomes there are.
    pub(crate) fn kept(&self) -> usize {
        self.window.len()
    }

    /// Remembers the fate of a new request.
    pub(crate) fn settle(&mut self, sequence: CommitSequence, outcome: Outcome) {
        assert!(sequence > self.newest, "a request is settled once");
        self.newest = sequence;
        if matches!(outcome, Outcome::Committed(_)) {
            self.newest_committed = sequence;
        }
        self.window.push_back((sequence, outcome));
    }

    /// Restores what the log says of a commit.
    pub(crate) fn replay(
        &mut self,
        sequence: CommitSequence,
        acknowledged: CommitSequence,
        number: CommitNumber,
    ) {
        self.acknowledge(acknowledged);
        if canary::strikes(Canary::CommitTwice) {
            return;
        }
        (self.newest, self.newest_committed) = (sequence, sequence);
        self.window
            .push_back((sequence, Outcome::Committed(number)));
    }

    /// What a checkpoint keeps: refusals are forgotten, as they are by a replay.
    pub(crate) fn committed(&self) -> Committed {
        let committed = self
            .window
            .iter()
            .filter_map(|(sequence, outcome)| match outcome {
                Outcome::Committed(number) => Some((*sequence, *number)),
                Outcome::Refused(_) => None,
            });
        Committed {
            newest: self.newest_committed,
            acknowledged: self.acknowledged,
            window: committed.collect(),
        }
    }

    /// The outcomes that a checkpoint kept; `None` if they contradict each other.
    pub(crate) fn restored(committed: Committed) -> Option<Self> {
        let Committed {
            newest,
            acknowledged,
            window,
        } = committed;
        let ascends = window.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let within = window
            .iter()
            .all(|(sequence, _)| *sequence > acknowledged && *sequence <= newest);
        let outcomes = window
            .into_iter()
            .map(|(sequence, number)| (sequence, Outcome::Committed(number)));
        (ascends && within).then(|| Self {
            window: outcomes.collect(),
            newest,
            newest_committed: newest,
            acknowledged,
        })
    }

    fn acknowledge(&mut self, acknowledged: CommitSequence) {
        self.acknowledged = self.acknowledged.max(acknowledged);
        while self
            .window
            .front()
            .is_some_and(|(sequence, _)| *sequence <= self.acknowledged)
        {
            self.window.pop_front();
        }
    }
}

fn refused_before() -> Outcome {
    Outcome::Refused(CommitRefusal::Conflict(PageLines::default()))
}

#[cfg(test)]
mod tests {
    use plurix_wire::{PageNumber, WriteSetBuilder};

    use super::*;

    const LIMIT: usize = 2;

    fn sequence(n: u64) -> CommitSequence {
        CommitSequence(n)
    }

    fn read(n: u64, acknowledged: u64) -> Commit {
        Commit {
            sequence: sequence(n),
            acknowledged: sequence(acknowledged),
            snapshot: CommitNumber(0),
            follows: None,
            reads: Vec::new(),
            writes: Default::default(),
        }
    }

    fn commit(n: u64, acknowledged: u64) -> Commit {
        let mut writes = WriteSetBuilder::new();
        writes.push(PageNumber(0), 0, &[1]);
        Commit {
            writes: writes.finish(),
            ..read(n, acknowledged)
        }
    }

    #[test]
    fn a_request_sent_again_is_answered_again() {
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.admit(&commit(1, 0), LIMIT), Ok(Verdict::New));
        let committed = Outcome::Committed(CommitNumber(9));
        outcomes.settle(sequence(1), committed);
        let again = outcomes.admit(&commit(1, 0), LIMIT);
        assert_eq!(again, Ok(Verdict::Known(committed)));
    }

    #[test]
    fn an_acknowledged_request_cannot_come_again() {
        let mut outcomes = Outcomes::default();
        outcomes.replay(sequence(1), sequence(0), CommitNumber(4));
        assert_eq!(outcomes.admit(&commit(2, 1), LIMIT), Ok(Verdict::New));
        let again = outcomes.admit(&commit(1, 0), LIMIT);
        assert_eq!(again, Err(Violation::SequenceOutOfWindow));
    }

    #[test]
    fn the_window_is_bounded() {
        let mut outcomes = Outcomes::default();
        for n in 1..=2 {
            outcomes.admit(&commit(n, 0), LIMIT).unwrap();
            outcomes.settle(sequence(n), Outcome::Committed(CommitNumber(n)));
        }
        let third = outcomes.admit(&commit(3, 0), LIMIT);
        assert_eq!(third, Err(Violation::TooManyInFlight));
    }

    #[test]
    fn a_read_lost_in_a_restart_was_accepted_if_one_behind_it_was() {
        let mut outcomes = Outcomes::default();
        outcomes.replay(sequence(3), sequence(0), CommitNumber(2));
        assert_eq!(outcomes.admit(&read(2, 0), LIMIT), Ok(Verdict::KnownRead));
        assert_eq!(outcomes.admit(&read(4, 0), LIMIT), Ok(Verdict::New));
    }

    #[test]
    fn a_refusal_lost_in_a_restart_is_a_refusal_still() {
        let mut outcomes = Outcomes::default();
        outcomes.replay(sequence(1), sequence(0), CommitNumber(1));
        outcomes.replay(sequence(3), sequence(0), CommitNumber(2));
        let lost = outcomes.admit(&commit(2, 0), LIMIT);
        assert_eq!(lost, Ok(Verdict::Known(refused_before())));
    }
}
