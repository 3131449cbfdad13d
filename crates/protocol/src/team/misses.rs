//! What the program's first accesses lead to: asking for homes and pages, and letting it store.

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Home, Pages, ToPeer};
use plurix_wire::{PageNumber, Rank};

use super::regions::{Entry, State};
use super::{Access, Error, Member, View};

/// Most pages that are opened at once, of which one is stored to.
const OPENED_AHEAD_MAX: u32 = 64;
/// So many runs of pages can be wished for.
const WISHED_MAX: usize = 4096;

impl Member {
    /// The program wants to load or store; answers whether it can now. Else it asks again when a
    /// message was [handled](Self::handle).
    ///
    /// # Errors
    /// [`Error::NoRegion`] if the page is none of the team's.
    pub fn access(
        &mut self,
        page: PageNumber,
        wants: Access,
        view: &mut impl View,
    ) -> Result<bool, Error> {
        let entry = self.regions.get(page).ok_or(Error::NoRegion(page))?;
        match entry.state {
            State::Void => {
                let first = self.regions.unit(page).first;
                let is_void = |entry: Option<Entry>| entry.is_some_and(|e| e.state == State::Void);
                let first = if is_void(self.regions.get(first)) {
                    first
                } else {
                    page
                };
                let window = self.streams.window(first, self.settings.read_ahead);
                let unit = self.regions.unit(page).count;
                self.ask(first, window.max(unit));
                if is_void(self.regions.get(page)) {
                    // The run ended before it, at a page of another home or one that is here.
                    self.ask(page, 1);
                }
                // What this station manages itself, it has claimed by now.
                match self.regions.get(page) {
                    Some(entry) if entry.state == State::Blank => self.access(page, wants, view),
                    _ => Ok(false),
                }
            }
            State::Asked | State::Doubted | State::Loading => Ok(false),
            State::Blank => {
                self.begin(page, view);
                self.access(page, wants, view)
            }
            State::Clean | State::Shared if wants == Access::Write => {
                self.open(page, entry.state, view);
                Ok(true)
            }
            State::Clean | State::Dirty | State::Open | State::Shared | State::Written => Ok(true),
        }
    }

    /// The program wants to load from, or store to, all pages of a run; answers whether it can now.
    /// Else it asks again when a message was [handled](Self::handle).
    ///
    /// # Errors
    /// As [`access`](Self::access).
    pub fn access_run(
        &mut self,
        run: PageRun,
        wants: Access,
        view: &mut impl View,
    ) -> Result<bool, Error> {
        let later = self.ask_for(run);
        self.settle(view)?;
        let mut is_ready = later.count == 0;
        for page in run.pages().take((run.count - later.count) as usize) {
            is_ready &= self.access(page, wants, view)?;
        }
        Ok(is_ready)
    }

    /// Asks for those pages of a run that are not here, which will be needed in this interval: for as many
    /// at once as [`Settings::under_way`](super::Settings::under_way) allows, and for the others as these
    /// come. Of very many such wishes, the last ones are forgotten.
    pub fn prefetch(&mut self, run: PageRun) {
        if self.wished.len() < WISHED_MAX {
            self.wished.push_back(run);
            self.ask_ahead();
        }
    }

    /// Asks for what is wished for, as far as there is room for it under way.
    fn ask_ahead(&mut self) {
        while let Some(run) = self.wished.pop_front() {
            let later = self.ask_for(run);
            if later.count > 0 {
                return self.wished.push_front(later);
            }
        }
    }

    /// Asks for those pages of a run that are not here, as far as there is room for them under way; answers
    /// the rest of the run.
    fn ask_for(&mut self, run: PageRun) -> PageRun {
        let PageRun {
            mut first,
            mut count,
        } = run;
        let most = u64::from(self.settings.under_way);
        while count > 0 && self.asked < most {
            let room = most - self.asked;
            let asked = match self.regions.get(first) {
                Some(entry) if entry.state == State::Void => {
                    self.ask(first, u64::from(count).min(room) as u32)
                }
                _ => 1,
            };
            first.0 = first.0.wrapping_add(asked);
            count -= asked;
        }
        PageRun::new(first, count)
    }

    /// Asks for up to `most` pages from `first` on, which is void; answers for how many.
    fn ask(&mut self, first: PageNumber, most: u32) -> u32 {
        let home = self.regions.get(first).and_then(Entry::home);
        let run = self.regions.run(first, most, |entry| {
            entry.state == State::Void && entry.home() == home
        });
        for page in run.pages() {
            self.set_state(page, State::Asked);
        }
        self.asked += u64::from(run.count);
        self.streams.asked(run);
        match (home, self.regions.manager(first)) {
            (Some(home), _) => self.fetch_from(home, run),
            (None, Some(manager)) if manager == self.rank => {
                let homes = self.give_homes(self.rank, run);
                self.learn_homes(&homes);
            }
            (None, Some(manager)) => self.tell(manager, ToPeer::Claim { run }),
            (None, None) => {}
        }
        run.count
    }

    fn fetch_from(&mut self, home: Rank, run: PageRun) {
        let interval = self.interval;
        self.tell(home, ToPeer::Fetch { interval, run });
    }

