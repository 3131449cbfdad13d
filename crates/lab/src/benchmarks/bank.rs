//! A heap full of accounts, and a bank that works on a twentieth of its pages.

use plurix::{Ptr, Station};
use plurix_wire::{LINE_BYTES, PAGE_BYTES};

use super::cells::{cell, whole};
use crate::rounds::Random;

/// Pages that one transaction fills.
const PIECE_PAGES: u64 = 256;
/// Accounts that a page holds for the bank, each in a line of its own.
const ACCOUNTS: u64 = (PAGE_BYTES / LINE_BYTES) as u64;
/// One page in so many belongs to the bank: 5 %.
const APART: u64 = 20;
/// Balances are below this: most of the eight bytes are zero, as in any bank.
const BALANCE_MAX: u64 = 1 << 20;

/// Writes all words of `pages` pages: balances that `seed` chooses.
pub(crate) fn fill(station: &mut Station, pages: u64, seed: u64) -> plurix::Result<()> {
    let mut random = Random(seed);
    let words = PAGE_BYTES as u64 / 8;
    let mut piece = vec![0; (PIECE_PAGES * words) as usize];
    let mut page = 0;
    while page < pages {
        let count = PIECE_PAGES.min(pages - page) * words;
        let piece = &mut piece[..count as usize];
        piece.fill_with(|| 1 + random.below(BALANCE_MAX));
        let place = Ptr::<[u64]>::slice_at(cell(page, 0).offset(), count);
        station.transaction(|tx| tx.set_slice(place, piece))?;
        page += PIECE_PAGES;
    }
    Ok(())
}

/// Accounts on pages that are spread evenly over the heap.
#[derive(Debug, Clone)]
pub(crate) struct Bank {
    pub(crate) pages: u64,
    random: Random,
}

impl Bank {
    /// In a heap of `heap_pages` that were filled.
    pub(crate) fn new(heap_pages: u64, seed: u64) -> Self {
        Self {
            pages: heap_pages / APART,
            random: Random(seed),
        }
    }

    /// Fetches all its pages.
    pub(crate) fn visit(&self, station: &mut Station) -> plurix::Result<()> {
        (0..self.pages).try_for_each(|page| {
            let page = whole(page * APART);
            station.transaction(|tx| tx.get(page).map(drop))
        })
    }

    /// Moves money from one account to another.
    pub(crate) fn transfer(&mut self, station: &mut Station) -> plurix::Result<()> {
        let accounts = self.pages * ACCOUNTS;
        let from = self.random.below(accounts);
        let to = (from + 1 + self.random.below(accounts - 1)) % accounts;
        station.transaction(|tx| {
            let payer = tx.get_mut(account(from))?;
            // Whoever has nothing pays all the same, on credit.
            *payer = payer.wrapping_sub(1);
            *tx.get_mut(account(to))? += 1;
            Ok(())
        })
    }
}

fn account(index: u64) -> Ptr<u64> {
    cell(index / ACCOUNTS * APART, index % ACCOUNTS)
}
