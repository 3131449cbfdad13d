//! Bugs planted on purpose must be found, each within a few seeds.

use clap::ValueEnum;
use plurix_sim::{Canary, Options, run};

const SEEDS: u64 = 60;

#[test]
fn every_planted_bug_is_found() {
    for canary in Canary::value_variants() {
        let options = Options {
            canary: Some(*canary),
            ..Options::default()
        };
        let found = (1..=SEEDS).find(|seed| run(*seed, &options).failure.is_some());
        assert!(found.is_some(), "{canary:?} was not found in {SEEDS} seeds");
    }
}
