//! The succession of a team's recovery lines, as a station's engine knows it: whether one is under way, and
//! what the next one adds to.
//!
//! ```text
//!   go_on_from ─► Changed(start) ── a barrier is a cut ──► running ──► in the heap as n: Changed(n)
//!                      ▲                                    │
//!                      └── the same, next time              └──► of no line: All(start)
//! ```
//!
//! **Invariants**
//! 1. A station wishes for no line while one is under way.
//! 2. The next line leaves out only what is in the line before, or, when that one was given up, in the line
//!    that the team went on from.
//! 3. A line ends once. Whoever hears late of one that the team's next cut has overtaken knows no more of
//!    the next one than before.

use plurix_wire::CommitNumber;
use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::Cut;
use plurix_wire::message::recovery_line::{Basis, LineState, Marks};

use super::{Boundary, Job};

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Succession {
    /// What the page server calls the team.
    formation: u64,
    /// The line that the team went on from.
    start: CommitNumber,
    /// What the next one adds to.
    basis: Basis,
    /// The one under way.
    running: Option<Cut>,
    /// The phase behind the barrier that workers are at, or have left.
    phase: u64,
}

impl Default for Succession {
    fn default() -> Self {
        Self {
            formation: 0,
            start: CommitNumber(0),
            basis: Basis::Changed(CommitNumber(0)),
            running: None,
            phase: 0,
        }
    }
}

impl Succession {
    /// The page server has named the team, which begins.
    pub fn begin_formation(&mut self, formation: u64) {
        self.formation = formation;
    }

    /// The team goes on from a line; zero stands for none.
    pub fn go_on_from(&mut self, start: CommitNumber) {
        self.start = start;
        self.basis = Basis::Changed(start);
    }

    /// What the barrier is behind which this phase begins, as far as this station has a say: a cut if it
    /// wishes for a line, and none is under way.
    pub fn boundary(&mut self, phase: u64, wishes: bool) -> Boundary {
        self.phase = phase;
        if wishes && !self.is_running() {
            Boundary::Cut(self.basis)
        } else {
            Boundary::Phase
        }
    }

    /// The phase of the last [`boundary`](Self::boundary).
    #[must_use]
    pub fn phase(&self) -> u64 {
        self.phase
    }

    /// Whether a line is under way.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Pages are wanted that the team's line has.
    #[must_use]
    pub fn load(&self, run: PageRun) -> Job {
        Job::Load {
            line: self.start,
            run,
        }
    }

    /// A barrier that is a cut has opened.
    #[must_use]
    pub fn begin(&mut self, cut: Cut, marks: Option<Marks>) -> Job {
        self.running = Some(cut);
        Job::HandOver {
            formation: self.formation,
            cut,
            state: LineState {
                phase: self.phase,
                marks: marks.unwrap_or_default(),
            },
        }
    }

    /// The line of this cut is in the heap as this commit, or nowhere. Nothing changes unless it is the one
    /// under way.
    pub fn end(&mut self, cut: Cut, number: Option<CommitNumber>) {
        if self.running.take_if(|running| *running == cut).is_none() {
            return;
        }
        self.basis = match number {
            Some(number) => Basis::Changed(number),
            None if canary::strikes(Canary::ForgetLostLine) => self.basis,
            None => Basis::All(self.start),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: CommitNumber = CommitNumber(5);

    #[test]
    fn a_line_adds_to_the_one_before_or_else_to_that_which_the_team_went_on_from() {
        let mut lines = Succession::default();
        let first = Basis::Changed(CommitNumber(0));
        assert_eq!(lines.boundary(1, true), Boundary::Cut(first));
        lines.go_on_from(START);
        let mut next = |ended| {
            let boundary = lines.boundary(1, true);
            let Boundary::Cut(basis) = boundary else {
                panic!("no line is under way: {boundary:?}");
            };
            let cut = Cut { ordinal: 1, basis };
            let _job = lines.begin(cut, None);
            assert!(lines.is_running());
            assert_eq!(lines.boundary(2, true), Boundary::Phase, "one is under way");
            lines.end(cut, ended);
            basis
        };
        assert_eq!(next(Some(CommitNumber(7))), Basis::Changed(START));
        assert_eq!(next(None), Basis::Changed(CommitNumber(7)));
        assert_eq!(next(None), Basis::All(START));
        assert_eq!(next(Some(CommitNumber(8))), Basis::All(START));
        assert_eq!(next(None), Basis::Changed(CommitNumber(8)));
    }

    #[test]
    fn who_hears_late_of_a_line_ends_none_that_was_begun_since() {
        let mut lines = Succession::default();
        lines.go_on_from(START);
        let cut = |ordinal, basis| Cut { ordinal, basis };
        let newest = CommitNumber(7);
        let first = cut(1, Basis::Changed(START));
        let second = cut(2, Basis::Changed(newest));
        let _job = lines.begin(first, None);
        // The first station has heard of the first line already.
        let _job = lines.begin(second, None);
        for late in [Some(newest), None] {
            lines.end(first, late);
            assert!(lines.is_running(), "the second one has not ended");
        }
        lines.end(second, Some(CommitNumber(8)));
        assert!(!lines.is_running());
        lines.end(second, None);
        let next = Basis::Changed(CommitNumber(8));
        assert_eq!(lines.boundary(3, true), Boundary::Cut(next), "it ends once");
    }

    #[test]
    fn a_barrier_that_nobody_wishes_to_be_a_cut_ends_a_phase() {
        let mut lines = Succession::default();
        assert_eq!(lines.boundary(3, false), Boundary::Phase);
    }

    #[test]
    fn jobs_say_which_team_and_line_they_are_of() {
        let mut lines = Succession::default();
        lines.begin_formation(9);
        lines.go_on_from(START);
        let run = PageRun::from(plurix_wire::PageNumber(3));
        assert_eq!(lines.load(run), Job::Load { line: START, run });
        let Boundary::Cut(basis) = lines.boundary(4, true) else {
            panic!("no line is under way");
        };
        let cut = Cut { ordinal: 1, basis };
        let state = LineState {
            phase: 4,
            marks: Marks::default(),
        };
        let job = Job::HandOver {
            formation: 9,
            cut,
            state,
        };
        assert_eq!(lines.begin(cut, None), job);
    }
}
