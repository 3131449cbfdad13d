//! Activities that spawn activities. Each counts its own runs in the heap, which must come to one,
//! and leaves a line in the history once it is done, which must be there once at most.
//!
//! A root with number n may spawn those with the numbers up to n + 7, so that nobody has to agree
//! on numbers:
//!
//! ```text
//!   n ──► n+1 ──► n+4
//!     ──► n+2 ──► n+5
//!     ──► n+3 ──► n+6
//! ```

use std::cell::RefCell;

use plurix::activity::{Activity, Done, Work};
use plurix::{Result, Station};

use super::Program;
use super::registers::element;
use crate::history::{Entry, Journal, Purpose, now_ns};
use crate::recorder::{Recorder, attempt, transaction};
use crate::tables::{TASKS, Tables};

/// The numbers that a root and its descendants take.
const FAMILY: u64 = 8;
/// The generations after the root.
const CHILDREN: u64 = 3;

thread_local! {
    /// Where the activities that this thread's station runs write down what they do: the library
    /// calls them with their argument alone.
    static PLACE: RefCell<Option<(Journal, Tables)>> = const { RefCell::new(None) };
}

/// The activity.
pub(crate) struct Task;

impl Task {
    /// Enables `station`, which this thread uses, to run the activity.
    pub(crate) fn register(station: &mut Station, journal: &Journal, tables: Tables) {
        PLACE.set(Some((journal.clone(), tables)));
        station.register::<Self>();
    }
}

impl Activity for Task {
    const NAME: &'static str = "chaos task";
    type Argument = u64;
    type Output = u64;

    fn run(work: Work<'_, Self>, number: u64) -> Result<Done<Self>> {
        let (journal, tables) = PLACE
            .with_borrow(Clone::clone)
            .expect("registered together with its place");
        let transaction = journal.begin_transaction();
        let what = (Purpose::Task(number), transaction, None);
        work.complete(|tx| {
            attempt(&journal, tx, what, &mut |tx| {
                tx.add(element(tables.runs, number as usize), 1)?;
                match number % FAMILY {
                    0 => (1..=CHILDREN).try_for_each(|child| spawn(tx, tables, number + child))?,
                    child if child <= CHILDREN => spawn(tx, tables, number + CHILDREN)?,
                    _ => {}
                }
                tx.effect();
                Ok(answer(number))
            })
        })
    }
}

/// What activity `number` answers.
pub(crate) fn answer(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

fn spawn(tx: &mut Recorder<'_, '_>, tables: Tables, number: u64) -> Result<()> {
    let result = tx.tx.spawn::<Task>(number)?;
    tx.set_plain(element(tables.results, number as usize), result)
}

/// Runs one activity, if there is any, and writes down how that ended; answers whether there was.
///
/// # Errors
/// As [`Station::run_activity`].
pub(crate) fn run_one(journal: &Journal, station: &mut Station) -> Result<bool> {
    let before = journal.last_attempt();
    let ran = station.run_activity()?;
    let attempt = journal.last_attempt();
    // Else it belonged to somebody else by then, or nobody knows what became of it.
    if attempt > before && journal.last_happened() == attempt {
        let number = Some(station.statistics().last_commit.0);
        let at = now_ns();
        journal.write(&Entry::Done {
            attempt,
            at,
            number,
        });
    }
    Ok(ran)
}

impl Program {
    /// Spawns a root, while there are numbers.
    pub(super) fn spawn(&mut self, station: &mut Station) -> Result<()> {
        let tables = self.tables;
        transaction(&self.journal, station, Purpose::Spawn, None, |tx| {
            let number = tx.get(tables.next_task)?;
            if number + FAMILY > TASKS as u64 {
                return Ok(());
            }
            tx.add(tables.next_task, FAMILY)?;
            spawn(tx, tables, number)
        })
    }

    /// Runs activities until none is left, anywhere.
    ///
    /// # Errors
    /// As [`Station::wait_all`].
    pub(crate) fn drain(&mut self, station: &mut Station) -> Result<()> {
        while run_one(&self.journal, station)? {}
        station.wait_all()
    }
}
