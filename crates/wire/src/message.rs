//! What stations and the leader say to each other once the [handshake](crate::handshake) is done.
//!
//! Every message from a station carries its incarnation and generation, every message from the
//! leader its term and generation: the receiver ignores what comes from an earlier life.

pub mod insight;
pub mod peer;
pub mod recovery_line;
mod status;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::frame::Message;
use crate::ids::{
    CommitNumber, CommitSequence, Generation, Incarnation, LineMask, PageNumber, StationId,
    StreamSequence, Term,
};
use crate::write_set::WriteSet;
use insight::{Insight, Question, StationNumbers};
use recovery_line::{LineAnswer, LineRequest};
pub use status::{CheckpointStatus, StationStatus, Status};

/// Most bytes a commit's write set may hold; a transaction beyond it is refused with a typed error.
pub const COMMIT_BYTES_MAX: usize = 16 << 20;
/// Most pages one fetch may ask for.
pub const FETCH_PAGES_MAX: u32 = 1024;

/// From a station to the leader.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum ToLeader {
    /// Opens a session as a new incarnation.
    Join(Join),
    /// Opens a session for an incarnation that had one before.
    Resume(Resume),
    /// Anything said within a session.
    Request {
        /// The life of the station that speaks.
        incarnation: Incarnation,
        /// The generation it lives in.
        generation: Generation,
        /// What it wants.
        request: Request,
    },
    /// Asks for a [`Status`]; needs no session.
    Status,
    /// Asks the leader to end in order; needs no session.
    Shutdown,
    /// Asks for a checkpoint of everything committed before; needs no session.
    Checkpoint,
    /// Something about a recovery line, on a connection without a session.
    RecoveryLine {
        /// The life of the station that speaks, which must be a member.
        incarnation: Incarnation,
        /// The generation it lives in.
        generation: Generation,
        /// What it wants.
        request: LineRequest,
    },
    /// Asks about the heap, for people; needs no session.
    Ask(Question),
}

/// What a new incarnation tells of itself.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct Join {
    /// The number it wants: that of the predecessor it replaces, or any if `None`.
    pub station: Option<StationId>,
    /// Whether it runs activities; an observer's number is not among the workers'.
    pub observer: bool,
    /// What it saw of the heap in an earlier life: this generation,
    pub generation: Generation,
    /// up to this commit. A leader whose heap was taken back behind that refuses it, so that the
    /// program behind it learns that.
    pub seen: CommitNumber,
}

/// Where a station stands whose connection was lost.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Resume {
    /// Its life.
    pub incarnation: Incarnation,
    /// The generation it lives in.
    pub generation: Generation,
    /// Everything of its pages through this commit is in its memory or in its queue.
    pub through: CommitNumber,
    /// The pages it holds, as ascending disjoint runs.
    pub pages: Vec<PageRun>,
}

/// `count` pages from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PageRun {
    /// The first page.
    pub first: PageNumber,
    /// How many, at least one.
    pub count: u32,
}

impl From<PageNumber> for PageRun {
    fn from(page: PageNumber) -> Self {
        Self::new(page, 1)
    }
}

impl fmt::Display for PageRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages from {}", self.count, self.first)
    }
}

impl PageRun {
    /// `count` pages from `first` on.
    #[must_use]
    pub fn new(first: PageNumber, count: u32) -> Self {
        Self { first, count }
    }

    /// The pages of the run; a run that would leave the largest heap ends there.
    pub fn pages(self) -> impl Iterator<Item = PageNumber> {
        let first = u64::from(self.first.0);
        (first..(first + u64::from(self.count)).min(1 << 32)).map(|page| PageNumber(page as u32))
    }

    /// The run in parts of at most so many pages.
    pub fn parts(self, most: u32) -> impl Iterator<Item = Self> {
        let starts = (0..self.count).step_by(most.max(1) as usize);
        starts.map(move |at| {
            let first = PageNumber(self.first.0.wrapping_add(at));
            Self::new(first, (self.count - at).min(most))
        })
    }

    /// The shortest list of runs that holds exactly the `pages`, which ascend.
    #[must_use]
    pub fn compact(pages: impl IntoIterator<Item = PageNumber>) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for page in pages {
            match runs.last_mut() {
                Some(run) if run.first.0.checked_add(run.count) == Some(page.0) => run.count += 1,
                _ => runs.push(Self {
                    first: page,
                    count: 1,
                }),
            }
        }
        runs
    }
}

