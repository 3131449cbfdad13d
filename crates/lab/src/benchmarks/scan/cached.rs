//! A scan of what is here, against a copy of as many bytes.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use plurix::Station;
use plurix_wire::PAGE_BYTES;

use super::{PIECE_PAGES, gigabytes, scan, server};
use crate::figure::{Figure, Target};
use crate::machine::Pinned;
use crate::process::Transport;
use crate::rounds::Plan;

pub(super) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let _pinned = Pinned::to(0)?;
    let directory = tempfile::tempdir()?;
    let pages = plan.heap_pages;
    let bytes = pages * PAGE_BYTES as u64;
    let server = server(directory.path(), Transport::Shared, pages)?;
    let mut station = Station::join(&server.address, Transport::Shared.options())?;
    scan(&mut station, pages, PIECE_PAGES)?;
    server.process.pause()?;
    let (from, mut to) = (vec![1u8; bytes as usize], vec![2u8; bytes as usize]);
    let mut rounds = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..plan.throughput_rounds {
        let begun = Instant::now();
        to.copy_from_slice(black_box(&from));
        black_box(&to);
        let copied = gigabytes(bytes, begun.elapsed());
        for (each, rounds) in [PIECE_PAGES, 1].into_iter().zip(&mut rounds) {
            let begun = Instant::now();
            black_box(scan(&mut station, pages, each)?);
            rounds.push((gigabytes(bytes, begun.elapsed()), copied));
        }
        let begun = Instant::now();
        let words = from.chunks_exact(8);
        let words = words.map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")));
        black_box(words.fold(0u64, u64::wrapping_add));
        rounds[2].push((gigabytes(bytes, begun.elapsed()), copied));
    }
    server.process.resume()?;
    let heap = plan.heap();
    let figure = |name: &str, what: String, rounds: &[(f64, f64)], target| {
        Figure::against(
            name,
            what,
            "GB/s",
            "memcpy of as many bytes",
            rounds,
            target,
        )
    };
    Ok(vec![
        figure(
            "scan-cached-large",
            format!("{heap} that are here, read by tx.get of 1 MiB each"),
            &rounds[0],
            Target::RatioAtLeast(0.6),
        ),
        figure(
            "scan-cached-pages",
            format!("{heap} that are here, read by tx.get of a page each"),
            &rounds[1],
            Target::RatioAtLeast(0.6),
        ),
        figure(
            "scan-vector",
            format!("{heap} of a vector, read by the same loop"),
            &rounds[2],
            Target::None,
        ),
    ])
}
