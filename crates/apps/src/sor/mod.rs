//! The temperature of a plate whose upper edge is hot, by successive over-relaxation in red-black
//! order: each point moves towards the mean of its four neighbours, and beyond it.
//!
//! The points are coloured like a chess board. All neighbours of a red point are black, so all red
//! ones can be computed at once, and then all black ones, in place. The two colours are kept apart,
//! because the points of one that follow each other in memory can be computed several at a time:
//!
//! ```text
//!   grid, row i        R B R B R B         red, row i      R R R
//!         row i + 1    B R B R B R         black, row i    B B B
//! ```
//!
//! A *half grid* holds one colour: row after row, point (i, j) at place j / 2 of its row. With an odd
//! number of points along a side, rows differ in how many of a colour they have; those that have
//! fewer end with an unused place, which is 0 always.
//!
//! An iteration is two phases, one for each colour, with a barrier after each. A worker changes the
//! points of its rows, and reads those of the other colour there and in the two rows around. The
//! result is the same bit for bit for any number of workers.
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
pub use kernel::Color;
pub use threads::threads;

/// What a run computes.
#[plain]
#[derive(Debug, PartialEq)]
pub struct SorOptions {
    /// Points along each side of the grid, its edges included.
    pub side: u64,
    /// How often each point is computed.
    pub iterations: u64,
    /// How far a point moves: 1 as far as the mean of its neighbours. It must be above 0 and below
    /// 2, or the method finds no end.
    pub omega: f64,
}

impl Default for SorOptions {
    fn default() -> Self {
        Self {
            side: 2048,
            iterations: 200,
            omega: 1.9,
        }
    }
}

/// Why there can be no such run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SorError {
    /// All points are at the edge, or they are too many.
    #[error("a grid of {side} x {side} points cannot be computed; ask for 3 to {SIDE_MAX} a side")]
    Side {
        /// Points along each side.
        side: u64,
    },
    /// The method would not converge.
    #[error("a relaxation of {omega} does not converge; ask for one above 0 and below 2")]
    Omega {
        /// The relaxation.
        omega: f64,
    },
}

/// The largest side, whose grid has 8 GiB.
const SIDE_MAX: u64 = 1 << 15;

/// A run that was found possible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sor(SorOptions);

impl Sor {
    /// Checks `options`.
    ///
    /// # Errors
    /// [`SorError`] naming the option that makes the run impossible.
    pub fn new(options: SorOptions) -> Result<Self, SorError> {
        let SorOptions { side, omega, .. } = options;
        if !(3..=SIDE_MAX).contains(&side) {
            return Err(SorError::Side { side });
        }
        // A value that is no number is outside of this range, too.
        if !(omega > 0.0 && omega < 2.0) {
            return Err(SorError::Omega { omega });
        }
        Ok(Self(options))
    }

    /// The options that the run was made with.
    #[must_use]
    pub fn options(&self) -> &SorOptions {
        &self.0
    }

    /// Points along each side.
    #[must_use]
    pub fn side(&self) -> usize {
        self.0.side as usize
    }

    /// Places in a row of a half grid.
    #[must_use]
    pub fn half(&self) -> usize {
        self.side().div_ceil(2)
    }

    /// What the kernel must know of the run.
    #[must_use]
    pub fn rule(&self) -> kernel::Rule {
        kernel::Rule {
            side: self.side(),
            omega: self.0.omega,
        }
    }

    /// The half grid of `color` in the beginning, row by row.
    #[must_use]
    pub fn half_grid(&self, color: Color) -> Vec<f64> {
        let mut grid = vec![0.0; self.half() * self.side()];
        let hot = color.count(0, self.side());
        grid[..hot].fill(EDGE);
        grid
    }

