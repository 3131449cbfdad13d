//! The run by threads of one process, on plain memory: what any other way to share the grid is
//! compared with.

use std::sync::Barrier;

use super::kernel::{self, Rule};
use super::{Color, EDGE, Outcome, Sor};
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
    let workers = workers.min(sor.side() - 2);
    let [red, black] = [Color::Red, Color::Black].map(|color| Half::new(sor, color, workers));
    let barrier = Barrier::new(workers);
    let inside = team::run(workers, |worker| {
        [&red, &black]
            .iter()
            .for_each(|half| half.blocks.begin(worker));
        barrier.wait();
        let first = 1 + red.blocks.share(worker).start;
        for _ in 0..sor.options().iterations {
            for (half, other) in [(&red, &black), (&black, &red)] {
                half.relax(&rule, worker, first, other);
                barrier.wait();
            }
        }
        let of_red = red.residual(&rule, worker, first, &black);
        let of_black = black.residual(&rule, worker, first, &red);
        let (red, black) = (red.window(worker), black.window(worker));
        sor.outcome(first, red.own(), black.own(), of_red.max(of_black))
    });
    let above = sor.outcome(0, &red.border.above, &black.border.above, 0.0);
    let (red, black) = (&red.border.below, &black.border.below);
    let below = sor.outcome(sor.side() - 1, red, black, 0.0);
    inside.into_iter().fold(above.and(below), Outcome::and)
}

impl Half {
    fn new(sor: &Sor, color: Color, workers: usize) -> Self {
        let half = sor.half();
        let mut above = vec![0.0; half];
        above[..color.count(0, sor.side())].fill(EDGE);
        Self {
            color,
            border: Border {
                above,
                below: vec![0.0; half],
            },
            blocks: RowBlocks::new(sor.side() - 2, half, workers),
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
}

fn slices<'a>(window: &'a Window<'_>) -> [&'a [f64]; 3] {
    [window.above(), window.own(), window.below()]
}
