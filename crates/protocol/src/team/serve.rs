//! What a home, or a manager of homes, answers.

use bytes::Bytes;
use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Changes, Home, Pages, SERVED_PAGES_MAX, ToPeer};
use plurix_wire::{Interval, PageNumber, Rank};

use super::regions::{Entry, State};
use super::{Access, Error, Member, View, regions};

impl Member {
    /// Gives pages that have no home to whoever asks first.
    pub(super) fn claim(&mut self, from: Rank, run: PageRun) -> Result<(), Error> {
        for page in run.pages() {
            if self.regions.manager(page) != Some(self.rank) {
                return Err(Error::Violation(
                    from,
                    "a claim of what is managed elsewhere",
                ));
            }
        }
        let homes = self.give_homes(from, run);
        self.tell(from, ToPeer::Claimed(homes));
        Ok(())
    }

    pub(super) fn give_homes(&mut self, to: Rank, run: PageRun) -> Vec<Home> {
        self.note_claim();
        let homes = run.pages().map(|page| {
            let entry = self.regions.get_mut(page).expect("managed here");
            let rank = entry.home().unwrap_or(to);
            entry.set_home(rank);
            (page, rank)
        });
        regions::homes(homes)
    }

    /// Somebody wants pages that are kept here.
    pub(super) fn fetch(
        &mut self,
        from: Rank,
        interval: Interval,
        run: PageRun,
        view: &mut impl View,
    ) -> Result<(), Error> {
        // Its manager may have told the sender that they are kept here, and this station not yet.
        let is_claimed = |page| {
            let entry = self.regions.get(page);
            entry.is_none_or(|e| e.home().is_some() || e.state == State::Void)
        };
        let has_begun = interval == self.interval || canary::strikes(Canary::ServeEarly);
        if has_begun && run.pages().all(is_claimed) {
            if self.is_loading(run) {
                self.early.push((from, interval, run));
                return Ok(());
            }
            return self.serve(from, run, view);
        }
        if interval < self.interval
            || interval > self.interval.next()
            || self.early.len() == EARLY_MAX
        {
            return Err(Error::Violation(from, "a fetch of another interval"));
        }
        self.early.push((from, interval, run));
        Ok(())
    }

    /// Whether some pages of a run are kept here, and have yet to come from the recovery line.
    fn is_loading(&mut self, run: PageRun) -> bool {
        if self.lines.goes_on {
            let blank = run.pages().filter(|page| {
                let entry = self.regions.get(*page);
                entry.is_some_and(|entry| entry.state == State::Blank)
            });
            for run in PageRun::compact(blank.collect::<Vec<_>>()) {
                self.load(run);
            }
        }
        let mut entries = run.pages().filter_map(|page| self.regions.get(page));
        entries.any(|entry| entry.state == State::Loading)
    }

    /// Answers what came too early.
    pub(super) fn serve_early(&mut self, view: &mut impl View) -> Result<(), Error> {
        for (from, interval, run) in std::mem::take(&mut self.early) {
            self.fetch(from, interval, run, view)?;
        }
        Ok(())
    }

    fn serve(&mut self, from: Rank, run: PageRun, view: &mut impl View) -> Result<(), Error> {
        let mut closing = Vec::new();
        for page in run.pages() {
            match self.entry(from, page)?.state {
                State::Open => closing.push(page),
                state if state.is_home() => {}
                _ => return Err(Error::Violation(from, "a fetch of what is kept elsewhere")),
            }
        }
        for page in &closing {
            self.set_state(*page, State::Shared);
        }
        // First nobody stores unseen, then the copy: what is stored later is told at the barrier.
        for run in PageRun::compact(closing) {
            view.set_access(run, Access::Read);
        }
        let mut page = run.first;
        let mut left = run.count;
        while left > 0 {
            let is_blank = |entry: Entry| entry.state == State::Blank;
            let blank = self.regions.get(page).is_some_and(is_blank);
            let most = left.min(SERVED_AT_ONCE);
            let part = self.regions.run(page, most, |e| is_blank(e) == blank);
            for page in part.pages() {
                if !canary::strikes(Canary::ForgetReader) {
                    self.copies.add(page, from);
                }
            }
            let bytes = if blank {
                Bytes::new()
            } else {
                view.copy_run(part)
            };
            self.tell(from, ToPeer::Pages(Pages { run: part, bytes }));
            left -= part.count;
            page = PageNumber(page.0.wrapping_add(part.count));
        }
        Ok(())
    }

    /// Somebody has changed pages that are kept here.
    pub(super) fn changes(
        &mut self,
        from: Rank,
        changes: Changes,
        view: &mut impl View,
    ) -> Result<(), Error> {
        let is_late = changes.interval == self.interval.next();
        if is_late && !canary::strikes(Canary::CutLate) {
            // The barrier may be a cut, and they are none of it.
            self.lines.late.push((from, changes));
            return match self.lines.late.len() {
                ..=EARLY_MAX => Ok(()),
                _ => Err(Error::Violation(from, "more changes than there can be")),
            };
        }
        if !is_late && changes.interval != self.interval {
            return Err(Error::Violation(from, "changes of another interval"));
        }
        for diff in changes.diffs.pages() {
            let page = diff.page();
            match self.entry(from, page)?.state {
                State::Blank if !self.lines.goes_on => {
                    view.bring(page.into(), &[], Access::Read);
                    self.set_state(page, State::Shared);
                }
                state if state.is_home() && state.has_bytes() => {}
                _ => return Err(Error::Violation(from, "a change of what is kept elsewhere")),
            }
            self.about_to_change(&[page], view);
            if !canary::strikes(Canary::LoseDiff) {
                view.apply(&diff);
            }
        }
        let count = self.published.received(from);
        self.tell(from, ToPeer::Applied(count));
        self.try_release(view)
    }
}

/// Of a longer run, the first pages are on their way and taken while the next are copied. That so few stay in
/// the caches, too.
const SERVED_AT_ONCE: u32 = 64;
const _: () = assert!(SERVED_AT_ONCE <= SERVED_PAGES_MAX);

/// No member has more fetches under way than its read-ahead asks for; a bound for those that have
/// gone mad.
const EARLY_MAX: usize = 1 << 16;
