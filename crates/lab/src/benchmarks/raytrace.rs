//! The ray tracer with two stations against one, through the command that users type. Needs the
//! `plurix` program beside this one: `cargo build --release`.

use std::path::Path;

use anyhow::Result;

use crate::figure::{Figure, Target};
use crate::program;
use crate::rounds::Plan;

/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 5;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let Some(program) = program::find()? else {
        println!("raytrace: not measured, build the command first: cargo build --release\n");
        return Ok(Vec::new());
    };
    let directory = tempfile::tempdir()?;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds.min(ROUNDS_MAX) {
        let one = rendering(&program, directory.path(), 1)?;
        let two = rendering(&program, directory.path(), 2)?;
        // As rates, so that the ratio is the speed-up.
        rounds.push((1.0 / two, 1.0 / one));
    }
    Ok(vec![Figure::against(
        "raytrace",
        "the balls scene, 2 stations",
        "pictures/s",
        "the same with 1 station",
        &rounds,
        Target::RatioAtLeast(1.85),
    )])
}

/// Seconds that rendering takes.
fn rendering(program: &Path, directory: &Path, stations: u32) -> Result<f64> {
    let picture = format!("--out={}", directory.join("balls.png").display());
    program::run(program, &["raytrace".to_owned(), picture], stations)
}
