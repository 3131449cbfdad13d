//! What the programs of teams share: a *team* is a number of workers that run the same code on
//! different parts of the data, and meet at barriers.
//!
//! The parts are chosen by number alone, so that every worker knows the parts of all others without
//! asking. The workers are those of a team of stations, on weak memory ([`plurix::team`]), or threads
//! of this process, which is what such a team is compared with.

pub(crate) mod app;
mod checksum;
mod options;
mod record;
mod rows;

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use plurix::team::Worker;

pub use checksum::Checksum;
pub use options::{Places, TeamArguments};
pub(crate) use rows::{Border, RowBlocks, Window};

/// The part of `count` things that is for `worker`, of `workers`. The parts follow each other
/// without gap, differ in length by one at most, and none is longer than one before it: if there are
/// too few things, it is the last workers that have none.
///
/// # Panics
/// If there is no such worker.
#[must_use]
pub fn share(count: usize, workers: usize, worker: usize) -> Range<usize> {
    assert!(worker < workers, "worker {worker} of {workers}");
    let (least, longer) = (count / workers, count % workers);
    let start = worker * least + worker.min(longer);
    start..start + least + usize::from(worker < longer)
}

/// Rows `first` to `last` that are for this worker, of those that are inside a grid of `side` rows: the
/// outermost ones are the edge.
pub(crate) fn inner_rows(worker: &Worker<'_>, side: usize) -> Range<usize> {
    let rows = worker.part(side);
    rows.start.clamp(1, side - 1)..rows.end.clamp(1, side - 1)
}

/// Runs `work` for each worker's number, each in a thread of its own, and answers what they answer,
/// in their order.
///
/// # Panics
/// If a worker panics.
pub(crate) fn run<R: Send>(workers: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| scope.spawn(move || work(worker)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_cover_everything_once_and_fairly(count in 0usize..1000, workers in 1usize..40) {
            let shares: Vec<_> = (0..workers).map(|worker| share(count, workers, worker)).collect();
            let mut end = 0;
            for share in &shares {
                prop_assert_eq!(share.start, end);
                end = share.end;
            }
            prop_assert_eq!(end, count);
            prop_assert!(shares.windows(2).all(|pair| pair[0].len() >= pair[1].len()));
            prop_assert!(shares[0].len() - shares[workers - 1].len() <= 1);
        }
    }

    #[test]
    fn answers_come_in_the_order_of_the_workers() {
        assert_eq!(run(5, |worker| worker * worker), [0, 1, 4, 9, 16]);
    }
}
