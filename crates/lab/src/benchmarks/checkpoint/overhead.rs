//! What checkpoints cost whole programs: a fixed amount of work without them, with them, and with
//! the log folded, in turns. Needs the `plurix` program beside this one: `cargo build --release`.

use std::path::Path;

use anyhow::Result;

use crate::figure::{Figure, Target};
use crate::program;
use crate::rounds::Plan;
use crate::said::Strategy;

/// A program, and the work that takes it some seconds.
struct Work {
    name: &'static str,
    what: &'static str,
    arguments: &'static [&'static str],
}

const WORKS: [Work; 2] = [
    Work {
        name: "raytrace",
        what: "the balls scene, 640 × 640, 2 stations",
        arguments: &["raytrace", "--width=640", "--height=640"],
    },
    Work {
        name: "bank",
        what: "the bank, 400 000 transfers, 100 000 accounts, 2 stations",
        arguments: &["bank", "--accounts=100000", "--transfers=50000"],
    },
];

/// Strategies, and what a program may then take of the time without.
const STRATEGIES: [(Strategy, f64); 2] = [(Strategy::Nonblocking, 1.03), (Strategy::Log, 1.1)];

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let Some(program) = program::find()? else {
        println!(
            "checkpoint-overhead: not measured, build the command first: cargo build --release\n"
        );
        return Ok(Vec::new());
    };
    let mut figures = Vec::new();
    for work in WORKS {
        let mut rounds = STRATEGIES.map(|_| Vec::new());
        for pair in 0..plan.program_pairs {
            // Each comes as often first as last.
            let mut order = [0, 1, STRATEGIES.len()];
            order.rotate_left(pair % 3);
            let mut seconds = [0.0; 3];
            for index in order {
                let strategy = STRATEGIES.get(index).map(|(strategy, _)| *strategy);
                seconds[index] = take(&program, &work, strategy)?;
            }
            let without = seconds[STRATEGIES.len()];
            for (rounds, with) in rounds.iter_mut().zip(&seconds) {
                rounds.push((*with, without));
            }
        }
        for ((strategy, target), rounds) in STRATEGIES.into_iter().zip(rounds) {
            let name = strategy.name();
            figures.push(Figure::against(
                format!("checkpoint-overhead-{}-{name}", work.name),
                format!("{}, a {name} checkpoint each second", work.what),
                "s",
                "the same without checkpoints",
                &rounds,
                Target::RatioAtMost(target),
            ));
        }
    }
    Ok(figures)
}

/// Seconds that the work takes.
fn take(program: &Path, work: &Work, strategy: Option<Strategy>) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let mut arguments: Vec<String> = work.arguments.iter().map(ToString::to_string).collect();
    if work.name == "raytrace" {
        arguments.push(format!(
            "--out={}",
            directory.path().join("out.png").display()
        ));
    }
    let strategy = strategy.map_or("none", Strategy::name);
    arguments.extend([format!("--checkpoint={strategy}"), "--every=1s".to_owned()]);
    program::run(program, &arguments, 2)
}
