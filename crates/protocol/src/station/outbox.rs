//! What a station has to say. Messages are lent to whoever encodes them, not given away: a commit
//! is needed until it is answered, to be sent again after a resume and to be put beneath the changes
//! of others, and a copy of it would cost several allocations each time.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use plurix_wire::message::{Commit, Request, ToLeader};
use plurix_wire::{CommitSequence, Generation, Incarnation};

/// Messages in the order in which they are to be sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Entry>,
    /// The message that is lent now.
    lent: Option<ToLeader>,
}

#[derive(Debug, Clone, Hash)]
enum Entry {
    Message(ToLeader),
    /// A commit under way, whose message is kept until it is answered.
    Commit(CommitSequence),
}

impl Outbox {
    pub(super) fn push(&mut self, message: ToLeader) {
        self.queue.push_back(Entry::Message(message));
    }

    pub(super) fn push_commit(&mut self, sequence: CommitSequence) {
        self.queue.push_back(Entry::Commit(sequence));
    }

    /// Forgets what was not sent.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// The next message; `submitted` are the commits under way. One that was given up before it was
    /// sent is passed over.
    pub(super) fn pop<'a>(
        &'a mut self,
        submitted: impl Fn(CommitSequence) -> Option<&'a Submitted>,
    ) -> Option<&'a ToLeader> {
        loop {
            match self.queue.pop_front()? {
                Entry::Message(message) => return Some(self.lent.insert(message)),
                Entry::Commit(sequence) => {
                    if let Some(submitted) = submitted(sequence) {
                        return Some(&submitted.message);
                    }
                }
            }
        }
    }
}

/// What is yet to be sent.
impl Hash for Outbox {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { queue, lent: _ } = self;
        queue.hash(state);
    }
}

/// A commit with the message that asks for it.
#[derive(Debug, Clone, Hash)]
pub(super) struct Submitted {
    message: ToLeader,
}

impl Submitted {
    pub(super) fn new(incarnation: Incarnation, generation: Generation, commit: Commit) -> Self {
        let message = ToLeader::Request {
            incarnation,
            generation,
            request: Request::Commit(commit),
        };
        Self { message }
    }

    pub(super) fn commit(&self) -> &Commit {
        match &self.message {
            ToLeader::Request {
                request: Request::Commit(commit),
                ..
            } => commit,
            _ => unreachable!("made of a commit"),
        }
    }

    /// The session goes on in this generation.
    pub(super) fn set_generation(&mut self, now: Generation) {
        if let ToLeader::Request { generation, .. } = &mut self.message {
            *generation = now;
        }
    }
}
