//! What can go wrong for a program, each with what to do about it.

use std::fmt;

use plurix_memory::AccessError;
pub use plurix_wire::message::SessionRefusal;
use plurix_wire::{CommitNumber, Generation};

use crate::net::handshake::ConnectError;
use crate::team::TeamError;

/// The result of what the library does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done. Small, so that the results of memory accesses stay in registers.
pub struct Error(Box<ErrorKind>);

/// The kinds of [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The transaction must run again; return this from the closure, the library does the rest.
    #[error("the transaction must run again; return this error from its closure")]
    Restart,
    /// The program gave the transaction up with [`Transaction::abort`](crate::Transaction::abort).
    #[error("the transaction was aborted: {0}")]
    Aborted(Box<dyn std::error::Error + Send + Sync>),
    /// The transaction has not happened: its station can do no more, for it has given up a commit of
    /// which nobody here knows whether it happened.
    #[error("the transaction was not run: its station can do no more; open another one")]
    NotRun,
    /// A pointer is null.
    #[error("null pointer")]
    Null,
    /// A pointer leads beyond the heap.
    #[error("{length} bytes at {offset:#x} leave the heap; the pointer is no pointer of this heap")]
    OutOfBounds {
        /// Where it points.
        offset: u64,
        /// What it points to, in bytes.
        length: u64,
    },
    /// A pointer does not fit its type's alignment.
    #[error("{offset:#x} is not aligned to {align}; the pointer is none of its type")]
    Misaligned {
        /// Where it points.
        offset: u64,
        /// What its type needs, in bytes.
        align: usize,
    },
    /// Two values to be changed together share bytes.
    #[error("the values at {first:#x} and {second:#x} overlap; change them one after the other")]
    Overlap {
        /// One value.
        first: u64,
        /// The other.
        second: u64,
    },
    /// A slice was written with one of another length.
    #[error("a slice of {expected} was set from one of {found}")]
    LengthDiffers {
        /// Length of the slice in the heap.
        expected: usize,
        /// Length of the slice given.
        found: usize,
    },
    /// A string does not fit where it is to be stored.
    #[error(
        "a string of {bytes} bytes does not fit {limit}; shorten it, or use a type with more room"
    )]
    StringTooLong {
        /// Its length, in bytes.
        bytes: usize,
        /// The most there can be, in bytes.
        limit: usize,
    },
    /// Too many keys of a map have the same hash.
    #[error("{keys} keys of a map have the same hash; change what the keys are made of")]
    KeysCollide {
        /// How many there are.
        keys: usize,
    },
    /// The heap has no room.
    #[error("no room in the heap for {bytes} bytes; free something, or make a larger heap")]
    OutOfMemory {
        /// What was asked for, in bytes.
        bytes: u64,
    },
    /// What was freed is not allocated.
    #[error("{offset:#x} is not the start of an allocated block of {bytes} bytes; freed twice?")]
    InvalidFree {
        /// Where the pointer leads.
        offset: u64,
        /// The size that its type gives, in bytes.
        bytes: u64,
    },
    /// The heap's own structures contradict themselves: a program has overwritten them.
    #[error("the heap's {what} is damaged; a program wrote through a pointer that was not its own")]
    Corrupt {
        /// Which structure.
        what: &'static str,
    },
    /// The heap is not one that this version can use.
    #[error(
        "the heap has format {found}, this program needs {expected}; use the release that made it"
    )]
    HeapFormat {
        /// The format found.
        found: u64,
        /// The format needed.
        expected: u64,
    },
    /// There is no root of this name.
    #[error("the heap has no root named '{0}'")]
    NoSuchRoot(String),
    /// A name is empty or too long.
    #[error("'{name}' is no name; names have 1 to {limit} bytes")]
    BadName {
        /// The name.
        name: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// What a root or activity holds is not what the program takes it for.
    #[error(
        "'{name}' has another layout in the heap than in this program; it was made by other code"
    )]
    LayoutDiffers {
        /// The root or activity.
        name: String,
    },
    /// An activity's function is not registered in this program.
    #[error("activity '{0}' is not registered in this program")]
    NotRegistered(String),
    /// An activity ended with an error.
    #[error("activity '{name}' failed: {why}")]
    ActivityFailed {
        /// The activity.
        name: String,
        /// What it answered.
        why: String,
    },
    /// A sink did not take an entry of an outbox.
    #[error("entry {number} of outbox '{outbox}' was not delivered: {source}")]
    NotDelivered {
        /// The outbox.
        outbox: String,
        /// The number of the entry, which is still there.
        number: u64,
        /// What the sink answered.
        source: std::io::Error,
    },
    /// A sink remembers entries that were never pushed.
    #[error(
        "the sink of outbox '{outbox}' has entry {newest}, and {pushed} were pushed; it belongs to \
         another heap, give this one a sink of its own"
    )]
    ForeignSink {
        /// The outbox.
        outbox: String,
        /// The newest entry that the sink has.
        newest: u64,
        /// How many entries the outbox had so far.
        pushed: u64,
    },
    /// There is no commit of this number.
    #[error("nothing was committed as {0}; was it told in another generation, or another heap?")]
    NoSuchCommit(CommitNumber),
    /// The transaction changed more than one commit can carry.
    #[error("the transaction changed {bytes} bytes, {limit} are the limit; split it")]
    TooLarge {
        /// What it changed, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The transaction's snapshot was forgotten before it could read all it needed.
    #[error(
        "the transaction ran so long that its snapshot was forgotten {tries} times; raise the page \
         server's --history-bytes or shorten the transaction"
    )]
    SnapshotTooOld {
        /// How often it was tried.
        tries: u32,
    },
    /// The transaction takes longer than others wait for it.
    #[error(
        "the transaction takes {milliseconds} ms, and others committed in between although it was its \
         turn, {tries} times; shorten it, or raise the page server's --token-max"
    )]
    TooLong {
        /// How long the last attempt took.
        milliseconds: u64,
        /// How often it had the token in vain.
        tries: u32,
    },
    /// A transaction waited for a change of what it had read, and none came in time.
    #[error("nothing that the transaction had read has changed within {seconds} s")]
    TimedOut {
        /// How long it waited.
        seconds: f64,
    },
    /// A transaction that has read nothing waits for a change.
    #[error(
        "the transaction has read nothing whose change could end its wait; read first, or wait with \
         a limit"
    )]
    NothingToWaitFor,
    /// The page server could not take a checkpoint; those before it, and the heap, are as they were.
    #[error("no checkpoint was taken: {0}")]
    NoCheckpoint(String),
    /// The page server's log has had no room for a while.
    #[error("the page server's log is full; make room on its disk and try again")]
    LogFull,
    /// The station was taken for dead while its commit was under way.
    #[error(
        "the station was dropped while it committed; the transaction may or may not have happened"
    )]
    OutcomeUnknown,
    /// The heap went back behind what this handle has seen.
    #[error("the heap was rolled back to {cut} (generation {generation}); open a new station")]
    RolledBack {
        /// The new generation.
        generation: Generation,
        /// Where it began.
        cut: CommitNumber,
    },
    /// The page server wants no session with this station.
    #[error("the page server refuses this station: {0}")]
    Refused(SessionRefusal),
    /// No page server can be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No page server could be reached for too long.
    #[error("the page server has been gone for {seconds} s: {last}")]
    Gone {
        /// How long.
        seconds: u64,
        /// The last attempt.
        last: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The station cannot reserve as much address space as the heap needs.
    #[error(
        "this process may reserve {available} bytes, the heap has {needed}; raise its limit on \
         address space, or make a smaller heap (page-server --heap-bytes)"
    )]
    Reservation {
        /// What the system allows, in bytes.
        available: u64,
        /// What the heap needs, in bytes.
        needed: u64,
    },
    /// A part of a region was asked for that is not in it.
    #[error("{start}..{end} leaves a region of {len} values")]
    OutOfRegion {
        /// The first value asked for.
        start: usize,
        /// The value behind the last one.
        end: usize,
        /// How many there are.
        len: usize,
    },
    /// Another worker of this station has a slice with some of the same bytes.
    #[error(transparent)]
    Lent(AccessError),
    /// A team cannot begin or go on.
    #[error(transparent)]
    Team(Box<TeamError>),
    /// The system refuses memory or threads.
    #[error("the system refuses: {0}")]
    System(Box<dyn std::error::Error + Send + Sync>),
    /// The program asked the station to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// The kind, owned.
    #[must_use]
    pub fn into_kind(self) -> ErrorKind {
        *self.0
    }
}

/// Whether an error says something of the station rather than of the work that met it.
pub(crate) fn is_of_station(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::OutcomeUnknown
            | ErrorKind::NotRun
            | ErrorKind::RolledBack { .. }
            | ErrorKind::Refused(_)
            | ErrorKind::Connect(_)
            | ErrorKind::Gone { .. }
            | ErrorKind::LogFull
            | ErrorKind::System(_)
            | ErrorKind::Interrupted
    )
}

impl From<ErrorKind> for Error {
    #[cold]
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<AccessError> for ErrorKind {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::OutOfBounds { offset, length } => Self::OutOfBounds { offset, length },
            AccessError::Misaligned { offset, align } => Self::Misaligned { offset, align },
            AccessError::Overlap { first, second } => Self::Overlap { first, second },
            lent @ AccessError::Lent { .. } => Self::Lent(lent),
            // Missing pages are fetched before an access error is answered.
            _ => Self::Restart,
        }
    }
}

impl From<TeamError> for Error {
    #[cold]
    fn from(error: TeamError) -> Self {
        ErrorKind::Team(Box::new(error)).into()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
