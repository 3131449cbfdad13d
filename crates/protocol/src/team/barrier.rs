//! Barriers: what this station wrote is told, and what others wrote is dropped.
//!
//! A copy that somebody else wrote to is out of date, whoever it was that has it. The writer alone, if
//! there was one alone, keeps his. So a home knows after the release who has copies still, and nobody
//! needs to confirm: whoever has been released has dropped his before his workers go on, and whoever
//! fetches the page again says in which interval.

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Arrive, Home, Release, ToPeer};
use plurix_wire::{PageNumber, Rank};
use rustc_hash::FxHashSet;

use super::publish::Kept;
use super::regions::State;
use super::{Access, Boundary, COORDINATOR, Command, Error, Member, View};

/// What each rank brought to a barrier.
pub type Brought = Vec<Option<Vec<u8>>>;

/// Where the station stands at the barrier that ends its interval.
#[derive(Debug, Clone, Default)]
pub(super) struct Barrier {
    place: Place,
    /// It opens when all changes are in their pages.
    release: Option<Release>,
    /// What was brought to the last one that opened.
    brought: Brought,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Place {
    /// Its workers compute.
    #[default]
    Away,
    /// They are there, with this, and something that was asked for has not come yet.
    Coming(Option<Vec<u8>>, Boundary),
    /// The coordinator has been told.
    Arrived,
}

impl Barrier {
    pub(super) fn has_arrived(&self) -> bool {
        self.place == Place::Arrived
    }
}

impl Member {
    /// All workers of this station have come to the barrier, with something for the others perhaps.
    /// All stations say of which kind it is, and say the same but for whether it shall be a cut.
    /// It has opened when [`interval`](Self::interval) has grown.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    ///
    /// # Panics
    /// If the station is at the barrier already.
    pub fn arrive(
        &mut self,
        brings: Option<Vec<u8>>,
        boundary: Boundary,
        view: &mut impl View,
    ) -> Result<(), Error> {
        assert!(self.barrier.place == Place::Away, "a station arrives once");
        self.barrier.place = Place::Coming(brings, boundary);
        // What is not under way yet is not waited for.
        self.wished.clear();
        self.try_arrive(view);
        self.settle(view)
    }

    /// Arrives, once nothing that was asked for is under way: so no answer is of another interval than
    /// its question. Flags that were raised are so at the coordinator before: they belong to the cut.
    pub(super) fn try_arrive(&mut self, view: &mut impl View) {
        let is_raising = !self.flags.raising.is_empty() && !canary::strikes(Canary::LateFlag);
        if self.asked > 0 || is_raising {
            return;
        }
        let Place::Coming(brings, boundary) = &mut self.barrier.place else {
            return;
        };
        let (brings, boundary) = (brings.take(), *boundary);
        self.barrier.place = Place::Arrived;
        self.publish(Kept::Open, |_| true, view);
        let told = self.published.take_told();
        let is_wanted = |page: &PageNumber| {
            let entry = self.regions.get(*page);
            entry.is_some_and(|e| e.state == State::Clean) && self.published.is_favoured(*page)
        };
        let arrive = Arrive {
            interval: self.interval,
            wanted: PageRun::compact(told.iter().copied().filter(is_wanted)),
            written: PageRun::compact(told),
            sent: self.published.sent().to_vec(),
            brings,
            may_cut: boundary != Boundary::Within,
            cut: match boundary {
                Boundary::Cut(basis) => Some(basis),
                Boundary::Within | Boundary::Phase => None,
            },
        };
        self.tell(COORDINATOR, ToPeer::Arrive(arrive));
    }

    /// What was brought to the last barrier, by rank.
    #[must_use]
    pub fn brought(&self) -> &Brought {
        &self.barrier.brought
    }

