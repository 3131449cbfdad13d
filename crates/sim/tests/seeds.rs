//! Seeds that must pass.
//!
//! What a seed does changes with every change of the plan, so a seed is a weak memory. The bugs that
//! seeds have found so far are remembered by tests of the machines themselves:
//! `crates/protocol/tests/engine.rs` and `leader/stream.rs` have those of session, stream and cache,
//! `crates/store/tests/crash.rs` that of the generation that was begun twice.

use plurix_sim::{Options, run};

fn passes(seed: u64) {
    let report = run(seed, &Options::default());
    assert_eq!(
        report.failure, None,
        "repeat it with: cargo xtask sim --seed {seed} --trace"
    );
    assert!(report.tally.commits > 0);
}

#[test]
fn a_hundred_seeds_pass() {
    (1000..1100).for_each(passes);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 3..8 {
        let (one, two) = (
            run(seed, &Options::default()),
            run(seed, &Options::default()),
        );
        assert_eq!(one.trace_hash, two.trace_hash);
        assert_eq!(one.tally.events, two.tally.events);
        assert_eq!(one.virtual_ns, two.virtual_ns);
    }
    let hashes: Vec<_> = (3..8)
        .map(|seed| run(seed, &Options::default()).trace_hash)
        .collect();
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]));
}
