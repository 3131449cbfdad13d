//! A station's part in a team: the weak pages that it keeps or has copies of, and how its workers meet
//! those of others at barriers and locks.
//!
//! ```text
//!   workers                 Member                         other members
//!   fault ────── access ──► regions, copies ── Fetch ────► home: protects, copies, remembers who
//!                ready  ◄── fills           ◄── Pages ───
//!   barrier ──── arrive ──► diffs of what it wrote ──────► home: applies them
//!                           what it wrote ───────────────► coordinator: who wrote what
//!                released ◄─ drops what others wrote ◄───
//!   lock ─────── acquire ─► token here? else coordinator ► whoever has it publishes, hands it back
//! ```
//!
//! After Mome (Jégou, "Implementation of page management in Mome", CCGRID 2003) and Munin's
//! multiple-writer protocol (Carter, Bennett, Zwaenepoel, SOSP 1991). Each page has a home, which applies
//! what others changed, byte by byte; so two stations may write different bytes of a page between two
//! barriers and both survive. What nobody else has a copy of costs nothing: its home loads and stores
//! unseen.
//!
//! **Invariants**
//! 1. A page that its home may store to unseen (`Open` in `regions.rs`) has no copy elsewhere, but for
//!    copies that are dropped before a worker of their station runs again.
//! 2. Between the release of a barrier and the next arrival, a copy holds all that was written before
//!    that barrier.
//! 3. Whoever answers a fetch of interval `n` has applied all changes of the intervals before.
//! 4. A lock is at one member at most; its grant names each page that was written under it, or before
//!    that by whoever held it, since the receiver was last told.
//!
//! A team lives as long as all its members do: when one is lost, the heap goes back to the recovery line
//! and another team goes on from there. So nothing here is sent twice, and no message is from another
//! life: whoever has a connection has it to a member of this team.
//!
//! A team's memory becomes a recovery line at a barrier that is a cut: [`Succession`] knows when one may
//! follow the other, the member which pages belong to it, and [`Keeper`] hands them over to the page server.

mod barrier;
mod checks;
mod coordinator;
mod copies;
mod counters;
mod flags;
mod keeper;
mod locks;
mod misses;
mod publish;
mod recovery_line;
mod regions;
mod serve;
mod streams;
mod succession;
mod view;

use std::collections::VecDeque;

use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Cut, TEAM_MAX, ToPeer};
use plurix_wire::message::recovery_line::Marks;
use plurix_wire::{Interval, PageNumber, Rank};

use barrier::Barrier;
pub use barrier::Brought;
use coordinator::Coordinator;
use copies::Copies;
pub use copies::Keeping;
use counters::Counters;
pub use counters::Ticket;
use flags::Flags;
pub use keeper::{Job, Keeper, KeeperCommand, KeeperSettings, Unasked};
use locks::Locks;
use publish::Published;
pub use recovery_line::Boundary;
use recovery_line::RecoveryLines;
pub use regions::{Placement, Region};
use regions::{Regions, State};
use streams::Streams;
pub use succession::Succession;
pub use view::{Access, View};

/// Who coordinates barriers, locks and counters.
const COORDINATOR: Rank = Rank(0);

/// What a driver carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Send this to a member.
    Tell(Rank, ToPeer),
    /// Get these pages of the recovery line that the team goes on from, for
    /// [`loaded`](Member::loaded).
    Load(PageRun),
    /// Call [`open_barrier`](Member::open_barrier), once what was to be told before is on its way: others shall not wait
    /// for what this station does at a cut.
    Open,
    /// A barrier that is a cut has opened: hand over what [`collect`](Member::collect) answers.
    Cut {
        /// Which.
        cut: Cut,
        /// Pages of this station's part.
        pages: u64,
        /// At the coordinator, what belongs to the line beside the pages.
        marks: Option<Marks>,
    },
}

/// Why a member cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program touched a page that is in no weak region.
    #[error("{0} belongs to no weak region")]
    NoRegion(PageNumber),
    /// A member broke the protocol, or is of another version.
    #[error("{0} sent what it must not: {1}; are all stations of one version?")]
    Violation(Rank, &'static str),
    /// A member has given the team up.
    #[error("{0} has given the team up; what it reports says why")]
    GivenUp(Rank),
}

