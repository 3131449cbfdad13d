//! Scans: a heap read from its first page to its last, when all of it is here and when none of it is, and
//! a heap of which most is never here.

mod cached;
mod cold;
mod skew;
mod stream;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use plurix::{Options, Ptr, Station};
use plurix_wire::PAGE_BYTES;

use super::cells::{cell, whole};
use crate::figure::Figure;
use crate::process::{Place, Server, ServerKind, Transport};
use crate::rounds::{Plan, Random};

/// Pages read by one access of a scan in large pieces.
const PIECE_PAGES: u64 = 256;
/// Pages written by one transaction of the preparation.
const BATCH_PAGES: u64 = 512;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let mut figures = cached::run(plan)?;
    for transport in Transport::ALL {
        figures.push(cold::run(plan, transport)?);
    }
    figures.extend(skew::run(plan)?);
    Ok(figures)
}

/// A page server of `pages` pages that were written, on the second processor.
fn server(directory: &Path, transport: Transport, pages: u64) -> Result<Server> {
    let kind = ServerKind {
        transport,
        place: Place::On(1),
        ..ServerKind::default()
    };
    let server = Server::start(directory, kind)?;
    let mut station = Station::join(&server.address, Options::default())?;
    let mut random = Random(7);
    let mut words = vec![0; PAGE_BYTES / 8];
    for first in (0..pages).step_by(BATCH_PAGES as usize) {
        station.transaction(|tx| {
            for page in first..(first + BATCH_PAGES).min(pages) {
                words.fill_with(|| random.next());
                tx.set_slice(whole(page), &words)?;
            }
            Ok(())
        })?;
    }
    Ok(server)
}

/// `pages` pages from `first` on, as words.
fn piece(first: u64, pages: u64) -> Ptr<[u64]> {
    Ptr::slice_at(cell(first, 0).offset(), pages * PAGE_BYTES as u64 / 8)
}

/// Reads `pages` pages in one transaction, `each` by one access.
fn scan(station: &mut Station, pages: u64, each: u64) -> plurix::Result<u64> {
    station.transaction(|tx| {
        let mut sum = 0u64;
        for first in (0..pages).step_by(each as usize) {
            let words = tx.get(piece(first, each.min(pages - first)))?;
            sum = words.iter().fold(sum, |sum, word| sum.wrapping_add(*word));
        }
        Ok(sum)
    })
}

/// Bytes moved in so long, in GB/s.
fn gigabytes(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / 1e9
}
