//! One run of a hundred thousand commits under faults, and as many judged after the run.

use plurix_sim::oracle::{Attempt, Model, Moment, opacity, serializability};
use plurix_sim::{Options, run};
use plurix_wire::{
    CommitId, CommitNumber, CommitSequence, Generation, Incarnation, PageNumber, WriteSetBuilder,
};

const COMMITS: u64 = 100_000;
const SEED: u64 = 5;

#[test]
fn a_hundred_thousand_commits_under_faults() {
    let options = Options {
        commits: COMMITS,
        ..Options::default()
    };
    let report = run(SEED, &options);
    assert_eq!(report.failure, None);
    assert!(report.tally.commits >= COMMITS);
    assert!(report.tally.faults > 0);
}

/// All of one register: each reads what the one before it wrote, and is judged when all are known.
#[test]
fn a_hundred_thousand_commits_after_the_fact() {
    let at = |number| Moment {
        generation: Generation(0),
        number: CommitNumber(number),
    };
    let id = |number| CommitId {
        incarnation: Incarnation(1),
        sequence: CommitSequence(number),
    };
    let mut model = Model::default();
    for number in 1..=COMMITS {
        let mut writes = WriteSetBuilder::new();
        writes.push(PageNumber(0), 0, &number.to_le_bytes());
        model.append(at(number), id(number), writes.finish());
    }
    for number in 1..=COMMITS {
        let mut attempt = Attempt {
            at: at(number - 1),
            answered_before: at(number - 1),
            id: Some(id(number)),
            ..Attempt::default()
        };
        let seen = (number - 1).to_le_bytes();
        assert_eq!(opacity::read(&model, &attempt, 0..8, &seen), Ok(()));
        attempt.reads.push(0..8);
        attempt.own.extend((0..8).zip(number.to_le_bytes()));
        let verdict = serializability::committed(&model, &attempt, at(number));
        assert_eq!(verdict, Ok(()));
    }
}
