//! `plurix-chaos`: a run, a second judgement of one that was kept, or, started by a run, a worker.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use plurix_chaos::conductor::{self, Report, Settings};
use plurix_chaos::judge::falsify::Lie;
use plurix_chaos::worker::Worker;
use plurix_chaos::{judge_again, missing_on_networks, plan};

const EXAMPLES: &str = "\
Examples:
  cargo xtask chaos --seed 7 --minutes 2
      kills, freezes and cuts for two minutes what the seed chooses, and judges every 20 s
  cargo xtask chaos --seed 7 --minutes 2 --networks
      the same on networks of their own, with partitions and bad links; needs root, or the right
      to make users' namespaces, and says SKIPPED without
  cargo xtask chaos --seed 7 --plan
      only prints which faults would strike when
  cargo xtask chaos judge target/chaos/seed-7
      judges once more what a run has left
  cargo xtask chaos judge target/chaos/seed-7 --lie wrong-read
      the same with a falsified history, which must be found out

Exit codes: 0 nothing was wrong, 1 something was, 2 wrong usage, 130 interrupted.";

/// Real processes under real faults, judged by the oracles of the simulator.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", after_help = EXAMPLES, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    run: Options,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Judge once more what a run has left in its directory.
    Judge {
        /// The directory.
        directory: PathBuf,
        /// Falsify the evidence first; succeeds if the judge notices.
        #[arg(long, value_enum)]
        lie: Option<Lie>,
    },
    /// Be a worker of a run.
    #[command(hide = true)]
    Worker(Worker),
}

