//! An update transaction of one read and one write, its leader in another process, against a raw
//! round trip of the same bytes between the same two processors.

use anyhow::Result;
use plurix::Station;
use std::time::Duration;

use super::cells::{cell, page_of};
use crate::echo::Floor;
use crate::figure::{Figure, Spread, Target, number};
use crate::frames::{self, Sizes};
use crate::machine::Pinned;
use crate::process::{Place, Server, ServerKind, Transport, Waiting};
use crate::rounds::{Plan, Random};

/// Pages that the transactions read and write.
const PAGES: u64 = 64;
/// A line in the middle of its page: line numbers are sent as a mask, and take more bytes the
/// higher they are.
const LINE: u64 = 32;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for waiting in Waiting::ALL {
        for transport in Transport::ALL {
            figures.push(measure(plan, transport, waiting, Place::On(1))?);
        }
    }
    for transport in [Transport::Shared, Transport::Unix] {
        figures.push(measure(plan, transport, Waiting::Blocking, Place::On(0))?);
    }
    Ok(figures)
}

/// Bytes of such a commit and of its answer.
pub(super) fn sizes() -> Result<Sizes> {
    frames::commit(
        (page_of(cell(0, 0)), LINE as u32),
        (page_of(cell(PAGES, 0)), LINE as u32),
    )
}

fn measure(plan: &Plan, transport: Transport, waiting: Waiting, place: Place) -> Result<Figure> {
    let _pinned = Pinned::to(0)?;
    let directory = tempfile::tempdir()?;
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
    let mut options = transport.options();
    options.spin = Duration::from_micros(waiting.spin_us());
    let mut station = Station::join(&server.address, options)?;
    let mut random = Random(1);
    let (mut rounds, mut worst) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let operation = || update(&mut station, &mut random);
        let (ours, raw) = floor.round(&server.process, plan, operation)?;
        rounds.push((ours.p50(), raw.p50()));
        worst.push((ours.p99(), raw.p99()));
    }
    let same = place == Place::On(0);
    let target = transport.target(match waiting {
        _ if same => Target::None,
        Waiting::Spinning => Target::RatioAtMost(1.5),
        Waiting::Blocking => Target::RatioAtMost(1.15),
    });
    let place = if same { ", one processor" } else { "" };
    let p99 = Spread::of(worst.iter().map(|(ours, _)| *ours).collect());
    let raw_p99 = Spread::of(worst.iter().map(|(_, raw)| *raw).collect());
    let suffix = if same { "-same" } else { "" };
    Ok(Figure::against(
        format!("commit-{}-{}{suffix}", transport.name(), waiting.name()),
        format!(
            "1 read + 1 write, {}, both {}{place}, p50",
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
        target,
    )
    .note(format!(
        "p99 {} µs, of the raw round trip {} µs",
        number(p99.median),
        number(raw_p99.median)
    )))
}

fn update(station: &mut Station, random: &mut Random) -> plurix::Result<()> {
    let (read, written) = (random.below(PAGES), PAGES + random.below(PAGES));
    // All eight bytes change.
    let value = random.next();
    station.transaction(|tx| {
        let seen = *tx.get(cell(read, LINE))?;
        *tx.get_mut(cell(written, LINE))? = value ^ (seen & 1);
        Ok(())
    })
}
