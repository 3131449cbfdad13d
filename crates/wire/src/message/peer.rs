//! What the stations of one team say to each other about weak pages, barriers and locks.
//!
//! A connection belongs to one team in one generation, so that nothing here needs to say which. On a
//! connection everything arrives in the order in which it was sent; between connections there is no
//! order, and [`Interval`]s make up for it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::PageRun;
use super::recovery_line::Basis;
use crate::Error;
use crate::diff::Diffs;
use crate::frame::Message;
use crate::ids::{Interval, PAGE_BYTES, PageBytes, PageNumber, Rank, SyncId};

/// Most pages in one [`ToPeer::Pages`].
pub const SERVED_PAGES_MAX: u32 = 256;
/// Most stations in a team: a set of them is one 64-bit mask.
pub const TEAM_MAX: u16 = 64;

/// The first words of a station that connects to another of its team, once hands are shaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Introduction {
    /// What names the team: it follows from the lives of all its stations.
    pub team: u64,
    /// The sender's place in it.
    pub rank: Rank,
}

/// Whether the station that was introduced to belongs to the same team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acknowledgement(pub bool);

impl Message for Introduction {}
impl Message for Acknowledgement {}

/// From one station of a team to another.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum ToPeer {
    /// Makes the sender home of those pages of the run that have none; to the run's manager.
    Claim {
        /// The pages, all with this manager.
        run: PageRun,
    },
    /// The homes of a run that was claimed.
    Claimed(Vec<Home>),
    /// Asks a home for pages.
    Fetch {
        /// The sender's interval, in which it will have the answer. A home that is in the one before
        /// answers when it is there.
        interval: Interval,
        /// The pages.
        run: PageRun,
    },
    /// Some of the pages that were asked for.
    Pages(Pages),
    /// What the sender has changed in pages whose home the receiver is.
    Changes(Changes),
    /// All [`Changes`] of the receiver through this one, counted from 1, are in their pages.
    Applied(u64),
    /// The sender's workers have all come to the barrier that ends this interval.
    Arrive(Arrive),
    /// All have come: the next interval begins.
    Release(Release),
    /// The sender wants a lock; to the coordinator.
    Acquire(SyncId),
    /// Somebody else wants the lock: the receiver shall hand it back when it can.
    Revoke(SyncId),
    /// The lock comes back, and what was written since it was last handed over.
    HandBack {
        /// The lock.
        lock: SyncId,
        /// Pages written, ascending.
        written: Vec<PageRun>,
    },
    /// The receiver has the lock.
    Grant {
        /// The lock.
        lock: SyncId,
        /// Pages that others wrote since the receiver was last told, ascending.
        written: Vec<PageRun>,
    },
    /// Raises a flag, and what was written before that; to the coordinator.
    Raise {
        /// The flag.
        flag: SyncId,
        /// To this, if it is not higher already.
        value: u64,
        /// Pages written, ascending.
        written: Vec<PageRun>,
    },
    /// The sender waits until a flag is at least so high.
    Await {
        /// The flag.
        flag: SyncId,
        /// How high.
        least: u64,
    },
    /// A flag is as high as the receiver wanted.
    Raised {
        /// The flag.
        flag: SyncId,
        /// How high it is.
        value: u64,
        /// Pages that others wrote since the receiver was last told, ascending.
        written: Vec<PageRun>,
    },
    /// Adds to a counter at the coordinator.
    Add {
        /// The counter.
        counter: SyncId,
        /// What to add, modulo 2⁶⁴.
        value: u64,
    },
    /// What the counter was before the addition.
    Added {
        /// The counter.
        counter: SyncId,
        /// Its value.
        before: u64,
    },
    /// The sender needs nothing of the receiver any more, and will not be asked for anything.
    Leave,
    /// The sender gives the team up.
    GiveUp,
}

/// The home of a run of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Home {
    /// The pages.
    pub run: PageRun,
    /// Who keeps them.
    pub rank: Rank,
}

