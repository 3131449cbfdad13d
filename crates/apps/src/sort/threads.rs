//! The run by threads of one process, on plain memory: what any other way to share the keys is
//! compared with.

use std::sync::{Barrier, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::kernel::{self, SAMPLES};
use super::{Digest, Outcome, Sort};
use crate::app::AppError;
use crate::team;

/// What a worker shows to the others. Barriers keep its writing and their reading of each field
/// apart, so nobody waits for a lock.
#[derive(Default)]
struct Desk {
    samples: RwLock<Vec<u64>>,
    parted: RwLock<Parted>,
}

/// A block after [`kernel::partition`].
#[derive(Default)]
struct Parted {
    keys: Vec<u64>,
    starts: Vec<u64>,
}

/// What a worker has done.
struct Done {
    /// Of what it has read.
    input: Digest,
    /// Of its part of the result.
    output: Digest,
    part: Vec<u64>,
}

/// The whole run, by `workers` threads. Of more threads than keys, the last ones have nothing to
/// read.
///
/// # Errors
/// [`AppError::File`]
///
/// # Panics
/// If `workers` is 0.
pub fn threads(sort: &Sort, workers: usize) -> Result<Outcome, AppError> {
    assert!(workers > 0, "a team has at least one worker");
    let desks: Vec<Desk> = (0..workers).map(|_| Desk::default()).collect();
    let barrier = Barrier::new(workers);
    let done = team::run(workers, |worker| work(sort, &desks, &barrier, worker));
    let [mut input, mut output] = [Digest::default(); 2];
    let mut parts = Vec::new();
    for done in done {
        let done = done?;
        input = input.and(done.input);
        output = output.and(done.output);
        parts.push(done.part);
    }
    sort.finish(input, output, &parts)
}

/// What each worker does.
fn work(sort: &Sort, desks: &[Desk], barrier: &Barrier, worker: usize) -> Result<Done, AppError> {
    let share = team::share(sort.keys(), desks.len(), worker);
    let mut block = vec![0; share.len()];
    // Who fails goes on with zeros, lest the others wait at a barrier for ever.
    let read = sort.read(share.start, &mut block, |_| ());
    let input = Digest::of(&block);
    let mut samples = [0; SAMPLES];
    let count = kernel::sample(&block, &mut samples);
    *write(&desks[worker].samples) = samples[..count].to_vec();
    barrier.wait();

    let mut samples: Vec<u64> = desks
        .iter()
        .flat_map(|desk| look(&desk.samples).clone())
        .collect();
    let cuts = kernel::cuts(&mut samples, desks.len());
    let (mut keys, mut starts) = (vec![0; block.len()], vec![0; desks.len() + 1]);
    kernel::partition(&block, &cuts, &mut keys, &mut starts);
    drop(block);
    *write(&desks[worker].parted) = Parted { keys, starts };
    barrier.wait();

    let all: Vec<_> = desks.iter().map(|desk| look(&desk.parted)).collect();
    let buckets = || {
        all.iter()
            .map(|parted| &parted.keys[kernel::bucket(&parted.starts, worker)])
    };
    let mut part = vec![0; buckets().map(<[u64]>::len).sum()];
    kernel::gather(buckets(), &mut part);
    let output = Digest::of(&part);
    read.map(|()| Done {
        input,
        output,
        part,
    })
}

fn write<T>(field: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    field.write().unwrap_or_else(PoisonError::into_inner)
}

fn look<T>(field: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    field.read().unwrap_or_else(PoisonError::into_inner)
}
