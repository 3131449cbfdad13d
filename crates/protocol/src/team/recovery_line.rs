//! Recovery lines: at a barrier that is a cut, the pages that have changed since the one before are
//! closed, and handed over while the program runs on.
//!
//! ```text
//!   a store to a page kept here  ──first since the cut──► is it pending? then it is copied first
//!   a change of another's                                 it has changed
//!   release of a cut ──► what has changed is closed and pending ──collect──► handed over
//! ```
//!
//! Only pages that are kept here are looked at, each at one home: what others have written to their copies
//! has come home before the barrier opens. What they change in the next interval is not looked at before.
//! Pages that are `Open` are stored to unseen, so they are closed at the cut, and their next store is
//! noticed.
//!
//! A line of all that a member keeps is added to the line that the team went on from, which has what nobody
//! has touched since. A member that has loaded all of its pages needs no such line, and says so: if the page
//! server has lost it, there are lines again as soon as all members have come that far.
//!
//! **Invariant**: what is collected for a page is its bytes as the barrier opened.
//!
//! The same is done for a heap by the leader's checkpoints; copying before a change is from Li, Naughton
//! and Plank, "Real-time, concurrent checkpoint for parallel programs", PPoPP 1990.

use std::collections::VecDeque;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Changes, Cut, Pages, SERVED_PAGES_MAX};
use plurix_wire::message::recovery_line::{Basis, Marks};
use plurix_wire::{CommitNumber, Interval, PageNumber, Rank};

use super::regions::State;
use super::{Access, Command, Error, Member, View};
use crate::page_set::PageSet;

/// To close so many pages that are closed already costs less than to begin anew behind them.
const GAP_PAGES_MAX: u32 = 64;

/// What kind of barrier workers come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Boundary {
    /// One within a phase: what workers have computed is not all in memory.
    #[default]
    Within,
    /// One that ends a phase: it may be a cut.
    Phase,
    /// As `Phase`, and it shall be a cut if this station coordinates the team.
    Cut(Basis),
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub(super) struct RecoveryLines {
    /// The team goes on from a line: pages that are kept here begin as they are in it.
    pub(super) goes_on: bool,
    /// Pages kept here that may differ from those of the last cut.
    changed: PageSet,
    /// The last cut.
    cut: Option<Cut>,
    /// Pages that are yet to be collected, and have not changed since the cut.
    pending: PageSet,
    /// None of them comes before it.
    cursor: PageNumber,
    /// Pages that have changed before they were collected, as they were.
    saved: VecDeque<Pages>,
    /// The last interval in which somebody was given a home of a page while this station was at the barrier:
    /// perhaps one that had left it.
    claimed: Option<Interval>,
    /// What others have changed in an interval that has not begun here.
    pub(super) late: Vec<(Rank, Changes)>,
}

impl RecoveryLines {
    /// A page that is kept here may differ from now on from what it was.
    pub(super) fn changes(&mut self, page: PageNumber) {
        self.changed.insert(page);
    }
}

