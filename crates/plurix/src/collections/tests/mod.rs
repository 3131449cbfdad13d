//! Tests of the collections against the standard library's, on a cluster in this process.

mod bytes;
mod counter;
mod keys;
mod map;
mod map_damage;

use proptest::prelude::*;

use crate::station::Station;
use crate::{Cluster, ClusterOptions, Error, ErrorKind, Result, Transaction};

const MIB: u64 = 1 << 20;

/// A cluster with a heap of `heap_bytes` on emulated memory.
fn cluster(stations: usize, heap_bytes: u64) -> Cluster {
    let mut options = ClusterOptions::new(stations);
    options.server.heap_bytes = Some(heap_bytes);
    options.server.segment_bytes = 64 << 20;
    options.station.emulated_memory = true;
    Cluster::start(options).unwrap()
}

/// What one station does in one transaction.
#[derive(Debug, Clone)]
struct Program<S> {
    station: usize,
    steps: Vec<S>,
    commits: bool,
}

fn programs<S: std::fmt::Debug>(
    step: impl Strategy<Value = S>,
    steps_max: usize,
) -> impl Strategy<Value = Vec<Program<S>>> {
    let steps = prop::collection::vec(step, 1..steps_max);
    let program = (any::<usize>(), steps, prop::bool::weighted(0.8));
    let program = program.prop_map(|(station, steps, commits)| Program {
        station,
        steps,
        commits,
    });
    prop::collection::vec(program, 1..30)
}

/// Runs `programs`, each on its station, on the heap and on `model`: `step` does one step of both and
/// compares what they answer, `check` compares the whole.
fn run<S, M: Clone>(
    cluster: &mut Cluster,
    programs: &[Program<S>],
    mut model: M,
    mut step: impl FnMut(&mut Transaction<'_>, &mut M, &S) -> Result<()>,
    check: impl Fn(&Transaction<'_>, &M) -> Result<()>,
) -> M {
    let count = cluster.stations().len();
    for program in programs {
        let station = &mut cluster.stations()[program.station % count];
        // The model knows what the other stations did, so this one must.
        station.latest().unwrap();
        let result = station.transaction(|tx| {
            let mut model = model.clone();
            for each in &program.steps {
                step(tx, &mut model, each)?;
            }
            check(tx, &model)?;
            if program.commits {
                Ok(model)
            } else {
                Err(tx.abort("as told"))
            }
        });
        match result {
            Ok(after) => model = after,
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Aborted(_)), "{error}"),
        }
    }
    let station = &mut cluster.stations()[0];
    station.latest().unwrap();
    station.transaction(|tx| check(tx, &model)).unwrap();
    station.check_heap().unwrap();
    model
}

/// Asserts that nothing is allocated any more.
fn assert_no_leak(station: &mut Station) {
    let usage = station.check_heap().unwrap().usage;
    assert_eq!((usage.blocks, usage.allocated_bytes), (0, 0));
}

fn is_corrupt(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt { .. })
}

fn is_other_layout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::LayoutDiffers { .. })
}
