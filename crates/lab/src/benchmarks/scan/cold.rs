//! A scan of what is not here, against a raw stream of as many bytes over the same transport. What the
//! stream does not pay for is memory: the system has to find and clear a page for each that comes.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use plurix::Station;
use plurix_memory::HeapMemory;
use plurix_wire::message::PageRun;
use plurix_wire::{PAGE_BYTES, PageNumber};

use super::stream::Stream;
use super::{PIECE_PAGES, gigabytes, scan, server};
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
    let (mut rounds, mut misses, mut against_both) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.throughput_rounds {
        server.process.pause()?;
        let mut raw = Stream::start(directory.path(), transport, FRAME_BYTES)?;
        let begun = Instant::now();
        raw.take(bytes)?;
        let floor = gigabytes(bytes, begun.elapsed());
        drop(raw);
        let installed = install(pages)?;
        server.process.resume()?;
        let mut station = Station::join(&server.address, transport.options())?;
        let begun = Instant::now();
        black_box(scan(&mut station, pages, 1)?);
        let scanned = gigabytes(bytes, begun.elapsed());
        rounds.push((scanned, floor));
        against_both.push(scanned * (1.0 / floor + 1.0 / installed));
        misses.push(station.statistics().misses as f64 / pages as f64);
    }
    let misses = number(Spread::of(misses).median * 100.0);
    let both = number(Spread::of(against_both).median);
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
        "{both} × a stream that is put into new memory of a heap; {misses} of 100 pages were missed, \
         the others had come before"
    )))
}

/// Puts as many pages into the new memory of a heap; answers how many GB/s that are.
fn install(pages: u64) -> Result<f64> {
    let bytes = pages * PAGE_BYTES as u64;
    let heap = HeapMemory::reserve(bytes)?;
    let page = [7; PAGE_BYTES];
    let begun = Instant::now();
    for first in (0..pages).step_by(PIECE_PAGES as usize) {
        let count = PIECE_PAGES.min(pages - first) as u32;
        let run = PageRun::new(PageNumber(first as u32), count);
        heap.prepare(run);
        run.pages().for_each(|number| heap.install(number, &page));
    }
    Ok(gigabytes(bytes, begun.elapsed()))
}
