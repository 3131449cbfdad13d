//! The check against a judge that is too simple to be wrong: it tries every choice of unknown
//! transactions and every order, and follows the table of the module's documentation literally.

use super::super::{Outcome, Transaction, Verdict, check};
use super::committed;
use crate::random::{Purpose, Random};

const HISTORIES: u64 = 4000;

#[test]
fn agrees_with_trying_every_order() {
    let right = agrees(HISTORIES, short);
    // Neither answer may be so rare that agreeing on it means nothing.
    assert!(
        (HISTORIES / 8..HISTORIES * 7 / 8).contains(&right),
        "{right}"
    );
}

#[test]
fn agrees_where_nothing_can_be_deduced() {
    let right = agrees(HISTORIES, blind);
    assert!(
        (HISTORIES / 8..HISTORIES * 7 / 8).contains(&right),
        "{right}"
    );
}

/// Compares the judges on many histories; answers how many were right.
fn agrees(count: u64, draw: impl Fn(&mut Random) -> Vec<Transaction>) -> u64 {
    let mut right = 0;
    for seed in 0..count {
        let history = draw(&mut Random::new(seed, Purpose::Plan));
        let expected = some_order_explains(&history);
        match check(&history, 100_000) {
            Ok(Verdict::Explained(_)) => assert!(expected, "{history:#?}"),
            Ok(Verdict::Undecided) => panic!("undecided: {history:#?}"),
            Err(violation) => assert!(!expected, "{violation}: {history:#?}"),
        }
        right += u64::from(expected);
    }
    right
}

/// Up to five transactions of all kinds, which read what anybody may have written.
fn short(random: &mut Random) -> Vec<Transaction> {
    let count = random.within(2..6);
    let mut history = Vec::new();
    let mut free = [0; 3];
    for index in 0..count {
        let session = random.below(3);
        let begin = free[session as usize] + random.below(3);
        let end = begin + random.below(12);
        free[session as usize] = end;
        let mut reads = Vec::new();
        let mut writes = Vec::new();
        for register in 0..2 {
            if random.chance(40) {
                reads.push((register, random.below(count + 3) % (count + 1)));
            }
            if random.chance(40) {
                writes.push((register, index + 1));
            }
        }
        history.push(Transaction {
            session,
            begin,
            end,
            newest_at: random.chance(20).then_some(begin),
            reads,
            writes,
            outcome: random.pick(&[
                Outcome::Committed,
                Outcome::Committed,
                Outcome::Committed,
                Outcome::NotHappened,
                Outcome::Unknown,
            ]),
        });
    }
    history
}

/// Blind writers and readers, all at the same time: who read from whom is all that is known.
fn blind(random: &mut Random) -> Vec<Transaction> {
    let writers = 4;
    let registers = 4;
    let mut history: Vec<Transaction> = (1..=writers)
        .map(|name| {
            let written = (0..registers).filter(|_| random.chance(70));
            let written: Vec<_> = written.map(|register| (register, name)).collect();
            committed(name, (1, 9), &[], &written)
        })
        .collect();
    for name in writers + 1..writers + 5 {
        let mut reads = Vec::new();
        for register in 0..registers {
            let value = random.within(1..writers + 1);
            let written = &history[value as usize - 1].writes;
            if random.chance(60) && written.contains(&(register, value)) {
                reads.push((register, value));
            }
        }
        history.push(committed(name, (1, 9), &reads, &[]));
    }
    history
}

/// A place to be taken: the transaction, and whether it has an effect.
type Place = (usize, bool);

fn some_order_explains(history: &[Transaction]) -> bool {
    (0..1u32 << history.len()).any(|happened| {
        let mut places: Vec<Place> = Vec::new();
        for (index, transaction) in history.iter().enumerate() {
            let chosen = happened >> index & 1 == 1;
            let effect = match transaction.outcome {
                Outcome::Committed => true,
                Outcome::NotHappened => false,
                Outcome::Unknown => chosen,
            };
            if chosen && transaction.outcome != Outcome::Unknown {
                // Nothing to choose.
                return false;
            }
            let update = effect && !transaction.writes.is_empty();
            if transaction.outcome == Outcome::Unknown || !update {
                places.push((index, false));
            }
            if update {
                places.push((index, true));
            }
        }
        explains(history, &mut places, 0)
    })
}

/// Whether an order that begins with the first `fixed` of `places` explains the history.
fn explains(history: &[Transaction], places: &mut [Place], fixed: usize) -> bool {
    if !replays(history, &places[..fixed]) {
        return false;
    }
    if fixed == places.len() {
        return is_timely(history, places);
    }
    (fixed..places.len()).any(|next| {
        places.swap(fixed, next);
        let found = explains(history, places, fixed + 1);
        places.swap(fixed, next);
        found
    })
}

fn replays(history: &[Transaction], places: &[Place]) -> bool {
    let mut heap = [0; 4];
    places.iter().all(|&(index, effect)| {
        let transaction = &history[index];
        let mut reads = transaction.reads.iter();
        let right = reads.all(|&(register, value)| heap[register as usize] == value);
        for &(register, value) in transaction.writes.iter().filter(|_| effect) {
            heap[register as usize] = value;
        }
        right
    })
}

fn is_timely(history: &[Transaction], places: &[Place]) -> bool {
    places.iter().enumerate().all(|(at, &(later, _))| {
        // Whoever comes after `later` in the order must not have been due before it.
        let mut rest = places[at + 1..].iter();
        !rest.any(|&(first, first_wrote)| {
            let (a, b) = (&history[first], &history[later]);
            let ended = !(first_wrote && a.outcome == Outcome::Unknown);
            let later_wrote = places[at].1;
            let session = a.session == b.session && first < later && a.end <= b.begin;
            let strict = later_wrote && a.end < b.begin;
            let newest = first_wrote && b.newest_at.is_some_and(|moment| a.end < moment);
            ended && (session || strict || newest)
        })
    })
}