/// Wishes and bounds of a member.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most pages asked for ahead when misses are sequential.
    pub read_ahead: u32,
    /// While so many are under way, nothing more is asked for ahead of need.
    pub under_way: u32,
    /// Changes are sent in messages of about so many bytes, so that the home applies one while the
    /// next is made.
    pub change_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            read_ahead: 256,
            under_way: 512,
            change_bytes: 128 << 10,
        }
    }
}

/// The state machine of one station in its team.
#[derive(Debug, Clone)]
pub struct Member {
    settings: Settings,
    rank: Rank,
    size: u16,
    interval: Interval,
    regions: Regions,
    copies: Copies,
    streams: Streams,
    /// Walks that store.
    stores: Streams,
    published: Published,
    barrier: Barrier,
    locks: Locks,
    flags: Flags,
    counters: Counters,
    lines: RecoveryLines,
    /// At the first rank alone.
    coordinator: Option<Coordinator>,
    /// Pages whose homes or bytes have been asked for.
    asked: u64,
    /// What is asked for ahead of need, as soon as there is room for it under way.
    wished: VecDeque<PageRun>,
    /// See [`fetched`](Self::fetched).
    fetched: u64,
    /// See [`notices`](Self::notices).
    notices: u64,
    /// Who needs nothing of this station any more.
    left: u64,
    /// Fetches of an interval that has not begun here, or of pages that are not known to be kept here.
    early: Vec<(Rank, Interval, PageRun)>,
    /// What it says to itself.
    inbox: VecDeque<ToPeer>,
    out: VecDeque<Command>,
}

impl Member {
    /// Member `rank` of a team of `size`.
    ///
    /// # Panics
    /// If there is no such rank, or the team is larger than [`TEAM_MAX`].
    #[must_use]
    pub fn new(rank: Rank, size: u16, settings: Settings) -> Self {
        assert!(
            rank.0 < size && size <= TEAM_MAX,
            "{rank} in a team of {size}"
        );
        Self {
            settings,
            rank,
            size,
            interval: Interval(0),
            regions: Regions::new(rank, size),
            copies: Copies::default(),
            streams: Streams::default(),
            stores: Streams::default(),
            published: Published::new(size),
            barrier: Barrier::default(),
            locks: Locks::default(),
            flags: Flags::default(),
            counters: Counters::default(),
            lines: RecoveryLines::default(),
            coordinator: (rank == COORDINATOR).then(|| Coordinator::new(size)),
            asked: 0,
            wished: VecDeque::new(),
            fetched: 0,
            notices: 0,
            left: 0,
            early: Vec::new(),
            inbox: VecDeque::new(),
            out: VecDeque::new(),
        }
    }

    /// Adds a region, as all members do in the same interval; answers whether it is apart from the
    /// others.
    #[must_use]
    pub fn add_region(&mut self, region: Region) -> bool {
        self.regions.add(region)
    }

    /// Its place in the team.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// How many barriers it has passed.
    #[must_use]
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// Pages that have come from others so far.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// How many pages this station was told of so far, at barriers, with locks and flags, because
    /// others had written to them.
    #[must_use]
    pub fn notices(&self) -> u64 {
        self.notices
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Command> {
        self.out.pop_front()
    }

    /// Takes what `from` has sent.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    pub fn handle(
        &mut self,
        from: Rank,
        message: ToPeer,
        view: &mut impl View,
    ) -> Result<(), Error> {
        self.take(from, message, view)?;
        self.settle(view)
    }

    /// The team is done, as all its members know: nothing more is asked of others.
    pub fn leave(&mut self) {
        self.tell_all(&ToPeer::Leave);
    }

    /// This station cannot go on, and so the team cannot.
    pub fn give_up(&mut self) {
        self.tell_all(&ToPeer::GiveUp);
    }