/// Consecutive pages as their home has them.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Pages {
    /// The pages.
    pub run: PageRun,
    /// The pages' bytes, one page after the other; empty if they were never written.
    #[serde(skip)]
    pub bytes: Bytes,
}

impl Pages {
    pub(super) fn attach(&mut self, bytes: Bytes) -> Result<(), Error> {
        let whole = self.run.count as usize * PAGE_BYTES;
        if self.run.count > SERVED_PAGES_MAX || !(bytes.is_empty() || bytes.len() == whole) {
            return Err(Error::Invalid("pages with too many or too few bytes"));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Each page with its bytes; `None` where they are all zero.
    pub fn each(&self) -> impl Iterator<Item = (PageNumber, Option<&PageBytes>)> {
        let (pages, _) = self.bytes.as_chunks::<PAGE_BYTES>();
        let bytes = pages.iter().map(Some).chain(std::iter::repeat(None));
        self.run.pages().zip(bytes)
    }

    /// The bytes of some of the pages; none if they are all zero.
    ///
    /// # Panics
    /// If the run leaves that of the pages.
    #[must_use]
    pub fn bytes_of(&self, run: PageRun) -> &[u8] {
        if self.bytes.is_empty() {
            return &[];
        }
        let first = (run.first.0 - self.run.first.0) as usize;
        &self.bytes[first * PAGE_BYTES..][..run.count as usize * PAGE_BYTES]
    }
}

/// Changed bytes on their way home.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct Changes {
    /// The interval in which they were made.
    pub interval: Interval,
    /// The bytes.
    #[serde(skip)]
    pub diffs: Diffs,
}

/// A station comes to a barrier.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct Arrive {
    /// The interval that ends.
    pub interval: Interval,
    /// Pages that the station wrote and others may have copies of, ascending.
    pub written: Vec<PageRun>,
    /// Those of them that it would be a better home for, ascending.
    pub wanted: Vec<PageRun>,
    /// How many [`Changes`] it has sent to each rank so far.
    pub sent: Vec<u64>,
    /// What it brings to a reduction or broadcast, if there is one.
    pub brings: Option<Vec<u8>>,
    /// The barrier may be a cut: nothing but what is in memory matters behind it.
    pub may_cut: bool,
    /// It shall be one, if the sender coordinates the team and the barrier may be one for all.
    pub cut: Option<Basis>,
}

/// A barrier opens.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct Release {
    /// The interval that ends.
    pub interval: Interval,
    /// Pages written in it, ascending: all copies but a sole writer's are out of date.
    pub written: Vec<Written>,
    /// Pages that move to their sole writer, ascending.
    pub moved: Vec<Home>,
    /// How many [`Changes`] each rank has sent to the receiver so far.
    pub expected: Vec<u64>,
    /// What each rank brought, if anybody brought anything.
    pub brought: Vec<Option<Vec<u8>>>,
    /// The barrier is a cut: memory as it opens is to become a recovery line.
    pub cut: Option<Cut>,
}

/// A barrier that is to become a recovery line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// Which cut of the team, since it was formed.
    pub ordinal: u32,
    /// What the pages that are handed over add to.
    pub basis: Basis,
}

/// Pages that were written in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Written {
    /// The pages.
    pub run: PageRun,
    /// Who wrote them, if it was one alone.
    pub sole: Option<Rank>,
}

impl Message for ToPeer {
    fn attachments<'a>(&'a self, mut lend: impl FnMut(&'a [u8])) {
        match self {
            Self::Pages(pages) => lend(&pages.bytes),
            Self::Changes(changes) => lend(changes.diffs.as_bytes()),
            _ => {}
        }
    }

    fn attach(&mut self, mut take: impl FnMut() -> Result<Bytes, Error>) -> Result<(), Error> {
        match self {
            Self::Pages(pages) => pages.attach(take()?),
            Self::Changes(changes) => {
                changes.diffs = Diffs::parse(take()?)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
