//! What members say to each other and what the page server writes to disk: identifiers,
//! messages, log records, and the codec that turns them into bytes and back.
//!
//! Everything decoded here may come from a stranger or from a damaged file. Decoders therefore
//! check every length and every number, allocate no more than the bytes they were given justify,
//! and answer a typed [`Error`]; nothing in this crate panics on input. The crate knows no time,
//! socket, file, thread or randomness (`cargo xtask tidy` checks this).
//!
//! - [`ids`]: newtypes for each id, epoch and number, and the geometry of the heap.
//! - [`write_set`]: the bytes that one commit changes; the same bytes travel from the writer to
//!   the leader, into the log, and on to the holders.
//! - [`diff`]: the bytes that one station changed in pages of a weak region.
//! - [`message`]: what stations and the leader say.
//! - [`record`]: what the commit log holds.
//! - [`redo`]: what it writes to pages that are not in memory.
//! - [`handshake`]: the first words on a connection.
//! - [`frame`]: how a message becomes bytes on a stream.
//! - [`canary`]: bugs planted on purpose, in builds that ask for them.

pub mod canary;
pub mod diff;
pub mod frame;
pub mod handshake;
pub mod ids;
pub mod latencies;
pub mod message;
pub mod record;
pub mod redo;
pub mod write_set;

pub use diff::{Diffs, DiffsBuilder, LineDiff, PageDiff, PageDiffs};
pub use ids::*;
pub use write_set::{Run, Section, Sections, WriteSet, WriteSetBuilder};

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A write set breaks its format.
    #[error("malformed write set at byte {at}: {what}")]
    WriteSet {
        /// Offset in the write set of the section at fault, in bytes.
        at: usize,
        /// The rule that is broken.
        what: &'static str,
    },
    /// Differences of pages break their format.
    #[error("malformed page differences at byte {at}: {what}")]
    Diffs {
        /// Offset of the page at fault in the buffer, in bytes.
        at: usize,
        /// The rule that is broken.
        what: &'static str,
    },
    /// A message does not follow the protocol's encoding.
    #[error("malformed message: {0}")]
    Message(postcard::Error),
    /// A message decodes but breaks a rule that its type cannot express.
    #[error("invalid message: {0}")]
    Invalid(&'static str),
    /// A frame announces more bytes than the limit allows.
    #[error("frame of {length} bytes exceeds the limit of {limit}")]
    FrameTooLong {
        /// The length announced, in bytes.
        length: usize,
        /// The limit in force, in bytes.
        limit: usize,
    },
    /// A log record breaks its format.
    #[error("malformed log record: {0}")]
    Record(&'static str),
}
