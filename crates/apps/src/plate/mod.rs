//! What the programs for hot plates share ([`jacobi`](crate::jacobi), [`sor`](crate::sor)): what they
//! find, how each becomes an application, and where a team keeps the rows of its grids.

mod app;
mod team;

use plurix::plain;

pub(crate) use app::Plate;
pub(crate) use team::{begin, grid};

use crate::team::Checksum;

/// The temperature of the upper edge.
pub const EDGE: f64 = 1.0;

/// What a run has found, or a worker in its rows.
#[plain]
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Of the whole grid, row by row.
    pub checksum: u64,
    /// The largest distance of a point from the mean of its neighbours; 0 if the grid is exact.
    pub residual: f64,
    /// The temperature at row and column `side / 2`.
    pub center: f64,
}

impl Outcome {
    /// That of these rows and others. The center is in one of them, and 0 in all others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            checksum: Checksum::sum(self.checksum, other.checksum),
            residual: self.residual.max(other.residual),
            center: self.center + other.center,
        }
    }
}
