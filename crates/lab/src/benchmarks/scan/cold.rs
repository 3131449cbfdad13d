//! A scan of what is not here, against a raw stream of as many bytes over the same transport.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use plurix::Station;
use plurix_wire::PAGE_BYTES;

use super::stream::Stream;
use super::{gigabytes, scan, server};
use crate::figure::{Figure, Spread, Target, number};
use crate::machine::Pinned;
use crate::process::Transport;
use crate::rounds::Plan;

/// Bytes of one frame of the raw stream, about those of a batch of the page server.
const FRAME_BYTES: usize = 64 << 10;

pub(super) fn run(plan: &Plan, transport: Transport) -> Result<Figure> {
    let _pinned = Pinned::to(0)?;
    let directory = tempfile::tempdir()?;
    let pages = plan.heap_pages;
    let bytes = pages * PAGE_BYTES as u64;
    let server = server(directory.path(), transport, pages)?;
    let (mut rounds, mut misses) = (Vec::new(), Vec::new());
    for _ in 0..plan.throughput_rounds {
        server.process.pause()?;
        let mut raw = Stream::start(directory.path(), transport, FRAME_BYTES)?;
        let begun = Instant::now();
        raw.take(bytes)?;
        let floor = gigabytes(bytes, begun.elapsed());
        drop(raw);
        server.process.resume()?;
        let mut station = Station::join(&server.address, transport.options())?;
        let begun = Instant::now();
        black_box(scan(&mut station, pages, 1)?);
        rounds.push((gigabytes(bytes, begun.elapsed()), floor));
        misses.push(station.statistics().misses as f64 / pages as f64);
    }
    let misses = number(Spread::of(misses).median * 100.0);
    Ok(Figure::against(
        format!("scan-cold-{}", transport.name()),
        format!(
            "{} that are not here, read in order, {}",
            plan.heap(),
            transport.what()
        ),
        "GB/s",
        format!("a raw stream of frames of 64 KiB, {}", transport.what()),
        &rounds,
        Target::RatioAtLeast(0.6),
    )
    .note(format!(
        "{misses} of 100 pages were missed, the others had come before"
    )))
}
