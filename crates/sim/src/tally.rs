//! What happened in a run, counted: enough to see at a glance whether the edges that the swarm is
//! after were reached at all.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

/// What happened, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Events of the simulation.
    pub events: u64,
    /// Transactions begun.
    pub attempts: u64,
    /// Commits that the leader appended to its log.
    pub commits: u64,
    /// Commits whose answer reached its program.
    pub answered: u64,
    /// Transactions that wrote nothing.
    pub read_only: u64,
    /// Transactions refused for a conflict.
    pub conflicts: u64,
    /// Transactions refused for want of room in the log.
    pub log_full: u64,
    /// Transactions that programs aborted.
    pub aborts: u64,
    /// Accesses to a missing page.
    pub misses: u64,
    /// Transactions run again because the history did not reach back.
    pub too_old: u64,
    /// Transactions that ended with their incarnation.
    pub lost: u64,
    /// Commits that nobody could tell the fate of.
    pub unknown: u64,
    /// Commits that programs gave up before they were answered.
    pub given_up: u64,
    /// Entries of an outbox that were delivered, each time.
    pub delivered: u64,
    /// Operations on collections that were committed, or only looked, and were not taken back.
    pub operations: u64,
    /// Faults of all kinds.
    pub faults: u64,
    /// Faults of each kind.
    pub struck: BTreeMap<&'static str, u64>,
    /// Transactions begun by each kind of script.
    pub scripts: BTreeMap<&'static str, u64>,
    /// Ends of a leader's process.
    pub leader_ends: u64,
    /// Crashes of stations.
    pub crashes: u64,
    /// Stations that ended in order.
    pub leaves: u64,
    /// Sessions refused because there were as many stations as may be.
    pub full: u64,
    /// Flipped bits of the log that a page server noticed.
    pub decay_noticed: u64,
    /// Flipped bits that changed nothing.
    pub decay_harmless: u64,
    /// What strangers said that the leader refused.
    pub strangers_refused: u64,
    /// Bytes sent over all connections.
    pub bytes: u64,
    /// Histories for which the black-box check found an order.
    pub explained: u64,
    /// Histories that the black-box check gave up, and which nothing is known of.
    pub undecided: u64,
    /// Histories that were not judged, because the heap went back.
    pub went_back: u64,
    /// How often each edge was reached.
    pub marks: BTreeMap<Mark, u64>,
}

impl Tally {
    pub(crate) fn mark(&mut self, mark: Mark) {
        *self.marks.entry(mark).or_default() += 1;
    }
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.events += other.events;
        self.attempts += other.attempts;
        self.commits += other.commits;
        self.answered += other.answered;
        self.read_only += other.read_only;
        self.conflicts += other.conflicts;
        self.log_full += other.log_full;
        self.aborts += other.aborts;
        self.misses += other.misses;
        self.too_old += other.too_old;
        self.lost += other.lost;
        self.unknown += other.unknown;
        self.given_up += other.given_up;
        self.delivered += other.delivered;
        self.operations += other.operations;
        self.faults += other.faults;
        self.leader_ends += other.leader_ends;
        self.crashes += other.crashes;
        self.leaves += other.leaves;
        self.full += other.full;
        self.decay_noticed += other.decay_noticed;
        self.decay_harmless += other.decay_harmless;
        self.strangers_refused += other.strangers_refused;
        self.bytes += other.bytes;
        self.explained += other.explained;
        self.undecided += other.undecided;
        self.went_back += other.went_back;
        add(&mut self.struck, &other.struck);
        add(&mut self.scripts, &other.scripts);
        add(&mut self.marks, &other.marks);
    }
}

fn add<K: Ord + Copy>(sum: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
    for (kind, count) in other {
        *sum.entry(*kind).or_default() += count;
    }
}

/// An edge of the protocol that a run should reach now and then. One that no seed reaches is not
/// tested, however many seeds pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// A batch brought whole lines, because the backlog of deltas had grown too long.
    BacklogCollapsed,
    /// A group did not fit into one batch.
    BatchSplit,
    /// A batch waited because the connection could take no more.
    WindowFull,
    /// A page was served as of a snapshot older than its newest bytes.
    OldPageServed,
    /// A transaction ran again because the history did not reach back to its snapshot.
    SnapshotTooOld,
    /// A station had as many pages as it may have, and gave some up.
    CacheFull,
    /// A transaction needed more pages than its station may have.
    CacheExceeded,
    /// A connection was lost, and the session went on over another one.
    SessionResumed,
    /// A commit was sent a second time.
    CommitRetried,
    /// A commit was sent a second time when the log had it already, and was answered as committed.
    RetryAnsweredFromOutcomes,
    /// A station learned that its incarnation was dropped.
    IncarnationUnknown,
    /// A station learned that commits it had seen were lost.
    RolledBack,
    /// A station was refused the number of one that is alive.
    NumberTaken,
    /// A station gave up a leader that was silent for too long.
    LeaderGivenUp,
    /// A leader found a torn record at the end of its log.
    TornLog,
    /// A leader began a generation because commits were lost.
    GenerationRaised,
    /// The heap went back to a checkpoint.
    WentBack,
    /// A commit was refused because the log was full.
    LogFull,
    /// There was not even room for the record of a member's coming or going.
    NoRoomForControl,
    /// A sync in the background was asked for, and told of.
    DurableOnRequest,
    /// An append or a sync failed, and the leader ended.
    LogFailed,
    /// A leader could not start because the disk was full or failing.
    LeaderCannotStart,
    /// A checkpoint was taken.
    CheckpointTaken,
    /// A checkpoint was not taken, for the disk was full or failed.
    CheckpointFailed,
    /// A page server started from a checkpoint.
    CheckpointRestored,
    /// Pages of an old image were carried into a new one.
    PagesCarried,
    /// A page of an image turned out to be damaged while the page server ran.
    ImageCondemned,
    /// A page moved to its sole writer.
    PageMoved,
    /// Changes were sent to a page's home.
    ChangesSent,
    /// A lock was wanted by somebody else.
    LockRevoked,
    /// A lock came with pages that others had written.
    GrantWithPages,
    /// What was stored without a lock was read by one who had learnt of it under a lock.
    AnnouncementHeeded,
    /// A worker went on because a flag was raised.
    FlagSeen,
    /// A page was asked for by one who had left a barrier, from one who had not.
    FetchBeforeRelease,
    /// A team lost a member, and another one began.
    TeamBeganAgain,
    /// A team went on from a recovery line.
    WentOnFromLine,
    /// All parts of a recovery line came together.
    LineTaken,
    /// A line of all pages was taken, although the page server had lost the one that the team went on from.
    LineOfItsOwn,
    /// A part of a recovery line was refused.
    LineRefused,
    /// The page server no longer had the line that a team went on from.
    LineLost,
    /// Pages of a recovery line were loaded.
    LinePagesLoaded,
    /// A data race was named.
    RaceNamed,
}

