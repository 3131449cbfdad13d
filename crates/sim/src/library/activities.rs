//! Activities that spawn activities, some of them long, some of them with transactions of their own
//! before the last one: each one's effects must be in the heap exactly once.

use plurix::activity::{Activity, Done, Work};
use plurix::{ErrorKind, Ptr, Result, Station};
use plurix_protocol::Span;

use super::machine;
use super::program::{Dice, Program, Start};
use super::report::{Desk, Report};

const ORACLE: &str = "activities";
const ROOT: &str = "activities";
/// Counters of activities: each spawned one has two words of its own.
const IDS: u64 = 1024;
/// How deep a tree of activities is.
const DEPTH: u64 = 3;
/// Activities of one tree.
const TREE: u64 = (1 << (DEPTH + 1)) - 1;

/// One activity: counts itself, and spawns two more above the leaves of its tree.
struct Node;

/// What a node is told: where the counters are, the first id of its tree, its place in the tree, and
/// for less than how many milliseconds it computes, if it does.
type Argument = [u64; 4];

fn spawned(table: u64, id: u64) -> Ptr<u64> {
    Ptr::at(table + 16 * id)
}

fn completed(table: u64, id: u64) -> Ptr<u64> {
    Ptr::at(table + 16 * id + 8)
}

impl Activity for Node {
    const NAME: &'static str = "node";
    type Argument = Argument;
    type Output = u64;

    fn run(mut work: Work<'_, Self>, [table, tree, place, ms_max]: Argument) -> Result<Done<Self>> {
        let id = tree + place;
        if id.is_multiple_of(3) {
            // The station may die meanwhile, or be taken for dead.
            machine::compute(Span::from_millis(id * 7 % ms_max));
        }
        if id.is_multiple_of(5) {
            work.transaction(|tx| tx.get(completed(table, id)).copied())?;
        }
        work.complete(|tx| {
            *tx.get_mut(completed(table, id))? += 1;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < TREE {
                    *tx.get_mut(spawned(table, tree + child))? += 1;
                    tx.spawn::<Self>([table, tree, child, ms_max])?;
                }
            }
            Ok(id)
        })
    }
}

/// The program of one station.
#[derive(Debug)]
pub(super) struct Activities {
    index: u64,
    /// Trees that were to be planted by this process.
    trees: u64,
    life: u64,
    ms_max: u64,
}

impl Activities {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            index: start.index as u64,
            trees: 0,
            life: start.life,
            ms_max: start.activity_ms_max,
        }
    }

    /// The counters; made by whoever comes first.
    fn table(station: &mut Station, desk: &Desk) -> Result<u64> {
        desk.transaction(station, |record| {
            Ok(record.root(ROOT, &[0; 2 * IDS as usize])?.offset())
        })
    }

    /// Plants a tree where there is room for one.
    fn plant(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let table = Self::table(station, desk)?;
        let places = IDS / TREE;
        self.trees += 1;
        let tree = (self.index * 11 + self.life * 7 + self.trees) % places * TREE;
        desk.transaction(station, |record| {
            if *record.tx.get(spawned(table, tree))? > 0 {
                return Ok(());
            }
            *record.tx.get_mut(spawned(table, tree))? += 1;
            record.tx.spawn::<Node>([table, tree, 0, self.ms_max])?;
            Ok(())
        })
    }
}

/// No activity is completed before it was spawned, nor more often; at the end all are completed but
/// those that were given up.
fn check(station: &mut Station, desk: &Desk, at_end: bool) -> Result<()> {
    let table = Activities::table(station, desk)?;
    let counts = desk.transaction(station, |record| {
        record.slice(Ptr::slice_at(table, 2 * IDS))
    })?;
    let mut missing = 0;
    for (id, pair) in counts.chunks(2).enumerate() {
        let [spawned, completed] = [pair[0], pair[1]];
        if spawned > 1 || completed > spawned {
            let what = format!("activity {id}: {spawned} times spawned, {completed} completed");
            desk.broken(ORACLE, what);
        }
        missing += spawned.saturating_sub(completed);
    }
    let progress = station.activities()?;
    if at_end && (missing != progress.failed || progress.outstanding() > 0) {
        let what = format!("{missing} activities have not been completed, of {progress:?}");
        desk.broken(ORACLE, what);
    }
    Ok(())
}

impl Program for Activities {
    fn open(&mut self, station: &mut Station) {
        station.register::<Node>();
    }

    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        match dice.random.below(40) {
            0 => self.plant(station, desk),
            1 => check(station, desk, false),
            _ => station.run_activity().map(drop),
        }
    }

    fn finish(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        match station.wait_all() {
            // So many of its claimers have died that it was given up.
            Err(error) if matches!(error.kind(), ErrorKind::ActivityFailed { .. }) => {
                desk.report(Report::Note(error.to_string()));
                Ok(())
            }
            other => other,
        }
    }

    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        check(station, desk, true)
    }
}
