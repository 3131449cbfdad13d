//! Checkpoints, as the leader sees them: the cut is a commit number, and nobody stops for it.
//!
//! ```text
//!            due, or asked for                    all collected           on disk
//!   waiting ──────────────────▶ collecting ──────────────────▶ writing ───────────▶ waiting
//!      ▲     the cut: changed        │ a page about to change     │ failed
//!      │     pages are frozen        │ is copied first            ▼
//!      └──────────────────────────────────────────── all frozen pages count as changed again
//! ```
//!
//! The pages changed since the last cut are collected in ascending order, a few at a time, so that
//! no turn of the loop takes long and the disk is not flooded. A page that a commit is about to change
//! before its turn has come is set aside as it is: its bytes are shared with the image being
//! written, so the commit changes a copy (copy on write, as the concurrent checkpoint of Li, Naughton
//! and Plank 1990, but by software and without stopping anybody).
//!
//! **Invariant**: what is collected for a page is its bytes at the cut.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::ToStation;
use plurix_wire::record::Stamp;
use plurix_wire::{CommitNumber, PageBytes, PageNumber};

use super::{Command, Leader};
use crate::{ConnectionId, Span, Time};

/// While pages are collected at a pace, the next ones are due after so long, or when there are so many:
/// to hand one over costs its driver more than the page.
const STEP: Span = Span::from_millis(2);
const STEP_PAGES: u64 = 128;
/// How long a disk is left alone that had no room for a checkpoint.
const RETRY_AFTER: Span = Span::from_millis(1_000);
/// Pages set aside before their turn, beyond which the pace is given up: 64 MiB.
const SAVED_MAX: u64 = 16 << 10;

/// How the pages of a checkpoint are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// Nobody commits until it is on disk: the driver does nothing else.
    Blocking,
    /// Nobody waits: pages about to change are copied first.
    #[default]
    NonBlocking,
    /// Nobody waits, and none is collected: the store folds the log into pages.
    Log,
}

/// When checkpoints are taken, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// How.
    pub strategy: Strategy,
    /// From one cut to the next.
    pub every: Span,
    /// A checkpoint is also due when so many bytes of pages have changed.
    pub changed_bytes: u64,
}

/// A page as of the cut.
pub type CollectedPage = (PageNumber, Arc<PageBytes>);

/// How the last checkpoint began, and how far it is.
#[derive(Debug, Clone)]
pub(super) struct Checkpointing {
    pub(super) stage: Stage,
    /// The cut of the newest checkpoint on disk.
    pub(super) durable: Stamp,
    /// When the last one began or failed.
    last: Time,
    /// When the next pages are due.
    step: Time,
    /// One is to begin as soon as none runs.
    wanted: bool,
    /// Who waits for the next one to begin,
    asked: Vec<ConnectionId>,
    /// and who for the running one.
    awaited: Vec<ConnectionId>,
    /// After a failure nobody but a person asks for another one before this.
    retry: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Collecting(Collection),
    Writing { cut: Stamp },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Collection {
    cut: Stamp,
    strategy: Strategy,
    begun: Time,
    /// The pages are spread over this span; none for as fast as can be.
    spread: Span,
    /// Frozen pages in all.
    pages: u64,
}

/// Times are left out, as of the whole leader.
impl Hash for Checkpointing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            stage,
            durable,
            last: _,
            step: _,
            wanted,
            asked,
            awaited,
            retry: _,
        } = self;
        (durable, wanted, asked, awaited).hash(state);
        match stage {
            Stage::Waiting => 0.hash(state),
            Stage::Collecting(collection) => (1, collection.cut, collection.pages).hash(state),
            Stage::Writing { cut } => (2, cut).hash(state),
        }
    }
}

impl Checkpointing {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Waiting,
            durable: Stamp::default(),
            last: Time(0),
            step: Time(0),
            wanted: false,
            asked: Vec::new(),
            awaited: Vec::new(),
            retry: Time(0),
        }
    }

    /// The newest checkpoint on disk was cut at `stamp`.
    pub(super) fn start(&mut self, now: Time, stamp: Stamp) {
        (self.durable, self.last) = (stamp, now);
    }
}

impl Leader {
    /// Takes a checkpoint now, or as soon as the running one is done.
    pub(super) fn want_checkpoint(&mut self, now: Time) {
        self.checkpointing.wanted = true;
        self.checkpoint_if_due(now);
    }

