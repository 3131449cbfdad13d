//! How long it takes until a transaction that waits for a change goes on: a number goes to and fro
//! between two stations, each of which waits for it. A hand-over is one commit, the message to who
//! waits, and the begin of its next attempt.

use std::time::{Duration, Instant};

use anyhow::Result;
use plurix::{Ptr, Station};

use super::cells::cell;
use crate::figure::{Figure, Target};
use crate::process::{Server, ServerKind, Transport};
use crate::rounds::Plan;

/// Who waits gives up after this: the other one has failed.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let transports = [Transport::Shared, Transport::Unix];
    let figures = transports.map(|transport| measure(plan, transport));
    figures.into_iter().collect()
}

fn measure(plan: &Plan, transport: Transport) -> Result<Figure> {
    let directory = tempfile::tempdir()?;
    let kind = ServerKind {
        transport,
        ..ServerKind::default()
    };
    let server = Server::start(directory.path(), kind)?;
    let join = || Station::join(&server.address, transport.options());
    let (mut first, mut second) = (join()?, join()?);
    let mut rounds = Vec::new();
    let (there, back) = (cell(0, 0), cell(1, 0));
    let mut number = 0;
    for _ in 0..plan.rounds {
        let from = number + 1;
        number += plan.round_trips as u64;
        let to = number;
        let taken = std::thread::scope(|scope| {
            let answers = scope.spawn(|| {
                (from..=to).try_for_each(|number| {
                    take(&mut second, there, number)?;
                    put(&mut second, back, number)
                })
            });
            let begun = Instant::now();
            let asked = (from..=to).try_for_each(|number| {
                put(&mut first, there, number)?;
                take(&mut first, back, number)
            });
            let taken = begun.elapsed();
            answers.join().expect("a station's thread does not panic")?;
            asked.map(|()| taken)
        })?;
        let hand_over = taken.as_secs_f64() * 1e6 / (2 * plan.round_trips) as f64;
        let begun = Instant::now();
        for number in from..=to {
            put(&mut first, cell(2, 0), number)?;
        }
        let commit = begun.elapsed().as_secs_f64() * 1e6 / plan.round_trips as f64;
        rounds.push((hand_over, commit));
    }
    Ok(Figure::against(
        format!("wake-{}", transport.name()),
        format!(
            "from a commit to the next attempt of who waits for it, in another station, {}",
            transport.what()
        ),
        "µs",
        "a commit with nobody waiting",
        &rounds,
        Target::None,
    ))
}

fn put(station: &mut Station, place: Ptr<u64>, number: u64) -> plurix::Result<()> {
    station.transaction(|tx| tx.set(place, number))
}

fn take(station: &mut Station, place: Ptr<u64>, number: u64) -> plurix::Result<()> {
    station.transaction(|tx| match *tx.get(place)? {
        found if found == number => Ok(()),
        _ => Err(tx.wait_for_change_for(LIMIT)),
    })
}
