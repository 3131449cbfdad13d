//! The first access to a page that is not here, against a raw round trip with a reply of a page.

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use plurix::{Options, Station};
use plurix_wire::PAGE_BYTES;

use super::cells::{cell, page_of, whole};
use crate::echo::Floor;
use crate::figure::{Figure, Spread, Target, number};
use crate::frames::{self, Sizes};
use crate::machine::Pinned;
use crate::process::{Place, Server, ServerKind, Transport, Waiting};
use crate::rounds::{Plan, Random};

/// Pages written by one transaction of the preparation.
const BATCH: u64 = 64;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for waiting in Waiting::ALL {
        for transport in Transport::ALL {
            figures.push(measure(plan, transport, waiting)?);
        }
    }
    Ok(figures)
}

/// Bytes of the request for a page and of its answer.
pub(super) fn sizes() -> Result<Sizes> {
    frames::miss(page_of(cell(0, 0)))
}

fn measure(plan: &Plan, transport: Transport, waiting: Waiting) -> Result<Figure> {
    let _pinned = Pinned::to(0)?;
    let directory = tempfile::tempdir()?;
    let place = Place::On(1);
    let kind = ServerKind {
        transport,
        spin_us: Some(waiting.spin_us()),
        place,
        ..ServerKind::default()
    };
    let sizes = sizes()?;
    let server = Server::start(directory.path(), kind)?;
    let mut floor = Floor::start(directory.path(), transport, waiting, sizes, place)?;
    floor.process.pause()?;
    let of_one_round = (plan.warm_up() + plan.round_trips) as u64;
    write(&server, plan.rounds as u64 * of_one_round)?;

    let mut options = transport.options();
    options.spin = Duration::from_micros(waiting.spin_us());
    options.read_ahead = 1;
    let mut station = Station::join(&server.address, options)?;
    let (mut rounds, mut worst) = (Vec::new(), Vec::new());
    let mut page = 0;
    for _ in 0..plan.rounds {
        let (ours, raw) = floor.round(&server.process, plan, || {
            page += 1;
            black_box(station.transaction(|tx| Ok(*tx.get(cell(page - 1, 0))?))?);
            Ok::<_, plurix::Error>(())
        })?;
        rounds.push((ours.p50(), raw.p50()));
        worst.push(ours.p99());
    }
    let misses = station.statistics().misses;
    anyhow::ensure!(misses >= page, "{misses} misses in {page} transactions");
    Ok(Figure::against(
        format!("miss-{}-{}", transport.name(), waiting.name()),
        format!(
            "a transaction that misses one page, {}, both {}, p50",
            transport.what(),
            waiting.name()
        ),
        "µs",
        format!(
            "a raw round trip, {}, {} + {} bytes",
            transport.socket(),
            sizes.request,
            sizes.reply
        ),
        &rounds,
        transport.target(Target::RatioAtMost(1.3)),
    )
    .note(format!("p99 {} µs", number(Spread::of(worst).median))))
}

/// Lets a station that leaves again write `pages` pages.
fn write(server: &Server, pages: u64) -> Result<()> {
    let mut station = Station::join(&server.address, Options::default())?;
    let mut random = Random(7);
    let mut words = vec![0; PAGE_BYTES / 8];
    for first in (0..pages).step_by(BATCH as usize) {
        station.transaction(|tx| {
            for page in first..(first + BATCH).min(pages) {
                words.fill_with(|| random.next());
                tx.set_slice(whole(page), &words)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