    /// Somebody waits for a checkpoint of everything up to now: it may be there already, or run.
    pub(super) fn ask_checkpoint(&mut self, now: Time, connection: ConnectionId) {
        let checkpointing = &mut self.checkpointing;
        let running = match checkpointing.stage {
            Stage::Waiting => None,
            Stage::Collecting(Collection { cut, .. }) | Stage::Writing { cut } => Some(cut),
        };
        let has_one = checkpointing.durable != Stamp::default();
        if running.is_none() && has_one && checkpointing.durable.number == self.number {
            self.commands
                .push_back(Command::SendCheckpoint { connection });
            return;
        }
        let is_running = running.is_some_and(|cut| cut.number == self.number);
        let waiting = match is_running {
            true => &mut checkpointing.awaited,
            false => &mut checkpointing.asked,
        };
        if !waiting.contains(&connection) {
            waiting.push(connection);
        }
        self.hurry_checkpoint();
        if !is_running {
            self.want_checkpoint(now);
        }
    }

    /// Whoever waited on this connection does so no more.
    pub(super) fn forget_asker(&mut self, connection: ConnectionId) {
        let Checkpointing { asked, awaited, .. } = &mut self.checkpointing;
        asked.retain(|asker| *asker != connection);
        awaited.retain(|asker| *asker != connection);
    }

    /// Nobody waits any more; answers who did.
    pub(super) fn forget_askers(&mut self) -> Vec<ConnectionId> {
        let mut askers = std::mem::take(&mut self.checkpointing.awaited);
        askers.append(&mut self.checkpointing.asked);
        askers
    }

    /// Drops pages from memory if there are too many. Those that changed can go after a checkpoint.
    pub(super) fn relieve(&mut self, now: Time) {
        if !self.pages.is_crowded() {
            return;
        }
        self.pages.evict(self.checkpointing.durable.number);
        let helps = self.pages.changed() > 0 && !self.is_checkpointing();
        if self.pages.is_crowded() && helps && now >= self.checkpointing.retry {
            self.want_checkpoint(now);
        }
    }

    /// Begins a checkpoint if it is time.
    pub(super) fn checkpoint_if_due(&mut self, now: Time) {
        if self.checkpointing.stage != Stage::Waiting || self.stopping {
            return;
        }
        let wanted = std::mem::take(&mut self.checkpointing.wanted);
        let scheduled = self.settings.checkpoint;
        let is_due = scheduled.is_some_and(|settings| {
            let by_time = now.since(self.checkpointing.last) >= settings.every;
            let changed = self.pages.changed() * plurix_wire::PAGE_BYTES as u64;
            self.stamp().number > self.checkpointing.durable.number
                && (by_time || changed >= settings.changed_bytes)
        });
        if wanted || is_due {
            let strategy = scheduled.map(|settings| settings.strategy);
            // What a recovery line wrote is not in the log.
            let in_log = self.recovery_lines.last() <= self.checkpointing.durable.number
                || canary::strikes(Canary::LineFromLog);
            let strategy = strategy.filter(|strategy| *strategy != Strategy::Log || in_log);
            let strategy = strategy.unwrap_or_default();
            let spread = match scheduled {
                // Done long before the next one is due, be it by time or because as much has changed
                // again.
                Some(settings) if !wanted => {
                    let since_last = now.since(self.checkpointing.last);
                    Span(since_last.min(settings.every).0 / 2)
                }
                _ => Span(0),
            };
            self.begin_checkpoint(now, strategy, spread);
        }
    }

    fn begin_checkpoint(&mut self, now: Time, strategy: Strategy, spread: Span) {
        let cut = self.stamp();
        let pages = self.pages.freeze(strategy != Strategy::Log);
        self.checkpointing.last = now;
        debug_assert!(self.checkpointing.awaited.is_empty(), "none is running");
        self.checkpointing.awaited = std::mem::take(&mut self.checkpointing.asked);
        self.checkpointing.stage = Stage::Collecting(Collection {
            cut,
            strategy,
            begun: now,
            spread,
            pages,
        });
        let state = self.encode_state();
        self.commands.push_back(Command::BeginCheckpoint {
            cut,
            state,
            strategy,
        });
    }

