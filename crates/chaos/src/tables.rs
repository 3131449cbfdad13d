//! What the workers share in the heap: where it lies, and how it is made.

use plurix::activity::Spawned;
use plurix::{Ptr, Result, Station};

/// Accounts of the bank, over several lines so that transfers conflict now and then.
pub const ACCOUNTS: usize = 24;
/// What is in each account at first.
pub const BALANCE: u64 = 1000;
/// Counters that everybody increments.
pub const COUNTERS: usize = 8;
/// Words that are written without looking.
pub const MARKS: usize = 32;
/// Places for blocks that come and go.
pub const SLOTS: usize = 64;
/// Activities that there can be.
pub const TASKS: usize = 1 << 20;

/// Where everything is.
#[derive(Debug, Clone, Copy)]
pub struct Tables {
    /// The bank.
    pub accounts: Ptr<[u64]>,
    /// Counters.
    pub counters: Ptr<[u64]>,
    /// Words written without looking.
    pub marks: Ptr<[u64]>,
    /// Blocks.
    pub slots: Ptr<[Ptr<[u64]>]>,
    /// How many numbers for activities are given away.
    pub next_task: Ptr<u64>,
    /// How often each activity has run.
    pub runs: Ptr<[u64]>,
    /// Where the result of each activity is.
    pub results: Ptr<[Spawned<u64>]>,
}

impl Tables {
    /// Makes them in a new heap.
    ///
    /// # Errors
    /// As [`Station::transaction`].
    pub fn create(station: &mut Station) -> Result<Self> {
        station.transaction(|tx| {
            let accounts = tx.alloc_slice_from(&[BALANCE; ACCOUNTS])?;
            tx.set_root("accounts", accounts)?;
            let counters = tx.alloc_slice::<u64>(COUNTERS)?;
            tx.set_root("counters", counters)?;
            let marks = tx.alloc_slice::<u64>(MARKS)?;
            tx.set_root("marks", marks)?;
            let slots = tx.alloc_slice::<Ptr<[u64]>>(SLOTS)?;
            tx.set_root("slots", slots)?;
            let next_task = tx.alloc(0u64)?;
            tx.set_root("next task", next_task)
        })?;
        station.transaction(|tx| {
            let runs = tx.alloc_slice::<u64>(TASKS)?;
            tx.set_root("runs", runs)?;
            let results = tx.alloc_slice::<Spawned<u64>>(TASKS)?;
            tx.set_root("results", results)
        })?;
        Self::find(station)
    }

    /// Finds them in a heap where they are.
    ///
    /// # Errors
    /// As [`Station::transaction`], and if they are not there.
    pub fn find(station: &mut Station) -> Result<Self> {
        station.transaction(|tx| {
            Ok(Self {
                accounts: tx.root("accounts")?,
                counters: tx.root("counters")?,
                marks: tx.root("marks")?,
                slots: tx.root("slots")?,
                next_task: tx.root("next task")?,
                runs: tx.root("runs")?,
                results: tx.root("results")?,
            })
        })
    }

    /// The bytes of the heap that nobody changes but the workers' own transactions.
    #[must_use]
    pub fn owned(&self) -> [std::ops::Range<u64>; 7] {
        let words = |offset, count: usize| offset..offset + count as u64 * 8;
        [
            words(self.accounts.offset(), ACCOUNTS),
            words(self.counters.offset(), COUNTERS),
            words(self.marks.offset(), MARKS),
            words(self.slots.offset(), SLOTS * 2),
            words(self.next_task.offset(), 1),
            words(self.runs.offset(), TASKS),
            words(self.results.offset(), TASKS),
        ]
    }
}
