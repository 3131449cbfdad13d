//! What programs saw, as the black-box check takes it: collected in some seeds, from the first
//! transaction to the end of the run or to so many of them. Those seeds touch whole registers only.
//!
//! Stopping at any moment is sound: what runs at that moment has had no effect that anybody saw, or
//! is under way to the leader and therefore unknown; nobody has read from what begins later.
//!
//! A run whose heap went back, in memory mode after a power cut, is not judged: by design it loses
//! commits that were answered, while stations that have not heard of it still see them, so no one
//! order explains both.

use std::collections::BTreeMap;
use std::ops::Range;

use plurix_protocol::Time;
use plurix_wire::Generation;

use crate::oracle::blackbox::{self, Outcome, Transaction, Verdict};
use crate::oracle::{Attempt, Moment, Violation};
use crate::program::At;
use crate::workload::REGISTER_BYTES;
use crate::world::World;

/// Transactions of a history; more are not collected.
const TRANSACTIONS_MAX: usize = 400;
const STEPS_MAX: u64 = 20_000;

/// The history of a run, while it is collected.
#[derive(Debug, Default)]
pub(crate) struct History {
    ended: Vec<Transaction>,
    /// By station.
    running: BTreeMap<usize, Transaction>,
    /// When each station asked for the newest snapshot.
    asked: BTreeMap<usize, Time>,
    went_back: bool,
}

impl History {
    pub(crate) fn asked(&mut self, station: usize, now: Time) {
        self.asked.insert(station, now);
    }

    /// A transaction begins in `session`, after it asked for the `newest` snapshot or not.
    pub(crate) fn begins(
        &mut self,
        station: usize,
        session: u64,
        now: Time,
        at: Moment,
        newest: bool,
    ) {
        self.went_back |= at.generation > Generation(0);
        let asked = self.asked.remove(&station).filter(|_| newest);
        let transaction = Transaction {
            session,
            begin: now.0,
            end: now.0,
            newest_at: asked.map(|time| time.0),
            reads: Vec::new(),
            writes: Vec::new(),
            outcome: Outcome::NotHappened,
        };
        self.running.insert(station, transaction);
    }

    /// It has read `bytes`; registers that it wrote itself tell nothing of others.
    pub(crate) fn read(
        &mut self,
        station: usize,
        attempt: &Attempt,
        range: Range<u64>,
        bytes: &[u8],
    ) {
        let Some(transaction) = self.running.get_mut(&station) else {
            return;
        };
        let registers = range.step_by(REGISTER_BYTES as usize);
        for (register, value) in registers.zip(bytes.chunks_exact(REGISTER_BYTES as usize)) {
            if !attempt.own.contains_key(&register) {
                let value = u64::from_le_bytes(value.try_into().expect("eight bytes"));
                transaction.reads.push((register, value));
            }
        }
    }

    /// It is over. What it wrote is what it leaves in its registers, but for those that it opened
    /// and left as they were.
    pub(crate) fn ends(&mut self, station: usize, attempt: &Attempt, now: Time, outcome: Outcome) {
        let Some(mut transaction) = self.running.remove(&station) else {
            return;
        };
        let mut registers: BTreeMap<u64, u64> = BTreeMap::new();
        for (offset, byte) in &attempt.own {
            let (register, place) = (offset / REGISTER_BYTES, offset % REGISTER_BYTES);
            *registers.entry(register * REGISTER_BYTES).or_default() |=
                u64::from(*byte) << (8 * place);
        }
        let reads = &transaction.reads;
        transaction.writes = registers
            .into_iter()
            .filter(|written| !reads.contains(written))
            .collect();
        transaction.end = now.0;
        transaction.outcome = outcome;
        self.ended.push(transaction);
    }

    fn is_full(&self) -> bool {
        self.ended.len() + self.running.len() >= TRANSACTIONS_MAX
    }
}

impl World {
    /// Judges the history as soon as it is long enough.
    pub(crate) fn judge_full_history(&mut self) -> Result<(), Violation> {
        match &self.history {
            Some(history) if history.is_full() => self.judge_history(),
            _ => Ok(()),
        }
    }

    /// Ends the history here, and judges it.
    pub(crate) fn judge_history(&mut self) -> Result<(), Violation> {
        for index in 0..self.members.len() {
            self.program_is_gone(index);
        }
        let Some(history) = self.history.take() else {
            return Ok(());
        };
        if history.went_back {
            self.tally.went_back += 1;
            return Ok(());
        }
        match blackbox::check(&history.ended, STEPS_MAX)? {
            Verdict::Explained(_) => self.tally.explained += 1,
            Verdict::Undecided => self.tally.undecided += 1,
        }
        Ok(())
    }

    /// Nobody will ever learn what becomes of a program's transaction.
    pub(crate) fn program_is_gone(&mut self, index: usize) {
        let Some(process) = &self.members[index].process else {
            return;
        };
        let program = &process.program;
        let outcome = match program.at {
            At::Committing => Outcome::Unknown,
            _ => Outcome::NotHappened,
        };
        if let Some(history) = &mut self.history {
            history.ends(index, &program.attempt, self.now, outcome);
        }
    }
}
