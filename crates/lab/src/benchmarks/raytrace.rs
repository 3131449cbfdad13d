//! The ray tracer with two stations against one, through the command that users type. Needs the
//! `plurix` program beside this one: `cargo build --release`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::figure::{Figure, Target};
use crate::rounds::Plan;

/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 5;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let Some(program) = program()? else {
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

/// The command, if it was built as this program was.
fn program() -> Result<Option<PathBuf>> {
    let path = std::env::current_exe()?.with_file_name("plurix");
    Ok(path.exists().then_some(path))
}

/// Seconds that rendering took, without starting the processes.
fn rendering(program: &Path, directory: &Path, stations: u32) -> Result<f64> {
    let picture = directory.join("balls.png");
    let output = Command::new(program)
        .args(["run", "raytrace", "--json", "--stations"])
        .arg(stations.to_string())
        .arg("--out")
        .arg(picture)
        .output()
        .context("cannot run plurix")?;
    if !output.status.success() {
        bail!("plurix failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let summary: Value = serde_json::from_str(text.trim()).context("the summary is JSON")?;
    summary["work_s"]
        .as_f64()
        .context("the summary tells how many seconds the work took")
}
