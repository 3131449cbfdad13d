//! The temperature of a plate whose upper edge is hot, by Jacobi's method: in each iteration, every
//! point becomes the mean of its four neighbours of the iteration before.
//!
//! The grid is square; its outermost points are the edge and never change. The upper edge is 1,
//! everything else begins at 0. There are two copies of the grid, and each iteration computes one
//! from the other:
//!
//! ```text
//!   worker   rows of the grid        in iteration i
//!            ───────── edge
//!     0       1 ..  a                reads rows 0 .. a+1 of one copy, writes 1 .. a of the other
//!     1      a+1 .. b                reads rows a .. b+1,             writes a+1 .. b
//!            ───────── edge          barrier; the copies change places
//! ```
//!
//! So a worker needs of its neighbours only the two rows next to its own. Every point is computed
//! from the same four numbers in the same order, whoever does it: the result is the same bit for bit
//! for any number of workers.
//!
//! [`kernel`] is what one worker does with its rows; [`serial`], [`threads()`] and the team's
//! [`Program`](plurix::team::Program) are whole runs.

mod app;
pub mod kernel;
mod team;
mod threads;

use plurix::plain;

use crate::team::Checksum;

pub use crate::plate::{EDGE, Outcome};
pub use app::Options;
pub(crate) use app::{new, register};
pub use threads::threads;

/// What a run computes.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct JacobiOptions {
    /// Points along each side of the grid, its edges included.
    pub side: u64,
    /// How often each point is computed.
    pub iterations: u64,
}

impl Default for JacobiOptions {
    fn default() -> Self {
        Self {
            side: 2048,
            iterations: 200,
        }
    }
}

/// Why there can be no such run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JacobiError {
    /// All points are at the edge, or they are too many.
    #[error("a grid of {side} x {side} points cannot be computed; ask for 3 to {SIDE_MAX} a side")]
    Side {
        /// Points along each side.
        side: u64,
    },
}

/// The largest side, whose two grids have 16 GiB.
const SIDE_MAX: u64 = 1 << 15;

/// A run that was found possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jacobi(JacobiOptions);

impl Jacobi {
    /// Checks `options`.
    ///
    /// # Errors
    /// [`JacobiError`] naming the option that makes the run impossible.
    pub fn new(options: JacobiOptions) -> Result<Self, JacobiError> {
        let side = options.side;
        if !(3..=SIDE_MAX).contains(&side) {
            return Err(JacobiError::Side { side });
        }
        Ok(Self(options))
    }

    /// The options that the run was made with.
    #[must_use]
    pub fn options(&self) -> &JacobiOptions {
        &self.0
    }

    /// Points along each side.
    #[must_use]
    pub fn side(&self) -> usize {
        self.0.side as usize
    }

    /// The grid that both copies begin with, row by row.
    #[must_use]
    pub fn grid(&self) -> Vec<f64> {
        let side = self.side();
        let mut grid = vec![0.0; side * side];
        grid[..side].fill(EDGE);
        grid
    }

    /// What is to be said in the end of the `rows` from row `first` on, given the residual of their
    /// points.
    #[must_use]
    pub fn outcome(&self, first: usize, rows: &[f64], residual: f64) -> Outcome {
        let side = self.side();
        let begin = first * side;
        let center = (side / 2 * side + side / 2).checked_sub(begin);
        Outcome {
            checksum: Checksum::of_part(begin, rows),
            residual,
            center: center.and_then(|at| rows.get(at)).copied().unwrap_or(0.0),
        }
    }
}

/// The whole run, by the caller alone.
#[must_use]
pub fn serial(jacobi: &Jacobi) -> Outcome {
    let side = jacobi.side();
    let mut grid = jacobi.grid();
    let mut next = grid.clone();
    let last = side * (side - 1);
    for _ in 0..jacobi.options().iterations {
        let (above, below) = (&grid[..side], &grid[last..]);
        kernel::relax(above, &grid[side..last], below, &mut next[side..last]);
        std::mem::swap(&mut grid, &mut next);
    }
    let (above, below) = (&grid[..side], &grid[last..]);
    let residual = kernel::residual(above, &grid[side..last], below);
    jacobi.outcome(0, &grid, residual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(side: u64, iterations: u64) -> Jacobi {
        Jacobi::new(JacobiOptions { side, iterations }).unwrap()
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for side in [0, 2, SIDE_MAX + 1, u64::MAX] {
            let options = JacobiOptions {
                side,
                iterations: 1,
            };
            assert_eq!(Jacobi::new(options), Err(JacobiError::Side { side }));
        }
        assert!(Jacobi::new(JacobiOptions::default()).is_ok());
    }

    #[test]
    fn the_center_takes_a_quarter_of_the_heat() {
        // Plates with one hot edge each add up to one that is hot all around, and so everywhere.
        let outcome = serial(&run(17, 2000));
        assert!((outcome.center - EDGE / 4.0).abs() < 1e-12, "{outcome:?}");
        assert!(outcome.residual < 1e-12);
    }

    #[test]
    fn without_iterations_nothing_changes() {
        let run = run(5, 0);
        assert_eq!(serial(&run), run.outcome(0, &run.grid(), EDGE / 4.0));
    }

    #[test]
    fn any_number_of_threads_finds_the_same() {
        for (side, iterations) in [(3, 1), (4, 7), (5, 2), (9, 31), (24, 10), (65, 33)] {
            let run = run(side, iterations);
            let expected = serial(&run);
            for workers in [1, 2, 3, 5, 8] {
                assert_eq!(threads(&run, workers), expected, "{run:?} by {workers}");
            }
        }
    }
}
