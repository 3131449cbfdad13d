//! The project's own checks and shortcuts, as `cargo xtask`. What CI demands is written here, in
//! Rust and with unit tests, so that a developer sees the same verdict before pushing.

mod canaries;
mod commands;
mod fuzz;
mod licences;
mod loom;
mod markdown;
mod repository;
mod runs;
mod tidy;
mod verify;
mod violation;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use crate::repository::Repository;
use crate::violation::Violation;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "The checks that CI runs, and shortcuts for developers."
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check what the compiler cannot: the dependency law, purity, house style, links.
    Tidy,
    /// Check the licence and the origin of every crate that is built.
    Licences,
    /// Run every command that README.md and docs/ mark with "sh run".
    Commands,
    /// Run the checks of CI, or those named; changes nothing.
    Verify {
        /// The checks to run; all of them if none is named.
        steps: Vec<verify::Step>,
    },
    /// Run the models of what threads and processes share, in every interleaving.
    Loom,
    /// Format the sources and apply clippy's suggestions.
    Fix,
    /// Fuzz, led by coverage: libFuzzer on every target, or on one, for some seconds each.
    Fuzz(fuzz::Options),
    /// Run the deterministic simulator; every argument is handed on to it.
    #[command(disable_help_flag = true)]
    Sim {
        /// For instance `--seed 7`, which repeats one run exactly.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check every model of the protocol exhaustively, the large ones too; takes minutes.
    Model {
        /// Only the models whose test has this in its name.
        filter: Option<String>,
    },
    /// Run real processes under real faults; every argument is handed on.
    #[command(disable_help_flag = true)]
    Chaos {
        /// For instance `--seed 7 --minutes 2`, which plans the same faults each time.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Plant bugs in the simulated cluster, one at a time; fails if an oracle misses one.
    #[command(disable_help_flag = true)]
    Canaries {
        /// `--seeds N`, `--only NAME`, `--first` to stop at the first finding of each, `--json`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let root = root()?;
    match task {
        Task::Tidy => report(
            "tidy",
            &tidy::check(&Repository::read(&root)?, &metadata(&root)?),
        ),
        Task::Licences => report("licences", &licences::check(&metadata(&root)?)),
        Task::Commands => commands::run_all(&root, &Repository::read(&root)?),
        Task::Verify { steps } => verify::verify(&root, &steps),
        Task::Loom => loom::run(&root),
        Task::Fix => verify::fix(&root),
        Task::Fuzz(options) => fuzz::fuzz(&root, &options),
        Task::Sim { arguments } => runs::simulator(&root, &arguments),
        Task::Model { filter } => runs::models(&root, filter),
        Task::Chaos { arguments } => runs::chaos(&root, &arguments),
        Task::Canaries { arguments } => canaries::hunt(&root, &arguments),
    }
}

/// Prints the violations that a check found; fails if there are any.
fn report(check: &str, violations: &[Violation]) -> Result<()> {
    for violation in violations {
        println!("{violation}");
    }
    if !violations.is_empty() {
        bail!("{check}: {} violation(s)", violations.len());
    }
    println!("{check}: ok");
    Ok(())
}

/// The root of the repository, whatever the current directory is.
fn root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest
        .parent()
        .context("xtask must lie directly in the repository")?
        .to_owned())
}

/// The workspace and its resolved dependencies on the platform that Plurix is for.
fn metadata(root: &Path) -> Result<cargo_metadata::Metadata> {
    cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options([
            "--filter-platform".to_owned(),
            "x86_64-unknown-linux-gnu".to_owned(),
        ])
        .exec()
        .context("cargo metadata failed; does every crate's Cargo.toml parse?")
}
