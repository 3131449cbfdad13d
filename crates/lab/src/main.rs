//! Measures Plurix against the floors that this machine sets, in the same run.
//!
//! A time says little without the machine it was taken on, so each benchmark also measures what no
//! implementation could beat here, or the system that it is compared with, in rounds that alternate
//! with its own. What counts is the ratio.
//!
//! ```text
//!   lab (the benchmark: a station, a raw client, a clock)
//!    |-- lab serve        page server        |-- lab echo         the raw round trip
//!    |-- lab increments   a station          |-- redis-server, postgres, where they are installed
//! ```
//!
//! Processes that must be others are this program again, under hidden subcommands.

mod benchmarks;
mod disk;
mod echo;
mod figure;
mod frames;
mod machine;
mod process;
mod program;
mod redis;
mod roles;
mod rounds;
mod said;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

use benchmarks::{BENCHMARKS, Benchmark};
use figure::{Figure, MARKDOWN_HEAD};
use rounds::{Extent, Plan};

/// Measures Plurix against the floors of this machine.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Debug, Args)]
struct Measure {
    /// Benchmarks to run: names from `lab list`, or `all`.
    names: Vec<String>,
    /// Few and short rounds: to see that it works, not how fast.
    #[arg(long)]
    quick: bool,
    /// The heap whose checkpoints are measured, in MiB [default: 1024; 128 under `all`].
    #[arg(long, value_parser = clap::value_parser!(u64).range(8..=16_384))]
    heap_mib: Option<u64>,
    /// Pairs of rounds with checkpoints and without, or of whole programs by stations and by threads
    /// [default: 21; 6, or 3 of whole programs, under `all`].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pairs: Option<u64>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Print a table in Markdown, as `docs/measurements.md` has it.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the benchmarks.
    List,
    #[command(flatten)]
    Role(roles::Role),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::List) => {
            for benchmark in BENCHMARKS {
                println!("{:<20} {}", benchmark.name, benchmark.what);
            }
            Ok(())
        }
        Some(Command::Role(role)) => role.play(),
        None => measure(&cli.measure),
    }
}

fn measure(wished: &Measure) -> Result<()> {
    let chosen = choose(&wished.names)?;
    let machine = machine::Machine::look()?;
    if !wished.json {
        println!("{machine}\n");
    }
    if wished.markdown {
        println!("{MARKDOWN_HEAD}");
    }
    machine::touch_memory(wished.plan(false).touch_bytes);
    let mut figures = Vec::new();
    for (benchmark, is_named) in chosen {
        for figure in (benchmark.run)(&wished.plan(is_named))? {
            if wished.markdown {
                println!("{}", figure.markdown_row());
            } else if !wished.json {
                println!("{figure}\n");
            }
            figures.push(figure);
        }
    }
    if wished.json {
        let report = serde_json::json!({
            "machine": machine,
            "quick": wished.quick,
            "figures": figures,
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if !wished.markdown {
        summarise(&figures);
    }
    Ok(())
}

impl Measure {
    /// How much to do of a benchmark that was named, or that is one of all.
    fn plan(&self, is_named: bool) -> Plan {
        let mut plan = Plan::new(match (self.quick, is_named) {
            (true, _) => Extent::Quick,
            (false, false) => Extent::Short,
            (false, true) => Extent::Full,
        });
        if let Some(mib) = self.heap_mib {
            plan.heap_pages = (mib << 20) / plurix_wire::PAGE_BYTES as u64;
        }
        if let Some(pairs) = self.pairs {
            (plan.pairs, plan.program_pairs) = (pairs as usize, pairs as usize);
        }
        plan
    }
}

/// The benchmarks, and whether each was named.
fn choose(names: &[String]) -> Result<Vec<(&'static Benchmark, bool)>> {
    if names.is_empty() {
        bail!("name the benchmarks to run, or 'all'; 'lab list' shows them");
    }
    let mut chosen = Vec::new();
    for name in names {
        if name == "all" {
            chosen.extend(BENCHMARKS.iter().map(|benchmark| (benchmark, false)));
            continue;
        }
        match BENCHMARKS.iter().find(|benchmark| benchmark.name == name) {
            Some(benchmark) => chosen.push((benchmark, true)),
            None => bail!("there is no benchmark '{name}'; 'lab list' shows them"),
        }
    }
    Ok(chosen)
}

fn summarise(figures: &[Figure]) {
    let missed: Vec<&str> = figures
        .iter()
        .filter(|figure| figure.is_met() == Some(false))
        .map(|figure| figure.name.as_str())
        .collect();
    if missed.is_empty() {
        println!("every target measured here is met");
    } else {
        println!("not met: {}", missed.join(", "));
    }
}
