//! What this station has stored and others may have copies of: found by comparison with twins, sent to
//! the homes, and named to whoever must drop a copy.

use plurix_wire::canary::{self, Canary};
use plurix_wire::diff::DiffsBuilder;
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Changes, ToPeer};
use plurix_wire::{PageNumber, Rank};
use rustc_hash::FxHashSet;

use super::regions::State;
use super::{Access, COORDINATOR, Error, Member, View};

/// See the module's text.
#[derive(Debug, Clone)]
pub(super) struct Published {
    /// Pages that the program may have stored to since they were last published.
    noted: Vec<PageNumber>,
    /// Pages that were published since the coordinator was last told.
    told: Vec<PageNumber>,
    /// Pages kept elsewhere that this station alone wrote in the interval before.
    favoured: FxHashSet<PageNumber>,
    /// How many [`Changes`] were sent to each rank,
    sent: Vec<u64>,
    /// are known to have been applied there,
    applied: Vec<u64>,
    /// and came from each.
    received: Vec<u64>,
}

/// What becomes of pages that are kept here and that the program has stored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The program may go on storing: a barrier drops all copies.
    Open,
    /// Its next store is to be noted again.
    Closed,
}

impl Published {
    pub(super) fn new(size: u16) -> Self {
        let zeros = vec![0; usize::from(size)];
        Self {
            noted: Vec::new(),
            told: Vec::new(),
            favoured: FxHashSet::default(),
            sent: zeros.clone(),
            applied: zeros.clone(),
            received: zeros,
        }
    }

    /// The program may store to this page from now on.
    pub(super) fn note(&mut self, page: PageNumber) {
        self.noted.push(page);
    }

    /// Changes have come from `from`; answers how many so far.
    pub(super) fn received(&mut self, from: Rank) -> u64 {
        let count = &mut self.received[usize::from(from.0)];
        *count += 1;
        *count
    }

    /// Whether so many changes have come from each rank. Those that some rank has sent since do not
    /// make up for what another one's still lack.
    pub(super) fn has_received(&self, expected: &[u64]) -> bool {
        let mut pairs = self.received.iter().zip(expected);
        pairs.all(|(received, expected)| received >= expected)
    }

    pub(super) fn sent(&self) -> &[u64] {
        &self.sent
    }

    /// Whether everything that was sent is in its pages.
    pub(super) fn is_applied(&self) -> bool {
        self.sent == self.applied
    }

    /// What was published since this was last asked, ascending.
    pub(super) fn take_told(&mut self) -> Vec<PageNumber> {
        let mut told = std::mem::take(&mut self.told);
        told.sort_unstable();
        told.dedup();
        if canary::strikes(Canary::DropNotice) {
            told.pop();
        }
        told
    }

    pub(super) fn is_favoured(&self, page: PageNumber) -> bool {
        self.favoured.contains(&page)
    }

    /// These pages alone count as favoured from now on.
    pub(super) fn favour(&mut self, pages: FxHashSet<PageNumber>) {
        self.favoured = pages;
    }
}

impl Member {
    /// Publishes everything that the program has stored, for which `is_meant` holds.
    pub(super) fn publish(
        &mut self,
        kept: Kept,
        is_meant: impl Fn(PageNumber) -> bool,
        view: &mut impl View,
    ) {
        let mut pages = std::mem::take(&mut self.published.noted);
        pages.sort_unstable();
        pages.dedup();
        let (mut copies, mut own) = (Vec::new(), Vec::new());
        for page in pages {
            match self.regions.get(page).map(|entry| entry.state) {
                Some(State::Dirty | State::Written) if !is_meant(page) => {
                    self.published.noted.push(page);
                }
                Some(State::Dirty) => copies.push(page),
                Some(State::Written) => own.push(page),
                _ => {}
            }
        }
        self.send_changes(&copies, view);
        if kept == Kept::Closed {
            for run in PageRun::compact(own.iter().copied()) {
                view.set_access(run, Access::Read);
            }
            for page in &own {
                self.set_state(*page, State::Shared);
            }
        }
        self.published.told.extend(own);
    }

