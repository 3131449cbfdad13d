//! What a station that keeps several requests in flight has seen although it was not answered yet: its
//! own commits, whose lines it may read at a snapshot before them.
//!
//! A request of a pipeline ran on the changes of those before it. That holds for a line if nobody
//! else wrote it between the snapshot and the station's own commit; a commit of which that is true of
//! all lines is *seen* by those that follow it.

use std::collections::VecDeque;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::Commit;
use plurix_wire::{CommitNumber, CommitSequence};

use super::Leader;
use super::outcomes::Outcome;
use super::pages::Slot;

/// Own commits that the station's next request has seen, beyond its snapshot; ascending.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Seen(VecDeque<CommitNumber>);

impl Seen {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, number: CommitNumber) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    /// Snapshots have reached `through`.
    fn forget(&mut self, through: CommitNumber) {
        while self.0.front().is_some_and(|number| *number <= through) {
            self.0.pop_front();
        }
    }

    /// At most `limit` are kept: of older ones the station had better been answered.
    pub(super) fn push(&mut self, number: CommitNumber, limit: usize) {
        if self.0.len() >= limit {
            self.0.pop_front();
        }
        self.0.push_back(number);
    }
}

impl Leader {
    /// Whether the request may be ordered as far as those before it in its pipeline go.
    pub(super) fn may_follow(&mut self, slot: Slot, commit: &Commit) -> bool {
        let member = self.members.get_mut(slot);
        match commit.follows {
            None | Some(CommitSequence(0)) => {
                member.seen = Seen::default();
                true
            }
            Some(before) => {
                member.seen.forget(commit.snapshot);
                matches!(member.outcomes.outcome(before), Some(Outcome::Committed(_)))
                    || canary::strikes(Canary::FollowRefused)
            }
        }
    }

    /// Whether those that follow this request see its changes as they are in the heap: nobody else
    /// has written these lines since its snapshot. Known of those that it has read.
    pub(super) fn is_seen_by_followers(&self, slot: Slot, commit: &Commit) -> bool {
        commit.follows.is_some()
            && commit.writes.sections().all(|section| {
                let seen = &self.members.get(slot).seen;
                let lines = section.lines();
                let unseen =
                    self.pages
                        .written_unseen(section.page(), lines, commit.snapshot, seen);
                unseen.0 == 0 || canary::strikes(Canary::SeeTooMuch)
            })
    }

    /// Commit `number` will have been seen by the requests that follow it.
    pub(super) fn let_follow(&mut self, slot: Slot, number: CommitNumber) {
        let limit = self.settings.outcomes_max;
        self.members.get_mut(slot).seen.push(number, limit);
    }
}