impl Member {
    /// The pages of this team begin as they are in a recovery line, and the coordinator knows these
    /// marks: to be said before any of its regions is used.
    pub fn go_on_from(&mut self, marks: Marks) {
        self.lines.goes_on = true;
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.restore(marks);
        }
    }

    /// The next pages of a cut, `most` of them or a few more, and whether these are the last ones;
    /// `None` if there has been a later cut.
    pub fn collect(
        &mut self,
        cut: Cut,
        most: usize,
        view: &impl View,
    ) -> Option<(Vec<Pages>, bool)> {
        if self.lines.cut != Some(cut) {
            return None;
        }
        let lines = &mut self.lines;
        let mut parts = Vec::new();
        let mut left = most;
        while left > 0
            && let Some(saved) = lines.saved.pop_front()
        {
            left = left.saturating_sub(saved.run.count as usize);
            parts.push(saved);
        }
        let next: Vec<PageNumber> = lines.pending.from(lines.cursor).take(left).collect();
        for page in &next {
            lines.pending.remove(*page);
            lines.cursor = *page;
        }
        parts.extend(copies(next, view));
        let is_last = lines.saved.is_empty() && lines.pending.is_empty();
        Some((parts, is_last))
    }

    /// Pages that are kept here, and ascend, are about to change.
    pub(super) fn about_to_change(&mut self, pages: &[PageNumber], view: &impl View) {
        let lines = &mut self.lines;
        let pending = pages
            .iter()
            .copied()
            .filter(|page| !canary::strikes(Canary::ForgetLineCopy) && lines.pending.remove(*page));
        lines.saved.extend(copies(pending, view));
        pages.iter().for_each(|page| lines.changes(*page));
    }

    /// A page is kept elsewhere from now on, and its bytes go.
    pub(super) fn moves_away(&mut self, page: PageNumber, view: &impl View) {
        self.about_to_change(&[page], view);
        self.lines.changed.remove(page);
    }

    /// The barrier that has just opened is a cut.
    pub(super) fn cut(&mut self, mut cut: Cut, view: &mut impl View) {
        if let Basis::All(line) = &mut cut.basis
            && !self.lacks_pages()
        {
            *line = CommitNumber(0);
        }
        let changed = std::mem::take(&mut self.lines.changed);
        let lies_here = |page: &PageNumber| {
            let entry = self.regions.get(*page);
            entry.is_some_and(|entry| entry.state.is_home() && entry.state.has_bytes())
        };
        let pending: PageSet = match cut.basis {
            Basis::Changed(_) => changed.iter().filter(lies_here).collect(),
            Basis::All(_) => self.regions.pages().filter(lies_here).collect(),
        };
        let mut closing = Vec::new();
        for page in pending.iter() {
            if let Some(entry) = self.regions.get_mut(page)
                && entry.state == State::Open
            {
                entry.state = State::Shared;
                closing.push(page);
            }
        }
        for run in self.with_gaps(closing) {
            view.set_access(run, Access::Read);
        }
        self.lines.pending = pending;
        self.lines.cursor = PageNumber(0);
        self.lines.saved.clear();
        self.lines.cut = Some(cut);
        let marks = self.coordinator.as_mut().map(|it| it.take_marks());
        self.out.push_back(Command::Cut {
            cut,
            pages: self.lines.pending.len(),
            marks,
        });
    }

    /// Somebody is given a home of pages, by this station.
    pub(super) fn note_claim(&mut self) {
        if self.barrier.has_arrived() {
            self.lines.claimed = Some(self.interval);
        }
    }

    /// Whether the recovery line may have bytes that nobody else has: of pages that are kept here, or that
    /// this station gives homes. To whom it has given one behind the barrier, he had none when he left it.
    fn lacks_pages(&self) -> bool {
        let is_lacking = |page: PageNumber| {
            let Some(entry) = self.regions.get(page) else {
                return false;
            };
            match entry.home() {
                Some(_) => entry.state.is_home() && !entry.state.has_bytes(),
                None => self.regions.manager(page) == Some(self.rank),
            }
        };
        let is_claimed = self.lines.claimed == Some(self.interval);
        self.lines.goes_on && (is_claimed || self.regions.pages().any(is_lacking))
    }

    /// Runs of these pages, which ascend and are kept here, and of what lies between them if that is short
    /// and closed to stores already: so the memory has fewer runs to close.
    fn with_gaps(&self, pages: Vec<PageNumber>) -> Vec<PageRun> {
        let is_closed = |page| {
            let entry = self.regions.get(PageNumber(page));
            entry.is_some_and(|entry| matches!(entry.state, State::Shared | State::Clean))
        };
        let mut runs: Vec<PageRun> = Vec::new();
        for run in PageRun::compact(pages) {
            let end = run.first.0 + (run.count - 1);
            match runs.last_mut() {
                Some(last)
                    if run.first.0 - last.first.0 - last.count <= GAP_PAGES_MAX
                        && (last.first.0 + last.count..run.first.0).all(is_closed) =>
                {
                    last.count = end - last.first.0 + 1;
                }
                _ => runs.push(run),
            }
        }
        runs
    }

    /// Takes what others have changed in the interval that has begun.
    pub(super) fn change_late(&mut self, view: &mut impl View) -> Result<(), Error> {
        for (from, changes) in std::mem::take(&mut self.lines.late) {
            self.changes(from, changes, view)?;
        }
        Ok(())
    }

    /// Pages of the recovery line have come, which this station has asked for by [`Command::Load`].
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    pub fn loaded(&mut self, pages: &Pages, view: &mut impl View) -> Result<(), Error> {
        let mut came = Vec::new();
        for page in pages.run.pages() {
            if self
                .regions
                .get(page)
                .is_some_and(|e| e.state == State::Loading)
            {
                self.set_state(page, State::Shared);
                came.push(page);
            }
        }
        for run in PageRun::compact(came) {
            view.bring(run, pages.bytes_of(run), Access::Read);
        }
        self.serve_early(view)?;
        self.settle(view)
    }

    /// Asks for those pages of a run that are kept here and begin as they are in the recovery line.
    pub(super) fn load(&mut self, run: PageRun) {
        for part in run.parts(SERVED_PAGES_MAX) {
            part.pages()
                .for_each(|page| self.set_state(page, State::Loading));
            self.out.push_back(Command::Load(part));
        }
    }
}