impl Mark {
    /// Every mark of a cluster.
    pub const ALL: [Self; 27] = [
        Self::BacklogCollapsed,
        Self::BatchSplit,
        Self::WindowFull,
        Self::OldPageServed,
        Self::SnapshotTooOld,
        Self::CacheFull,
        Self::CacheExceeded,
        Self::SessionResumed,
        Self::CommitRetried,
        Self::RetryAnsweredFromOutcomes,
        Self::IncarnationUnknown,
        Self::RolledBack,
        Self::NumberTaken,
        Self::LeaderGivenUp,
        Self::TornLog,
        Self::GenerationRaised,
        Self::WentBack,
        Self::LogFull,
        Self::NoRoomForControl,
        Self::DurableOnRequest,
        Self::LogFailed,
        Self::LeaderCannotStart,
        Self::CheckpointTaken,
        Self::CheckpointFailed,
        Self::CheckpointRestored,
        Self::PagesCarried,
        Self::ImageCondemned,
    ];

    /// Every mark of a team.
    pub const TEAM: [Self; 16] = [
        Self::PageMoved,
        Self::ChangesSent,
        Self::LockRevoked,
        Self::GrantWithPages,
        Self::AnnouncementHeeded,
        Self::FlagSeen,
        Self::FetchBeforeRelease,
        Self::TeamBeganAgain,
        Self::WentOnFromLine,
        Self::LineTaken,
        Self::LineOfItsOwn,
        Self::LineRefused,
        Self::LineLost,
        Self::LinePagesLoaded,
        Self::CheckpointTaken,
        Self::RaceNamed,
    ];

    /// Its name in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BacklogCollapsed => "backlog collapsed to lines",
            Self::BatchSplit => "group split over batches",
            Self::WindowFull => "connection full, batch waits",
            Self::OldPageServed => "page served as of the past",
            Self::SnapshotTooOld => "snapshot too old, run again",
            Self::CacheFull => "cache full, pages given up",
            Self::CacheExceeded => "transaction larger than the cache",
            Self::SessionResumed => "session resumed",
            Self::CommitRetried => "commit sent again",
            Self::RetryAnsweredFromOutcomes => "retry answered from outcomes",
            Self::IncarnationUnknown => "incarnation dropped",
            Self::RolledBack => "station rolled back",
            Self::NumberTaken => "number taken",
            Self::LeaderGivenUp => "silent leader given up",
            Self::TornLog => "torn end of the log",
            Self::GenerationRaised => "generation raised",
            Self::WentBack => "heap went back",
            Self::LogFull => "log full, commit refused",
            Self::NoRoomForControl => "no room for control records",
            Self::DurableOnRequest => "durable on request",
            Self::LogFailed => "log failed",
            Self::LeaderCannotStart => "leader cannot start",
            Self::CheckpointTaken => "checkpoint taken",
            Self::CheckpointFailed => "checkpoint not taken",
            Self::CheckpointRestored => "started from a checkpoint",
            Self::ImageCondemned => "damaged image found while running",
            Self::PagesCarried => "pages carried to a new image",
            Self::PageMoved => "page moved to its writer",
            Self::ChangesSent => "changes sent home",
            Self::LockRevoked => "lock revoked",
            Self::GrantWithPages => "lock came with pages",
            Self::AnnouncementHeeded => "announcement heeded",
            Self::FlagSeen => "flag seen",
            Self::FetchBeforeRelease => "page asked for too early",
            Self::TeamBeganAgain => "team began again",
            Self::WentOnFromLine => "team went on from a line",
            Self::LineTaken => "line taken",
            Self::LineOfItsOwn => "line taken that needs no other",
            Self::LineRefused => "part of a line refused",
            Self::LineLost => "line lost",
            Self::LinePagesLoaded => "pages of a line loaded",
            Self::RaceNamed => "race named",
        }
    }
}
