//! What workers do: a mix of small programs on shared tables, drawn anew for each transaction.
//! Each is such that its own rule tells a heap that went wrong, beside what the oracles know.

mod churn;
mod registers;
mod tasks;

use plurix::{Result, Station};

use crate::chance::Chance;
use crate::history::Journal;
use crate::tables::Tables;
pub(crate) use churn::is_intact;
pub(crate) use tasks::{Task, answer, run_one};

/// One worker's program.
pub(crate) struct Program {
    journal: Journal,
    tables: Tables,
    chance: Chance,
    /// Makes the values that this worker writes differ from all others.
    life: u64,
    written: u64,
    mix: Mix,
}

/// A part of the program: one transaction.
type Part = fn(&mut Program, &mut Station) -> Result<()>;

/// How often each part of the program is run, of a hundred times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    transfers: u64,
    audits: u64,
    counts: u64,
    marks: u64,
    looks: u64,
    churn: u64,
    spawns: u64,
}

impl Mix {
    /// The mix of a seed: some parts may be much more frequent than others.
    pub(crate) fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 1);
        let mut part = |usual: u64| usual * chance.pick(&[1, 2, 4]);
        let parts = [15, 8, 15, 12, 10, 12, 2].map(&mut part);
        let sum: u64 = parts.iter().sum();
        let [transfers, audits, counts, marks, looks, churn, spawns] =
            parts.map(|part| (part * 100).div_ceil(sum));
        Self {
            transfers,
            audits,
            counts,
            marks,
            looks,
            churn,
            spawns,
        }
    }
}

impl Program {
    /// The program of worker `worker` in its life number `life`.
    pub(crate) fn new(seed: u64, worker: u32, life: u32, journal: Journal, tables: Tables) -> Self {
        let life = u64::from(worker) << 48 | u64::from(life) << 32;
        Self {
            journal,
            tables,
            chance: Chance::new(seed, 16 + life),
            life,
            written: 0,
            mix: Mix::of(seed),
        }
    }

    /// Runs one transaction, and an activity if there is any.
    ///
    /// # Errors
    /// As [`Station::transaction`].
    pub(crate) fn step(&mut self, station: &mut Station) -> Result<()> {
        let mix = self.mix;
        let parts: [(u64, Part); 7] = [
            (mix.transfers, Self::transfer),
            (mix.audits, Self::audit_sometimes_strictly),
            (mix.counts, Self::count),
            (mix.marks, Self::mark),
            (mix.looks, Self::look),
            (mix.churn, Self::churn),
            (mix.spawns, Self::spawn),
        ];
        let mut drawn = self.chance.within(0..parts.iter().map(|part| part.0).sum());
        for (often, part) in parts {
            if drawn < often {
                part(self, station)?;
                break;
            }
            drawn -= often;
        }
        if self.chance.percent(20) {
            run_one(&self.journal, station)?;
        }
        Ok(())
    }

    /// A value that nobody else ever writes.
    fn unique(&mut self) -> u64 {
        self.written += 1;
        self.life | self.written
    }
}
