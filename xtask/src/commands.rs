//! Runs the commands that the documents show in blocks tagged `sh run`, so that what a reader
//! types first is known to work.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::markdown;
use crate::repository::Repository;

/// How long one command may take.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(600);

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Succeeded,
    Failed(String),
    TimedOut,
}

/// Runs every marked command of README.md and docs/, at the root, and reports on each.
///
/// # Errors
/// If README.md marks no command, or a command fails or takes too long; the others run all the
/// same.
pub(crate) fn run_all(root: &Path, repository: &Repository) -> Result<()> {
    let readme = repository.text("README.md").unwrap_or_default();
    if markdown::commands(readme).is_empty() {
        bail!("README.md marks no command to run; tag the block of its first commands `sh run`");
    }
    let mut report = Vec::new();
    for (path, text) in documents(repository) {
        for command in markdown::commands(text) {
            println!("── {path}:{}: {}", command.line, command.text);
            let started = Instant::now();
            let outcome = run(root, &command.text, COMMAND_TIME_MAX)?;
            report.push((path, command, outcome, started.elapsed()));
        }
    }
    println!();
    for (path, command, outcome, took) in &report {
        let verdict = match outcome {
            Outcome::Succeeded => "ok".to_owned(),
            Outcome::Failed(status) => format!("FAILED ({status})"),
            Outcome::TimedOut => format!("TIMED OUT after {} s", COMMAND_TIME_MAX.as_secs()),
        };
        let seconds = took.as_secs_f64();
        println!(
            "{path}:{}: {verdict}, {seconds:.1} s: {}",
            command.line, command.text
        );
    }
    let bad = report
        .iter()
        .filter(|(_, _, outcome, _)| *outcome != Outcome::Succeeded)
        .count();
    if bad > 0 {
        bail!("{bad} of {} documented commands failed", report.len());
    }
    Ok(())
}

/// README.md and then the documents of docs/.
fn documents(repository: &Repository) -> impl Iterator<Item = (&str, &str)> {
    repository
        .below("README.md", "")
        .chain(repository.below("docs/", ".md"))
}

/// Runs one command by bash, without standard input, and ends all it started when `time_max` is
/// over.
fn run(root: &Path, command: &str, time_max: Duration) -> Result<Outcome> {
    // coreutils' timeout runs the command in a process group of its own and ends the whole group.
    let status = Command::new("timeout")
        .args(["--kill-after=10", &time_max.as_secs().to_string()])
        .args(["bash", "-euo", "pipefail", "-c", command])
        .current_dir(root)
        .stdin(Stdio::null())
        .status()
        .context("timeout (of coreutils) could not be started")?;
    Ok(match status.code() {
        Some(0) => Outcome::Succeeded,
        Some(124 | 137) => Outcome::TimedOut,
        _ => Outcome::Failed(status.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(command: &str, seconds: u64) -> Outcome {
        run(Path::new("/"), command, Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_command_succeeds_fails_or_times_out() {
        assert_eq!(
            outcome("test $PWD = / && ! read line", 60),
            Outcome::Succeeded
        );
        assert!(matches!(outcome("exit 3", 60), Outcome::Failed(_)));
        assert!(matches!(outcome("false | true", 60), Outcome::Failed(_)));
        assert_eq!(outcome("sleep 60 | cat", 1), Outcome::TimedOut);
    }

    #[test]
    fn one_failing_command_fails_the_whole_but_stops_no_other() {
        let root = tempfile::tempdir().unwrap();
        let run = |readme: &str, guide: &str| {
            run_all(
                root.path(),
                &Repository::of([("README.md", readme), ("docs/a.md", guide)]),
            )
        };
        assert!(run("```sh\ntrue\n```\n", "").is_err(), "no command");
        assert!(run("```sh run\ntrue\n```\n", "```sh run\ntrue\n```\n").is_ok());
        assert!(run("```sh run\nfalse\n```\n", "```sh run\ntouch ran\n```\n").is_err());
        assert!(root.path().join("ran").exists());
    }
}
