//! Bugs planted on purpose, each by one condition right beside the rule that it breaks, to see that
//! the oracles notice: mutation testing (DeMillo, Lipton, Sayward, "Hints on test data selection",
//! Computer 1978), with mutants chosen by hand among the mistakes that a maintainer might make.
//!
//! In a normal build [`strikes`] is the constant `false` and the conditions are gone. A build with
//! `--cfg plurix_canary` can plant one bug at a time; `cargo xtask canaries` tries them all. This is
//! the lowest crate, so that every other one reaches it.

/// Declares the canaries: what each breaks, its name, and how seldom it strikes.
macro_rules! canaries {
    ($($(#[$what:meta])+ $canary:ident = $name:literal, one in $one_in:literal;)+) => {
        /// A bug to plant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Canary {
            $($(#[$what])+ $canary,)+
        }

        impl Canary {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$canary),+];

            /// The name by which a command knows it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$canary => $name,)+
                }
            }

            /// A planted bug strikes at one of so many opportunities: a bug that always strikes is
            /// found by any test.
            #[must_use]
            pub const fn one_in(self) -> u64 {
                match self {
                    $(Self::$canary => $one_in,)+
                }
            }
        }
    };
}

canaries! {
    /// The leader leaves one line read out of the validation.
    SkipReadLine = "skip-read-line", one in 20;
    /// A line opened for writing and left as it was is not among the lines read.
    DropSilentStores = "drop-silent-stores", one in 3;
    /// A station claims the newest snapshot that has arrived, not the one that it read.
    EarlySnapshot = "early-snapshot", one in 20;
    /// A page missed is brought to a queued commit, beneath the running transaction.
    ApplyBeneath = "apply-beneath", one in 20;
    /// A station takes a group of batches for finished before the last one has come.
    ApplyUnfinished = "apply-unfinished", one in 20;
    /// The history serves a page newer than the snapshot that it is said to be at.
    ServeNewer = "serve-newer", one in 20;
    /// In durable mode, a commit counts as logged before it is on disk.
    AnswerBeforeLog = "answer-before-log", one in 20;
    /// A station is told that the newest commit is durable before it is on disk.
    EarlyDurable = "early-durable", one in 20;
    /// After a restart that lost answered commits no generation begins: their numbers are used anew.
    ReuseNumber = "reuse-number", one in 3;
    /// The leader serves a page and forgets to write down who holds it.
    ForgetHolder = "forget-holder", one in 20;
    /// The history keeps everything.
    KeepHistory = "keep-history", one in 1;
    /// A page is served as of a snapshot that does not exist yet.
    TrustSnapshot = "trust-snapshot", one in 1;
    /// The leader declares a member dead, but still hears it when it comes back.
    KeepDeadLife = "keep-dead-life", one in 3;
    /// A transaction that began in a life that was dropped goes on in the next one.
    AcceptOldLife = "accept-old-life", one in 1;
    /// A station that has seen commits which a new generation took back is let in with its pages.
    StaleGeneration = "stale-generation", one in 1;
    /// A station whose heap was rolled back keeps its pages in its next life.
    RollbackForgetsCache = "rollback-forgets-cache", one in 1;
    /// Own bytes that were set aside, while changes of others went beneath, are not put back.
    LoseMerge = "lose-merge", one in 20;
    /// A backlog that collapses loses a line.
    LoseCollapsedLine = "lose-collapsed-line", one in 20;
    /// A batch that is being collapsed at its station keeps changes older than a page served later.
    KeepOldChanges = "keep-old-changes", one in 1;
    /// The item that fills a batch is lost.
    DropTail = "drop-tail", one in 20;
    /// A batch says that it completes the stream while more is queued.
    EarlyThrough = "early-through", one in 20;
    /// A commit that was refused is answered as if it were in the heap.
    AcceptRefused = "accept-refused", one in 20;
    /// A request of a pipeline is ordered although the one that it follows was refused.
    FollowRefused = "follow-refused", one in 3;
    /// Own commits count as seen by those that follow although somebody else wrote the line before.
    SeeTooMuch = "see-too-much", one in 1;
    /// A transaction begins on unanswered changes although somebody else has changed their lines.
    IgnoreClash = "ignore-clash", one in 1;
    /// What others change goes over a station's unanswered changes, not beneath them.
    ApplyOver = "apply-over", one in 1;
    /// A commit sent again is answered with the newest number, not its own.
    WrongNumber = "wrong-number", one in 1;
    /// The outcome of a commit is not restored from the log, so the same id can commit again.
    CommitTwice = "commit-twice", one in 3;
    /// The answer to an older question for the newest snapshot is taken for that to the last one.
    StaleLatest = "stale-latest", one in 2;
    /// A station that begins to wait for a change passes over those that are queued already.
    LoseWakeUp = "lose-wake-up", one in 1;
    /// Commits of others do not wait for the holder of the token.
    SkipToken = "skip-token", one in 1;
    /// A record of the log is believed although its checksum fails.
    IgnoreChecksum = "ignore-checksum", one in 1;
    /// An abort leaves a line as the transaction changed it.
    ForgetUndo = "forget-undo", one in 20;
    /// An activity's results are put into the heap although its claim has passed to somebody else.
    RunTwice = "run-twice", one in 1;
    /// An entry of an outbox is delivered before it is durable.
    DeliverEarly = "deliver-early", one in 1;
    /// A block is handed out and not marked, so that it is handed out again.
    DoubleAlloc = "double-alloc", one in 20;
    /// A page about to change is not copied although a checkpoint has yet to collect it.
    ForgetCopy = "forget-copy", one in 20;
    /// A checkpoint is named in the manifest before its image is on disk.
    ManifestBeforeFsync = "manifest-before-fsync", one in 3;
    /// The log behind the older of the two newest checkpoints is removed.
    DropLogEarly = "drop-log-early", one in 1;
    /// A home acknowledges the changes of a page without making them.
    LoseDiff = "lose-diff", one in 20;
    /// A station does not tell of the last page that it wrote.
    DropNotice = "drop-notice", one in 10;
    /// A lock is granted although somebody has it.
    GrantTwice = "grant-twice", one in 5;
    /// A barrier is released although somebody has not come.
    ReleaseEarly = "release-early", one in 10;
    /// A barrier opens although changes are still under way.
    OpenEarly = "open-early", one in 5;
    /// A page is opened to stores before its twin is kept.
    LateTwin = "late-twin", one in 20;
    /// A member does not hear that a page has moved.
    StaleHome = "stale-home", one in 5;
    /// A home forgets who has a copy.
    ForgetReader = "forget-reader", one in 20;
    /// A home answers a fetch of an interval that has not begun there.
    ServeEarly = "serve-early", one in 2;
    /// A page that a recovery line has yet to collect changes, and is not copied before.
    ForgetLineCopy = "forget-line-copy", one in 5;
    /// What others change behind a barrier is in the line that is cut there.
    CutLate = "cut-late", one in 1;
    /// A page that has moved here is not among those that have changed since the last line.
    ForgetMoved = "forget-moved", one in 5;
    /// A station comes to a barrier while a flag that it has raised is still on its way.
    LateFlag = "late-flag", one in 1;
    /// Parts of a team that has ended are taken as a line, although another one has begun.
    OldFormation = "old-formation", one in 1;
    /// Pages that changed since one line are added to another one.
    OtherBasis = "other-basis", one in 1;
    /// The leader forgets which line was given up, so that others wait for its missing part.
    ForgetGivenUp = "forget-given-up", one in 1;
    /// A checkpoint made of the log alone says that it has a recovery line.
    LineFromLog = "line-from-log", one in 1;
    /// A part that was begun on a connection that broke is gone on with on the next one.
    ResumePart = "resume-part", one in 1;
    /// What was asked of a line and has not come is not asked again on the next connection.
    ForgetLoad = "forget-load", one in 1;
    /// Nobody is told that a part which broke off does not come.
    ForgetWithdrawal = "forget-withdrawal", one in 1;
    /// A line that follows one that was given up leaves out what was in that.
    ForgetLostLine = "forget-lost-line", one in 1;
}

