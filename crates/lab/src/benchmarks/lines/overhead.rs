//! What recovery lines cost a whole program: a fixed amount of work without them, with them, and with
//! workers that wait for them, in turns. Needs the `plurix` program beside this one.

use std::path::Path;

use anyhow::{Context, Result};

use crate::figure::{Figure, Target};
use crate::program;
use crate::rounds::{Extent, Plan};
use crate::said::Strategy;

/// Without lines and with them, and what a program may then take of the time without.
const VARIANTS: [(Option<Strategy>, Target); 3] = [
    (None, Target::None),
    (Some(Strategy::Nonblocking), Target::RatioAtMost(1.05)),
    (Some(Strategy::Blocking), Target::None),
];

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let Some(program) = program::find()? else {
        println!("lines-overhead: not measured, build the command first: cargo build --release\n");
        return Ok(Vec::new());
    };
    let work = Work::of(plan);
    let mut rounds = VARIANTS.map(|_| Vec::new());
    let mut lines = VARIANTS.map(|_| 0.0);
    for pair in 0..plan.program_pairs {
        // Each comes as often first as last.
        let mut order = [0, 1, 2];
        order.rotate_left(pair % 3);
        let mut seconds = [0.0; 3];
        for index in order {
            let took = work.take(&program, VARIANTS[index].0)?;
            (seconds[index], lines[index]) = (took.seconds, took.lines);
        }
        for (rounds, with) in rounds.iter_mut().zip(seconds) {
            rounds.push((with, seconds[0]));
        }
    }
    let variants = VARIANTS.into_iter().zip(rounds).zip(lines);
    let figures = variants.filter_map(|(((strategy, target), rounds), lines)| {
        let name = strategy?.name();
        let figure = Figure::against(
            format!("lines-overhead-{name}"),
            format!("{}, {name} lines each {} s", work.what(), work.every_s),
            "s",
            "the same without lines and checkpoints",
            &rounds,
            target,
        );
        Some(figure.note(format!("{lines} lines in the last run")))
    });
    Ok(figures.collect())
}

/// Jacobi's method by two stations.
struct Work {
    side: u32,
    iterations: u32,
    every_s: f64,
}

/// What it took.
struct Took {
    seconds: f64,
    lines: f64,
}

impl Work {
    fn of(plan: &Plan) -> Self {
        let (side, iterations, every_s) = match plan.extent {
            Extent::Quick => (512, 1000, 0.1),
            Extent::Short => (2048, 2000, 1.0),
            // The first two lines cost more, for the memory that the next ones use again.
            Extent::Full => (2048, 4000, 1.0),
        };
        Self {
            side,
            iterations,
            every_s,
        }
    }

    fn what(&self) -> String {
        let Self {
            side, iterations, ..
        } = self;
        format!("Jacobi, {side} × {side}, {iterations} iterations, 2 stations")
    }

    fn take(&self, program: &Path, strategy: Option<Strategy>) -> Result<Took> {
        let strategy = strategy.map_or("none", Strategy::name);
        let arguments = [
            "jacobi".to_owned(),
            format!("--side={}", self.side),
            format!("--iterations={}", self.iterations),
            "--no-verify".to_owned(),
            format!("--checkpoint={strategy}"),
            format!("--every={}us", self.every_s * 1e6),
        ];
        let summary = program::summary(program, &arguments, 2)?;
        let fact = |name: &str| {
            summary["facts"][name]
                .as_f64()
                .with_context(|| format!("the summary of a team tells its {name}"))
        };
        Ok(Took {
            seconds: fact("team seconds")?,
            lines: fact("recovery lines")?,
        })
    }
}
