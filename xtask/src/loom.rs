//! Runs the models of what threads and processes share, under `loom`. They are compiled with another
//! `cfg`, and so in a target directory of their own, lest every other build start anew.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::metadata;

/// The crates that have models, all of them in modules named `models`.
const PACKAGES: [&str; 2] = ["plurix-memory", "plurix"];

/// Runs all models and prints in how many interleavings each holds.
///
/// # Errors
/// If one of them does not hold, or none was run.
pub(crate) fn run(root: &Path) -> Result<()> {
    let target = metadata(root)?.target_directory.join("loom");
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet", "--profile", "quick", "--lib"]);
    command.args(PACKAGES.iter().flat_map(|name| ["--package", name]));
    // One at a time: a model uses one processor, and the lines of two would mix.
    command.args(["--", "models::", "--test-threads=1"]);
    command
        .env("RUSTFLAGS", format!("{given} --cfg loom"))
        .env("CARGO_TARGET_DIR", target)
        .current_dir(root)
        .stdout(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().context("cargo could not be started")?;
    let output = child.stdout.take().context("it was piped")?;
    let (mut models, mut interleavings) = (0, 0);
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        if let Some(count) = explored(&line) {
            models += 1;
            interleavings += count;
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("a model does not hold, or is not refuted although it is wrong ({status})");
    }
    ensure!(models > 0, "no model was run");
    let seconds = started.elapsed().as_secs_f64();
    println!("loom: {models} models hold, in {interleavings} interleavings ({seconds:.0} s)");
    Ok(())
}

/// How many interleavings a line of a model's output tells of.
fn explored(line: &str) -> Option<u64> {
    let (_, count) = line.split_once(": holds in ")?;
    count.strip_suffix(" interleavings")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_explored_is_read_off_the_output() {
        for (line, count) in [
            ("a model: holds in 29 interleavings", Some(29)),
            (".another: holds in 1 interleavings", Some(1)),
            ("test result: ok. 5 passed", None),
        ] {
            assert_eq!(explored(line), count, "{line}");
        }
    }
}
