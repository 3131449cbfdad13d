//! Bugs planted on purpose must be found, each within a few seeds. Needs a build that has them:
//! `RUSTFLAGS="--cfg plurix_canary" cargo test -p plurix-sim --test canaries`.
#![cfg(plurix_canary)]

use plurix_sim::{Canary, Options, Stage, run};

const SEEDS: u64 = 300;

#[test]
fn every_planted_bug_is_found() {
    for &canary in Canary::ALL {
        let options = Options {
            stage: Stage::of(canary),
            canary: Some(canary),
            ..Options::default()
        };
        let found = (1..=SEEDS).find(|seed| run(*seed, &options).failure.is_some());
        assert!(found.is_some(), "{canary:?} was not found in {SEEDS} seeds");
    }
}

/// What the black-box check finds by itself is found without faith in commit numbers.
#[test]
fn the_black_box_check_finds_bugs_alone() {
    for canary in [
        Canary::SkipReadLine,
        Canary::AcceptRefused,
        Canary::ApplyBeneath,
        Canary::LoseMerge,
        Canary::ForgetHolder,
        Canary::ServeNewer,
    ] {
        let options = Options {
            canary: Some(canary),
            black_box_alone: true,
            ..Options::default()
        };
        let found = (1..=SEEDS).any(|seed| {
            let failure = run(seed, &options).failure;
            failure.is_some_and(|failure| failure.oracle == "black box")
        });
        assert!(found, "{canary:?} was not found in {SEEDS} seeds");
    }
}

#[test]
fn without_a_planted_bug_nothing_is_found() {
    for seed in 1..20 {
        assert_eq!(run(seed, &Options::default()).failure, None, "seed {seed}");
    }
}
