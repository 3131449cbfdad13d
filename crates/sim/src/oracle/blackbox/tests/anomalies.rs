//! One small history for each way to be wrong, and for each that only looks wrong.
//!
//! Source of the names: Adya, "Weak consistency", MIT 1999; Berenson et al., "A critique of ANSI SQL
//! isolation levels", SIGMOD 1995; Sovran et al., "Transactional storage for geo-replicated systems"
//! (long fork), SOSP 2011.

use super::super::{Outcome, Place, Transaction, Verdict, check};
use super::{committed, ended};

const X: u64 = 0x10;
const Y: u64 = 0x20;

fn is_right(history: &[Transaction]) {
    let verdict = check(history, 1000);
    assert!(matches!(verdict, Ok(Verdict::Explained(_))), "{verdict:?}");
}

fn is_wrong(history: &[Transaction], because: &str) {
    let violation = check(history, 1000).expect_err("no order explains it");
    assert!(violation.what.contains(because), "{violation}");
}

#[test]
fn nothing_happened() {
    is_right(&[]);
    is_right(&[committed(1, (1, 2), &[(X, 0)], &[])]);
}

#[test]
fn lost_update() {
    let first = committed(1, (1, 9), &[(X, 0)], &[(X, 1)]);
    is_wrong(
        &[first.clone(), committed(2, (1, 9), &[(X, 0)], &[(X, 2)])],
        "no order is possible",
    );
    is_right(&[first, committed(2, (1, 9), &[(X, 1)], &[(X, 2)])]);
}

#[test]
fn write_skew() {
    let both = [(X, 0), (Y, 0)];
    is_wrong(
        &[
            committed(1, (1, 9), &both, &[(X, 1)]),
            committed(2, (1, 9), &both, &[(Y, 2)]),
        ],
        "no order is possible",
    );
}

#[test]
fn dirty_read() {
    let writer = committed(1, (1, 9), &[], &[(X, 1), (X, 2)]);
    is_wrong(
        &[writer.clone(), committed(2, (1, 9), &[(X, 1)], &[])],
        "overwrote before its end",
    );
    is_right(&[writer, committed(2, (1, 9), &[(X, 2)], &[])]);
}

#[test]
fn read_of_the_aborted() {
    let aborted = ended(
        Outcome::NotHappened,
        committed(1, (1, 2), &[], &[(X, 1), (Y, 1)]),
    );
    is_wrong(
        &[aborted.clone(), committed(2, (3, 4), &[(X, 1)], &[])],
        "did not happen",
    );
    is_right(&[aborted, committed(2, (3, 4), &[(X, 0)], &[])]);
}

#[test]
fn a_value_out_of_nothing() {
    is_wrong(&[committed(1, (1, 2), &[(X, 7)], &[])], "nobody wrote");
}

#[test]
fn a_value_written_twice_means_nothing() {
    is_wrong(
        &[
            committed(1, (1, 2), &[], &[(X, 1)]),
            committed(2, (3, 4), &[], &[(X, 1)]),
        ],
        "must be unique",
    );
    is_wrong(&[committed(1, (1, 2), &[], &[(X, 0)])], "wrote zero");
}

#[test]
fn fractured_read() {
    let writer = committed(1, (1, 9), &[], &[(X, 1), (Y, 1)]);
    is_wrong(
        &[writer, committed(2, (1, 9), &[(X, 1), (Y, 0)], &[])],
        "no order is possible",
    );
}

#[test]
fn two_values_of_one_register_in_one_transaction() {
    let writer = committed(1, (1, 9), &[], &[(X, 1)]);
    is_wrong(
        &[writer, committed(2, (1, 9), &[(X, 0), (X, 1)], &[])],
        "no order is possible",
    );
}

#[test]
fn an_aborted_transaction_sees_two_snapshots() {
    let torn = committed(2, (1, 9), &[(X, 1), (Y, 0)], &[(X, 3)]);
    for outcome in [Outcome::NotHappened, Outcome::Unknown] {
        is_wrong(
            &[
                committed(1, (1, 9), &[], &[(X, 1), (Y, 1)]),
                ended(outcome, torn.clone()),
            ],
            "no order is possible",
        );
    }
}

#[test]
fn stale_read_after_an_answer() {
    let first = committed(1, (1, 2), &[(X, 0)], &[(X, 1)]);
    let stale = |begin| committed(2, (begin, 9), &[(X, 0)], &[(Y, 1)]);
    is_wrong(&[first.clone(), stale(3)], "ended before the begin");
    is_right(&[first.clone(), stale(2)]);
    // Who only reads may be behind, but for what its own session did, unless it asked.
    let reader = |session| committed(session, (3, 4), &[(X, 0)], &[]);
    is_right(&[first.clone(), reader(2)]);
    is_wrong(&[first.clone(), reader(1)], "is in its session before");
    let asked = |moment| Transaction {
        newest_at: Some(moment),
        ..reader(2)
    };
    is_right(&[first.clone(), asked(2)]);
    is_wrong(&[first, asked(3)], "the newest was asked for");
}

#[test]
fn a_session_goes_back() {
    let writer = committed(1, (1, 2), &[(X, 0)], &[(X, 1)]);
    let read = |session, begin, value| committed(session, (begin, begin), &[(X, value)], &[]);
    is_wrong(
        &[writer.clone(), read(2, 3, 1), read(2, 4, 0)],
        "no order is possible",
    );
    is_right(&[writer, read(2, 3, 1), read(3, 4, 0)]);
}