impl Canary {
    /// Whether it breaks what stations of one team have of each other, or their recovery lines.
    #[must_use]
    pub const fn is_of_teams(self) -> bool {
        matches!(
            self,
            Self::LoseDiff
                | Self::DropNotice
                | Self::GrantTwice
                | Self::ReleaseEarly
                | Self::OpenEarly
                | Self::LateTwin
                | Self::StaleHome
                | Self::ForgetReader
                | Self::ServeEarly
                | Self::ForgetLineCopy
                | Self::CutLate
                | Self::ForgetMoved
                | Self::LateFlag
                | Self::OldFormation
                | Self::OtherBasis
                | Self::ForgetGivenUp
                | Self::LineFromLog
                | Self::ResumePart
                | Self::ForgetLoad
                | Self::ForgetWithdrawal
                | Self::ForgetLostLine
        )
    }

    /// The canary called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|canary| canary.name() == name)
    }
}

/// Whether canaries can be planted in this build.
pub const PLANTABLE: bool = cfg!(plurix_canary);

/// Whether the bug is planted and strikes at this opportunity.
#[cfg(not(plurix_canary))]
#[inline(always)]
#[must_use]
pub const fn strikes(_canary: Canary) -> bool {
    false
}

#[cfg(plurix_canary)]
pub use planted::{Planted, plant, strikes};

#[cfg(plurix_canary)]
mod planted {
    use std::cell::Cell;
    use std::marker::PhantomData;

    use super::Canary;

    thread_local! {
        /// The bug planted on this thread, and the state of its generator.
        static PLANTED: Cell<Option<(Canary, u64)>> = const { Cell::new(None) };
    }

    /// A bug is planted on this thread for as long as this lives.
    #[derive(Debug)]
    #[must_use]
    pub struct Planted(PhantomData<*const ()>);

    /// Plants a bug on this thread; `seed` decides at which opportunities it strikes.
    pub fn plant(canary: Canary, seed: u64) -> Planted {
        PLANTED.set(Some((canary, seed)));
        Planted(PhantomData)
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }

    /// Whether the bug is planted and strikes at this opportunity.
    #[must_use]
    pub fn strikes(canary: Canary) -> bool {
        let Some((_, state)) = PLANTED.get().filter(|(planted, _)| *planted == canary) else {
            return false;
        };
        let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        PLANTED.set(Some((canary, state)));
        mix(state).is_multiple_of(canary.one_in())
    }

    /// The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
    fn mix(state: u64) -> u64 {
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_canary_has_a_name_of_its_own() {
        for &canary in Canary::ALL {
            assert_eq!(Canary::named(canary.name()), Some(canary));
        }
    }

    #[cfg(plurix_canary)]
    #[test]
    fn only_what_is_planted_strikes_and_the_same_each_time() {
        let hits = || {
            let _planted = plant(Canary::SkipReadLine, 7);
            assert!((0..1000).all(|_| !strikes(Canary::DropTail)));
            let hits = (0..1000).map(|_| strikes(Canary::SkipReadLine));
            hits.collect::<Vec<_>>()
        };
        let first = hits();
        assert!((20..100).contains(&first.iter().filter(|hit| **hit).count()));
        assert_eq!(first, hits());
        assert!(
            (0..1000).all(|_| !strikes(Canary::SkipReadLine)),
            "uprooted"
        );
    }
}
