//! The run by threads of one process, on plain memory: what any other way to share the matrices is
//! compared with.

use std::sync::{Mutex, PoisonError};

use super::{Factor, Matmul, Outcome, kernel};
use crate::team;

/// The whole run, by `workers` threads. Of more threads than rows, the last ones have nothing to do.
///
/// # Panics
/// If `workers` is 0.
#[must_use]
pub fn threads(matmul: &Matmul, workers: usize) -> Outcome {
    assert!(workers > 0, "a team has at least one worker");
    let side = matmul.side();
    let rows = |worker| team::share(side, workers, worker);
    let mut b = vec![0.0; side * side];
    let mut rest = &mut b[..];
    let parts: Vec<_> = (0..workers)
        .map(|worker| rest.split_off_mut(..rows(worker).len() * side))
        .map(|part| Mutex::new(part.unwrap_or_default()))
        .collect();
    let a = team::run(workers, |worker| {
        let first = rows(worker).start * side;
        let mut part = parts[worker].lock().unwrap_or_else(PoisonError::into_inner);
        matmul.fill(Factor::B, first, &mut part);
        let mut a = vec![0.0; part.len()];
        matmul.fill(Factor::A, first, &mut a);
        a
    });
    let outcomes = team::run(workers, |worker| {
        let a = &a[worker];
        let mut product = vec![0.0; a.len()];
        kernel::multiply(a, &b, side, &mut product);
        matmul.outcome(rows(worker).start, a, &b, &product)
    });
    let all = outcomes.into_iter().reduce(Outcome::and);
    all.expect("there is a worker")
}