/// What a station asks of the leader within its session.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum Request {
    /// Validate and order this transaction.
    Commit(Commit),
    /// Send these pages as of `snapshot`, and make the station a holder.
    Fetch {
        /// The pages.
        run: PageRun,
        /// The snapshot of the transaction that misses them.
        snapshot: CommitNumber,
    },
    /// The station has forgotten these pages.
    Drop {
        /// The pages, as ascending disjoint runs.
        pages: Vec<PageRun>,
    },
    /// Answer with [`Item::Latest`]: the station wants a snapshot no older than this request.
    Latest,
    /// Tell soon when everything through this commit, which the station has seen, is durable: by a
    /// batch of the stream, at once if it is.
    Durable {
        /// The commit.
        through: CommitNumber,
    },
    /// The station waits for a change of the pages that it holds: send the next one at once, alone
    /// if need be.
    Watch,
    /// The station was refused too often: it wants the token, with which it commits before others.
    Token {
        /// How long its last attempt took, in microseconds.
        attempt_us: u32,
    },
    /// The station needs the token no more, and has not committed with it.
    ReturnToken,
    /// The station is alive.
    Heartbeat,
    /// The station ends in order.
    Leave,
    /// What only the station knows of itself; nothing is answered.
    Numbers(Box<StationNumbers>),
}

/// One transaction, ready to be ordered.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Commit {
    /// Which request of this incarnation; the same one sent twice commits once.
    pub sequence: CommitSequence,
    /// The station needs no outcome up to here any more.
    pub acknowledged: CommitSequence,
    /// The commit that the transaction saw the heap at.
    pub snapshot: CommitNumber,
    /// One of a pipeline: it saw the heap with the changes of the station's unanswered requests
    /// through this one, the newest of them; zero if there were none. It commits only if that one
    /// did.
    pub follows: Option<CommitSequence>,
    /// The lines read, ascending by page, no mask empty.
    pub reads: Vec<PageLines>,
    /// The bytes changed.
    #[serde(skip)]
    pub writes: WriteSet,
}

/// Some lines of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct PageLines {
    /// The page.
    pub page: PageNumber,
    /// Its lines.
    pub lines: LineMask,
}

/// From the leader to a station.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum ToStation {
    /// The session begins.
    Welcome(Welcome),
    /// The session is refused, or ends.
    Refused(SessionRefusal),
    /// The next part of the station's stream.
    Batch(Batch),
    /// The answer to [`ToLeader::Status`].
    Status(Box<Status>),
    /// The answer to [`ToLeader::Shutdown`]: the log ends with a clean mark.
    Stopping,
    /// The answer to [`ToLeader::Checkpoint`], once it is on disk, or why it could not be taken.
    Checkpointed(Result<Box<CheckpointStatus>, String>),
    /// What a [`ToLeader::RecoveryLine`] leads to.
    RecoveryLine(LineAnswer),
    /// The answer to [`ToLeader::Ask`].
    Insight(Box<Insight>),
}

/// The beginning of a session, also after a resume.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Welcome {
    /// The station's number.
    pub station: StationId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The leadership that speaks.
    pub term: Term,
    /// The generation the heap is in.
    pub generation: Generation,
    /// A new session starts with this snapshot; a resumed one keeps its own until its stream
    /// catches up.
    pub through: CommitNumber,
    /// Size of the heap, in bytes.
    pub heap_bytes: u64,
    /// After this many milliseconds of silence the leader drops the station.
    pub silence_ms_max: u32,
    /// The station may have so many commit requests whose outcomes it has not acknowledged.
    pub in_flight_max: u32,
    /// Who lives as of `through`, the station itself included.
    pub members: Vec<Member>,
}

/// One living member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The station's number.
    pub station: StationId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Whether it runs no activities.
    pub observer: bool,
}

