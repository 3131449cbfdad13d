//! What the stations of a team and the leader say to each other about recovery lines: states of weak
//! memory, as of one barrier, to which a team goes back when it loses a member.
//!
//! Each member has a connection of its own for that, and hands over there the pages that it keeps and
//! that have changed. When the leader has those of all members, it takes them into the heap at once, as
//! one commit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PageRun;
use super::peer::Pages;
use crate::Error;
use crate::ids::{CommitNumber, Rank, SyncId, TeamId};

/// Most bytes of a team's own that belong to a recovery line, beside the pages.
pub const LINE_STATE_BYTES_MAX: usize = 1 << 20;

/// From a member of a team to the leader.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum LineRequest {
    /// Which recovery line is there? Asked when a team begins, and answered by [`LineAnswer::Newest`]:
    /// what earlier ones hand over is of no line from then on.
    Ask(TeamId),
    /// Asks for pages as they are in a recovery line, and have been since. Answered by one or more
    /// [`LineAnswer::Pages`].
    Load {
        /// Whose.
        team: TeamId,
        /// The line that the team went on from.
        line: CommitNumber,
        /// The pages.
        run: PageRun,
    },
    /// The sender is about to hand over its part of a new line.
    Offer(Offer),
    /// Some pages of that part.
    Pages(Pages),
    /// All of them were sent.
    Complete {
        /// What the team's coordinator has to say of the line.
        state: Vec<u8>,
    },
    /// The sender cannot hand over its part: nobody shall wait for it, nor who offers his later.
    Withdraw(Offer),
}

/// One member's part of a recovery line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// The team.
    pub team: TeamId,
    /// As [`LineAnswer::Newest`] has named it.
    pub formation: u64,
    /// Which cut of these.
    pub cut: u32,
    /// What is left out of the pages.
    pub basis: Basis,
    /// The sender's place in the team.
    pub rank: Rank,
    /// Members of the team.
    pub size: u16,
}

/// What the pages of a recovery line are added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Basis {
    /// To this line: they are those that have changed since. Zero stands for a team without a line.
    Changed(CommitNumber),
    /// To whatever line there is, if it is this one, which the team went on from, or a later one: they
    /// are all that may have changed since. Zero if none is needed: the sender has, and hands over, every
    /// page that it keeps. Members may say different lines of one cut; each must be there.
    All(CommitNumber),
}

/// From the leader to a member of a team.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum LineAnswer {
    /// What the team that has asked begins from.
    Newest {
        /// How its lines are told from those of a team of the same lives that has ended: parts of these
        /// may still be under way.
        formation: u64,
        /// The newest recovery line, if there is one.
        line: Option<RecoveryLine>,
    },
    /// Pages that were asked for.
    Pages(Pages),
    /// The parts of all members are in the heap, as this commit.
    Taken(CommitNumber),
    /// The part that was offered first, of those that have not been answered, is of no line.
    Refused(LineRefusal),
    /// The sender's team cannot go on: it is not that of the living, or the line that it went on from is
    /// gone.
    Lost(LineRefusal),
}

/// A state that a team can go back to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecoveryLine {
    /// The commit that it is.
    pub number: CommitNumber,
    /// What the team's coordinator said of it.
    pub state: Vec<u8>,
}

/// What the coordinator of a team says of a line: how its program goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct LineState {
    /// The phase that follows.
    pub phase: u64,
    /// What the coordinator knew.
    pub marks: Marks,
}

impl LineState {
    /// The state as the leader keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("numbers and maps can be encoded")
    }

    /// The state that [`to_bytes`](Self::to_bytes) made these bytes of.
    ///
    /// # Errors
    /// [`Error::Message`] if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        postcard::from_bytes(bytes).map_err(Error::Message)
    }
}

/// What the coordinator of a team knows at a cut that is in no page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub struct Marks {
    /// How high flags are.
    pub flags: BTreeMap<SyncId, u64>,
    /// What counters have come to.
    pub counters: BTreeMap<SyncId, u64>,
}

/// Why the leader does not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum LineRefusal {
    /// The sender is no member of the cluster.
    #[error("the leader no longer knows this station")]
    NotAMember,
    /// The line that the request builds on is not the one that there is.
    #[error("the newest recovery line is {0}; the one that the team builds on was lost")]
    OtherLine(CommitNumber),
    /// A member that took part was lost, or has withdrawn.
    #[error("another station of the team was lost, or could not hand over its part")]
    Abandoned,
    /// The log has no room for a record.
    #[error("the log has no room; a checkpoint makes some")]
    LogFull,
    /// A request that breaks the protocol.
    #[error("a request out of order, or of pages that the heap does not have")]
    Malformed,
}