#[test]
fn a_reader_sees_what_begins_later() {
    is_wrong(
        &[
            committed(1, (1, 2), &[(X, 1)], &[]),
            committed(2, (3, 4), &[], &[(X, 1)]),
        ],
        "no order is possible",
    );
}

#[test]
fn long_fork() {
    let history = |second_sees_x| {
        [
            committed(1, (1, 9), &[], &[(X, 1)]),
            committed(2, (1, 9), &[], &[(Y, 1)]),
            committed(3, (1, 9), &[(X, 1), (Y, 0)], &[]),
            committed(4, (1, 9), &[(X, second_sees_x), (Y, 1)], &[]),
        ]
    };
    is_wrong(&history(0), "no order is possible");
    is_right(&history(1));
}

#[test]
fn an_unknown_that_must_have_happened() {
    let unknown = ended(
        Outcome::Unknown,
        committed(1, (1, 2), &[(X, 0)], &[(X, 1), (Y, 1)]),
    );
    let read_x = committed(2, (9, 10), &[(X, 1)], &[]);
    is_right(&[unknown.clone(), read_x.clone()]);
    // It happened as a whole, and what it read was so.
    let fractured = committed(3, (11, 12), &[(X, 1), (Y, 0)], &[]);
    is_wrong(&[unknown.clone(), fractured], "no order is possible");
    let rival = committed(3, (3, 4), &[(X, 0)], &[(X, 3)]);
    is_wrong(&[unknown, read_x, rival], "no order is possible");
}

#[test]
fn an_unknown_that_happens_after_its_end() {
    let unknown = ended(Outcome::Unknown, committed(1, (1, 2), &[], &[(X, 1)]));
    let read = |begin, value| committed(2, (begin, begin + 1), &[(X, value)], &[(Y, begin)]);
    is_right(&[unknown.clone(), read(5, 0), read(7, 1)]);
    is_wrong(&[unknown, read(5, 1), read(7, 0)], "no order is possible");
}

#[test]
fn an_unknown_that_did_not_happen() {
    let unknown = ended(Outcome::Unknown, committed(1, (1, 2), &[(X, 0)], &[(X, 1)]));
    is_right(&[unknown, committed(2, (3, 4), &[(X, 0)], &[(X, 2)])]);
}

#[test]
fn blind_writes() {
    let (one, two) = (
        committed(1, (1, 9), &[], &[(X, 1), (Y, 1)]),
        committed(2, (1, 9), &[], &[(X, 2), (Y, 2)]),
    );
    let read = |x, y| committed(3, (10, 11), &[(X, x), (Y, y)], &[(X, 9)]);
    is_right(&[one.clone(), two.clone(), read(1, 1)]);
    is_right(&[one.clone(), two.clone(), read(2, 2)]);
    is_wrong(&[one, two, read(1, 2)], "no order is possible");
}

/// Each reader wants its writer's two values at once; only whole pairs one after the other work, and
/// no pair must come first, so nothing can be deduced.
#[test]
fn only_a_search_finds_an_order() {
    let pairs = (1..=6).flat_map(|n| {
        [
            committed(2 * n, (1, 9), &[], &[(X, n), (Y, n)]),
            committed(2 * n + 1, (1, 9), &[(X, n), (Y, n)], &[]),
        ]
    });
    is_right(&pairs.collect::<Vec<_>>());
}

/// Writers A and B of one register each have a reader, so one pair must come before the other, and
/// nothing tells which. Either way two more such choices follow, and together they close a cycle.
#[test]
fn only_a_search_finds_that_there_is_none() {
    let mut history = Vec::new();
    // Writer `name` of `register`, who writes also a register of its own; and its reader, who comes
    // after the other writers too.
    let mut pair = |register: u64, name: u64, others: &[u64]| {
        let own = |name| (100 + name, name);
        let writes = [(register, name), own(name)];
        let mut reads = vec![(register, name)];
        reads.extend(others.iter().map(|other| own(*other)));
        history.push(committed(name, (1, 9), &[], &writes));
        history.push(committed(50 + name, (1, 9), &reads, &[]));
    };
    let (a, b) = (1, 2);
    pair(X, a, &[11, 13]);
    pair(X, b, &[21, 23]);
    // If A comes first, then 11 before 12 and 13 before 14; and the same with B.
    for (base, second) in [(10, b), (20, a)] {
        let (y, z) = (base + 200, base + 201);
        pair(y, base + 1, &[base + 4]);
        pair(y, base + 2, &[second]);
        pair(z, base + 3, &[base + 2]);
        pair(z, base + 4, &[second]);
    }
    let violation = check(&history, 100_000).expect_err("there is none");
    assert!(violation.what.contains("prefixes"), "{violation}");
    // Without one of the followers there is an order.
    history.retain(|transaction| transaction.session != 50 + 14);
    is_right(&history);
}

#[test]
fn giving_up_is_no_verdict() {
    let history = [
        committed(1, (1, 9), &[], &[(X, 1)]),
        committed(2, (1, 9), &[], &[(X, 2)]),
    ];
    assert_eq!(check(&history, 1), Ok(Verdict::Undecided));
    let place = |transaction| Place {
        transaction,
        took_effect: true,
    };
    let order = vec![place(0), place(1)];
    assert_eq!(check(&history, 9), Ok(Verdict::Explained(order)));
}
