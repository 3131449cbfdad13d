//! What a checkpoint writes, against the pages that changed: a twentieth of the heap each time, now
//! here and now there, so that images have to be emptied, too.

use anyhow::Result;
use plurix::{Options, Station};
use plurix_wire::PAGE_BYTES;

use super::prepare;
use crate::benchmarks::cells::cell;
use crate::figure::{Figure, Spread, Target, number};
use crate::process::{CheckpointKind, Server, ServerKind};
use crate::rounds::{Plan, Random};
use crate::said::{Compress, Strategy, Taken};

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    Compress::ALL
        .into_iter()
        .map(|compress| measure(plan, compress))
        .collect()
}

fn measure(plan: &Plan, compress: Compress) -> Result<Figure> {
    let directory = tempfile::tempdir()?;
    let changed = plan.heap_pages / 20;
    let kind = CheckpointKind {
        changed_pages: Some(changed),
        compress,
        // Nothing else happens meanwhile, and each begins with its last page.
        ..CheckpointKind::at_end(Strategy::Blocking)
    };
    let first = prepare(directory.path(), plan, kind)?;
    let kind = ServerKind {
        checkpoints: Some(kind),
        ..ServerKind::default()
    };
    let mut server = Server::start(directory.path(), kind)?;
    let mut station = Station::join(&server.address, Options::default())?;
    let mut random = Random(7);
    let mut taken = Vec::new();
    for _ in 0..plan.pairs {
        change(&mut station, plan.heap_pages, changed, &mut random)?;
        taken.push(server.checkpoint()?);
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let rounds: Vec<(f64, f64)> = taken
        .iter()
        .map(|taken| (mib(taken.bytes), mib(taken.changed * PAGE_BYTES as u64)))
        .collect();
    let name = compress.name();
    let carried = |taken: &Taken| taken.carried as f64 / taken.changed as f64 * 100.0;
    let carried = Spread::of(taken.iter().map(carried).collect());
    Ok(Figure::against(
        format!("checkpoint-bytes-{name}"),
        format!(
            "bytes written for 5 % of {}, compression {name}",
            plan.heap()
        ),
        "MiB",
        "the pages that changed",
        &rounds,
        Target::RatioAtMost(1.03),
    )
    .note(format!(
        "in proportion to the changed pages, {} % (up to {} in a tenth of the checkpoints) were \
         carried from older images; the whole heap took {} MiB",
        number(carried.median),
        number(carried.p90),
        number(mib(first.bytes)),
    )))
}

/// Changes a word of `count` pages, all different.
fn change(
    station: &mut Station,
    pages: u64,
    count: u64,
    random: &mut Random,
) -> plurix::Result<()> {
    // Selection sampling (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S).
    let mut left = count;
    for page in 0..pages {
        if random.below(pages - page) < left {
            left -= 1;
            let value = random.next();
            station.transaction(|tx| tx.set(cell(page, 0), value))?;
        }
    }
    Ok(())
}
