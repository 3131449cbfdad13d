//! Oracle: a recovery line is the memory of the team at one barrier, with its flags and counters, and a team
//! that lost a member goes on from the newest line that the page server still has.
//!
//! - what is collected of a page is what the model has of it at the barrier;
//! - when a line is taken, and when a page server starts from a checkpoint, the heap has all weak pages as
//!   they were at the barrier, and numbers of lines ascend;
//! - what is loaded of a line is that, too;
//! - the newest line is the last one that was taken and not lost with a page server.
//!
//! Source: a set of states, one of each process, is a recovery line if it is consistent: Randell, "System
//! structure for software fault tolerance", IEEE Transactions on Software Engineering SE-1(2), 1975.

use std::collections::BTreeMap;
use std::sync::Arc;

use plurix_wire::message::recovery_line::{LineState, Marks};
use plurix_wire::{CommitNumber, PAGE_BYTES, PageBytes, PageNumber, SyncId};

use super::super::script::Spot;
use super::counters::Counters;
use super::values::Values;
use crate::oracle::{Violation, demand};

const ORACLE: &str = "lines";

/// A cut: which life of the team, and which of it.
pub(in super::super) type CutId = (u64, u32);

/// What the oracles know at a barrier.
#[derive(Debug, Default)]
pub(in super::super) struct Snapshot {
    pub(in super::super) values: Values,
    pub(in super::super) counters: Counters,
    pub(in super::super) flags: BTreeMap<SyncId, u64>,
}

/// What a team begins from.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Start {
    pub(in super::super) number: CommitNumber,
    /// What the page server calls the team.
    pub(in super::super) formation: u64,
    /// The interval that follows.
    pub(in super::super) phase: usize,
    /// If there is a line at all.
    pub(in super::super) marks: Option<Marks>,
    pub(in super::super) snapshot: Arc<Snapshot>,
}

impl Start {
    /// A page, as it was found somewhere, must be as at the barrier.
    pub(in super::super) fn check(
        &self,
        page: PageNumber,
        bytes: Option<&PageBytes>,
        raced: Option<Spot>,
        place: &str,
    ) -> Result<(), Violation> {
        let what = format_args!("{place}, of line {}", self.number);
        self.snapshot.check(page, bytes, raced, &what)
    }
}

impl Snapshot {
    fn check(
        &self,
        page: PageNumber,
        bytes: Option<&PageBytes>,
        raced: Option<Spot>,
        place: &dyn std::fmt::Display,
    ) -> Result<(), Violation> {
        let mut expected = self.values.page(page);
        let found = bytes.unwrap_or(&[0; PAGE_BYTES]);
        if let Some(raced) = raced.filter(|spot| spot.page == page) {
            expected[usize::from(raced.at)] = found[usize::from(raced.at)];
        }
        let differs = (0..PAGE_BYTES).find(|at| found[*at] != expected[*at]);
        demand!(
            differs.is_none(),
            ORACLE,
            "{place}: page {page} has {} at {}, and had {} at the barrier",
            found[differs.unwrap_or_default()],
            differs.unwrap_or_default(),
            expected[differs.unwrap_or_default()]
        );
        Ok(())
    }
}

#[derive(Debug)]
struct Line {
    number: CommitNumber,
    phase: usize,
    snapshot: Arc<Snapshot>,
}

/// All lines that there were.
#[derive(Debug, Default)]
pub(in super::super) struct LineModel {
    /// The barrier that all have come to last.
    barrier: Arc<Snapshot>,
    cuts: BTreeMap<CutId, (usize, Arc<Snapshot>)>,
    /// Those that the page server has, ascending.
    taken: Vec<Line>,
    newest: CommitNumber,
}

impl LineModel {
    /// All workers have come to a barrier.
    pub(in super::super) fn barrier(&mut self, snapshot: Snapshot) {
        self.barrier = Arc::new(snapshot);
    }

    /// A station has left a barrier that is a cut, and all others are there or have left it, too.
    pub(in super::super) fn cut(&mut self, cut: CutId, phase: usize) {
        let barrier = &self.barrier;
        self.cuts
            .entry(cut)
            .or_insert_with(|| (phase, Arc::clone(barrier)));
    }

    /// A page is handed over.
    pub(in super::super) fn collected(
        &self,
        cut: CutId,
        page: PageNumber,
        bytes: Option<&PageBytes>,
        raced: Option<Spot>,
        station: usize,
    ) -> Result<(), Violation> {
        let place = format_args!("what station {station} hands over");
        match self.cuts.get(&cut) {
            Some((_, snapshot)) => snapshot.check(page, bytes, raced, &place),
            None => Ok(()),
        }
    }

    /// A line is in the heap.
    pub(in super::super) fn taken(
        &mut self,
        number: CommitNumber,
        cut: CutId,
    ) -> Result<(), Violation> {
        demand!(
            number > self.newest,
            ORACLE,
            "line {number} is taken after {}",
            self.newest
        );
        self.newest = number;
        let known = self.cuts.get(&cut);
        let Some((phase, snapshot)) = known else {
            let what = format!("line {number} is of a cut that there was not: {cut:?}");
            return Err(Violation {
                oracle: ORACLE,
                what,
            });
        };
        self.taken.push(Line {
            number,
            phase: *phase,
            snapshot: Arc::clone(snapshot),
        });
        Ok(())
    }

