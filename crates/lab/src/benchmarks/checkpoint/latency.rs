//! A bank at work while checkpoints come and go. Every transfer is timed; those that overlap a
//! checkpoint are compared with those between it and the next one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use plurix::{Options, Station};

use super::prepare;
use crate::benchmarks::bank::Bank;
use crate::figure::{Figure, Spread, Target, number, percentile};
use crate::process::{CheckpointKind, Server, ServerKind};
use crate::rounds::{Plan, monotonic_ns};
use crate::said::{Strategy, Taken};

/// Images and segments that nobody needs any more are removed after a checkpoint; so long after it
/// counts as part of it.
const CLEARING: Duration = Duration::from_millis(50);
/// From one checkpoint to the next, for a heap of 1 GiB; less for a smaller one.
const EVERY: Duration = Duration::from_secs(2);
const EVERY_MIN: Duration = Duration::from_millis(500);
/// The first checkpoints are not counted.
const WARM_UP: usize = 2;
/// More transfers than any station makes in a second.
const RATE_MAX: usize = 600_000;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for strategy in [Strategy::Nonblocking, Strategy::Log, Strategy::Blocking] {
        figures.extend(measure(plan, strategy)?);
    }
    Ok(figures)
}

fn every(plan: &Plan) -> Duration {
    let share = plan.heap_pages as f64 / (1u64 << 18) as f64;
    EVERY.mul_f64(share).max(EVERY_MIN)
}

fn measure(plan: &Plan, strategy: Strategy) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let kind = CheckpointKind {
        every: Some(every(plan)),
        ..CheckpointKind::at_end(strategy)
    };
    prepare(directory.path(), plan, kind)?;
    let kind = ServerKind {
        checkpoints: Some(kind),
        ..ServerKind::default()
    };
    let mut server = Server::start(directory.path(), kind)?;
    let station = Station::join(&server.address, Options::default())?;
    let bank = Bank::new(plan.heap_pages, 1);
    let (samples, checkpoints) = work(plan, &mut server, station, bank)?;
    let rounds = rounds(&samples, &checkpoints)?;
    Ok(figures(plan, strategy, &rounds, &checkpoints))
}

/// Lets the bank work until enough checkpoints were taken.
fn work(
    plan: &Plan,
    server: &mut Server,
    mut station: Station,
    mut bank: Bank,
) -> Result<(Vec<Sample>, Vec<Taken>)> {
    bank.visit(&mut station)?;
    let checkpoints = WARM_UP + plan.pairs + 1;
    let seconds = every(plan).as_secs() as usize + 1;
    let capacity = RATE_MAX * seconds * (checkpoints + 1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| -> Result<Vec<Sample>> {
            // Memory is touched before it is needed.
            let mut samples = vec![Sample::default(); capacity];
            samples.clear();
            let mut begun_at_ns = monotonic_ns();
            while !stop.load(Ordering::Relaxed) {
                bank.transfer(&mut station)?;
                let ended_at_ns = monotonic_ns();
                samples.push(Sample {
                    ended_at_ns,
                    took_ns: ended_at_ns - begun_at_ns,
                });
                begun_at_ns = ended_at_ns;
            }
            Ok(samples)
        });
        let taken: Result<Vec<Taken>> = (0..checkpoints).map(|_| server.checkpoint()).collect();
        stop.store(true, Ordering::Relaxed);
        let samples = worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((samples, taken?.split_off(WARM_UP)))
    })
}

/// One transfer.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    ended_at_ns: u64,
    took_ns: u64,
}

/// Transfers of one stretch of time.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// A second.
    rate: f64,
}

impl Stretch {
    /// The transfers that overlap the time between `from` and `to`.
    fn of(samples: &[Sample], from: u64, to: u64) -> Result<Self> {
        // They are in order, and none overlaps another.
        let first = samples.partition_point(|sample| sample.ended_at_ns < from);
        let end = samples.partition_point(|sample| sample.ended_at_ns - sample.took_ns < to);
        let mut took: Vec<f64> = samples[first..end]
            .iter()
            .map(|sample| sample.took_ns as f64 / 1e3)
            .collect();
        took.sort_by(f64::total_cmp);
        let max_us = *took.last().context("the bank works all the time")?;
        Ok(Self {
            p50_us: percentile(&took, 50),
            p99_us: percentile(&took, 99),
            p999_us: took[(took.len() - 1) * 999 / 1000],
            max_us,
            rate: took.len() as f64 * 1e9 / (to - from) as f64,
        })
    }
}

