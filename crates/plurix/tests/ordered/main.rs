//! Vectors, ordered maps and queues in the heap: random programs on several stations against the
//! standard library's collections, and headers and nodes full of garbage.

mod btree;
mod conflicts;
mod damage;
mod owned_keys;
mod queue;
mod vec;

use std::fmt::Debug;

use plurix::{Cluster, ClusterOptions, ErrorKind, Result, Station, Transaction};
use proptest::prelude::*;

/// A cluster with a heap of 8 MiB on emulated memory.
fn cluster(stations: usize) -> Cluster {
    let mut options = ClusterOptions::new(stations);
    options.server.heap_bytes = Some(8 << 20);
    options.server.segment_bytes = 64 << 20;
    options.station.emulated_memory = true;
    Cluster::start(options).expect("a cluster")
}

/// A transaction of a random program.
#[derive(Debug, Clone)]
struct Program<S> {
    station: usize,
    steps: Vec<S>,
    commits: bool,
}

fn programs<S: Debug + Clone + 'static>(
    step: impl Strategy<Value = S> + 'static,
) -> impl Strategy<Value = Vec<Program<S>>> {
    let steps = prop::collection::vec(step, 1..40);
    let program =
        (0usize..3, steps, prop::bool::weighted(0.8)).prop_map(|(station, steps, commits)| {
            Program {
                station,
                steps,
                commits,
            }
        });
    prop::collection::vec(program, 1..30)
}

/// Runs the programs one after the other, each on its station, on the heap and on a model.
fn run<S, M: Clone>(
    cluster: &mut Cluster,
    programs: &[Program<S>],
    mut model: M,
    mut step: impl FnMut(&mut Transaction<'_>, &mut M, &S) -> Result<()>,
) -> M {
    for program in programs {
        let station = &mut cluster.stations()[program.station];
        station.latest().expect("a session");
        let result = station.transaction(|tx| {
            let mut after = model.clone();
            for one in &program.steps {
                step(tx, &mut after, one)?;
            }
            if program.commits {
                Ok(after)
            } else {
                Err(tx.abort("as told"))
            }
        });
        match result {
            Ok(after) => model = after,
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Aborted(_)), "{error}"),
        }
    }
    model
}

/// Blocks that are allocated; the heap must be consistent.
fn blocks(station: &mut Station) -> u64 {
    station.latest().expect("a session");
    station
        .check_heap()
        .expect("a consistent heap")
        .usage
        .blocks
}
