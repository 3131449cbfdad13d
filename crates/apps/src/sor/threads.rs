//! The run by threads of one process, on plain memory: what any other way to share the grid is
//! compared with.

use std::sync::Barrier;

use super::kernel::{self, Rule};
use super::{Color, Outcome, Sor};
use crate::team::{self, Border, RowBlocks, Window};

/// The points of one colour.
struct Half {
    color: Color,
    border: Border,
    blocks: RowBlocks,
}

/// The whole run, by `workers` threads. Of more threads than rows, the last ones have nothing to do
/// and are not started.
///
/// # Panics
/// If `workers` is 0.
#[must_use]
pub fn threads(sor: &Sor, workers: usize) -> Outcome {
    assert!(workers > 0, "a team has at least one worker");
    let rule = sor.rule();
    let rows = sor.side() - 2;
    let workers = workers.min(rows);
    let [red, black] = [Color::Red, Color::Black].map(|color| Half::new(sor, color, workers));
    let barrier = Barrier::new(workers);
    let residuals = team::run(workers, |worker| {
        let first = 1 + team::share(rows, workers, worker).start;
        for _ in 0..sor.options().iterations {
            for (half, other) in [(&red, &black), (&black, &red)] {
                half.relax(&rule, worker, first, other);
                barrier.wait();
            }
        }
        let of_red = red.residual(&rule, worker, first, &black);
        of_red.max(black.residual(&rule, worker, first, &red))
    });
    let residual = residuals.into_iter().fold(0.0, f64::max);
    sor.outcome(&red.into_grid(), &black.into_grid(), residual)
}

impl Half {
    fn new(sor: &Sor, color: Color, workers: usize) -> Self {
        let (grid, half) = (sor.half_grid(color), sor.half());
        let last = half * (sor.side() - 1);
        Self {
            color,
            border: Border {
                above: grid[..half].to_vec(),
                below: grid[last..].to_vec(),
            },
            blocks: RowBlocks::new(&grid[half..last], half, workers),
        }
    }

    /// Computes the rows of `worker`, which begin with row `first` of the grid.
    fn relax(&self, rule: &Rule, worker: usize, first: usize, other: &Self) {
        let others = other.window(worker);
        let mut points = self.blocks.write(worker);
        kernel::relax(rule, self.color, first, slices(&others), &mut points);
    }

    fn residual(&self, rule: &Rule, worker: usize, first: usize, other: &Self) -> f64 {
        let (points, others) = (self.window(worker), other.window(worker));
        kernel::residual(rule, self.color, first, slices(&others), points.own())
    }

    fn window(&self, worker: usize) -> Window<'_> {
        self.blocks.read(worker, &self.border)
    }

    fn into_grid(self) -> Vec<f64> {
        let Border { above, below } = self.border;
        [above, self.blocks.into_table(), below].concat()
    }
}

fn slices<'a>(window: &'a Window<'_>) -> [&'a [f64]; 3] {
    [window.above(), window.own(), window.below()]
}
