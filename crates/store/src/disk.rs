//! What the store asks of a disk, so that the same logic runs on a real directory and on a
//! simulated one that crashes.
//!
//! Names are relative to the store's directory and use `/`. Every operation but the stores to a
//! [`SegmentFile`] is atomic and on disk when it returns: the store's rules for crashes rest on it.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The files of one store.
pub trait Disk {
    /// A segment of the log, open for appending.
    type File: SegmentFile;

    /// How `name` is called in messages; the directory itself for the empty name.
    fn path(&self, name: &str) -> PathBuf;

    /// Makes the directory if there is none and locks it until the disk is dropped.
    ///
    /// # Errors
    /// [`LockError::Held`] if somebody else has it.
    fn lock(&mut self) -> Result<(), LockError>;

    /// Names of the entries of `directory`, in any order; none if there is no such directory.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn length(&self, name: &str) -> io::Result<u64>;

    /// Replaces `into` by the file's bytes; zeros stand for those of `skip`, which are not read, and
    /// zeros at the end may be left out.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn read(&self, name: &str, skip: Range<u64>, into: &mut Vec<u8>) -> io::Result<()>;

    /// Replaces a small file, or creates it: after a crash it is the old one or the new one.
    ///
    /// # Errors
    /// Whatever the file system reports; which of the two is there is then unknown.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Opens an existing segment of `bytes` bytes for appending at `at` and makes sure that all its
    /// blocks are allocated. `cold` says that no process wrote it since the kernel started.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn open(&mut self, name: &str, bytes: u64, at: u64, cold: bool) -> io::Result<Self::File>;

    /// Brings a file on disk that an earlier process may have left in the kernel's cache.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Creates a segment, and answers when it is ready.
    ///
    /// # Errors
    /// Whatever the file system reports; nothing is left under the segment's name.
    fn create(&mut self, segment: NewSegment) -> io::Result<Self::File>;

    /// Begins to create a segment and returns at once. One at a time.
    fn start_create(&mut self, segment: NewSegment);

    /// The outcome of the last [`start_create`](Self::start_create), once.
    fn poll_create(&mut self) -> Option<io::Result<Self::File>>;

    /// Takes a segment that is appended to no more, syncs it in the background and closes it.
    fn retire(&mut self, file: Self::File);

    /// Begins to bring on disk what is stored in `file` so far, in every retired segment, and in
    /// the files `earlier`, which an earlier process may have left in the kernel's cache; returns
    /// at once. One at a time.
    fn start_sync(&mut self, file: &Self::File, earlier: Vec<String>);

    /// The outcome of the last [`start_sync`](Self::start_sync), once. A retired segment that
    /// could not be synced since is a failure, too.
    fn poll_sync(&mut self) -> Option<io::Result<()>>;

    /// Waits until every retired segment is on disk and no sync is under way. The outcome of one
    /// that was can still be asked for.
    ///
    /// # Errors
    /// The first failure of either since the last call.
    fn finish_syncs(&mut self) -> io::Result<()>;

    /// Reads files at any place, also while the disk does something else.
    fn reader(&self) -> Arc<dyn Reader>;

    /// Has `job` done in the background, after those that were started before it.
    fn start(&mut self, job: Job);

    /// Lets the background work go on, where it does not do so by itself.
    fn advance(&mut self);

    /// Waits until all background work is done.
    fn drain(&mut self);

    /// The time since 1970, for people to read.
    fn now(&self) -> Duration;
}

/// Work on files that nobody waits for. What comes of it, it stores where its creator finds it.
pub type Job = Box<dyn FnOnce(&mut dyn Files) + Send>;

/// Reads a store's files.
pub trait Reader: Send + Sync {
    /// How `name` is called in messages.
    fn path(&self, name: &str) -> PathBuf;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn length(&self, name: &str) -> io::Result<u64>;

    /// Fills `into` with the bytes at `at` of a file that does not change any more.
    ///
    /// # Errors
    /// Whatever the file system reports; [`io::ErrorKind::UnexpectedEof`] if there are fewer bytes.
    fn read_at(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<()>;
}

/// The files as a [`Job`] sees them. Every operation but [`append`](Self::append) is atomic and on
/// disk when it returns.
pub trait Files {
    /// As [`Disk::now`].
    fn now(&self) -> Duration;

    /// Reads files.
    fn reader(&self) -> Arc<dyn Reader>;

    /// Begins a file that will be called `name`; one that was begun before is given up.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Appends to the file begun. What was appended may reach the disk at any time until
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    /// Whatever the file system reports; the file can then only be given up.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Brings the file begun on disk and gives it its name.
    ///
    /// # Errors
    /// Whatever the file system reports; the file then has no name.
    fn finish(&mut self) -> io::Result<()>;

    /// Removes the file begun, if there is one.
    fn give_up(&mut self);

    /// Names of the entries of `directory`, in any order; none if there is no such directory.
    ///
    /// # Errors
    /// Whatever the file system reports.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// As [`Disk::replace`].
    ///
    /// # Errors
    /// As there.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// As [`Disk::remove`].
    ///
    /// # Errors
    /// As there.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// One segment, written by stores that cannot fail: its blocks are allocated.
pub trait SegmentFile {
    /// Stores `bytes` at `at`; they survive the death of the process from then on.
    fn write(&mut self, at: u64, bytes: &[u8]);

    /// Stores `word`, little-endian, in one piece, after everything written before it.
    fn publish(&mut self, at: u64, word: u64);

    /// Returns when everything stored is on disk.
    ///
    /// # Errors
    /// Whatever the file system reports; the bytes stored since the last success may be lost.
    fn sync(&mut self) -> io::Result<()>;
}

/// A segment to be created.
#[derive(Debug, Clone)]
pub struct NewSegment {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The bytes it begins with; the others are zero.
    pub header: Vec<u8>,
    /// Whether every block is written once, so that a later sync has no metadata to change.
    pub written: bool,
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else has it.
    #[error("already locked")]
    Held {
        /// The process that says it has it.
        pid: Option<u32>,
    },
    /// The lock could not be tried.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An outcome to be told twice.
pub(crate) fn copied(outcome: &io::Result<()>) -> io::Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