/// Why a session cannot begin or go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum SessionRefusal {
    /// The leader dropped this incarnation, or never knew it.
    #[error("the leader no longer knows this incarnation (it was silent too long); join anew")]
    UnknownIncarnation,
    /// The heap went back behind what this incarnation has seen.
    #[error("the heap was rolled back to {cut} (generation {generation}); join anew")]
    RolledBack {
        /// The new generation.
        generation: Generation,
        /// Where it began.
        cut: CommitNumber,
    },
    /// Somebody alive has this number.
    #[error("station {0} is alive; choose another number or none")]
    StationTaken(StationId),
    /// There are as many stations as the leader's setting allows.
    #[error("the cluster is full ({0} stations); raise the page server's limit")]
    Full(u32),
    /// The station broke the protocol.
    #[error("the leader ended the session: {0}")]
    Violation(Violation),
    /// The leader shuts down.
    #[error("the page server shuts down")]
    ShuttingDown,
}

/// How a station broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Violation {
    /// A message in the wrong state of the session.
    #[error("message out of order")]
    OutOfOrder,
    /// A page beyond the heap.
    #[error("page beyond the heap")]
    PageBeyondHeap,
    /// A snapshot that no stream has announced yet.
    #[error("snapshot from the future")]
    SnapshotFromTheFuture,
    /// A list that does not ascend, is empty where it must not be, or exceeds its bound.
    #[error("malformed list")]
    MalformedList,
    /// A commit sequence that is neither the next one nor a repetition in the window.
    #[error("commit sequence out of the window")]
    SequenceOutOfWindow,
    /// More requests in flight than the leader keeps outcomes for.
    #[error("too many commits in flight")]
    TooManyInFlight,
    /// A commit beyond [`COMMIT_BYTES_MAX`].
    #[error("commit too large")]
    CommitTooLarge,
}

/// Consecutive items of a station's stream. The station's snapshot may move to `through` once it
/// has applied everything up to and including a batch with `last` set.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Batch {
    /// The leadership that speaks.
    pub term: Term,
    /// The generation the items belong to.
    pub generation: Generation,
    /// Dense within a session, from 1.
    pub sequence: StreamSequence,
    /// No item tells of a later commit than this, nor does it ever go back. With `last` set, the
    /// station has been told everything of its pages through this commit.
    pub through: CommitNumber,
    /// A loss of power of the page server's machine cannot take back anything through this commit.
    /// It never goes back while the term lasts; of a later leadership, what was told before holds.
    pub durable: CommitNumber,
    /// Unset if the following batch must be applied together with this one.
    pub last: bool,
    /// What happened, in order.
    pub items: Vec<Item>,
}

/// One thing that happened, as a station needs to know it.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum Item {
    /// The station's own transaction committed.
    Committed {
        /// Which request.
        sequence: CommitSequence,
        /// Its place in the order.
        number: CommitNumber,
    },
    /// The station's own transaction did not commit.
    Refused {
        /// Which request.
        sequence: CommitSequence,
        /// Why.
        why: CommitRefusal,
    },
    /// Another station's commit changed pages that this one holds.
    Delta(Delta),
    /// A page that the station asked for; it holds it from here on.
    Page(Box<Page>),
    /// The present bytes of lines that changed often while the station was slow.
    Lines(Box<Lines>),
    /// The answer to [`Request::Latest`].
    Latest,
    /// The answer to [`Request::Token`]: from here on nobody else commits, until the station does, or
    /// returns the token, or its lease is over.
    Token,
    /// A member joined.
    Joined(Member),
    /// A member ended or was dropped; nothing of this incarnation follows.
    Left(Incarnation),
}

/// What one commit changed in pages that the receiver holds.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Delta {
    /// The commit.
    pub number: CommitNumber,
    /// Its bytes, restricted to the receiver's pages.
    #[serde(skip)]
    pub writes: WriteSet,
}

/// A page as of a commit, and what happened to it since.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Page {
    /// The page.
    pub page: PageNumber,
    /// The bytes are those at this commit: the snapshot asked for, or, if the history no longer
    /// reaches back so far, a later one.
    pub base: CommitNumber,
    /// The receiver is a holder from this commit on: later changes come as deltas of their own.
    pub held_from: CommitNumber,
    /// The bytes at `base`.
    pub content: Content,
    /// Changes after `base`, up to and including `held_from`, ascending.
    pub since: Vec<Delta>,
}

/// The bytes of a page.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum Content {
    /// Never written.
    Zero,
    /// Exactly [`PAGE_BYTES`](crate::PAGE_BYTES) bytes.
    Bytes(#[serde(skip)] Bytes),
}

/// Whole lines of a page at the batch's `through`.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Lines {
    /// Everything of this page up to this commit is included.
    pub number: CommitNumber,
    /// The lines, as whole-line runs of one page.
    #[serde(skip)]
    pub writes: WriteSet,
}

