//! Is every bug that can be planted found, by which oracle, and in how many seeds? An oracle that
//! finds none is not to be trusted.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use clap::value_parser;
use plurix_sim::{Canary, Options, Stage, run};
use plurix_wire::canary;
use serde::Serialize;

const HOW: &str = "this build has no bug to plant; use `cargo xtask canaries`, or build with \
                   RUSTFLAGS=\"--cfg plurix_canary\"";

/// Which bugs to plant, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Hunt {
    /// Run so many seeds with each bug.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    seeds: u64,
    /// Plant this one alone.
    #[arg(long, value_name = "NAME", value_parser = parse)]
    only: Option<Canary>,
    /// Go on to the next bug as soon as one is found.
    #[arg(long)]
    first: bool,
    /// Print JSON, one object for each bug.
    #[arg(long)]
    json: bool,
}

/// Who found a bug.
#[derive(Debug, Default, Serialize)]
struct Finding {
    canary: &'static str,
    seeds: u64,
    found: u64,
    first_seed: Option<u64>,
    /// How often each oracle was the one that noticed.
    oracles: BTreeMap<String, u64>,
}

/// Reads the name of a bug, in a build that has it.
pub(crate) fn parse(name: &str) -> Result<Canary, String> {
    if !canary::PLANTABLE {
        return Err(HOW.to_owned());
    }
    Canary::named(name).ok_or_else(|| {
        let names: Vec<_> = Canary::ALL.iter().map(|canary| canary.name()).collect();
        format!("there is no such bug; one of {}", names.join(", "))
    })
}

/// Plants one bug after the other and prints what was found; fails if one was not.
pub(crate) fn hunt(hunt: &Hunt) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(canary::PLANTABLE, HOW);
    // An assertion that notices a planted bug has done its work; its trace would drown the table.
    plurix_sim::keep_panics_quiet();
    if !hunt.json {
        println!(
            "{:<20} {:>9} {:>10}  found by",
            "canary", "found in", "first seed"
        );
    }
    let mut missed = 0;
    for &canary in Canary::ALL {
        if hunt.only.is_some_and(|only| only != canary) {
            continue;
        }
        let finding = Finding::of(canary, hunt);
        missed += u32::from(finding.found == 0);
        match hunt.json {
            true => println!("{}", serde_json::to_string(&finding)?),
            false => println!("{finding}"),
        }
    }
    if missed > 0 {
        eprintln!("{missed} planted bug(s) were found in no seed: an oracle is blind");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

impl Finding {
    fn of(canary: Canary, hunt: &Hunt) -> Self {
        let mut finding = Self {
            canary: canary.name(),
            ..Self::default()
        };
        let options = Options {
            stage: Stage::of(canary),
            canary: Some(canary),
            ..Options::default()
        };
        for seed in 1..=hunt.seeds {
            finding.seeds = seed;
            if let Some(failure) = run(seed, &options).failure {
                *finding.oracles.entry(failure.oracle).or_default() += 1;
                finding.found += 1;
                finding.first_seed.get_or_insert(seed);
                if hunt.first {
                    break;
                }
            }
        }
        finding
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            canary,
            seeds,
            found,
            ..
        } = self;
        let first = self
            .first_seed
            .map_or("-".to_owned(), |seed| seed.to_string());
        let mut oracles: Vec<_> = self.oracles.iter().collect();
        oracles.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let oracles = oracles
            .iter()
            .map(|(name, count)| format!("{name} {count}"));
        let by = oracles.collect::<Vec<_>>().join(", ");
        let found = format!("{found} of {seeds}");
        write!(f, "{canary:<20} {found:>9} {first:>10}  {by}")
    }
}