    /// At most `room` pages of the running checkpoint, and whether these are the last ones; `None`
    /// if no checkpoint is collecting, or none are due. To be asked for when
    /// [`next_timeout`](Self::next_timeout) says, and whenever the store takes more.
    pub fn collect(&mut self, now: Time, room: usize) -> Option<(Vec<CollectedPage>, bool)> {
        let Stage::Collecting(collection) = self.checkpointing.stage else {
            return None;
        };
        let due = collection.due(now);
        let saved = self.pages.saved() as u64;
        let collected = collection.pages - self.pages.left_to_collect() - saved;
        let pace = match self.pages.is_overcrowded() {
            true => u64::MAX,
            false => (due - collected.min(due)).max(saved.saturating_sub(SAVED_MAX)),
        };
        if now < self.checkpointing.step && pace < STEP_PAGES && due < collection.pages {
            return None;
        }
        self.checkpointing.step = now + STEP;
        let (pages, is_last) = self.pages.collect(pace.min(room as u64) as usize);
        if is_last {
            let cut = collection.cut;
            self.checkpointing.stage = Stage::Writing { cut };
        }
        Some((pages, is_last))
    }

    /// The running checkpoint is on disk.
    pub(super) fn checkpointed(&mut self, now: Time) {
        let Stage::Writing { cut } = self.checkpointing.stage else {
            unreachable!("a checkpoint is on disk after its last page was collected");
        };
        self.checkpointing.stage = Stage::Waiting;
        self.checkpointing.durable = cut;
        self.pages.stored(cut.number);
        for connection in std::mem::take(&mut self.checkpointing.awaited) {
            self.commands
                .push_back(Command::SendCheckpoint { connection });
        }
        self.checkpoint_if_due(now);
    }

    /// The running checkpoint could not be written.
    pub(super) fn checkpoint_failed(&mut self, now: Time, why: &str) {
        for connection in std::mem::take(&mut self.checkpointing.awaited) {
            self.send(connection, ToStation::Checkpointed(Err(why.to_owned())));
        }
        self.checkpointing.stage = Stage::Waiting;
        self.checkpointing.last = now;
        self.checkpointing.retry = now + RETRY_AFTER;
        self.pages.thaw();
    }

    /// When [`collect`](Self::collect) or the next checkpoint is due.
    pub(super) fn checkpoint_due(&self) -> Option<Time> {
        match self.checkpointing.stage {
            Stage::Collecting(collection) if collection.spread > Span(0) => {
                Some(self.checkpointing.step)
            }
            Stage::Collecting(_) | Stage::Writing { .. } => None,
            Stage::Waiting => {
                let settings = self.settings.checkpoint?;
                let has_changed = self.stamp().number > self.checkpointing.durable.number;
                has_changed.then(|| self.checkpointing.last + settings.every)
            }
        }
    }

    /// Takes a last checkpoint as fast as can be, if the heap changed since the newest one and
    /// checkpoints are taken at all; answers whether one begins.
    pub fn checkpoint_before_end(&mut self, now: Time) -> bool {
        let has_changed = self.number > self.checkpointing.durable.number;
        let Some(settings) = self.settings.checkpoint.filter(|_| has_changed) else {
            return false;
        };
        if self.checkpointing.stage != Stage::Waiting {
            return false;
        }
        self.begin_checkpoint(now, settings.strategy, Span(0));
        true
    }

    /// Somebody waits for the running checkpoint: its pages are collected as fast as can be.
    pub fn hurry_checkpoint(&mut self) {
        if let Stage::Collecting(collection) = &mut self.checkpointing.stage {
            collection.spread = Span(0);
        }
    }

    /// Whether so many pages wait in memory for the running checkpoint that all else must wait.
    #[must_use]
    pub fn must_wait(&self) -> bool {
        self.is_checkpointing() && self.pages.is_overcrowded()
    }

    /// The stamp of the newest record.
    fn stamp(&self) -> Stamp {
        Stamp {
            generation: self.generation,
            term: self.term,
            number: self.number,
        }
    }

    /// The newest commit that a checkpoint on disk holds.
    #[must_use]
    pub fn checkpointed_through(&self) -> CommitNumber {
        self.checkpointing.durable.number
    }

    /// Whether a checkpoint is being taken.
    #[must_use]
    pub fn is_checkpointing(&self) -> bool {
        self.checkpointing.stage != Stage::Waiting
    }
}

impl Collection {
    /// How many pages should be collected by now.
    fn due(&self, now: Time) -> u64 {
        let elapsed = now.since(self.begun).0;
        if elapsed >= self.spread.0 || self.strategy == Strategy::Blocking {
            return self.pages;
        }
        let share = u128::from(self.pages) * u128::from(elapsed) / u128::from(self.spread.0);
        share as u64
    }
}