/// For each checkpoint, the time of it, and the time after it until the next.
fn rounds(samples: &[Sample], checkpoints: &[Taken]) -> Result<Vec<(Stretch, Stretch)>> {
    let pairs = checkpoints.windows(2);
    let rounds = pairs.map(|pair| {
        let end = pair[0].taken_at_ns + CLEARING.as_nanos() as u64;
        if end >= pair[1].begun_at_ns {
            return Ok(None);
        }
        let during = Stretch::of(samples, pair[0].begun_at_ns, end)?;
        let between = Stretch::of(samples, end, pair[1].begun_at_ns)?;
        Ok(Some((during, between)))
    });
    let rounds: Result<Vec<_>> = rounds.filter_map(Result::transpose).collect();
    let rounds = rounds?;
    let some = (!rounds.is_empty()).then_some(rounds);
    some.context("each checkpoint lasted until the next was due; nothing to compare it with")
}

fn figures(
    plan: &Plan,
    strategy: Strategy,
    rounds: &[(Stretch, Stretch)],
    checkpoints: &[Taken],
) -> Vec<Figure> {
    let name = strategy.name();
    let (latency_target, rate_target) = match strategy {
        Strategy::Nonblocking => (Target::ExcessAtMost(500.0), Target::RatioAtLeast(0.9)),
        Strategy::Log | Strategy::Blocking => (Target::None, Target::None),
    };
    let pairs = |value: fn(&Stretch) -> f64| -> Vec<(f64, f64)> {
        let values = |(during, between): &(Stretch, Stretch)| (value(during), value(between));
        rounds.iter().map(values).collect()
    };
    let floor = "the same between checkpoints";
    let each = |value: fn(&Taken) -> f64| {
        number(Spread::of(checkpoints.iter().map(value).collect()).median)
    };
    let note = format!(
        "{} checkpoints, each of {} pages ({} % of the heap) in {} s, one every {} s; {} rounds",
        checkpoints.len(),
        each(|taken| taken.changed as f64),
        each(|taken| taken.changed as f64 / taken.pages as f64 * 100.0),
        each(Taken::seconds),
        number(every(plan).as_secs_f64()),
        rounds.len(),
    );
    let latency = Figure::against(
        format!("checkpoint-{name}-p999"),
        format!(
            "a transfer of the bank on {} during a {name} checkpoint, p99.9",
            plan.heap()
        ),
        "µs",
        floor,
        &pairs(|stretch| stretch.p999_us),
        latency_target,
    );
    let rate = Figure::against(
        format!("checkpoint-{name}-rate"),
        format!("transfers during a {name} checkpoint"),
        "commits/s",
        floor,
        &pairs(|stretch| stretch.rate),
        rate_target,
    );
    let longest = Figure::against(
        format!("checkpoint-{name}-longest"),
        format!("the longest transfer during a {name} checkpoint"),
        "ms",
        floor,
        &pairs(|stretch| stretch.max_us / 1e3),
        Target::None,
    );
    let longest = match strategy {
        Strategy::Blocking => longest.note(
            "DMTCP stops for 1.2 to 3.6 s and CRIU for 0.4 s for an image of 1 GiB (measured \
             elsewhere, not in this run)",
        ),
        Strategy::Nonblocking | Strategy::Log => longest,
    };
    vec![latency.note(note).note(others(rounds)), rate, longest]
}

/// The percentiles that have no figure of their own.
fn others(rounds: &[(Stretch, Stretch)]) -> String {
    let median = |value: &dyn Fn(&(Stretch, Stretch)) -> f64| {
        number(Spread::of(rounds.iter().map(value).collect()).median)
    };
    format!(
        "p50 {} µs during, {} between; p99 {} and {}",
        median(&|round| round.0.p50_us),
        median(&|round| round.1.p50_us),
        median(&|round| round.0.p99_us),
        median(&|round| round.1.p99_us),
    )
}