    /// What is to be said in the end of some rows, given the residual of their points. The rows of each
    /// half grid are those from row `first` on.
    ///
    /// # Panics
    /// If they are not as many of either.
    #[must_use]
    pub fn outcome(&self, first: usize, red: &[f64], black: &[f64], residual: f64) -> Outcome {
        let (side, half) = (self.side(), self.half());
        assert_eq!(red.len(), black.len(), "other rows of the other colour");
        let mut checksum = Checksum::default();
        let mut center = 0.0;
        for (color, grid) in [(Color::Red, red), (Color::Black, black)] {
            for (row, points) in (first..).zip(grid.chunks_exact(half)) {
                let begin = row * side + color.offset(row);
                let points = &points[..color.count(row, side)];
                for (at, point) in points.iter().enumerate() {
                    checksum.add(begin + 2 * at, point.to_bits());
                }
                if row == side / 2 && Color::of(row, side / 2) == color {
                    center = points[side / 2 / 2];
                }
            }
        }
        Outcome {
            checksum: checksum.finish(),
            residual,
            center,
        }
    }
}

/// The whole run, by the caller alone.
#[must_use]
pub fn serial(sor: &Sor) -> Outcome {
    let (rule, half) = (sor.rule(), sor.half());
    let last = half * (sor.side() - 1);
    let mut red = sor.half_grid(Color::Red);
    let mut black = sor.half_grid(Color::Black);
    let (top, inner, bottom) = (0..half, half..last, last..half + last);
    for _ in 0..sor.options().iterations {
        let others = [
            &black[top.clone()],
            &black[inner.clone()],
            &black[bottom.clone()],
        ];
        kernel::relax(&rule, Color::Red, 1, others, &mut red[inner.clone()]);
        let others = [&red[top.clone()], &red[inner.clone()], &red[bottom.clone()]];
        kernel::relax(&rule, Color::Black, 1, others, &mut black[inner.clone()]);
    }
    let others = [
        &black[top.clone()],
        &black[inner.clone()],
        &black[bottom.clone()],
    ];
    let of_red = kernel::residual(&rule, Color::Red, 1, others, &red[inner.clone()]);
    let others = [&red[top], &red[inner.clone()], &red[bottom]];
    let of_black = kernel::residual(&rule, Color::Black, 1, others, &black[inner]);
    sor.outcome(0, &red, &black, of_red.max(of_black))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(side: u64, iterations: u64, omega: f64) -> Sor {
        let options = SorOptions {
            side,
            iterations,
            omega,
        };
        Sor::new(options).unwrap()
    }

    #[test]
    fn impossible_runs_are_refused() {
        let possible = SorOptions::default();
        assert!(Sor::new(possible).is_ok());
        for side in [0, 2, SIDE_MAX + 1, u64::MAX] {
            let options = SorOptions { side, ..possible };
            assert_eq!(Sor::new(options), Err(SorError::Side { side }));
        }
        for omega in [0.0, -1.0, 2.0, f64::INFINITY, f64::NAN] {
            let options = SorOptions { omega, ..possible };
            assert!(matches!(Sor::new(options), Err(SorError::Omega { .. })));
        }
    }

    #[test]
    fn the_center_takes_a_quarter_of_the_heat() {
        // Plates with one hot edge each add up to one that is hot all around, and so everywhere.
        for side in [17, 33] {
            let outcome = serial(&run(side, 500, 1.83));
            assert!((outcome.center - EDGE / 4.0).abs() < 1e-12, "{outcome:?}");
            assert!(outcome.residual < 1e-12);
        }
    }

    #[test]
    fn relaxing_further_ends_earlier() {
        let [slow, fast] = [1.0, 1.8].map(|omega| serial(&run(33, 60, omega)).residual);
        assert!(fast < slow / 100.0, "{fast} and {slow}");
    }

    #[test]
    fn any_number_of_threads_finds_the_same() {
        for (side, iterations) in [(3, 1), (4, 7), (5, 2), (9, 31), (24, 10), (65, 33)] {
            let run = run(side, iterations, 1.5);
            let expected = serial(&run);
            for workers in [1, 2, 3, 5, 8] {
                assert_eq!(threads(&run, workers), expected, "{run:?} by {workers}");
            }
        }
    }
}
