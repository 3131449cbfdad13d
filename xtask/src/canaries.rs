//! Builds the simulator with its canaries, bugs planted on purpose, and sees to it that its oracles
//! find them all. The build has a target directory of its own, so that no planted bug comes near
//! another one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const FLAGS: &str = "--cfg plurix_canary";

/// Plants each bug over many seeds; `arguments` are those of the simulator's command.
///
/// # Errors
/// If a bug is found in no seed, or the build fails.
pub(crate) fn hunt(root: &Path, arguments: &[String]) -> Result<()> {
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let status = Command::new("cargo")
        .args(["run", "--quiet", "--profile", "quick"])
        .args(["--package", "plurix-sim"])
        .arg("--target-dir")
        .arg(target(root).join("canary"))
        .args(["--", "canaries"])
        .args(arguments)
        .env("RUSTFLAGS", format!("{flags} {FLAGS}").trim())
        .current_dir(root)
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("the canaries were not all found ({status})");
    }
    Ok(())
}

/// Where cargo builds.
fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target))
}
