//! The run by threads of one process, on plain memory: what any other way to share the grid is
//! compared with.

use std::mem::swap;
use std::sync::Barrier;

use super::{EDGE, Jacobi, Outcome, kernel};
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
    let border = Border {
        above: vec![EDGE; side],
        below: vec![0.0; side],
    };
    let copies = [(); 2].map(|()| RowBlocks::new(side - 2, side, workers));
    let barrier = Barrier::new(workers);
    let inside = team::run(workers, |worker| {
        copies.iter().for_each(|copy| copy.begin(worker));
        barrier.wait();
        let [mut from, mut to] = copies.each_ref();
        for _ in 0..jacobi.options().iterations {
            relax(from, to, worker, &border);
            barrier.wait();
            swap(&mut from, &mut to);
        }
        let rows = from.read(worker, &border);
        let residual = kernel::residual(rows.above(), rows.own(), rows.below());
        jacobi.outcome(1 + from.share(worker).start, rows.own(), residual)
    });
    let above = jacobi.outcome(0, &border.above, 0.0);
    let below = jacobi.outcome(side - 1, &border.below, 0.0);
    inside.into_iter().fold(above.and(below), Outcome::and)
}

/// One iteration, for the rows of `worker`.
fn relax(from: &RowBlocks, to: &RowBlocks, worker: usize, border: &Border) {
    let rows = from.read(worker, border);
    let mut out = to.write(worker);
    kernel::relax(rows.above(), rows.own(), rows.below(), &mut out);
}
