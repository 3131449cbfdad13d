//! Histories of a real serial run, whose times, answers and stale readers are what the product may
//! show: they pass. With one thing in them broken that no order mends, they fail.

use std::collections::BTreeMap;

use super::super::{Outcome, Place, Register, Transaction, Value, Verdict, check};
use crate::random::{Purpose, Random};

type Accesses = Vec<(Register, Value)>;

const RUNS: u64 = 150;
const STEPS_MAX: u64 = 100_000;

#[test]
fn real_runs_pass() {
    for seed in 0..RUNS {
        let run = Run::draw(seed);
        let verdict = check(&run.history, STEPS_MAX);
        let Ok(Verdict::Explained(order)) = verdict else {
            panic!("seed {seed}: {verdict:?}");
        };
        assert!(replays(&run.history, &order), "seed {seed}");
    }
}

#[test]
fn an_update_that_is_lost_is_noticed() {
    broken_runs_fail(|history, random| {
        // The second of two that changed a register reads what the first one read.
        let pairs = pairs(history, |_, second, register| writes(second, register));
        let &(first, second, register) = pairs.get(random.below(pairs.len() as u64) as usize)?;
        let value = read_of(&history[first], register)?;
        set_read(&mut history[second], register, value);
        Some(())
    });
}

#[test]
fn a_stale_read_is_noticed() {
    broken_runs_fail(|history, random| {
        // Only time tells: the second does not change what the first one changed.
        let pairs = pairs(history, |first, second, register| {
            first.end < second.begin && !writes(second, register)
        });
        let &(first, second, register) = pairs.get(random.below(pairs.len() as u64) as usize)?;
        let stale = read_of(&history[first], register)?;
        set_read(&mut history[second], register, stale);
        Some(())
    });
}

#[test]
fn an_update_that_its_reader_saw_and_that_was_refused_is_noticed() {
    broken_runs_fail(|history, random| {
        let pairs = pairs(history, |_, _, _| true);
        let &(first, ..) = pairs.get(random.below(pairs.len() as u64) as usize)?;
        history[first].outcome = Outcome::NotHappened;
        Some(())
    });
}

/// Breaks something in many runs; answers `None` where there is nothing to break.
fn broken_runs_fail(breaks: impl Fn(&mut [Transaction], &mut Random) -> Option<()>) {
    let mut broken = 0;
    for seed in 0..RUNS {
        let mut history = Run::draw(seed).history;
        let mut random = Random::new(seed, Purpose::Audit);
        if breaks(&mut history, &mut random).is_some() {
            broken += 1;
            let verdict = check(&history, STEPS_MAX);
            assert!(verdict.is_err(), "seed {seed}: {verdict:?}");
        }
    }
    assert!(broken > RUNS / 3, "{broken} of {RUNS} runs were broken");
}

fn writes(transaction: &Transaction, register: Register) -> bool {
    transaction.writes.iter().any(|(r, _)| *r == register)
}

/// Committed updates of which the first read and wrote a register, and the second read that.
fn pairs(
    history: &[Transaction],
    is_wanted: impl Fn(&Transaction, &Transaction, Register) -> bool,
) -> Vec<(usize, usize, Register)> {
    let updates = history.iter().enumerate();
    let updates = updates.filter(|(_, t)| t.outcome == Outcome::Committed && !t.writes.is_empty());
    let mut pairs = Vec::new();
    for (first, a) in updates.clone() {
        for (second, b) in updates.clone() {
            for &(register, value) in &a.writes {
                let follows = b.reads.contains(&(register, value));
                let read = read_of(a, register).is_some();
                if follows && read && is_wanted(a, b, register) {
                    pairs.push((first, second, register));
                }
            }
        }
    }
    pairs
}

fn read_of(transaction: &Transaction, register: Register) -> Option<Value> {
    let mut reads = transaction.reads.iter();
    reads.find(|(r, _)| *r == register).map(|(_, value)| *value)
}

