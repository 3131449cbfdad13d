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
mod echo;
mod figure;
mod frames;
mod machine;
mod process;
mod redis;
mod roles;
mod rounds;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

use benchmarks::{BENCHMARKS, Benchmark};
use figure::{Figure, MARKDOWN_HEAD};
use rounds::Plan;

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
                println!("{:<12} {}", benchmark.name, benchmark.what);
            }
            Ok(())
        }
        Some(Command::Role(role)) => role.play(),
        None => measure(&cli.measure),
    }
}

fn measure(wished: &Measure) -> Result<()> {
    let chosen = choose(&wished.names)?;
    let plan = Plan::new(wished.quick);
    let machine = machine::Machine::look()?;
    if !wished.json {
        println!("{machine}\n");
    }
    if wished.markdown {
        println!("{MARKDOWN_HEAD}");
    }
    machine::touch_memory(plan.touch_bytes);
    let mut figures = Vec::new();
    for benchmark in chosen {
        for figure in (benchmark.run)(&plan)? {
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

fn choose(names: &[String]) -> Result<Vec<&'static Benchmark>> {
    if names.is_empty() {
        bail!("name the benchmarks to run, or 'all'; 'lab list' shows them");
    }
    let mut chosen = Vec::new();
    for name in names {
        if name == "all" {
            chosen.extend(BENCHMARKS);
            continue;
        }
        match BENCHMARKS.iter().find(|benchmark| benchmark.name == name) {
            Some(benchmark) => chosen.push(benchmark),
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