#[derive(Debug, Args)]
struct Options {
    /// Decides the faults, the programs and the transports [default: drawn from the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults strike.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    minutes: f64,
    /// After so many seconds faults end, everybody has to finish, and everything is judged.
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS", value_parser = positive)]
    round: f64,
    /// How many workers [default: 3 to 5, as the seed has it].
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=30))]
    workers: Option<u64>,
    /// Transactions of each worker in a second, about.
    #[arg(long, default_value_t = 300)]
    rate: u64,
    /// Give the page server and each worker that uses TCP a network of its own.
    #[arg(long)]
    networks: bool,
    /// Print which faults would strike when, and do nothing.
    #[arg(long)]
    plan: bool,
    /// Print the report in JSON.
    #[arg(long)]
    json: bool,
    /// Where the run's files go [default: target/chaos/seed-S]; kept if something is wrong.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The command under test [default: that beside this program].
    #[arg(long, value_name = "FILE")]
    plurix: Option<PathBuf>,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    if number > 0.0 && number < 1e6 {
        Ok(number)
    } else {
        Err("must be more than 0".to_owned())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.role {
        None => run(&arguments.run),
        Some(Role::Judge { directory, lie }) => judge(&directory, lie),
        Some(Role::Worker(worker)) => worker.run().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode> {
    let settings = settings(options)?;
    if options.plan {
        plan(&settings).iter().for_each(|line| println!("{line}"));
        return Ok(ExitCode::SUCCESS);
    }
    if options.networks {
        match missing_on_networks() {
            Err(why) => {
                println!("SKIPPED: no networks: {why}");
                return Ok(ExitCode::SUCCESS);
            }
            Ok(Some(why)) => println!("SKIPPED: no slow and lossy links: {why}"),
            Ok(None) => {}
        }
    }
    clear(&settings.directory)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in signal_hook::consts::TERM_SIGNALS {
        signal_hook::flag::register(*signal, Arc::clone(&interrupted))?;
    }
    let report = conductor::run(&settings, &interrupted);
    eprintln!();
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", summary(&report));
    }
    if report.interrupted {
        eprintln!(
            "interrupted; the files are in {}",
            settings.directory.display()
        );
        return Ok(ExitCode::from(130));
    }
    if report.failure.is_some() {
        eprintln!("{}", how_to_repeat(&settings));
        return Ok(ExitCode::FAILURE);
    }
    if options.dir.is_none() {
        std::fs::remove_dir_all(&settings.directory)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(options: &Options) -> Result<Settings> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = options.seed.unwrap_or(clock.as_millis() as u64 % 1_000_000);
    let program = std::env::current_exe()?;
    let beside = program.with_file_name("plurix");
    let plurix = options.plurix.clone().unwrap_or(beside);
    ensure!(
        plurix.is_file(),
        "there is no {}: run this by 'cargo xtask chaos', or give --plurix",
        plurix.display()
    );
    let directory = match &options.dir {
        Some(directory) => directory.clone(),
        None => PathBuf::from(format!("target/chaos/seed-{seed}")),
    };
    Ok(Settings {
        seed,
        length: Duration::from_secs_f64(options.minutes * 60.0),
        round: Duration::from_secs_f64(options.round.min(options.minutes * 60.0)),
        workers: options.workers.map(|workers| workers as usize),
        rate: options.rate,
        networks: options.networks,
        plurix,
        directory: std::path::absolute(directory)?,
    })
}

/// Makes the directory of a run; one that an earlier run has left is removed.
fn clear(directory: &Path) -> Result<()> {
    if directory.join("ground.json").exists() {
        std::fs::remove_dir_all(directory)?;
    }
    std::fs::create_dir_all(directory)?;
    ensure!(
        std::fs::read_dir(directory)?.next().is_none(),
        "{} is not empty, and no run has left it",
        directory.display()
    );
    Ok(())
}

fn judge(directory: &Path, lie: Option<Lie>) -> Result<ExitCode> {
    let verdict = judge_again(directory, lie).context("cannot judge")?;
    match (lie, verdict) {
        (None, Ok(tally)) => println!("nothing is wrong: {}", serde_json::to_string(&tally)?),
        (Some(lie), Err(violation)) if violation.oracle == lie.oracle() => {
            println!("found out: {violation}");
        }
        (_, Err(violation)) => bail!("{violation}"),
        (Some(lie), Ok(_)) => bail!("the judge believes {lie:?}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn summary(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {what:28} {value}");
    };
    let (judged, faults) = (&report.judged, report.faults.values().sum::<u64>());
    let promise = if report.durable { "durable" } else { "memory" };
    line(
        "seed",
        format!(
            "{}, {promise}, workers {}",
            report.seed,
            report.transports.join(" ")
        ),
    );
    line("checkpoints", report.checkpoints.clone());
    line(
        "faults",
        format!(
            "{faults} in {:.0} s, {} rounds",
            report.seconds, report.rounds
        ),
    );
    for (fault, count) in &report.faults {
        line(&format!("  {fault}"), count.to_string());
    }
    line("workers started", report.workers_started.to_string());
    line("page server's terms", judged.terms.to_string());
    line(
        "finished after faults within",
        format!("{} ms", report.finished_ms_max),
    );
    line("numbering: commits", judged.commits.to_string());
    line("serializability: answered", judged.answered.to_string());
    line(
        "  without answer, in the log",
        judged.unknown_committed.to_string(),
    );
    line("  without answer, lost", judged.unknown_lost.to_string());
    line(
        "opacity: attempts",
        format!("{} ({} failed)", judged.attempts, judged.failed),
    );
    line("  words read", judged.words_read.to_string());
    line("session: newest asked for", judged.strict_reads.to_string());
    line("bank: audits", judged.audits.to_string());
    line("activities: exactly once", judged.activities.to_string());
    line("convergence: pages", report.pages_compared.to_string());
    let verdict = match &report.failure {
        Some(failure) => format!("FAILED: {failure}"),
        None if report.interrupted => "interrupted".to_owned(),
        None => "nothing was wrong".to_owned(),
    };
    let _ = writeln!(text, "{verdict}");
    text
}

fn how_to_repeat(settings: &Settings) -> String {
    let networks = if settings.networks { " --networks" } else { "" };
    let workers = settings
        .workers
        .map(|workers| format!(" --workers {workers}"));
    format!(
        "the same faults again: cargo xtask chaos --seed {} --minutes {} --round {} --rate {}{}{networks}\n\
         histories, log and what the processes said: {}",
        settings.seed,
        settings.length.as_secs_f64() / 60.0,
        settings.round.as_secs_f64(),
        settings.rate,
        workers.unwrap_or_default(),
        settings.directory.display(),
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_has_no_contradictions() {
        Arguments::command().debug_assert();
    }
}
