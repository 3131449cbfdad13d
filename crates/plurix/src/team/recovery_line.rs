//! When a team's memory becomes a recovery line, and what the engine knows of the one under way.

use std::time::{Duration, Instant};

use plurix_protocol::team::Boundary;
use plurix_wire::CommitNumber;
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::Cut;
use plurix_wire::message::recovery_line::{Basis, LineState, Marks};

use super::keeper::{Job, Mailbox};
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
    /// The one that the team went on from.
    start: CommitNumber,
    /// What the page server calls the team.
    formation: u64,
    basis: Basis,
    running: Option<Cut>,
    /// The phase that the workers come to behind the barrier that they are at.
    pub(super) phase: u64,
    /// Lines that were taken.
    pub(super) taken: u64,
    /// Pages of this station in them.
    pub(super) pages: u64,
    offered: u64,
}

impl Lines {
    pub(super) fn new(options: Option<LineOptions>, mailbox: Mailbox) -> Self {
        Self {
            options,
            mailbox,
            last: Instant::now(),
            start: CommitNumber(0),
            formation: 0,
            basis: Basis::Changed(CommitNumber(0)),
            running: None,
            phase: 0,
            taken: 0,
            pages: 0,
            offered: 0,
        }
    }

    /// The page server has named the team, which begins.
    pub(super) fn begin_formation(&mut self, formation: u64) {
        self.formation = formation;
    }

    /// The team goes on from a line.
    pub(super) fn go_on_from(&mut self, start: CommitNumber) {
        self.start = start;
        self.basis = Basis::Changed(start);
        self.last = Instant::now();
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// What the barrier behind a phase is, as far as this station has a say. The first one decides; the
    /// others do not ask the clock at each barrier.
    pub(super) fn boundary(&self, decides: bool) -> Boundary {
        let is_due = |options: LineOptions| self.last.elapsed() >= options.every;
        if decides && self.running.is_none() && self.options.is_some_and(is_due) {
            Boundary::Cut(self.basis)
        } else {
            Boundary::Phase
        }
    }

    /// Whether workers are to wait for the line under way.
    pub(super) fn holds_up(&self) -> bool {
        self.running.is_some() && self.options.is_some_and(LineOptions::is_blocking)
    }

    /// Pages are wanted that the team's line has.
    pub(super) fn load(&self, run: PageRun) {
        let line = self.start;
        self.mailbox.leave(Job::Load { line, run });
    }

    /// A barrier that is a cut has opened.
    pub(super) fn begin(&mut self, cut: Cut, pages: u64, marks: Option<Marks>) {
        self.last = Instant::now();
        self.running = Some(cut);
        self.offered = pages;
        let state = LineState {
            phase: self.phase,
            marks: marks.unwrap_or_default(),
        };
        let formation = self.formation;
        self.mailbox.leave(Job::HandOver {
            formation,
            cut,
            state,
        });
    }

    /// The line under way is in the heap as this commit; or nowhere.
    pub(super) fn end(&mut self, number: Option<CommitNumber>) {
        self.running = None;
        self.basis = match number {
            Some(number) => Basis::Changed(number),
            None => Basis::All(self.start),
        };
        if number.is_some() {
            self.taken += 1;
            self.pages += self.offered;
        }
    }
}
