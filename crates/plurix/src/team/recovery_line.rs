//! When a team's memory becomes a recovery line, and what the engine knows of the one under way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plurix_protocol::team::{Boundary, Succession};
use plurix_wire::CommitNumber;
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::Cut;
use plurix_wire::message::recovery_line::Marks;
use tracing::debug;

use super::keeper::Mailbox;
use crate::server::CheckpointStrategy;

/// When recovery lines are taken, and whether workers wait for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineOptions {
    /// From one line to the next, at least: a line is taken at the end of a phase.
    pub every: Duration,
    /// With [`CheckpointStrategy::Blocking`] workers wait until a line is on disk. Else they compute on.
    pub strategy: CheckpointStrategy,
}

impl LineOptions {
    /// Lines so often, for which nobody waits.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self {
            every,
            strategy: CheckpointStrategy::NonBlocking,
        }
    }

    /// Whether workers wait for lines.
    #[must_use]
    pub fn is_blocking(self) -> bool {
        self.strategy == CheckpointStrategy::Blocking
    }

    /// By another strategy.
    #[must_use]
    pub fn strategy(mut self, strategy: CheckpointStrategy) -> Self {
        self.strategy = strategy;
        self
    }
}

/// Recovery lines, as the engine sees them.
#[derive(Debug)]
pub(super) struct Lines {
    options: Option<LineOptions>,
    mailbox: Mailbox,
    /// When the last one was cut.
    last: Instant,
    succession: Succession,
    /// Lines that were taken.
    pub(super) taken: u64,
    /// Pages of this station in them.
    pub(super) pages: u64,
    /// Those of the lines that have not ended here, by their cuts. There are several if others have heard
    /// sooner that one ended.
    offered: BTreeMap<u32, u64>,
}

impl Lines {
    pub(super) fn new(options: Option<LineOptions>, mailbox: Mailbox) -> Self {
        Self {
            options,
            mailbox,
            last: Instant::now(),
            succession: Succession::default(),
            taken: 0,
            pages: 0,
            offered: BTreeMap::new(),
        }
    }

    /// The page server has named the team, which begins.
    pub(super) fn begin_formation(&mut self, formation: u64) {
        self.succession.begin_formation(formation);
    }

    /// The team goes on from a line.
    pub(super) fn go_on_from(&mut self, start: CommitNumber) {
        self.succession.go_on_from(start);
        self.last = Instant::now();
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// What the barrier is behind which this phase begins, as far as this station has a say. The first one
    /// decides; the others do not ask the clock at each barrier.
    pub(super) fn boundary(&mut self, phase: u64, decides: bool) -> Boundary {
        let is_due = |options: LineOptions| self.last.elapsed() >= options.every;
        let wishes = decides && self.options.is_some_and(is_due);
        self.succession.boundary(phase, wishes)
    }

    /// Whether workers are to wait for the line under way.
    pub(super) fn holds_up(&self) -> bool {
        self.succession.is_running() && self.options.is_some_and(LineOptions::is_blocking)
    }

    /// Pages are wanted that the team's line has.
    pub(super) fn load(&self, run: PageRun) {
        self.mailbox.leave(self.succession.load(run));
    }

    /// A barrier that is a cut has opened.
    pub(super) fn begin(&mut self, cut: Cut, pages: u64, marks: Option<Marks>) {
        self.last = Instant::now();
        self.offered.insert(cut.ordinal, pages);
        self.mailbox.leave(self.succession.begin(cut, marks));
    }

    /// The line of this cut is in the heap as this commit; or nowhere.
    pub(super) fn end(&mut self, cut: Cut, number: Option<CommitNumber>) {
        self.succession.end(cut, number);
        debug!(
            target: "plurix::team",
            ordinal = cut.ordinal,
            commit = number.map(|number| number.0),
            "a recovery line has ended"
        );
        let pages = self.offered.remove(&cut.ordinal);
        self.offered.retain(|ordinal, _| *ordinal > cut.ordinal);
        if let Some(pages) = pages.filter(|_| number.is_some()) {
            self.taken += 1;
            self.pages += pages;
        }
    }
}
