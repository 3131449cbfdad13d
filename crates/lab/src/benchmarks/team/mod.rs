//! Teams on weak memory: what a fault, a barrier and a lock cost between two stations, against a raw
//! round trip of the same bytes.

mod micro;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use plurix::Options;
use plurix::net::Address;
use plurix::team::{Report, TeamOptions};
use plurix_wire::PAGE_BYTES;

use crate::echo::Floor;
use crate::figure::{Figure, Spread, Target, number, percentile};
use crate::frames::Sizes;
use crate::machine;
use crate::process::{Place, Process, Server, ServerKind, Transport, Waiting};
use crate::rounds::{Latencies, Plan};
use micro::{Kind, Micro};

/// Bytes of a message that carries no page.
const SMALL: usize = 16;
/// Longer than any measurement.
const SPIN: Duration = Duration::from_secs(10);

/// The station that is asked.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    #[arg(long)]
    join: Address,
    #[arg(long)]
    kind: Kind,
    #[arg(long)]
    count: usize,
    #[arg(long)]
    team: String,
    #[arg(long)]
    transport: Transport,
    #[arg(long)]
    processor: Option<usize>,
}

impl Asked {
    pub(crate) fn play(self) -> Result<()> {
        self.processor.map_or(Ok(()), machine::pin)?;
        let micro = Micro {
            kind: self.kind,
            count: self.count,
            measures: false,
        };
        let options = options(&self.team, self.transport);
        plurix::team::run(&self.join, Options::default(), &options, &micro)?;
        Ok(())
    }
}

fn options(name: &str, transport: Transport) -> TeamOptions {
    let mut options = TeamOptions::new(name).stations(2);
    options.shared_memory = transport == Transport::Shared;
    // By themselves, members on one host meet at a Unix socket, however they have joined.
    options.listen = (transport == Transport::Tcp).then(|| Address::Tcp("127.0.0.1:0".to_owned()));
    options.spin = SPIN;
    options.read_ahead = 1;
    options
}

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for transport in Transport::ALL {
        for kind in [
            Kind::Fault,
            Kind::FaultBusy,
            Kind::Barrier,
            Kind::ChangedOne,
            Kind::ChangedHalf,
            Kind::LockHere,
            Kind::LockThere,
        ] {
            figures.push(measure(plan, transport, kind)?);
        }
    }
    Ok(figures)
}

fn measure(plan: &Plan, transport: Transport, kind: Kind) -> Result<Figure> {
    let directory = tempfile::tempdir()?;
    let server = Server::start(
        directory.path(),
        ServerKind {
            transport,
            ..ServerKind::default()
        },
    )?;
    // Who computes must be able to give way to who answers for it.
    let is_busy = kind == Kind::FaultBusy;
    let place = if is_busy {
        Place::Anywhere
    } else {
        Place::On(1)
    };
    let _pinned = (!is_busy).then(|| machine::Pinned::to(0)).transpose()?;
    let reply = match kind {
        Kind::Fault | Kind::FaultBusy => PAGE_BYTES + SMALL,
        _ => SMALL,
    };
    let sizes = Sizes {
        request: SMALL,
        reply,
    };
    let waiting = Waiting::Spinning;
    let mut floor = Floor::start(directory.path(), transport, waiting, sizes, place)?;
    let (mut rounds, mut worst) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        floor.process.pause()?;
        let name = format!("round-{round}");
        let count = match kind {
            Kind::ChangedOne | Kind::ChangedHalf => plan.round_trips / 40,
            Kind::LockHere => plan.round_trips / 10,
            _ => plan.round_trips,
        };
        let report = play(&server, transport, kind, count, &name, place)?;
        let mut times = report.outputs.into_iter().flatten().collect::<Vec<_>>();
        times.sort_by(f64::total_cmp);
        floor.process.resume()?;
        let raw = Latencies::take(plan.warm_up(), plan.round_trips, || {
            floor.client.round_trip()
        })?;
        rounds.push((percentile(&times, 50), raw.p50()));
        worst.push(percentile(&times, 99));
    }
    let what = match kind {
        Kind::Fault => "a load from a page of an idle station",
        Kind::FaultBusy => "the same of a station that computes",
        Kind::Barrier => "a barrier, nothing written",
        Kind::ChangedOne => "a barrier, a byte of 1024 pages changed by both, each page",
        Kind::ChangedHalf => "a barrier, half the bytes of 256 pages changed by each, each page",
        Kind::LockHere => "a lock last held here",
        Kind::LockThere => "a lock last held by the other, with one page changed",
    };
    let target = match kind {
        Kind::FaultBusy => Target::ValueAtMost(60.0),
        Kind::Barrier => Target::RatioAtMost(1.3),
        Kind::ChangedOne => Target::ValueAtMost(5.0),
        Kind::ChangedHalf => Target::ValueAtMost(8.0),
        Kind::LockHere => Target::ValueAtMost(0.2),
        Kind::LockThere => Target::RatioAtMost(2.0),
        // The fault itself comes on top of the round trip: see the benchmark of bare faults.
        Kind::Fault => Target::RatioAtMost(1.2),
    };
    let kind = format!("{kind:?}").to_lowercase();
    Ok(Figure::against(
        format!("team-{kind}-{}", transport.name()),
        format!("{what}, {}, p50", transport.what()),
        "µs",
        format!(
            "a raw round trip, {}, {} + {} bytes",
            transport.socket(),
            sizes.request,
            sizes.reply
        ),
        &rounds,
        transport.target(target),
    )
    .note(format!("p99 {} µs", number(Spread::of(worst).median))))
}

/// One team of two stations, of which this process is one.
fn play(
    server: &Server,
    transport: Transport,
    kind: Kind,
    count: usize,
    name: &str,
    place: Place,
) -> Result<Report<Vec<f64>>> {
    let (join, count_text) = (server.address.to_string(), count.to_string());
    let value = clap::ValueEnum::to_possible_value(&kind).context("a kind has a name")?;
    let mut arguments = vec!["team-asked", "--join", &join, "--kind", value.get_name()];
    arguments.extend(["--count", &count_text, "--team", name]);
    arguments.extend(["--transport", transport.name()]);
    let other = Process::role(&arguments, place)?;
    let micro = Micro {
        kind,
        count,
        measures: true,
    };
    let options = options(name, transport);
    let report = plurix::team::run(&server.address, transport.options(), &options, &micro)?;
    other.end()?;
    Ok(report)
}