    /// The barrier opens, once all changes have come.
    pub(super) fn release(
        &mut self,
        from: Rank,
        release: Release,
        view: &mut impl View,
    ) -> Result<(), Error> {
        let is_due = self.barrier.place == Place::Arrived && self.barrier.release.is_none();
        if from != COORDINATOR || !is_due || release.interval != self.interval {
            return Err(Error::Violation(from, "a release out of order"));
        }
        let is_cut = release.cut.is_some();
        self.barrier.release = Some(release);
        if is_cut && from == self.rank {
            self.out.push_back(Command::Open);
            return Ok(());
        }
        self.try_release(view)
    }

    /// Opens the barrier that this station has opened for the others.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    pub fn open_barrier(&mut self, view: &mut impl View) -> Result<(), Error> {
        self.try_release(view)?;
        self.settle(view)
    }

    /// Opens the barrier if nothing is under way any more.
    pub(super) fn try_release(&mut self, view: &mut impl View) -> Result<(), Error> {
        let published = &self.published;
        let release = self.barrier.release.as_mut();
        let is_due = release.is_some_and(|release| {
            published.has_received(&release.expected) || canary::strikes(Canary::OpenEarly)
        });
        let Some(release) = self.barrier.release.take_if(|_| is_due) else {
            return Ok(());
        };
        self.hear_what_was_written(&release, view);
        self.move_homes(&release.moved, view)?;
        self.barrier.brought = release.brought;
        self.barrier.place = Place::Away;
        if let Some(cut) = release.cut {
            self.cut(cut, view);
        }
        self.interval = self.interval.next();
        self.change_late(view)?;
        self.serve_early(view)
    }

    fn hear_what_was_written(&mut self, release: &Release, view: &mut impl View) {
        let mut dropped = Vec::new();
        let mut favoured = FxHashSet::default();
        for written in &release.written {
            let by_me = written.sole == Some(self.rank);
            if !by_me {
                self.notices += u64::from(written.run.count);
            }
            for page in written.run.pages() {
                let Some(entry) = self.regions.get_mut(page) else {
                    continue;
                };
                match entry.state {
                    state if state.is_home() => {
                        let sole = written.sole.filter(|sole| *sole != self.rank);
                        let is_copied = self.copies.keep_only(page, sole);
                        if entry.state == State::Written && !is_copied {
                            entry.state = State::Open;
                        }
                    }
                    State::Clean if by_me => {
                        favoured.insert(page);
                    }
                    State::Clean => {
                        entry.state = State::Void;
                        dropped.push(page);
                    }
                    _ => {}
                }
            }
        }
        self.published.favour(favoured);
        for run in PageRun::compact(dropped) {
            view.set_access(run, Access::None);
        }
    }

    /// Pages move to their sole writers.
    fn move_homes(&mut self, moved: &[Home], view: &mut impl View) -> Result<(), Error> {
        let mut dropped = Vec::new();
        for home in moved {
            for page in home.run.pages() {
                let Some(entry) = self.regions.get_mut(page) else {
                    return Err(Error::Violation(COORDINATOR, "a move of no weak page"));
                };
                if canary::strikes(Canary::StaleHome) {
                    continue;
                }
                entry.set_home(home.rank);
                let is_mine = home.rank == self.rank;
                match entry.state {
                    State::Clean if is_mine => {
                        entry.state = State::Shared;
                        // Whoever had it tells nothing of it any more.
                        if !canary::strikes(Canary::ForgetMoved) {
                            self.lines.changes(page);
                        }
                    }
                    state if is_mine != state.is_home() => {
                        // Neither can be: it goes to who has the only copy, from who had it before.
                        if is_mine {
                            return Err(Error::Violation(COORDINATOR, "a move to no copy"));
                        }
                        entry.state = State::Void;
                        self.copies.keep_only(page, None);
                        self.moves_away(page, view);
                        dropped.push(page);
                    }
                    _ => {}
                }
            }
        }
        for run in PageRun::compact(dropped) {
            view.set_access(run, Access::None);
        }
        Ok(())
    }
}