/// Copies of pages, which ascend, in messages of neighbours.
fn copies(pages: impl IntoIterator<Item = PageNumber>, view: &impl View) -> Vec<Pages> {
    let whole = PageRun::compact(pages).into_iter();
    let runs = whole.flat_map(|run| run.parts(SERVED_PAGES_MAX));
    runs.map(|run| Pages {
        run,
        bytes: view.copy_run(run),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use plurix_wire::PageBytes;
    use plurix_wire::diff::{DiffsBuilder, PageDiff};
    use plurix_wire::message::peer::{Release, ToPeer};

    use super::*;
    use crate::team::{Placement, Region, Settings};

    const PAGES: u32 = 12;

    /// Memory that knows what the program may do, and has no bytes.
    #[derive(Default)]
    struct Accesses {
        of: [Access; PAGES as usize],
        calls: usize,
    }

    impl View for Accesses {
        fn set_access(&mut self, run: PageRun, access: Access) {
            self.calls += 1;
            run.pages()
                .for_each(|page| self.of[page.0 as usize] = access);
        }

        fn fill(&mut self, _: PageNumber, _: Option<&PageBytes>) {}

        fn copy_out(&self, _: PageNumber, _: &mut PageBytes) {}

        fn keep_twin(&mut self, _: PageNumber) {}

        fn take_diff(&mut self, _: PageNumber, _: &mut DiffsBuilder) -> bool {
            false
        }

        fn apply(&mut self, _: &PageDiff<'_>) {}
    }

    /// The coordinator of a team of so many, which keeps the first pages.
    fn coordinator(size: u16) -> Member {
        let settings = Settings {
            // Only what is stored to is opened.
            read_ahead: 1,
            ..Settings::default()
        };
        let mut member = Member::new(Rank(0), size, settings);
        assert!(member.add_region(Region {
            run: PageRun::new(PageNumber(0), PAGES),
            unit: 1,
            placement: Placement::Block,
        }));
        member
    }

    fn store(member: &mut Member, view: &mut Accesses, page: u32) {
        let ready = member.access(PageNumber(page), Access::Write, view);
        assert!(ready.expect("the team goes on"));
        assert_eq!(view.of[page as usize], Access::Write);
    }

    fn arrive_at_cut(member: &mut Member, view: &mut Accesses) {
        let cut = Boundary::Cut(Basis::Changed(CommitNumber(0)));
        let arrived = member.arrive(None, cut, view);
        arrived.expect("the team goes on");
    }

    #[test]
    fn what_has_changed_is_closed_together_with_what_is_closed_between() {
        let (mut alone, mut view) = (coordinator(1), Accesses::default());
        let mut changed = |pages: &[u32]| {
            pages
                .iter()
                .for_each(|page| store(&mut alone, &mut view, *page));
            let calls = view.calls;
            arrive_at_cut(&mut alone, &mut view);
            assert_eq!(alone.poll(), Some(Command::Open));
            alone.open_barrier(&mut view).expect("the team goes on");
            let Some(Command::Cut { pages: part, .. }) = alone.poll() else {
                panic!("the barrier is a cut");
            };
            assert_eq!(part, pages.len() as u64);
            assert!(!view.of.contains(&Access::Write));
            view.calls - calls
        };
        assert_eq!(changed(&[0, 1, 2, 3, 4, 6]), 2, "page 5 was never touched");
        assert_eq!(changed(&[0, 2, 4]), 1);
        assert_eq!(changed(&[0, 6]), 2);
    }

    /// The member keeps nothing, and gives the last page of a region its home.
    #[test]
    fn a_home_given_behind_the_barrier_does_not_hide_what_is_lacking() {
        let (mut member, mut view) = (
            Member::new(Rank(1), 2, Settings::default()),
            Accesses::default(),
        );
        member.go_on_from(Marks::default());
        assert!(member.add_region(Region {
            run: PageRun::new(PageNumber(0), 257),
            unit: 1,
            placement: Placement::FirstTouch,
        }));
        let all = |line| Basis::All(CommitNumber(line));
        let mut cut_with = |heard: Option<ToPeer>, interval: u32| {
            let arrived = member.arrive(None, Boundary::Phase, &mut view);
            arrived.expect("the team goes on");
            let release = ToPeer::Release(Release {
                interval: Interval(u64::from(interval)),
                cut: Some(Cut {
                    ordinal: interval,
                    basis: all(5),
                }),
                expected: vec![0; 2],
                ..Release::default()
            });
            for message in heard.into_iter().chain([release]) {
                let heard = member.handle(Rank(0), message, &mut view);
                heard.expect("the team goes on");
            }
            let mut cuts =
                std::iter::from_fn(|| member.poll()).filter_map(|command| match command {
                    Command::Cut { cut, .. } => Some(cut.basis),
                    _ => None,
                });
            cuts.next()
        };
        assert_eq!(cut_with(None, 0), Some(all(5)), "nobody has the page");
        // Whether he had it when he left the barrier is not known here.
        let claim = ToPeer::Claim {
            run: PageRun::new(PageNumber(256), 1),
        };
        assert_eq!(cut_with(Some(claim), 1), Some(all(5)));
        assert_eq!(cut_with(None, 2), Some(all(0)), "the other one knows");
    }

    #[test]
    fn the_others_are_released_before_the_coordinator_closes_its_pages() {
        let (mut member, mut view) = (coordinator(2), Accesses::default());
        store(&mut member, &mut view, 0);
        let mut other = Member::new(Rank(1), 2, Settings::default());
        let there = &mut Accesses::default();
        let arrived = other.arrive(None, Boundary::Phase, there);
        arrived.expect("the team goes on");
        let Some(Command::Tell(Rank(0), arrival)) = other.poll() else {
            panic!("who arrives tells the coordinator");
        };
        let heard = member.handle(Rank(1), arrival, &mut view);
        heard.expect("the team goes on");
        arrive_at_cut(&mut member, &mut view);
        let told = member.poll();
        let is_release = matches!(told, Some(Command::Tell(Rank(1), ToPeer::Release(_))));
        assert!(is_release, "{told:?}");
        assert_eq!(member.poll(), Some(Command::Open));
        assert_eq!(
            (member.interval(), view.of[0]),
            (Interval(0), Access::Write)
        );
        member.open_barrier(&mut view).expect("the team goes on");
        assert_eq!((member.interval(), view.of[0]), (Interval(1), Access::Read));
    }
}
