//! What stations have asked for, and which of it may commit: the rules of conflicts and of pipelines,
//! written down a second time.
//!
//! A station may say different things under one id, and the leader decides on the one that came first
//! when its turn came. So a commit is lawful if it is that of any request of its id.

use std::collections::{BTreeMap, BTreeSet};

use plurix_wire::message::Commit;
use plurix_wire::{
    CommitId, CommitNumber, CommitSequence, Incarnation, LineMask, PageNumber, WriteSet,
};

/// All requests, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Asked {
    requests: BTreeMap<CommitId, Vec<Commit>>,
    numbers: BTreeMap<CommitId, CommitNumber>,
    refused: BTreeSet<CommitId>,
    /// Requests that changed nothing and were not refused.
    looked: BTreeSet<CommitId>,
    /// Commits that the next request of a pipeline may have seen, though they are behind its snapshot.
    seen: BTreeMap<Incarnation, BTreeSet<u64>>,
}

impl Asked {
    pub(super) fn note(&mut self, id: CommitId, commit: &Commit) {
        let requests = self.requests.entry(id).or_default();
        if !requests.contains(commit) {
            requests.push(commit.clone());
        }
    }

    /// The request takes the next number, behind all of `commits`.
    pub(super) fn commit(&mut self, id: CommitId, writes: &WriteSet, commits: &[WriteSet]) {
        assert!(
            !writes.is_empty(),
            "what changes nothing must take no number"
        );
        let requests = self.requests.get(&id).map_or(&[][..], Vec::as_slice);
        let lawful: Vec<_> = requests
            .iter()
            .filter(|request| request.writes == *writes)
            .filter(|request| self.may_follow(id, request.follows))
            .filter(|request| self.reads_hold(id, request, commits))
            .collect();
        assert!(
            !lawful.is_empty(),
            "{id:?} follows what did not commit, or read what was written since: {requests:?}"
        );
        let begins = lawful.iter().all(|request| is_head(request.follows));
        let is_seen = lawful
            .iter()
            .any(|request| request.follows.is_some() && self.writes_hold(id, request, commits));
        let seen = self.seen.entry(id.incarnation).or_default();
        if begins {
            seen.clear();
        }
        let number = commits.len() as u64 + 1;
        if is_seen {
            seen.insert(number);
        }
        let before = self.numbers.insert(id, CommitNumber(number));
        assert_eq!(before, None, "an id commits once");
        assert!(!self.refused.contains(&id), "refused is refused");
    }

    /// A station is told that its request has committed.
    pub(super) fn told_committed(&mut self, id: CommitId, told: CommitNumber) {
        match self.numbers.get(&id) {
            Some(number) => assert_eq!(*number, told),
            None => {
                assert!(self.only_looks(id), "it has taken no number");
                assert!(!self.refused.contains(&id), "refused is refused");
                self.looked.insert(id);
            }
        }
    }

    pub(super) fn told_refused(&mut self, id: CommitId) {
        let committed = self.numbers.contains_key(&id) || self.looked.contains(&id);
        assert!(!committed, "what is refused is not committed");
        self.refused.insert(id);
    }

    /// Whether what a request follows may have committed.
    fn may_follow(&self, id: CommitId, follows: Option<CommitSequence>) -> bool {
        let before = follows.map(|sequence| CommitId { sequence, ..id });
        before.is_none_or(|before| {
            let looked = self.only_looks(before) && !self.refused.contains(&before);
            is_head(follows) || self.numbers.contains_key(&before) || looked
        })
    }

    /// Whether there is a request of this id that changes nothing.
    fn only_looks(&self, id: CommitId) -> bool {
        let requests = self.requests.get(&id);
        requests.is_some_and(|requests| requests.iter().any(|request| request.writes.is_empty()))
    }

    fn reads_hold(&self, id: CommitId, request: &Commit, commits: &[WriteSet]) -> bool {
        let mut reads = request.reads.iter();
        !reads.any(|read| self.is_overwritten(id, request, (read.page, read.lines), commits))
    }

    fn writes_hold(&self, id: CommitId, request: &Commit, commits: &[WriteSet]) -> bool {
        let mut sections = request.writes.sections();
        !sections.any(|section| {
            self.is_overwritten(id, request, (section.page(), section.lines()), commits)
        })
    }

    /// Whether these lines have changed since the snapshot, otherwise than by what the request follows.
    fn is_overwritten(
        &self,
        id: CommitId,
        request: &Commit,
        (page, lines): (PageNumber, LineMask),
        commits: &[WriteSet],
    ) -> bool {
        let seen = self.seen.get(&id.incarnation);
        let seen = seen.filter(|_| !is_head(request.follows));
        let mut later = (1..).zip(commits).filter(|(number, _)| {
            *number > request.snapshot.0 && seen.is_none_or(|seen| !seen.contains(number))
        });
        later.any(|(_, writes)| {
            let mut sections = writes.sections();
            sections.any(|section| section.page() == page && section.lines().0 & lines.0 != 0)
        })
    }
}

/// Whether nothing goes before it in its pipeline, if it is in one.
fn is_head(follows: Option<CommitSequence>) -> bool {
    follows.is_none_or(|before| before == CommitSequence(0))
}
