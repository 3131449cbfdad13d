//! Why the store could not do what it was asked, one type an operation; each error says what was
//! wrong, where, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use plurix_wire::CommitNumber;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another page server uses the directory.
    #[error(
        "{} is in use by {}; stop it, or choose another directory",
        directory.display(), holder(*pid)
    )]
    Locked {
        /// The store's directory.
        directory: PathBuf,
        /// The process that holds it, if it could be learnt.
        pid: Option<u32>,
    },
    /// The path is something else than a directory.
    #[error("{} is not a directory; name one, or a path where one can be made", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error(
        "{} is no store of a page server, for it holds {entry:?}; choose an empty directory",
        directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// An entry that no store has.
        entry: String,
    },
    /// There is a log, but the file that says whose it is is gone.
    #[error(
        "{} is missing although there is a log beside it; restore it, or choose an empty directory",
        file.display()
    )]
    IdentityMissing {
        /// The identity file.
        file: PathBuf,
    },
    /// The file that says whose the log is cannot be trusted.
    #[error("{} is damaged or foreign: {what}; restore it from a copy", file.display())]
    IdentityDamaged {
        /// The identity file.
        file: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A newer Plurix wrote the store.
    #[error(
        "{} has format version {found}, this program reads up to {known}; use a newer one",
        file.display()
    )]
    NewerVersion {
        /// The file.
        file: PathBuf,
        /// The version it states.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
    /// The store's heap has another size.
    #[error(
        "{} holds a heap of {existing} bytes, not of {asked}; ask for {existing}, or choose \
         another directory", directory.display()
    )]
    HeapBytes {
        /// The store's directory.
        directory: PathBuf,
        /// The size on disk.
        existing: u64,
        /// The size asked for.
        asked: u64,
    },
    /// The options contradict each other.
    #[error("segment_bytes is {segment_bytes}, but must be a multiple of 4096 in {least}..={most}")]
    SegmentBytes {
        /// What was asked for.
        segment_bytes: u64,
        /// The least that holds the largest commit.
        least: u64,
        /// The most a segment may have.
        most: u64,
    },
    /// The first segment does not fit.
    #[error("{} has no room for a log segment of {bytes} bytes; free some, or choose another directory", directory.display())]
    NoSpace {
        /// The store's directory.
        directory: PathBuf,
        /// Bytes wanted.
        bytes: u64,
        /// What the file system said.
        source: io::Error,
    },
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or("another process".into(), |pid| format!("process {pid}"))
}

/// Why the log could not be replayed. Whatever was handed out before must be thrown away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Bytes that were promised are not there, or not those that were written.
    #[error(
        "the log is damaged in {} at byte {at}, after commit {before}: {what}; nothing was loaded; \
         restore the file from a copy", file.display()
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Offset in it, in bytes.
        at: u64,
        /// The last whole commit before it.
        before: CommitNumber,
        /// What is wrong.
        what: String,
    },
    /// A segment is not there.
    #[error("the log lacks {}, after commit {before}; nothing was loaded; restore the file", file.display())]
    Missing {
        /// The segment.
        file: PathBuf,
        /// The last commit before it, zero if it is not known.
        before: CommitNumber,
    },
    /// A segment has a length that it was not given.
    #[error(
        "{} has {found} bytes instead of {expected}; nothing was loaded; restore the file from a copy",
        file.display()
    )]
    Length {
        /// The segment.
        file: PathBuf,
        /// Its length as written in it, or the least or most possible one, in bytes.
        expected: u64,
        /// Its length, in bytes.
        found: u64,
    },
    /// A newer Plurix wrote the segment.
    #[error(
        "{} has format version {found}, this program reads up to {known}; use a newer one",
        file.display()
    )]
    NewerVersion {
        /// The segment.
        file: PathBuf,
        /// The version it states.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
    /// The segment belongs elsewhere.
    #[error(
        "{} is not the segment that its name says: {what}; nothing was loaded; put the right one \
         there", file.display()
    )]
    Foreign {
        /// The segment.
        file: PathBuf,
        /// How one can tell.
        what: String,
    },
    /// The caller could not apply a whole record.
    #[error("the record in {} at byte {at} cannot be applied: {source}", file.display())]
    Refused {
        /// The segment.
        file: PathBuf,
        /// Offset of the record in it, in bytes.
        at: u64,
        /// What the caller said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// Why nothing was appended, or nothing more was brought on disk.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A write failed once in space that was reserved; commits since the last sync are unknown.
    #[error("the log takes no more records since {0}; restart the page server")]
    Failed(Failure),
    /// The reserve for control records is used up.
    #[error("no room for a record of {bytes} bytes, {room} are left; free some disk space")]
    NoRoom {
        /// Bytes wanted.
        bytes: u64,
        /// Bytes there are.
        room: u64,
    },
    /// The identity file could not be replaced; the old one is still in force.
    #[error("the new term could not be recorded, for {0}; free some disk space or repair the disk")]
    Identity(Failure),
}

/// An operation on a file that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What was tried.
    pub doing: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the file system said.
    pub cause: Arc<io::Error>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, path, cause } = self;
        write!(f, "{doing} {} failed: {cause}", path.display())
    }
}
