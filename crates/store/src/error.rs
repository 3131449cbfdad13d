//! Why the store could not do what it was asked, one type an operation; each error says what was
//! wrong, where, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plurix_wire::{CheckpointId, CommitNumber};

use crate::disk::Files;
use crate::image;

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
    /// The file that names the checkpoints cannot be trusted.
    #[error("{what}; restore it from a copy")]
    ManifestDamaged {
        /// Which one, and what is wrong.
        what: String,
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
    /// No checkpoint can be used, and the log does not reach back to the empty heap.
    #[error("no checkpoint can be used: {why}; nothing was loaded; restore the files from a copy")]
    NoCheckpoint {
        /// What is wrong with each, the newest first.
        why: String,
    },
    /// The heap went back to a checkpoint that cannot be used any more; what is older leads elsewhere.
    #[error(
        "the checkpoint that the heap went back to cannot be used: {why}; nothing was loaded; restore \
         the file from a copy, or go back to another checkpoint"
    )]
    CutOff {
        /// What is wrong with it, and with newer ones, the newest first.
        why: String,
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
    /// A newer Plurix wrote the segment, or an image of the checkpoint.
    #[error(
        "{} has format version {found}, this program reads up to {known}; use a newer one",
        file.display()
    )]
    NewerVersion {
        /// The segment or image.
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

impl ReplayError {
    /// `doing` something with the file at `path` failed.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
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

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file is not there.
    #[error("{} is missing; restore it from a copy", file.display())]
    Missing {
        /// The image or manifest.
        file: PathBuf,
    },
    /// Its bytes are not those that were written.
    #[error("{} is damaged at byte {at}: {what}; restore it from a copy", file.display())]
    Damaged {
        /// The image or manifest.
        file: PathBuf,
        /// Offset in it, in bytes.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// A newer Plurix wrote it.
    #[error(
        "{} has format version {found}, this program reads up to {known}; use a newer one",
        file.display()
    )]
    NewerVersion {
        /// The image or manifest.
        file: PathBuf,
        /// The version it states.
        found: u32,
        /// The newest that is understood.
        known: u32,
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

/// A page that an image no longer holds as it was written.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct UnreadablePage {
    /// The image.
    pub image: CheckpointId,
    /// What is wrong with it.
    pub source: ImageError,
}

/// Why a checkpoint could not be taken. The ones before it, and the log, are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The disk is full.
    #[error("no room for {}; free some disk space", path.display())]
    NoSpace {
        /// The image or manifest.
        path: PathBuf,
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
    /// A page of an earlier image that is needed is damaged.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The log cannot be folded, for it does not say what was written.
    #[error("the log is damaged in {} at byte {at}: {what}; restart the page server", file.display())]
    Fold {
        /// The segment.
        file: PathBuf,
        /// Offset in it, in bytes.
        at: u64,
        /// What is wrong.
        what: String,
    },
}

/// There is no such checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSuchCheckpoint {
    /// There is none at all.
    #[error("there is no checkpoint yet; 'plurix checkpoint now' has a page server take one")]
    None,
    /// There is none of this number.
    #[error("there is no checkpoint {}; there are {}", id.0, ids(known))]
    Unknown {
        /// The number.
        id: CheckpointId,
        /// Those that there are, ascending.
        known: Vec<CheckpointId>,
    },
}

/// Numbers as people write them.
fn ids(ids: &[CheckpointId]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| id.0.to_string()).collect();
    ids.join(", ")
}

/// Why the heap did not go back to a checkpoint; it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is no such checkpoint.
    #[error(transparent)]
    NoSuch(#[from] NoSuchCheckpoint),
    /// It is not what was written.
    #[error("checkpoint {} cannot be used: {source}; choose another one", id.0)]
    Unusable {
        /// The checkpoint.
        id: CheckpointId,
        /// What is wrong.
        source: ImageError,
    },
    /// What it takes could not be written.
    #[error(transparent)]
    Write(#[from] CheckpointError),
    /// The generation that follows could not be recorded.
    #[error(
        "the new generation could not be recorded, for {0}; free some disk space or repair the disk"
    )]
    Identity(Failure),
}

/// Why the checkpoints of a store could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// There is no store.
    #[error("{} is no store of a page server; name the directory of one", directory.display())]
    NoStore {
        /// The directory.
        directory: PathBuf,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no such checkpoint.
    #[error(transparent)]
    NoSuch(#[from] NoSuchCheckpoint),
    /// The page server has removed it meanwhile, since there were newer ones.
    #[error(
        "checkpoint {} was removed by the page server meanwhile; take a newer one, or raise its --keep",
        id.0
    )]
    Removed {
        /// The checkpoint.
        id: CheckpointId,
    },
    /// It is not what was written.
    #[error("checkpoint {} cannot be used: {source}", id.0)]
    Unusable {
        /// The checkpoint.
        id: CheckpointId,
        /// What is wrong.
        source: ImageError,
    },
    /// What was to be written could not be.
    #[error(transparent)]
    Write(#[from] CheckpointError),
    /// There is a file of this name.
    #[error("{} exists; choose another name, or say --force to replace it", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// The name is none for a file.
    #[error("{} is no name of a file that can be written here", file.display())]
    BadName {
        /// The name.
        file: PathBuf,
    },
}

/// Why a file was not imported. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is not what was exported.
    #[error(transparent)]
    File(#[from] ImageError),
    /// The directory holds something.
    #[error("{} holds {entry:?} already; choose an empty directory, or one that can be made", directory.display())]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
        /// What is there.
        entry: String,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What it takes could not be written.
    #[error(transparent)]
    Write(#[from] CheckpointError),
    /// The system does not say what it must.
    #[error("the system refuses: {source}")]
    System {
        /// What it said.
        source: io::Error,
    },
}

impl CheckpointError {
    /// Image `id` could not be written.
    pub(crate) fn writing(files: &dyn Files, id: CheckpointId, source: io::Error) -> Self {
        Self::io(
            "write",
            files.reader().path(&image::format::name(id)),
            source,
        )
    }

    /// `doing` something with the file at `path` failed.
    pub(crate) fn io(doing: &'static str, path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }
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