    /// Sends what was stored to copies home; they are clean then.
    fn send_changes(&mut self, pages: &[PageNumber], view: &mut impl View) {
        for run in PageRun::compact(pages.iter().copied()) {
            view.set_access(run, Access::Read);
        }
        let mut builders: Vec<DiffsBuilder> = Vec::new();
        builders.resize_with(usize::from(self.size), DiffsBuilder::new);
        for &page in pages {
            let home = self.regions.get(page).and_then(|entry| entry.home());
            let home = home.expect("a copy came from its home");
            let builder = &mut builders[usize::from(home.0)];
            if view.take_diff(page, builder) {
                self.published.told.push(page);
            }
            self.set_state(page, State::Clean);
            if builder.encoded_bytes() >= self.settings.change_bytes {
                let full = std::mem::take(builder);
                self.send_to(home, full);
            }
        }
        for (rank, builder) in (0..).map(Rank).zip(builders) {
            self.send_to(rank, builder);
        }
    }

    fn send_to(&mut self, home: Rank, mut builder: DiffsBuilder) {
        if builder.encoded_bytes() == 0 {
            return;
        }
        self.published.sent[usize::from(home.0)] += 1;
        let changes = Changes {
            interval: self.interval,
            diffs: builder.finish(),
        };
        self.tell(home, ToPeer::Changes(changes));
    }

    /// Changes are in their pages.
    pub(super) fn applied(
        &mut self,
        from: Rank,
        count: u64,
        view: &mut impl View,
    ) -> Result<(), Error> {
        let at = usize::from(from.0);
        if count <= self.published.applied[at] || count > self.published.sent[at] {
            return Err(Error::Violation(from, "an acknowledgement of nothing"));
        }
        self.published.applied[at] = count;
        self.tell_published();
        self.try_arrive(view);
        Ok(())
    }

    /// Does what waits until all that was published is in its pages, if it is.
    pub(super) fn tell_published(&mut self) {
        if !self.published.is_applied() {
            return;
        }
        self.hand_back();
        for (flag, value) in std::mem::take(&mut self.flags.raising) {
            let written = PageRun::compact(self.published.take_told());
            let message = ToPeer::Raise {
                flag,
                value,
                written,
            };
            self.tell(COORDINATOR, message);
        }
    }

    /// Sends home what the program has stored to pages of a run, for whoever refreshes them; it is
    /// there when [`is_published`](Self::is_published) says so.
    pub fn publish_run(&mut self, run: PageRun, view: &mut impl View) {
        let is_meant = |page: PageNumber| page >= run.first && page.0 - run.first.0 < run.count;
        self.publish(Kept::Closed, is_meant, view);
    }

    /// Whether all that was sent home is in its pages.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.published.is_applied()
    }

    /// Drops the copies of a run's pages, so that the next load fetches what is at their homes.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    pub fn refresh_run(&mut self, run: PageRun, view: &mut impl View) -> Result<(), Error> {
        let pages: Vec<PageNumber> = run.pages().collect();
        self.drop_copies(&pages, view);
        self.settle(view)
    }

    /// Drops copies of these pages, which others have written; what this station stored to them is
    /// sent home before.
    pub(super) fn drop_copies(&mut self, pages: &[PageNumber], view: &mut impl View) {
        let dirty = |member: &Self, page: PageNumber| {
            member
                .regions
                .get(page)
                .is_some_and(|e| e.state == State::Dirty)
        };
        let unpublished: FxHashSet<PageNumber> = pages
            .iter()
            .copied()
            .filter(|page| dirty(self, *page))
            .collect();
        if !unpublished.is_empty() {
            self.publish(Kept::Open, |page| unpublished.contains(&page), view);
        }
        let mut dropped = Vec::new();
        for &page in pages {
            match self.regions.get(page).map(|entry| entry.state) {
                Some(State::Clean) => {
                    dropped.push(page);
                    self.set_state(page, State::Void);
                }
                Some(State::Asked) => self.set_state(page, State::Doubted),
                _ => {}
            }
        }
        for run in PageRun::compact(dropped) {
            view.set_access(run, Access::None);
        }
    }
}