    /// A page server starts from a checkpoint of this commit.
    pub(in super::super) fn restarted(&mut self, through: Option<CommitNumber>) {
        let through = through.unwrap_or_default();
        self.taken.retain(|line| line.number <= through);
    }

    /// The newest line that there must be.
    pub(in super::super) fn newest(&self) -> Option<CommitNumber> {
        self.taken.last().map(|line| line.number)
    }

    /// A page of the heap must be as in the newest line.
    pub(in super::super) fn check(
        &self,
        page: PageNumber,
        bytes: Option<&PageBytes>,
        raced: Option<Spot>,
        place: &str,
    ) -> Result<(), Violation> {
        match self.taken.last() {
            Some(line) => {
                let what = format_args!("{place}, of line {}", line.number);
                line.snapshot.check(page, bytes, raced, &what)
            }
            None => Ok(()),
        }
    }

    /// What a team begins from that was told this of the newest line.
    pub(in super::super) fn start(&self, state: Option<LineState>) -> Result<Start, Violation> {
        let (Some(line), Some(state)) = (self.taken.last(), state) else {
            return Ok(Start::default());
        };
        let phase = state.phase as usize;
        demand!(
            phase == line.phase,
            ORACLE,
            "line {} goes on in phase {phase}, and was cut before {}",
            line.number,
            line.phase
        );
        let expected = Marks {
            flags: line.snapshot.flags.clone(),
            counters: line.snapshot.counters.sums(),
        };
        let raised = |marks: &Marks| -> BTreeMap<SyncId, u64> {
            let flags = marks.flags.iter().filter(|(_, value)| **value > 0);
            flags.map(|(flag, value)| (*flag, *value)).collect()
        };
        demand!(
            raised(&state.marks) == raised(&expected) && state.marks.counters == expected.counters,
            ORACLE,
            "line {} has {:?}, and there were {expected:?}",
            line.number,
            state.marks
        );
        Ok(Start {
            number: line.number,
            formation: 0,
            phase,
            marks: Some(state.marks),
            snapshot: Arc::clone(&line.snapshot),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT: Spot = Spot {
        page: PageNumber(2),
        at: 9,
    };

    fn snapshot(value: u8) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.values.stored(SPOT, value);
        snapshot
    }

    fn page(value: u8) -> PageBytes {
        let mut bytes = [0; PAGE_BYTES];
        bytes[9] = value;
        bytes
    }

    #[test]
    fn a_line_is_the_barrier_that_it_was_cut_at() {
        let mut model = LineModel::default();
        model.barrier(snapshot(1));
        model.cut((0, 1), 4);
        model.barrier(snapshot(2));
        assert!(model.taken(CommitNumber(1), (0, 2)).is_err(), "no such cut");
        let mut model = LineModel {
            newest: CommitNumber(0),
            ..model
        };
        assert_eq!(model.taken(CommitNumber(1), (0, 1)), Ok(()));
        let check = |value| model.check(SPOT.page, Some(&page(value)), None, "here");
        assert_eq!(check(1), Ok(()));
        assert!(check(2).is_err());
        assert!(model.check(SPOT.page, None, None, "here").is_err());
        assert_eq!(
            model.check(SPOT.page, Some(&page(7)), Some(SPOT), "here"),
            Ok(()),
            "a byte that is raced for may be anything"
        );
    }

    #[test]
    fn a_line_that_was_lost_with_its_server_is_gone() {
        let mut model = LineModel::default();
        model.cut((0, 1), 1);
        for number in [3, 5] {
            assert_eq!(model.taken(CommitNumber(number), (0, 1)), Ok(()));
        }
        assert!(model.taken(CommitNumber(5), (0, 1)).is_err(), "ascending");
        model.restarted(Some(CommitNumber(4)));
        assert_eq!(model.newest(), Some(CommitNumber(3)));
        model.restarted(None);
        assert_eq!(model.newest(), None);
    }

    #[test]
    fn flags_and_counters_belong_to_a_line() {
        let mut model = LineModel::default();
        let mut barrier = snapshot(1);
        barrier.flags.insert(SyncId(5), 1);
        barrier.counters.added(SyncId(6), 0, 4);
        model.barrier(barrier);
        model.cut((0, 1), 3);
        assert_eq!(model.taken(CommitNumber(1), (0, 1)), Ok(()));
        let state = |flag, phase| LineState {
            phase,
            marks: Marks {
                flags: BTreeMap::from([(SyncId(5), flag)]),
                counters: BTreeMap::from([(SyncId(6), 4)]),
            },
        };
        assert_eq!(model.start(Some(state(1, 3))).map(|it| it.phase), Ok(3));
        assert!(model.start(Some(state(0, 3))).is_err());
        assert!(model.start(Some(state(1, 2))).is_err());
    }
}
