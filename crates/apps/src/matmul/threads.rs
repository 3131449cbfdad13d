//! The run by threads of one process, on plain memory: what any other way to share the matrices is
//! compared with.

use super::{Matmul, Outcome, kernel};
use crate::team;

/// The whole run, by `workers` threads. Of more threads than rows, the last ones have nothing to do.
///
/// # Panics
/// If `workers` is 0.
#[must_use]
pub fn threads(matmul: &Matmul, workers: usize) -> Outcome {
    assert!(workers > 0, "a team has at least one worker");
    let side = matmul.side();
    let factors = matmul.factors();
    let blocks = team::run(workers, |worker| {
        let rows = team::share(side, workers, worker);
        let mut product = vec![0.0; rows.len() * side];
        let a = &factors.a[rows.start * side..rows.end * side];
        kernel::multiply(a, &factors.b, side, &mut product);
        product
    });
    matmul.outcome(&factors, &blocks.concat())
}