    /// Whether a member needs nothing of this station any more; its connection may end.
    #[must_use]
    pub fn has_left(&self, rank: Rank) -> bool {
        self.left >> rank.0 & 1 == 1
    }

    fn tell_all(&mut self, message: &ToPeer) {
        let own = self.rank;
        for rank in (0..self.size).map(Rank).filter(|rank| *rank != own) {
            self.tell(rank, message.clone());
        }
    }

    /// Hears what it says to itself.
    fn settle(&mut self, view: &mut impl View) -> Result<(), Error> {
        while let Some(message) = self.inbox.pop_front() {
            self.take(self.rank, message, view)?;
        }
        Ok(())
    }

    fn take(&mut self, from: Rank, message: ToPeer, view: &mut impl View) -> Result<(), Error> {
        if !self.is_sound(&message) {
            return Err(Error::Violation(from, "pages or ranks that there are not"));
        }
        match message {
            ToPeer::Claim { run } => self.claim(from, run),
            ToPeer::Claimed(homes) => self.claimed(from, &homes, view),
            ToPeer::Fetch { interval, run } => self.fetch(from, interval, run, view),
            ToPeer::Pages(pages) => self.pages(from, &pages, view),
            ToPeer::Changes(changes) => self.changes(from, changes, view),
            ToPeer::Applied(count) => self.applied(from, count, view),
            ToPeer::Arrive(arrive) => self.coordinate(from, |coordinator, out| {
                coordinator.arrive(from, arrive, out)
            }),
            ToPeer::Release(release) => self.release(from, release, view),
            ToPeer::Acquire(lock) => self.coordinate(from, |coordinator, out| {
                coordinator.acquire(from, lock, out);
                Ok(())
            }),
            ToPeer::HandBack { lock, written } => self.coordinate(from, |coordinator, out| {
                coordinator.hand_back(from, lock, &written, out)
            }),
            ToPeer::Revoke(lock) => self.revoke(from, lock, view),
            ToPeer::Grant { lock, written } => self.grant(from, lock, &written, view),
            ToPeer::Raise {
                flag,
                value,
                written,
            } => self.coordinate(from, |coordinator, out| {
                coordinator.raise(from, flag, value, &written, out);
                Ok(())
            }),
            ToPeer::Await { flag, least } => self.coordinate(from, |coordinator, out| {
                coordinator.wait_for(from, flag, least, out);
                Ok(())
            }),
            ToPeer::Raised {
                flag,
                value,
                written,
            } => self.raised(from, flag, value, &written, view),
            ToPeer::Add { counter, value } => self.coordinate(from, |coordinator, out| {
                coordinator.add(from, counter, value, out);
                Ok(())
            }),
            ToPeer::Added { counter: _, before } => self.added(from, before),
            ToPeer::Leave => {
                self.left |= 1 << from.0;
                Ok(())
            }
            ToPeer::GiveUp => Err(Error::GivenUp(from)),
        }
    }

    /// Lets the coordinator answer, if it is here.
    fn coordinate(
        &mut self,
        from: Rank,
        ask: impl FnOnce(&mut Coordinator, &mut Vec<(Rank, ToPeer)>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let coordinator = self
            .coordinator
            .as_mut()
            .ok_or(Error::Violation(from, "what the coordinator answers"))?;
        let mut answers = Vec::new();
        ask(coordinator, &mut answers)?;
        for (rank, message) in answers {
            self.tell(rank, message);
        }
        Ok(())
    }

    fn tell(&mut self, rank: Rank, message: ToPeer) {
        if rank == self.rank {
            self.inbox.push_back(message);
        } else {
            self.out.push_back(Command::Tell(rank, message));
        }
    }

    /// What is known of a page that a message of `from` is about.
    fn entry(&self, from: Rank, page: PageNumber) -> Result<regions::Entry, Error> {
        let entry = self.regions.get(page);
        entry.ok_or(Error::Violation(from, "a page of no weak region"))
    }

    fn set_state(&mut self, page: PageNumber, state: State) {
        if let Some(entry) = self.regions.get_mut(page) {
            entry.state = state;
        }
    }
}
