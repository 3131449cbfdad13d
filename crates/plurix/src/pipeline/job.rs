//! One submission: the closure, and what becomes of it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::station::Station;
use crate::transaction::Transaction;

/// An error that nobody asked for. The first one counts, but what a closure answered itself yields to
/// what the program cannot know otherwise.
pub(super) type Unheard = Arc<Mutex<Option<Error>>>;

pub(super) fn take_unheard(unheard: &Unheard) -> Option<Error> {
    unheard
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

pub(super) fn keep_unheard(unheard: &Unheard, error: Error) {
    let mut unheard = unheard.lock().unwrap_or_else(PoisonError::into_inner);
    let is_own = |error: &Error| matches!(error.kind(), ErrorKind::Aborted(_));
    if unheard
        .as_ref()
        .is_none_or(|known| is_own(known) && !is_own(&error))
    {
        *unheard = Some(error);
    }
}

/// What a pipeline does with a submission, whatever its closure answers.
pub(super) trait Job: Send + Sync {
    /// Runs the closure and keeps what it answers.
    ///
    /// # Errors
    /// Something, if the closure answers an error, which is kept unless the closure is to run again.
    fn run(&self, tx: &mut Transaction<'_>) -> Result<()>;

    /// It has come to its end. An error counts instead of what the closure answered, unless that was
    /// an error, too.
    fn settle(&self, error: Option<Error>);

    /// The error that it was settled with, if it was.
    fn take_error(&self) -> Option<Error>;
}

impl fmt::Debug for dyn Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

/// A closure and its answer.
pub(super) struct Submission<R, F>(Mutex<Inner<R, F>>);

struct Inner<R, F> {
    body: F,
    /// What the closure answered the last time.
    answer: Option<Result<R>>,
    is_settled: bool,
}

impl<R, F> Submission<R, F> {
    pub(super) fn new(body: F) -> Self {
        Self(Mutex::new(Inner {
            body,
            answer: None,
            is_settled: false,
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner<R, F>> {
        // A closure that panicked is not run again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R, F> Job for Submission<R, F>
where
    R: Send,
    F: FnMut(&mut Transaction<'_>) -> Result<R> + Send,
{
    fn run(&self, tx: &mut Transaction<'_>) -> Result<()> {
        let inner = &mut *self.inner();
        inner.answer = None;
        match (inner.body)(tx) {
            Ok(value) => {
                inner.answer = Some(Ok(value));
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::Restart) => Err(error),
            Err(error) => {
                inner.answer = Some(Err(error));
                Err(ErrorKind::Aborted("the submission keeps the reason".into()).into())
            }
        }
    }

    fn settle(&self, error: Option<Error>) {
        let mut inner = self.inner();
        inner.is_settled = true;
        if let (Some(error), None | Some(Ok(_))) = (error, &inner.answer) {
            inner.answer = Some(Err(error));
        }
    }

    fn take_error(&self) -> Option<Error> {
        let mut inner = self.inner();
        if inner.is_settled && matches!(inner.answer, Some(Err(_))) {
            return inner.answer.take().and_then(Result::err);
        }
        None
    }
}

/// What a handle asks of a submission.
trait Answer<R>: Send + Sync {
    fn is_settled(&self) -> bool;
    fn take(&self) -> Option<Result<R>>;
}

impl<R: Send, F: Send> Answer<R> for Submission<R, F> {
    fn is_settled(&self) -> bool {
        self.inner().is_settled
    }

    fn take(&self) -> Option<Result<R>> {
        let mut inner = self.inner();
        if inner.is_settled {
            inner.answer.take()
        } else {
            None
        }
    }
}

/// The handle of a transaction that was [submitted](Station::submit).
#[must_use = "what becomes of the transaction is known once its handle was waited for, or the station flushed"]
pub struct Commit<R> {
    submission: Arc<dyn Answer<R>>,
    unheard: Unheard,
}

impl<R: Send + 'static> Commit<R> {
    pub(super) fn new<F: Send + 'static>(
        submission: Arc<Submission<R, F>>,
        unheard: Unheard,
    ) -> Self {
        Self {
            submission,
            unheard,
        }
    }

    /// Whether it has come to its end, as far as the station has heard.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.submission.is_settled()
    }

    /// Waits until the transaction is in the heap, and with it all that were submitted before it;
    /// answers what its closure answered. `station` is the one that it was submitted to.
    ///
    /// # Errors
    /// What the closure answered, in which case the transaction has not happened; the errors of
    /// [`Station::transaction`]; [`ErrorKind::NotRun`] if it has not happened because the station
    /// came to its end, or is not that of this handle.
    pub fn wait(self, station: &mut Station) -> Result<R> {
        while !self.submission.is_settled() && station.submitted() > 0 {
            station.progress();
        }
        self.submission
            .take()
            .unwrap_or_else(|| Err(ErrorKind::NotRun.into()))
    }
}

impl<R> Drop for Commit<R> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.submission.take() {
            keep_unheard(&self.unheard, error);
        }
    }
}

impl<R> fmt::Debug for Commit<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_settled = self.submission.is_settled();
        f.debug_struct("Commit")
            .field("is_settled", &is_settled)
            .finish()
    }
}
