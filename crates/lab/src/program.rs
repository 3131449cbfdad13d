//! Runs of whole programs through the command that users type.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The command `plurix`, if it was built as this program was.
pub(crate) fn find() -> Result<Option<PathBuf>> {
    let path = std::env::current_exe()?.with_file_name("plurix");
    Ok(path.exists().then_some(path))
}

/// Seconds that a program's work took with so many stations, without starting the processes.
pub(crate) fn run(plurix: &Path, arguments: &[String], stations: u32) -> Result<f64> {
    summary(plurix, arguments, stations)?["work_s"]
        .as_f64()
        .context("the summary tells how many seconds the work took")
}

/// What the command says at the end of a program that has run with so many stations.
pub(crate) fn summary(plurix: &Path, arguments: &[String], stations: u32) -> Result<Value> {
    let output = Command::new(plurix)
        .args(["run", "--json", "--stations"])
        .arg(stations.to_string())
        .args(arguments)
        .output()
        .context("cannot run plurix")?;
    if !output.status.success() {
        bail!("plurix failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    serde_json::from_str(text.trim()).context("the summary is JSON")
}
