//! A run with parts left out is a run like any other: it repeats exactly, and what is left of a
//! failing one fails.

use std::collections::BTreeMap;

use plurix_sim::{Mask, Options, Report, run};

fn masked(seed: u64, mask: Mask) -> Report {
    let options = Options {
        mask,
        ..Options::default()
    };
    run(seed, &options)
}

#[test]
fn runs_with_parts_left_out_pass_and_repeat() {
    for seed in 20..30 {
        let mask = Mask {
            stations: Some([0].into_iter().collect()),
            faults: Some((0..400).step_by(3).collect()),
            until_event: Some(3000),
        };
        let report = masked(seed, mask.clone());
        assert_eq!(report.failure, None, "--seed {seed}{mask}");
        assert_eq!(report.trace_hash, masked(seed, mask).trace_hash);
        assert!(report.tally.faults <= report.strokes.div_ceil(3));
    }
}

#[test]
fn a_mask_that_leaves_nothing_out_changes_nothing() {
    let whole = run(5, &Options::default());
    let mask = Mask {
        stations: Some((0..whole.stations as u64).collect()),
        faults: Some((0..whole.strokes).collect()),
        until_event: Some(whole.tally.events),
    };
    assert_eq!(masked(5, mask).trace_hash, whole.trace_hash);
}

#[test]
fn faults_left_out_do_not_move_the_others() {
    let wholes = (1..30).map(|seed| run(seed, &Options::default()));
    let stormy: Vec<Report> = wholes.filter(|whole| whole.strokes > 30).take(3).collect();
    assert_eq!(stormy.len(), 3, "of 30 seeds, so many have faults");
    for whole in stormy {
        let (even, odd): (Vec<u64>, Vec<u64>) = (0..whole.strokes).partition(|s| s % 2 == 0);
        let mut sum: BTreeMap<&str, u64> = BTreeMap::new();
        for half in [even, odd] {
            let mask = Mask {
                faults: Some(half.into_iter().collect()),
                ..Mask::default()
            };
            for (kind, count) in masked(whole.seed, mask).tally.struck {
                *sum.entry(kind).or_default() += count;
            }
        }
        assert_eq!(sum, whole.tally.struck, "seed {}", whole.seed);
    }
}

/// Only a build with bugs to plant has a run that fails.
#[cfg(plurix_canary)]
#[test]
fn a_shrunk_run_is_smaller_and_fails_alike() {
    use plurix_sim::{Canary, shrink};

    let options = Options {
        canary: Some(Canary::ForgetHolder),
        ..Options::default()
    };
    let mut reports = (1..).map(|seed| run(seed, &options));
    let failed = reports
        .find(|report| report.failure.is_some() && report.tally.events > 300)
        .expect("seeds do not end");
    let (seed, before) = (failed.seed, failed.clone());
    let shrunk = shrink(failed, &options, &mut |progress| progress.runs < 60);
    let again = Options {
        mask: shrunk.mask.clone(),
        ..options
    };
    let again = run(seed, &again);
    assert_eq!(again.trace_hash, shrunk.trace_hash);
    let (one, other) = (before.failure.as_ref(), again.failure.as_ref());
    assert!(one.is_some_and(|one| other.is_some_and(|other| one.resembles(other))));
    assert_ne!(shrunk.mask, before.mask);
}
