//! The long checks: built as they must be, and started with what the developer wants of them.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Optimised, and built in a fraction of the time that `release` takes.
const PROFILE: &str = "quick";

/// The deterministic simulator.
pub(crate) fn simulator(root: &Path, arguments: &[String]) -> Result<()> {
    become_program(root, &["plurix-sim"], "plurix-sim", arguments)
}

/// Real processes under real faults.
pub(crate) fn chaos(root: &Path, arguments: &[String]) -> Result<()> {
    let packages = ["plurix-cli", "plurix-chaos"];
    become_program(root, &packages, "plurix-chaos", arguments)
}

/// Builds packages and becomes a program of theirs, so that Ctrl-C and exit codes are its own.
fn become_program(
    root: &Path,
    packages: &[&str],
    program: &str,
    arguments: &[String],
) -> Result<()> {
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--profile", PROFILE])
        .args(packages)
        .current_dir(root)
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("{program} could not be built ({status})");
    }
    let target = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata failed")?
        .target_directory;
    let program = target.join(PROFILE).join(program);
    let error = Command::new(&program)
        .args(arguments)
        .current_dir(root)
        .exec();
    Err(error).with_context(|| format!("{program} could not be started"))
}

/// The models of the protocol, the large ones too.
pub(crate) fn models(root: &Path, filter: Option<String>) -> Result<()> {
    let status = Command::new("cargo")
        .args(["test", "--quiet", "--profile", PROFILE])
        .args(["--package", "plurix-sim", "--test", "models"])
        .args(["--", "--include-ignored", "--nocapture"])
        .args(filter)
        .current_dir(root)
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("a model is broken ({status}); its output lists the steps that lead there");
    }
    Ok(())
}
