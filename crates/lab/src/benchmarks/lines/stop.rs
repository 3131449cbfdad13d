//! How long workers stop at a barrier that is a cut, beside the barriers that are none; and what their
//! first stores cost after it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cycles::{PASSES, PHASES};
use super::{Kind, heard, server, start};
use crate::figure::{Figure, Spread, Target};
use crate::process::Process;
use crate::rounds::Plan;

/// From one line to the next, for 1 GiB; less for less memory.
const EVERY: Duration = Duration::from_millis(1500);
const EVERY_MIN: Duration = Duration::from_millis(200);
/// Cuts are seconds apart, so some will do.
const CUTS_MAX: usize = 21;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (kind, limit_ms) in [(Kind::Runs, 8.0), (Kind::Scattered, 15.0)] {
        figures.extend(measure(plan, kind, limit_ms)?);
    }
    Ok(figures)
}

fn measure(plan: &Plan, kind: Kind, limit_ms: f64) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let server = server(directory.path())?;
    let share = plan.heap_pages as f64 / f64::from(1 << 18);
    let every = EVERY.mul_f64(share).max(EVERY_MIN);
    let cuts = plan.pairs.min(CUTS_MAX) as u64;
    let mut stations = start(&server, kind, plan.heap_pages, every, cuts)?;
    let mut phases = Vec::new();
    for station in &mut stations {
        let lines = heard(station, "lines")?;
        ensure!(
            lines == cuts + 2,
            "{lines} lines were taken instead of {}: one took longer than {every:?}",
            cuts + 2
        );
        phases.push(Phases::hear(station, (cuts + 1) * PHASES + 2)?);
    }
    stations.into_iter().try_for_each(|it| it.end().map(drop))?;
    let [one, other] = &phases[..] else {
        unreachable!("there are two stations");
    };
    let rounds = (1..=cuts).map(|cycle| Cycle::of([one, other], cycle));
    Ok(figures(plan, kind, limit_ms, &rounds.collect::<Vec<_>>()))
}

/// When each phase of a station began and ended.
struct Phases(Vec<(u64, u64)>);

impl Phases {
    fn hear(station: &mut Process, count: u64) -> Result<Self> {
        let hear = |_| {
            let line = station.line()?;
            let words = line.split_once(' ').map(|(_, stamps)| stamps);
            let stamps = words.and_then(|stamps| stamps.split_once(' '));
            let (begin, end) = stamps.with_context(|| format!("a station said: {line}"))?;
            Ok((begin.parse()?, end.parse()?))
        };
        (0..count).map(hear).collect::<Result<_>>().map(Self)
    }

    fn ms(&self, phase: u64) -> f64 {
        let (begin, end) = self.0[phase as usize];
        super::ms(begin, end)
    }
}

/// The cut behind a cycle, and what follows it, in milliseconds.
struct Cycle {
    cut: f64,
    /// The median of its barriers that are no cuts.
    barrier: f64,
    /// Of both workers, the mean.
    first_pass: f64,
    second_pass: f64,
}

impl Cycle {
    fn of(stations: [&Phases; 2], cycle: u64) -> Self {
        // From when the last one has come until the last one goes on.
        let barrier = |behind: u64| {
            let came = stations.iter().map(|phases| phases.0[behind as usize].1);
            let went = stations
                .iter()
                .map(|phases| phases.0[behind as usize + 1].0);
            super::ms(came.max().unwrap_or(0), went.max().unwrap_or(0))
        };
        let mean = |phase| stations.iter().map(|phases| phases.ms(phase)).sum::<f64>() / 2.0;
        let (first, last) = (1 + cycle * PHASES, (1 + cycle) * PHASES);
        Self {
            cut: barrier(last),
            barrier: Spread::of((first + PASSES..last).map(barrier).collect()).median,
            first_pass: mean(first),
            second_pass: mean(first + 1),
        }
    }
}

fn figures(plan: &Plan, kind: Kind, limit_ms: f64, cycles: &[Cycle]) -> Vec<Figure> {
    let (name, which) = match kind {
        Kind::Scattered => ("scattered", "single pages"),
        _ => ("runs", "runs of 64 pages"),
    };
    let stops = cycles.iter().map(|cycle| cycle.cut - cycle.barrier);
    let longest = stops.clone().fold(0.0, f64::max);
    let heap = plan.heap();
    // A fifth of what one station keeps.
    let pages = plan.heap_pages as f64 / 10.0;
    let pass = |cycle: &Cycle| {
        let each = |ms: f64| ms * 1e3 / pages;
        (each(cycle.first_pass), each(cycle.second_pass))
    };
    vec![
        Figure::new(
            format!("lines-stop-{name}-longest"),
            format!(
                "the longest stop at {} cuts, {heap}, two stations, 20 % changed, {which}",
                cycles.len()
            ),
            "ms",
            vec![longest],
            Target::ValueAtMost(limit_ms),
        ),
        Figure::new(
            format!("lines-stop-{name}"),
            "the stop at each of them: the barrier that is a cut, less the median of those that are none",
            "ms",
            stops.collect(),
            Target::None,
        ),
        Figure::against(
            format!("lines-store-{name}"),
            format!("the first stores behind the cut, {which}, each page"),
            "µs",
            "the same stores once more",
            &cycles.iter().map(pass).collect::<Vec<_>>(),
            Target::None,
        ),
    ]
}
