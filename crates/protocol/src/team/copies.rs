//! Who may have copies of the pages whose home is here.

use plurix_wire::{PageNumber, Rank};
use rustc_hash::FxHashMap;

use super::Member;
use super::regions::State;

/// A set of ranks for each page that somebody fetched; never asked for its order.
#[derive(Debug, Clone, Default)]
pub(super) struct Copies(FxHashMap<PageNumber, u64>);

impl Copies {
    pub(super) fn add(&mut self, page: PageNumber, rank: Rank) {
        *self.0.entry(page).or_default() |= 1 << rank.0;
    }

    /// Forgets all but `rank`; answers whether that has one.
    pub(super) fn keep_only(&mut self, page: PageNumber, rank: Option<Rank>) -> bool {
        let kept = rank.filter(|rank| self.0.get(&page).is_some_and(|set| set >> rank.0 & 1 == 1));
        match kept {
            Some(rank) => self.0.insert(page, 1 << rank.0),
            None => self.0.remove(&page),
        };
        kept.is_some()
    }

    /// A bit for each rank.
    fn set(&self, page: PageNumber) -> u64 {
        self.0.get(&page).copied().unwrap_or_default()
    }

    pub(super) fn any(&self, page: PageNumber) -> bool {
        self.0.contains_key(&page)
    }
}

/// What a home knows of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// The program may store without anybody's notice.
    pub is_unseen: bool,
    /// Who may have copies: a bit for each rank.
    pub copies: u64,
}

impl Member {
    /// What this station knows of a page whose home it is, if it is. For oracles.
    #[must_use]
    pub fn keeping(&self, page: PageNumber) -> Option<Keeping> {
        let entry = self.regions.get(page)?;
        entry.state.is_home().then(|| Keeping {
            is_unseen: entry.state == State::Open,
            copies: self.copies.set(page),
        })
    }
}
