//! Syncs in the background, on a thread of their own: behind the creation of a segment, which takes
//! a tenth of a second, whoever waits for a commit to be on disk would wait for that, too.
//!
//! Jobs are done in order. So when a sync has ended, every segment that was retired before it is on
//! disk, or its failure is known.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{SegmentFile as _, copied};
use crate::real::MappedSegment;
use crate::worker::Worker;

/// What the thread is asked to do.
enum Job {
    Retire(MappedSegment),
    Sync {
        earlier: Vec<PathBuf>,
        /// The same open file that the log writes to: the kernel reports a failed write-back once
        /// to each.
        file: Arc<File>,
    },
}

enum Outcome {
    Retired(io::Result<()>),
    Synced(io::Result<()>),
}

/// The thread, and what it said that nobody has asked for.
pub(crate) struct Syncer {
    worker: Worker<Job, Outcome>,
    /// Jobs whose outcome was not received.
    running: usize,
    /// The first failure to bring a retired segment on disk.
    failed: Option<io::Error>,
    synced: Option<io::Result<()>>,
}

impl Syncer {
    /// Starts the thread, which calls `done` after each job.
    pub(crate) fn start(done: impl Fn() + Send + 'static) -> io::Result<Self> {
        Ok(Self {
            worker: Worker::start("plurix-syncs", work, done)?,
            running: 0,
            failed: None,
            synced: None,
        })
    }

    pub(crate) fn retire(&mut self, file: MappedSegment) {
        self.running += 1;
        self.worker.send(Job::Retire(file));
    }

    pub(crate) fn start_sync(&mut self, file: Arc<File>, earlier: Vec<PathBuf>) {
        self.running += 1;
        self.worker.send(Job::Sync { earlier, file });
    }

    /// How a sync ended, once.
    pub(crate) fn poll(&mut self) -> Option<io::Result<()>> {
        while self.running > 0 && self.synced.is_none() {
            match self.worker.poll()? {
                Ok(outcome) => self.take(outcome),
                Err(gone) => return Some(Err(gone)),
            }
        }
        self.synced.take()
    }

    /// Waits for all jobs.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        while self.running > 0 {
            let outcome = self.worker.wait()?;
            self.take(outcome);
        }
        match (self.failed.take(), &self.synced) {
            (Some(error), _) => Err(error),
            (None, Some(outcome)) => copied(outcome),
            (None, None) => Ok(()),
        }
    }

    fn take(&mut self, outcome: Outcome) {
        self.running -= 1;
        match outcome {
            Outcome::Retired(Ok(())) => {}
            Outcome::Retired(Err(error)) => {
                self.failed.get_or_insert(error);
            }
            Outcome::Synced(outcome) => {
                self.synced = Some(self.failed.take().map_or(outcome, Err));
            }
        }
    }
}

fn work(job: Job) -> Outcome {
    match job {
        Job::Retire(mut file) => Outcome::Retired(file.sync()),
        Job::Sync { earlier, file } => {
            let mut earlier = earlier.iter();
            let synced = earlier
                .try_for_each(|path| OpenOptions::new().write(true).open(path)?.sync_data())
                .and_then(|()| file.sync_data());
            Outcome::Synced(synced)
        }
    }
}
