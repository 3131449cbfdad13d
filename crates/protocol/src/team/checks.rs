//! What decoding cannot tell of a message: that its pages are weak ones, its ranks those of the team, and
//! its lists as long as they must be. All else is checked where it is used.

use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Arrive, Home, Release, ToPeer};
use plurix_wire::{PageNumber, Rank};

use super::Member;

impl Member {
    /// Whether a message can be of a member.
    pub(super) fn is_sound(&self, message: &ToPeer) -> bool {
        match message {
            ToPeer::Claim { run } | ToPeer::Fetch { run, .. } => self.regions.hold(*run),
            ToPeer::Claimed(homes) => self.are_homes(homes),
            ToPeer::Pages(pages) => self.regions.hold(pages.run),
            ToPeer::Arrive(arrive) => self.is_arrival(arrive),
            ToPeer::Release(release) => self.is_release(release),
            ToPeer::HandBack { written, .. }
            | ToPeer::Grant { written, .. }
            | ToPeer::Raise { written, .. }
            | ToPeer::Raised { written, .. } => self.are_pages(written),
            ToPeer::Changes(_)
            | ToPeer::Applied(_)
            | ToPeer::Acquire(_)
            | ToPeer::Revoke(_)
            | ToPeer::Await { .. }
            | ToPeer::Add { .. }
            | ToPeer::Added { .. }
            | ToPeer::Leave
            | ToPeer::GiveUp => true,
        }
    }

    fn is_arrival(&self, arrive: &Arrive) -> bool {
        self.are_pages(&arrive.written)
            && self.are_pages(&arrive.wanted)
            && arrive.sent.len() == usize::from(self.size)
    }

    fn is_release(&self, release: &Release) -> bool {
        let written: Vec<PageRun> = release.written.iter().map(|written| written.run).collect();
        let mut soles = release.written.iter().filter_map(|written| written.sole);
        self.are_pages(&written)
            && soles.all(|rank| self.is_member(rank))
            && self.are_homes(&release.moved)
            && release.expected.len() == usize::from(self.size)
    }

    fn are_homes(&self, homes: &[Home]) -> bool {
        let runs: Vec<PageRun> = homes.iter().map(|home| home.run).collect();
        self.are_pages(&runs) && homes.iter().all(|home| self.is_member(home.rank))
    }

    /// Whether runs ascend, each behind the one before, and all pages are weak.
    fn are_pages(&self, runs: &[PageRun]) -> bool {
        let end = |run: &PageRun| u64::from(run.first.0) + u64::from(run.count);
        let start = |page: PageNumber| u64::from(page.0);
        let ascend = runs
            .windows(2)
            .all(|pair| end(&pair[0]) <= start(pair[1].first));
        ascend && runs.iter().all(|run| self.regions.hold(*run))
    }

    fn is_member(&self, rank: Rank) -> bool {
        rank.0 < self.size
    }
}