impl Message for ToLeader {
    fn attachments<'a>(&'a self, mut lend: impl FnMut(&'a [u8])) {
        match self {
            Self::Request { request, .. } => match request {
                Request::Commit(commit) => lend(commit.writes.as_bytes()),
                Request::Fetch { .. }
                | Request::Drop { .. }
                | Request::Latest
                | Request::Durable { .. }
                | Request::Watch
                | Request::Token { .. }
                | Request::ReturnToken
                | Request::Heartbeat
                | Request::Leave
                | Request::Numbers(_) => {}
            },
            Self::RecoveryLine { request, .. } => {
                if let LineRequest::Pages(pages) = request {
                    lend(&pages.bytes);
                }
            }
            Self::Join(_)
            | Self::Resume(_)
            | Self::Status
            | Self::Shutdown
            | Self::Checkpoint
            | Self::Ask(_) => {}
        }
    }

    fn attach(&mut self, mut take: impl FnMut() -> Result<Bytes, Error>) -> Result<(), Error> {
        match self {
            Self::Request { request, .. } => match request {
                Request::Commit(commit) => attach(&mut commit.writes, take),
                Request::Fetch { .. }
                | Request::Drop { .. }
                | Request::Latest
                | Request::Durable { .. }
                | Request::Watch
                | Request::Token { .. }
                | Request::ReturnToken
                | Request::Heartbeat
                | Request::Leave
                | Request::Numbers(_) => Ok(()),
            },
            Self::RecoveryLine { request, .. } => match request {
                LineRequest::Pages(pages) => pages.attach(take()?),
                _ => Ok(()),
            },
            Self::Join(_)
            | Self::Resume(_)
            | Self::Status
            | Self::Shutdown
            | Self::Checkpoint
            | Self::Ask(_) => Ok(()),
        }
    }
}

impl Message for ToStation {
    fn attachments<'a>(&'a self, mut lend: impl FnMut(&'a [u8])) {
        let batch = match self {
            Self::Batch(batch) => batch,
            Self::RecoveryLine(LineAnswer::Pages(pages)) => return lend(&pages.bytes),
            _ => return,
        };
        for item in &batch.items {
            match item {
                Item::Delta(delta) => lend(delta.writes.as_bytes()),
                Item::Lines(lines) => lend(lines.writes.as_bytes()),
                Item::Page(page) => {
                    if let Content::Bytes(bytes) = &page.content {
                        lend(bytes);
                    }
                    for delta in &page.since {
                        lend(delta.writes.as_bytes());
                    }
                }
                Item::Committed { .. }
                | Item::Refused { .. }
                | Item::Latest
                | Item::Token
                | Item::Joined(_)
                | Item::Left(_) => {}
            }
        }
    }

    fn attach(&mut self, mut take: impl FnMut() -> Result<Bytes, Error>) -> Result<(), Error> {
        let batch = match self {
            Self::Batch(batch) => batch,
            Self::RecoveryLine(LineAnswer::Pages(pages)) => return pages.attach(take()?),
            _ => return Ok(()),
        };
        for item in &mut batch.items {
            match item {
                Item::Delta(delta) => attach(&mut delta.writes, &mut take)?,
                Item::Lines(lines) => attach(&mut lines.writes, &mut take)?,
                Item::Page(page) => {
                    if let Content::Bytes(bytes) = &mut page.content {
                        *bytes = take()?;
                    }
                    for delta in &mut page.since {
                        attach(&mut delta.writes, &mut take)?;
                    }
                }
                Item::Committed { .. }
                | Item::Refused { .. }
                | Item::Latest
                | Item::Token
                | Item::Joined(_)
                | Item::Left(_) => {}
            }
        }
        Ok(())
    }
}

fn attach(
    writes: &mut WriteSet,
    mut take: impl FnMut() -> Result<Bytes, Error>,
) -> Result<(), Error> {
    *writes = WriteSet::parse(take()?)?;
    Ok(())
}

/// Why a transaction did not commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommitRefusal {
    /// A line read was written by a later commit than the snapshot.
    Conflict(PageLines),
    /// The log has no room; nothing was changed, and it may be tried again later.
    LogFull,
    /// The request that it follows did not commit.
    Behind,
}

#[cfg(test)]
mod tests;
