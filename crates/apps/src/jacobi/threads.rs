//! The run by threads of one process, on plain memory: what any other way to share the grid is
//! compared with.

use std::mem::swap;
use std::sync::Barrier;

use super::{Jacobi, Outcome, kernel};
use crate::team::{self, Border, RowBlocks};

/// The whole run, by `workers` threads. Of more threads than rows, the last ones have nothing to do
/// and are not started.
///
/// # Panics
/// If `workers` is 0.
#[must_use]
pub fn threads(jacobi: &Jacobi, workers: usize) -> Outcome {
    assert!(workers > 0, "a team has at least one worker");
    let side = jacobi.side();
    let workers = workers.min(side - 2);
    let grid = jacobi.grid();
    let last = side * (side - 1);
    let border = Border {
        above: grid[..side].to_vec(),
        below: grid[last..].to_vec(),
    };
    let blocks = || RowBlocks::new(&grid[side..last], side, workers);
    let copies = [blocks(), blocks()];
    let barrier = Barrier::new(workers);
    let residuals = team::run(workers, |worker| {
        let [mut from, mut to] = copies.each_ref();
        for _ in 0..jacobi.options().iterations {
            relax(from, to, worker, &border);
            barrier.wait();
            swap(&mut from, &mut to);
        }
        let rows = from.read(worker, &border);
        kernel::residual(rows.above(), rows.own(), rows.below())
    });
    let residual = residuals.into_iter().fold(0.0, f64::max);
    let [even, odd] = copies;
    let is_even = jacobi.options().iterations.is_multiple_of(2);
    let rows = if is_even { even } else { odd }.into_table();
    let grid = [border.above, rows, border.below].concat();
    jacobi.outcome(&grid, residual)
}

/// One iteration, for the rows of `worker`.
fn relax(from: &RowBlocks, to: &RowBlocks, worker: usize, border: &Border) {
    let rows = from.read(worker, border);
    let mut out = to.write(worker);
    kernel::relax(rows.above(), rows.own(), rows.below(), &mut out);
}
