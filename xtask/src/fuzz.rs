//! Runs the fuzz targets under libFuzzer, with the stable compiler: it has LLVM's pass that counts
//! coverage, and an assertion that fails needs no sanitizer to be seen. All that is asked for beside
//! Rust is a compiler for C++, in which libFuzzer is written.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use clap::Args;

/// The platform, so that build scripts and macros are not instrumented.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// What makes a program report to libFuzzer which edges it takes and what it compares.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// An input that takes more memory or time has found something.
const BOUNDS: [&str; 3] = ["-rss_limit_mb=1024", "-timeout=10", "-print_final_stats=1"];

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// One of the names in fuzz/targets; all of them if none is given.
    #[arg(long)]
    target: Option<String>,
    /// How long each target is run.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Do nothing, and say so, where libFuzzer cannot be built.
    #[arg(long)]
    if_possible: bool,
}

/// Builds the targets, and runs them one after the other until one fails.
///
/// # Errors
/// Names the target that failed, and the file that holds the input.
pub(crate) fn fuzz(root: &Path, options: &Options) -> Result<()> {
    let all = targets(root)?;
    let chosen = match &options.target {
        None => all,
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => bail!("there is no target '{name}'; there are {}", all.join(", ")),
    };
    if options.if_possible && !has_cpp_compiler() {
        println!(
            "SKIPPED: there is no C++ compiler to build libFuzzer with, so nothing was fuzzed under \
             coverage; cargo test -p plurix-fuzz did run the targets"
        );
        return Ok(());
    }
    let target_directory = root.join("target/fuzz");
    build(root, &target_directory)?;
    for name in chosen {
        println!("── {name}");
        run(root, &target_directory, &name, options.seconds)?;
    }
    Ok(())
}

/// The names of the targets: each has a file.
fn targets(root: &Path) -> Result<Vec<String>> {
    let directory = root.join("fuzz/targets");
    let entries = fs::read_dir(&directory)
        .with_context(|| format!("{} cannot be listed", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

fn has_cpp_compiler() -> bool {
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let asked = Command::new(compiler)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn build(root: &Path, target_directory: &Path) -> Result<()> {
    let status = Command::new("cargo")
        .args(["build", "--package", "plurix-fuzz", "--bins"])
        .args(["--features", "libfuzzer", "--profile", "fuzz"])
        .args(["--target", PLATFORM, "--target-dir"])
        .arg(target_directory)
        .env("RUSTFLAGS", COVERAGE.join(" "))
        .current_dir(root)
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("the fuzz targets could not be built ({status}); libFuzzer needs a C++ compiler");
    }
    Ok(())
}

/// What is found is kept: new inputs below target/, an input that fails as a regression.
fn run(root: &Path, target_directory: &Path, name: &str, seconds: u32) -> Result<()> {
    let found = target_directory.join("corpus").join(name);
    let regressions = root.join("fuzz/regressions").join(name);
    for directory in [&found, &regressions] {
        fs::create_dir_all(directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
    }
    let program: PathBuf = [
        target_directory,
        Path::new(PLATFORM),
        Path::new("fuzz"),
        Path::new(name),
    ]
    .iter()
    .collect();
    let status = Command::new(program)
        .args(BOUNDS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", regressions.display()))
        .arg(&found)
        .arg(root.join("fuzz/corpus").join(name))
        .arg(&regressions)
        .current_dir(root)
        .status()
        .context("the target could not be started")?;
    // Left empty, the directory would say that something was found.
    let _ = fs::remove_dir(&regressions);
    if !status.success() {
        bail!(
            "{name} failed ({status}); the input is in {}: give it a name that says what is wrong, \
             and describe it in fuzz/README.md",
            regressions.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_a_name_in_the_library() {
        let root = crate::root().unwrap();
        let library = fs::read_to_string(root.join("fuzz/src/lib.rs")).unwrap();
        let names = targets(&root).unwrap();
        let listed = library.matches("        name: \"").count();
        assert_eq!(listed, names.len());
        for name in names {
            assert!(library.contains(&format!("name: \"{name}\"")), "{name}");
        }
    }
}
