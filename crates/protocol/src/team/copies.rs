//! Who may have copies of the pages whose home is here.

use plurix_wire::{PageNumber, Rank};
use rustc_hash::FxHashMap;

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

    pub(super) fn any(&self, page: PageNumber) -> bool {
        self.0.contains_key(&page)
    }
}