    /// Homes are known: what is to be kept here begins blank, all else is fetched.
    pub(super) fn claimed(
        &mut self,
        from: Rank,
        homes: &[Home],
        view: &mut impl View,
    ) -> Result<(), Error> {
        let asked = |entry: Entry| matches!(entry.state, State::Asked | State::Doubted);
        for page in homes.iter().flat_map(|home| home.run.pages()) {
            if !asked(self.entry(from, page)?) {
                return Err(Error::Violation(from, "a home that nobody asked for"));
            }
        }
        self.learn_homes(homes);
        self.ask_ahead();
        self.serve_early(view)?;
        self.try_arrive(view);
        Ok(())
    }

    fn learn_homes(&mut self, homes: &[Home]) {
        for home in homes {
            for page in home.run.pages() {
                if let Some(entry) = self.regions.get_mut(page) {
                    entry.set_home(home.rank);
                    if home.rank == self.rank {
                        entry.state = State::Blank;
                        self.asked -= 1;
                    }
                }
            }
            if home.rank != self.rank {
                self.fetch_from(home.rank, home.run);
            }
        }
    }

    /// Pages have come.
    pub(super) fn pages(
        &mut self,
        from: Rank,
        pages: &Pages,
        view: &mut impl View,
    ) -> Result<(), Error> {
        let mut came = Vec::new();
        for page in pages.run.pages() {
            let entry = self.entry(from, page)?;
            if entry.home() != Some(from) {
                return Err(Error::Violation(from, "a page of another's"));
            }
            match entry.state {
                State::Asked => {
                    self.set_state(page, State::Clean);
                    came.push(page);
                }
                State::Doubted => self.set_state(page, State::Void),
                _ => return Err(Error::Violation(from, "a page that nobody asked for")),
            }
        }
        self.asked -= u64::from(pages.run.count);
        self.fetched += u64::from(pages.run.count);
        for run in PageRun::compact(came) {
            view.bring(run, pages.bytes_of(run), Access::Read);
        }
        self.ask_ahead();
        self.try_arrive(view);
        Ok(())
    }

    /// Makes pages that are kept here, and of which memory has nothing, begin as they are in the heap.
    fn begin(&mut self, first: PageNumber, view: &mut impl View) {
        let window = self.streams.window(first, self.settings.read_ahead);
        let most = window.max(self.regions.unit(first).count);
        let run = self
            .regions
            .run(first, most, |entry| entry.state == State::Blank);
        self.streams.asked(run);
        if self.lines.goes_on {
            return self.load(run);
        }
        let mut shared = Vec::new();
        let mut open = Vec::new();
        for page in run.pages() {
            let is_shared = self.copies.any(page);
            let list = if is_shared { &mut shared } else { &mut open };
            list.push(page);
            if !is_shared {
                self.lines.changes(page);
            }
            self.set_state(
                page,
                if is_shared {
                    State::Shared
                } else {
                    State::Open
                },
            );
        }
        for (pages, access) in [(shared, Access::Read), (open, Access::Write)] {
            for run in PageRun::compact(pages) {
                view.bring(run, &[], access);
            }
        }
    }

    /// Lets the program store to a page, and to those of its unit that are in the same state. Of pages
    /// that nobody else has a copy of, those behind it are opened as well, if it walks through them.
    fn open(&mut self, page: PageNumber, state: State, view: &mut impl View) {
        let unit = self.regions.unit(page);
        let is_alone = state == State::Shared && !self.copies.any(page);
        let ahead = if is_alone { self.ahead(unit) } else { unit };
        let pages = unit.pages().chain(ahead.pages().skip(unit.count as usize));
        let is_closed =
            |page: &PageNumber| self.regions.get(*page).is_some_and(|e| e.state == state);
        let opened: Vec<PageNumber> = pages.filter(is_closed).collect();
        if state == State::Shared {
            self.about_to_change(&opened, view);
        }
        for &page in &opened {
            let next = match state {
                State::Clean => {
                    if canary::strikes(Canary::LateTwin) {
                        view.set_access(page.into(), Access::Write);
                    }
                    view.keep_twin(page);
                    State::Dirty
                }
                _ if self.copies.any(page) => State::Written,
                _ => State::Open,
            };
            if next != State::Open {
                self.published.note(page);
            }
            self.set_state(page, next);
        }
        for run in PageRun::compact(opened) {
            view.set_access(run, Access::Write);
        }
    }

    /// The pages of a unit, and those behind it that a walk of stores will come to, as far as they are kept
    /// here and nobody has a copy of them.
    fn ahead(&mut self, unit: PageRun) -> PageRun {
        let window = self.stores.window(unit.first, OPENED_AHEAD_MAX);
        let most = window.max(unit.count);
        let mut count = unit.count;
        while count < most {
            let page = PageNumber(unit.first.0.wrapping_add(count));
            let entry = self.regions.get(page);
            let is_alone = entry.is_some_and(|entry| match entry.state {
                State::Open => true,
                State::Shared => !self.copies.any(page),
                _ => false,
            });
            if !is_alone {
                break;
            }
            count += 1;
        }
        let run = PageRun::new(unit.first, count);
        self.stores.asked(run);
        run
    }
}
