//! Words: a bank, counters, and words that are written without looking.

use plurix::{Ptr, Result, Station};

use super::Program;
use crate::history::{Purpose, now_ns};
use crate::recorder::transaction;

impl Program {
    /// Moves money between two accounts.
    pub(super) fn transfer(&mut self, station: &mut Station) -> Result<()> {
        let accounts = self.tables.accounts;
        let from = self.word_of(accounts);
        let to = loop {
            let to = self.word_of(accounts);
            if to != from {
                break to;
            }
        };
        let amount = self.chance.within(1..20);
        transaction(&self.journal, station, Purpose::Transfer, None, |tx| {
            // Debts are allowed: the sum is what counts.
            tx.add(from, amount.wrapping_neg())?;
            tx.add(to, amount)
        })
    }

    /// Reads all accounts, as of now or as of what is here.
    pub(super) fn audit_sometimes_strictly(&mut self, station: &mut Station) -> Result<()> {
        let strict = self.chance.percent(50);
        self.audit(station, strict)
    }

    /// Reads all accounts; `strict`, as of now.
    pub(crate) fn audit(&mut self, station: &mut Station, strict: bool) -> Result<()> {
        let accounts = self.tables.accounts;
        let asked = strict.then(now_ns);
        if strict {
            station.latest()?;
        }
        transaction(&self.journal, station, Purpose::Audit, asked, |tx| {
            for index in 0..accounts.len() {
                tx.get(element(accounts, index))?;
            }
            Ok(())
        })
    }

    /// Increments some counters.
    pub(super) fn count(&mut self, station: &mut Station) -> Result<()> {
        let counters = self.tables.counters;
        let (first, second) = (self.word_of(counters), self.word_of(counters));
        transaction(&self.journal, station, Purpose::Count, None, |tx| {
            tx.add(first, 1)?;
            if second != first {
                tx.add(second, 1)?;
            }
            Ok(())
        })
    }

    /// Writes some words without looking at them.
    pub(super) fn mark(&mut self, station: &mut Station) -> Result<()> {
        let marks = self.tables.marks;
        let writes: Vec<_> = (0..self.chance.within(1..4))
            .map(|_| (self.word_of(marks), self.unique()))
            .collect();
        transaction(&self.journal, station, Purpose::Mark, None, |tx| {
            writes
                .iter()
                .try_for_each(|(at, value)| tx.set(*at, *value))
        })
    }

    /// Reads some words of all kinds.
    pub(super) fn look(&mut self, station: &mut Station) -> Result<()> {
        let tables = self.tables;
        let mut words = Vec::new();
        for slice in [tables.marks, tables.counters, tables.accounts] {
            words.extend((0..3).map(|_| self.word_of(slice)));
        }
        transaction(&self.journal, station, Purpose::Look, None, |tx| {
            words.iter().try_for_each(|at| tx.get(*at).map(drop))
        })
    }

    fn word_of(&mut self, slice: Ptr<[u64]>) -> Ptr<u64> {
        element(slice, self.chance.index(slice.len()))
    }
}

/// An element of a slice that has it.
pub(super) fn element<T: plurix::Plain>(slice: Ptr<[T]>, index: usize) -> Ptr<T> {
    slice.get(index).expect("within the slice")
}
