//! Seeds that must pass: those that found a bug, and a hundred more.
//!
//! What a seed does changes with every change of the plan, so a seed is a weak memory. Whatever can
//! be said in a few events is a test of the machine itself: `crates/protocol/tests/engine.rs` has
//! those of the session, the stream and the cache that earlier seeds found, and
//! `crates/store/tests/crash.rs` that of the generation that was begun twice.

use plurix_sim::{Options, run};

/// Seeds that found a bug, with what it was.
const FOUND: [(u64, &str); 3] = [
    (213, "a station counted what was lost with its connection"),
    (221, "a station counted what it had applied"),
    (456, "a station counted what was lost with its connection"),
];

fn passes(seed: u64) {
    let report = run(seed, &Options::default());
    assert_eq!(
        report.failure, None,
        "repeat it with: cargo run --release -p plurix-sim -- --seed {seed} --trace"
    );
    assert!(report.tally.commits > 0);
}

#[test]
fn seeds_that_found_a_bug_pass() {
    for (seed, _) in FOUND {
        passes(seed);
    }
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
