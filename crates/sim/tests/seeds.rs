//! Seeds that must pass: those that once found a bug, and a hundred more.

use plurix_sim::{Options, run};

/// Seeds that found a bug, with what it was.
const FOUND: [(u64, &str); 6] = [
    (
        1,
        "a station asked to be called again at once, for ever, while its session opened",
    ),
    (2, "a member that was sent one batch never got another"),
    (
        33,
        "a page of an unfinished group was read at a later snapshot",
    ),
    (
        328,
        "a generation was begun twice after its record was lost",
    ),
    (
        421,
        "a transaction restarted at the snapshot that had been too old",
    ),
    (
        170,
        "a station insisted for ever on a number that it had never asked for",
    ),
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
