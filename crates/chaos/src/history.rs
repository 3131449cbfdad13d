//! What a worker did, one line of JSON for each step, appended to a file by a system call of its
//! own: what was written is there although the worker is killed the moment after. An attempt is
//! written down before it asks to commit, so that one whose answer never came is known, and can be
//! looked up in the page server's log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds of the clock that all processes of a machine share, and nobody can set.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// One step of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A closure ran; if it got to its end, it may ask to commit from now on.
    Attempt(Attempt),
    /// The call that ran the closure answered.
    Done {
        /// The attempt that succeeded.
        attempt: u64,
        /// When.
        at: u64,
        /// The commit's number, if it changed anything.
        number: Option<u64>,
    },
    /// The call answered that nobody knows what became of this attempt.
    Unknown {
        /// The last attempt.
        attempt: u64,
    },
    /// What a transaction left to be done once it has happened is done.
    Effect {
        /// The attempt that wished it.
        attempt: u64,
    },
    /// The worker itself saw something that cannot be.
    Broken {
        /// What.
        what: String,
    },
}

/// One run of a transaction's closure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts the attempts of one life of a worker.
    pub number: u64,
    /// Counts its transactions; attempts of one transaction follow each other.
    pub transaction: u64,
    /// What it was for.
    pub purpose: Purpose,
    /// When the caller asked for the newest snapshot before it, if so.
    pub asked: Option<u64>,
    /// When its closure ended, and with that, before it asked to commit.
    pub at: u64,
    /// Whether its closure got to its end.
    pub whole: bool,
    /// The life of the station.
    pub incarnation: u64,
    /// The request it makes, if it changes something.
    pub sequence: u64,
    /// The commit at which it saw the heap.
    pub snapshot: u64,
    /// Its accesses to the heap's words, in order.
    pub steps: Vec<Step>,
}

impl Attempt {
    /// Whether it would change the heap.
    #[must_use]
    pub fn writes(&self) -> bool {
        let mut steps = self.steps.iter();
        !self.purpose.is_seen_whole() || steps.any(|step| matches!(step, Step::Write(..)))
    }
}

/// An access to the word at an offset of the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// This value was read.
    #[serde(rename = "r")]
    Read(u64, u64),
    /// This value was written.
    #[serde(rename = "w")]
    Write(u64, u64),
}

/// What a transaction was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Money moves between accounts.
    Transfer,
    /// All accounts are read.
    Audit,
    /// Counters go up by one.
    Count,
    /// A unique value is written without looking.
    Mark,
    /// Some words are read.
    Look,
    /// A block is allocated or freed.
    Churn,
    /// An activity is spawned.
    Spawn,
    /// An activity is completed.
    Task(u64),
}

impl Purpose {
    /// Whether its steps are all that it does to the heap; else the library changes structures of
    /// its own in the same transaction.
    #[must_use]
    pub fn is_seen_whole(self) -> bool {
        !matches!(self, Self::Churn | Self::Spawn | Self::Task(_))
    }
}

/// Where a worker writes its history.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: File,
    attempts: u64,
    transactions: u64,
    /// The last attempt whose effect was done.
    happened: u64,
}

impl Journal {
    /// A history that begins in a new file at `path`.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        Ok(Self(Arc::new(Mutex::new(Inner {
            file,
            attempts: 0,
            transactions: 0,
            happened: 0,
        }))))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a new transaction.
    pub(crate) fn begin_transaction(&self) -> u64 {
        let mut inner = self.inner();
        inner.transactions += 1;
        inner.transactions
    }

    /// The number of a new attempt.
    pub(crate) fn begin_attempt(&self) -> u64 {
        let mut inner = self.inner();
        inner.attempts += 1;
        inner.attempts
    }

    /// The attempt that began last.
    pub(crate) fn last_attempt(&self) -> u64 {
        self.inner().attempts
    }

    /// The effect of this attempt is being done.
    pub(crate) fn happened(&self, attempt: u64) {
        self.inner().happened = attempt;
    }

    /// The last attempt whose effect was done.
    pub(crate) fn last_happened(&self) -> u64 {
        self.inner().happened
    }

    /// Appends a line.
    ///
    /// # Panics
    /// If it cannot be written: a worker without a history proves nothing.
    pub(crate) fn write(&self, entry: &Entry) {
        let mut line = serde_json::to_vec(entry).expect("entries are plain data");
        line.push(b'\n');
        let mut inner = self.inner();
        inner.file.write_all(&line).expect("the history is written");
    }
}

/// A history file, read as it grows.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    read: usize,
}

impl Reader {
    /// Reads from the beginning of the file at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that have been added. A last line without an end was being written when its worker
    /// was killed, and never came to anything: what it announced was not yet asked for.
    ///
    /// # Errors
    /// If the file cannot be read, or a whole line makes no sense.
    pub fn news(&mut self) -> anyhow::Result<Vec<Entry>> {
        let what = || self.path.display().to_string();
        let bytes = std::fs::read(&self.path).with_context(what)?;
        let fresh = &bytes[self.read..];
        let end = fresh.iter().rposition(|byte| *byte == b'\n');
        let fresh = &fresh[..end.map_or(0, |end| end + 1)];
        self.read += fresh.len();
        let lines = fresh.split_inclusive(|byte| *byte == b'\n');
        lines
            .map(|line| serde_json::from_slice(line).with_context(what))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_once_and_a_torn_line_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let journal = Journal::create(&path).unwrap();
        let entry = || Entry::Effect { attempt: 7 };
        let mut reader = Reader::new(path.clone());
        journal.write(&entry());
        assert_eq!(reader.news().unwrap(), [entry()]);
        assert_eq!(reader.news().unwrap(), []);
        journal.write(&entry());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"eff").unwrap();
        assert_eq!(reader.news().unwrap(), [entry()]);
        assert_eq!(reader.news().unwrap(), []);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(Reader::new(path).news().is_err());
    }
}
