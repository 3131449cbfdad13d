//! Numbers in a heap, of which each says what all others must be: how often they were changed decides
//! everything. So any heap can be judged alone, and one that mixes two commits is found out.

use std::time::Duration;

use plurix::{Options, Ptr, Result, Station};

use super::wait_for;

const CELLS_A_PAGE: usize = 512;
/// All pages of the cells. The later ones change never, so that the oldest image serves them.
const PAGES: usize = 64;
const CHANGING_PAGES: u64 = 24;
/// Cells that one change writes to.
const CELLS_A_CHANGE: u64 = 4;

/// The cells; the first one counts the changes.
pub(crate) struct Ledger {
    station: Station,
    cells: Ptr<[u64]>,
}

impl Ledger {
    /// A station at `address`, and the cells that it finds or makes. Gives up a page server that is
    /// gone at once.
    pub(crate) fn join(address: &str) -> Result<Self> {
        let mut options = Options::default();
        options.patience = Duration::ZERO;
        let mut station = Station::join(&address.parse().unwrap(), options)?;
        let cells = station.transaction(|tx| {
            if let Ok(cells) = tx.root("ledger") {
                return Ok(cells);
            }
            let cells = tx.alloc_slice_from(&expected(0))?;
            tx.set_root("ledger", cells)?;
            Ok(cells)
        })?;
        Ok(Self { station, cells })
    }

    /// Makes the next change; answers how many were made.
    pub(crate) fn change(&mut self) -> Result<u64> {
        self.station.transaction(|tx| {
            let cells = tx.get_mut(self.cells)?;
            let number = cells[0] + 1;
            change(cells, number);
            Ok(number)
        })
    }

    /// Makes changes until so many were made in all.
    pub(crate) fn change_through(&mut self, number: u64) {
        while self.change().unwrap() < number {}
    }

    /// Checks every cell; answers how many changes were made.
    #[track_caller]
    pub(crate) fn check(&mut self) -> Result<u64> {
        self.station.latest()?;
        let cells = self
            .station
            .transaction(|tx| Ok(tx.get(self.cells)?.to_vec()))?;
        let wrong = cells
            .iter()
            .zip(expected(cells[0]))
            .position(|(a, b)| *a != b);
        assert_eq!(wrong, None, "a cell is not as after change {}", cells[0]);
        Ok(cells[0])
    }
}

/// What the page server at `address` says of itself.
pub(crate) fn status(address: &str) -> plurix::Status {
    plurix::status(&address.parse().unwrap(), None).unwrap()
}

/// Waits until the newest commit is in a checkpoint.
pub(crate) fn wait_for_checkpoint(address: &str) {
    wait_for("a checkpoint", || {
        let status = status(address);
        let newest = status.checkpoint?;
        (newest.commit == status.commit).then_some(())
    });
}

fn change(cells: &mut [u64], number: u64) {
    for draw in 0..CELLS_A_CHANGE {
        let cell = mix(number, draw) % (CHANGING_PAGES * CELLS_A_PAGE as u64);
        cells[cell as usize] ^= mix(number, draw + CELLS_A_CHANGE);
    }
    cells[0] = number;
}

/// The cells after so many changes.
fn expected(changes: u64) -> Vec<u64> {
    let mut cells: Vec<u64> = (0..)
        .map(|cell| mix(7, cell))
        .take(PAGES * CELLS_A_PAGE)
        .collect();
    cells[0] = 0;
    (1..=changes).for_each(|number| change(&mut cells, number));
    cells
}

/// A pseudo-random number from any two (the finalizer of SplitMix64).
pub(crate) fn mix(seed: u64, value: u64) -> u64 {
    let mut x = (seed << 32 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