fn set_read(transaction: &mut Transaction, register: Register, value: Value) {
    transaction.reads.retain(|(r, _)| *r != register);
    transaction.reads.push((register, value));
}

/// Whether the transactions, one after the other in this order, read what they read.
fn replays(history: &[Transaction], order: &[Place]) -> bool {
    let mut heap: BTreeMap<Register, Value> = BTreeMap::new();
    order.iter().all(|place| {
        let transaction = &history[place.transaction];
        let mut reads = transaction.reads.iter();
        let right = reads.all(|(r, value)| heap.get(r).copied().unwrap_or(0) == *value);
        if place.took_effect {
            heap.extend(transaction.writes.iter().copied());
        }
        right
    })
}

/// A heap whose transactions happen one after the other, at a moment between begin and end.
struct Run {
    history: Vec<Transaction>,
    /// The heap after each update.
    states: Vec<BTreeMap<Register, Value>>,
    registers: u64,
    /// When each session is free again, and the newest state that it has seen.
    sessions: Vec<(u64, usize)>,
}

impl Run {
    fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, Purpose::Plan);
        let mut run = Self {
            history: Vec::new(),
            states: vec![BTreeMap::new()],
            registers: random.within(1..12),
            sessions: vec![(0, 0); random.within(1..9) as usize],
        };
        let count = random.within(20..200);
        for place in 1..=count {
            run.happen(place * 10, &mut random);
        }
        // The order of the history must not help.
        for last in (1..run.history.len()).rev() {
            let other = random.below(last as u64 + 1) as usize;
            run.history.swap(last, other);
        }
        run
    }

    /// One transaction takes its place at the moment `now`, if its session is free.
    fn happen(&mut self, now: u64, random: &mut Random) {
        let session = random.below(self.sessions.len() as u64) as usize;
        let (free, seen) = self.sessions[session];
        if free >= now {
            return;
        }
        let begin = free.max(now.saturating_sub(random.log_within(1..100))) + 1;
        let end = now + random.log_within(1..60);
        let outcome = match random.below(20) {
            0 => Outcome::NotHappened,
            1 => Outcome::Unknown,
            _ => Outcome::Committed,
        };
        let newest = self.states.len() - 1;
        let update = random.chance(70) && outcome == Outcome::Committed;
        // An unknown one may be an update that happens after its end, or never.
        let happens = update || outcome == Outcome::Unknown && random.chance(50);
        let at = match happens {
            true => newest,
            false => random.within(seen as u64..newest as u64 + 1) as usize,
        };
        let mut state = self.states[at].clone();
        let (reads, writes) = self.touch(&state, now, random);
        let writes = match outcome {
            Outcome::Committed if !update => Vec::new(),
            _ => writes,
        };
        if happens && !writes.is_empty() {
            state.extend(writes.iter().copied());
            self.states.push(state);
        }
        let at = if outcome == Outcome::Committed && update {
            self.states.len() - 1
        } else {
            at
        };
        // A station whose transaction is unknown comes back as somebody else.
        let life = self.history.len() as u64;
        let name = session as u64;
        self.sessions[session] = (end, at);
        self.history.push(Transaction {
            session: name
                + if outcome == Outcome::Unknown {
                    life << 8
                } else {
                    0
                },
            begin,
            // Whoever saw nothing may have been given up long before it happened.
            end: match outcome {
                Outcome::Unknown if reads.is_empty() => begin,
                _ => end,
            },
            newest_at: (at == newest && !happens).then_some(begin),
            reads,
            writes,
            outcome,
        });
    }

    fn touch(
        &self,
        state: &BTreeMap<Register, Value>,
        now: u64,
        random: &mut Random,
    ) -> (Accesses, Accesses) {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for register in 0..self.registers {
            if random.chance(30) {
                reads.push((register, state.get(&register).copied().unwrap_or(0)));
            }
            if random.chance(20) {
                writes.push((register, now));
            }
        }
        (reads, writes)
    }
}
