//! Where a team keeps the rows of its grids: those at a cut with the neighbour, who only reads them.
//!
//! ```text
//!   row      written by   read by    kept by
//!   a - 1    worker 0     worker 0   worker 0
//!   a        worker 0     both       worker 1
//!   ──────── cut
//!   a + 1    worker 1     both       worker 0
//!   a + 2    worker 1     worker 1   worker 1
//! ```
//!
//! Were a row at a cut kept by who writes it, the neighbour would have to fetch it in each iteration, and
//! disturb who computes there. As it is, what was stored to it goes to the neighbour with the barrier, for
//! which both wait anyway. It stays so, because a grid is written in every second interval only: pages
//! move to who alone wrote them in two intervals one after the other.

use plurix::Result;
use plurix::team::{Region, RegionOptions, Setup, Worker};

use super::EDGE;
use crate::team::inner_rows;

/// What one fault opens: the row of a grid of the default size.
const UNIT_BYTES: usize = 16 << 10;

/// A region for a grid of so many points.
///
/// # Errors
/// Those of the transaction.
pub(crate) fn grid(setup: &mut Setup<'_, '_>, points: usize) -> Result<Region<f64>> {
    let mut options = RegionOptions::default();
    options.unit_bytes = UNIT_BYTES;
    setup.region_with(points, &options)
}

/// Chooses where the rows of some grids are kept, and heats their upper edge: `hot` points of each, whose
/// rows have so many `places`. Everything else is 0 already.
///
/// # Errors
/// If the team cannot go on.
pub(crate) fn begin(
    worker: &mut Worker<'_>,
    side: usize,
    places: usize,
    grids: [(Region<f64>, usize); 2],
) -> Result<()> {
    // A page is kept by the station that asks for it first. None is touched for that: memory is given
    // to it when it is computed.
    let inner = inner_rows(worker, side);
    for (grid, _) in grids {
        for row in [inner.start - 1, inner.end] {
            worker.prefetch(grid, row * places..(row + 1) * places)?;
        }
    }
    worker.barrier()?;
    let rows = worker.part(side);
    for (grid, hot) in grids {
        worker.prefetch(grid, rows.start * places..rows.end * places)?;
        if rows.contains(&0) {
            worker.write(grid, 0..hot)?.fill(EDGE);
        }
    }
    Ok(())
}
