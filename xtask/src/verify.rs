//! The checks that every change must pass, each under a name, for developers and for CI alike.
//! `verify` reads only; what can be repaired by a tool, `fix` repairs.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::repository::Repository;
use crate::{licences, metadata, report, tidy};

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// The sources are formatted.
    Format,
    /// What tidy checks.
    Tidy,
    /// Licences and origins of dependencies.
    Licences,
    /// Neither rustc nor clippy warns, tests and benchmarks included.
    Lints,
    /// All tests pass.
    Tests,
    /// The documentation builds without a warning.
    Docs,
}

/// Runs `steps`, all if there are none, until one fails; prints each one's seconds.
///
/// # Errors
/// Names the step that failed.
pub(crate) fn verify(root: &Path, steps: &[Step]) -> Result<()> {
    let steps = if steps.is_empty() {
        Step::value_variants()
    } else {
        steps
    };
    for &step in steps {
        let name = format!("{step:?}").to_lowercase();
        println!("── {name}");
        let started = Instant::now();
        run(root, step).with_context(|| format!("{name} failed"))?;
        println!("── {name}: {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Formats, and applies what clippy suggests.
pub(crate) fn fix(root: &Path) -> Result<()> {
    cargo(
        root,
        &[
            "clippy",
            "--fix",
            "--allow-dirty",
            "--allow-staged",
            "--workspace",
            "--all-targets",
        ],
    )?;
    cargo(root, &["fmt", "--all"])
}

fn run(root: &Path, step: Step) -> Result<()> {
    match step {
        Step::Format => cargo(root, &["fmt", "--all", "--check"]),
        Step::Tidy => report(
            "tidy",
            &tidy::check(&Repository::read(root)?, &metadata(root)?),
        ),
        Step::Licences => report("licences", &licences::check(&metadata(root)?)),
        Step::Lints => cargo(
            root,
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ),
        Step::Tests => cargo(root, &["test", "--workspace"]),
        Step::Docs => cargo(
            root,
            &[
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ],
        ),
    }
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new("cargo")
        .args(arguments)
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(root)
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("cargo {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}
