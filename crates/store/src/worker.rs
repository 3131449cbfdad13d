//! A thread that does one thing after another, so that the disk stops nobody who has better to do.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

/// A thread that turns jobs into outcomes, in order.
pub(crate) struct Worker<J, O> {
    /// Taken to tell the thread to end.
    jobs: Option<Sender<J>>,
    outcomes: Receiver<O>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static, O: Send + 'static> Worker<J, O> {
    /// Starts the thread; `work` does one job, and `done` is called after its outcome was sent.
    #[expect(
        clippy::disallowed_methods,
        reason = "it only spares the driver's threads the disk"
    )]
    pub(crate) fn start(
        name: &str,
        mut work: impl FnMut(J) -> O + Send + 'static,
        done: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, todo) = channel();
        let (send, outcomes) = channel();
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            for job in todo {
                // A store that is being dropped waits for no outcome.
                let _ = send.send(work(job));
                done();
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            outcomes,
            thread: Some(thread),
        })
    }

    /// Queues a job. A thread that is gone is noticed where an outcome is asked for.
    pub(crate) fn send(&self, job: J) {
        let _ = self.jobs.as_ref().expect("there until dropped").send(job);
    }

    /// The next outcome, if it is there.
    pub(crate) fn poll(&self) -> Option<io::Result<O>> {
        match self.outcomes.try_recv() {
            Ok(outcome) => Some(Ok(outcome)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(gone())),
        }
    }

    /// Waits for the next outcome.
    pub(crate) fn wait(&self) -> io::Result<O> {
        self.outcomes.recv().map_err(|_| gone())
    }
}

impl<J, O> Drop for Worker<J, O> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened, and a drop must not add another.
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("a thread that works for the log has ended")
}
