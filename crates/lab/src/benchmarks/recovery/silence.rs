//! A station that runs an activity falls silent, or dies; another station notices and runs the
//! activity again.

use std::time::Duration;

use anyhow::{Context, Result};
use plurix::activity::{Activity, Done, Work};
use plurix::net::Address;
use plurix::{Options, Station};

use crate::figure::{Figure, Target};
use crate::process::{Place, Process, Server, ServerKind};
use crate::rounds::{Plan, monotonic_ns};

/// The page server drops a station that is silent for longer.
const SILENCE_MAX: Duration = Duration::from_millis(300);
/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 11;

/// Never ends on the station whose number it is given; answers at once on any other.
struct Sit;

impl Activity for Sit {
    const NAME: &'static str = "sit";
    type Argument = u32;
    /// When it ran.
    type Output = u64;

    fn run(work: Work<'_, Self>, victim: u32) -> plurix::Result<Done<Self>> {
        if work.station() == victim {
            println!("sits");
            loop {
                std::thread::park();
            }
        }
        let now = monotonic_ns();
        work.complete(|_| Ok(now))
    }
}

/// Joins, says its number, and runs such activities.
pub(crate) fn sit(address: &Address) -> Result<()> {
    let mut station = Station::join(address, Options::default())?;
    station.register::<Sit>();
    println!("{}", station.number());
    Ok(station.serve(|_| Ok(false))?)
}

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let kind = ServerKind {
        silence: Some(SILENCE_MAX),
        ..ServerKind::default()
    };
    let server = Server::start(directory.path(), kind)?;
    let mut station = Station::join(&server.address, Options::default())?;
    station.register::<Sit>();
    let (mut silent, mut dead) = (Vec::new(), Vec::new());
    let stated = SILENCE_MAX.as_secs_f64() * 1e3;
    for _ in 0..plan.rounds.min(ROUNDS_MAX) {
        silent.push((healed(&server, &mut station, Failure::Silence)?, stated));
        dead.push(healed(&server, &mut station, Failure::Death)?);
    }
    Ok(vec![
        Figure::against(
            "silence",
            "from SIGSTOP of a station to its activity's run on another",
            "ms",
            "the timeout as set",
            &silent,
            Target::ExcessAtMost(20.0),
        ),
        Figure::new(
            "station-death-work",
            "from SIGKILL of a station to its activity's run on another",
            "ms",
            dead,
            Target::None,
        ),
    ])
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    /// It is stopped, and its connection stays open.
    Silence,
    Death,
}

/// Milliseconds from the failure of a station until its activity runs on `station`.
fn healed(server: &Server, station: &mut Station, failure: Failure) -> Result<f64> {
    let address = server.address.to_string();
    let mut victim = Process::role(&["sit", "--join", &address], Place::Anywhere)?;
    let number: u32 = victim.line()?.parse()?;
    let spawned = station.transaction(|tx| tx.spawn::<Sit>(number))?;
    victim.line()?;
    let failed = monotonic_ns();
    let mut stopped = None;
    match failure {
        Failure::Silence => {
            victim.pause()?;
            stopped = Some(victim);
        }
        Failure::Death => victim.kill()?,
    }
    station.wait_all()?;
    drop(stopped);
    let ran = station.transaction(|tx| tx.take_result(spawned))?;
    let ran = ran.context("an activity that was waited for has a result")?;
    Ok(ran.saturating_sub(failed) as f64 / 1e6)
}
