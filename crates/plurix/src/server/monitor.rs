//! How other threads of the page server's process ask how it stands. The loop answers between two
//! turns; nothing is collected while nobody asks.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use plurix_wire::message::Status;
use rustix::fd::OwnedFd;

use super::wake;

/// Asks a running [`PageServer`](crate::PageServer) of this process how it stands.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wake: Arc<OwnedFd>,
    answers: Mutex<Answers>,
    answered: Condvar,
}

/// The newest answer, and how many there were.
#[derive(Debug, Default)]
struct Answers {
    count: u64,
    newest: Option<Arc<Status>>,
}

impl Monitor {
    /// `wake` wakes the server's loop.
    pub(super) fn new(wake: Arc<OwnedFd>) -> Self {
        Self(Arc::new(Shared {
            wake,
            answers: Mutex::default(),
            answered: Condvar::new(),
        }))
    }

    /// How the page server stands now; `None` if it does not answer within `patience`, because it does
    /// not run, not yet or not any more, or waits for its disk.
    #[must_use]
    pub fn status(&self, patience: Duration) -> Option<Arc<Status>> {
        let shared = &self.0;
        let answers = shared.answers.lock();
        let answers = answers.unwrap_or_else(PoisonError::into_inner);
        let before = answers.count;
        wake(&shared.wake);
        let is_old = |answers: &mut Answers| answers.count == before;
        let waited = shared
            .answered
            .wait_timeout_while(answers, patience, is_old);
        let (answers, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (answers.count > before).then(|| answers.newest.clone())?
    }

    /// Tells all who ask.
    pub(super) fn answer(&self, status: Status) {
        let answers = self.0.answers.lock();
        let mut answers = answers.unwrap_or_else(PoisonError::into_inner);
        answers.count += 1;
        answers.newest = Some(Arc::new(status));
        self.0.answered.notify_all();
    }
}
