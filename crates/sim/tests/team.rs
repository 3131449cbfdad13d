//! Teams on weak memory: seeds that must pass, whole or with parts left out. The bugs that seeds have
//! found are remembered by tests of the state machine, in `crates/protocol/tests/team.rs`.

use plurix_sim::{Mark, Mask, Options, Report, Stage, run};

fn team(seed: u64, mask: Mask) -> Report {
    let options = Options {
        stage: Stage::Team,
        mask,
        ..Options::default()
    };
    run(seed, &options)
}

#[test]
fn many_seeds_pass_and_reach_all_edges() {
    let mut tally = plurix_sim::Tally::default();
    // As many as it takes to lose a line that a team went on from, which is seldom.
    for seed in 1000..4000 {
        let report = team(seed, Mask::default());
        assert_eq!(
            report.failure, None,
            "repeat it with: cargo xtask sim team --seed {seed} --trace"
        );
        tally += &report.tally;
    }
    for mark in Mark::TEAM {
        assert!(tally.marks.contains_key(&mark), "never: {}", mark.name());
    }
    for fault in ["kill-member", "give-up", "freeze-station", "forge-message"] {
        assert!(tally.struck.contains_key(fault), "never: {fault}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let hash = |seed| team(seed, Mask::default()).trace_hash;
    let hashes: Vec<String> = (1..20).map(hash).collect();
    assert!((1..20).map(hash).eq(hashes.iter().cloned()));
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn runs_with_parts_left_out_pass() {
    for seed in 1..60 {
        let mask = Mask {
            stations: Some([0, 2].into_iter().collect()),
            faults: Some((0..6).step_by(2).collect()),
            until_event: Some(20 * seed),
        };
        let report = team(seed, mask.clone());
        assert_eq!(report.failure, None, "team --seed {seed}{mask}");
    }
}
