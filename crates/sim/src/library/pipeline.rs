//! Stations that keep many transactions in flight, and get into each other's way. Every attempt looks
//! whether the heap is as it was at one moment, also one that will come to nothing; and each submission
//! happens once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use plurix::{Commit, ErrorKind, Ptr, Result, Station, Transaction};

use super::program::{Dice, Program, Start};
use super::report::Desk;

const ORACLE: &str = "pipeline";
const SLOTS: &str = "slots";
const TALLIES: &str = "tallies";
const SLOTS_MAX: usize = 6;
const TALLIES_MAX: usize = 64;
/// Words of a line.
const LINE: usize = 8;
/// The most transactions submitted in one turn.
const BURST_MAX: u64 = 12;

/// The program of one station.
#[derive(Debug)]
pub(super) struct Pipeline {
    index: usize,
    own: Option<Own>,
    commits: Vec<Commit<()>>,
}

/// What one handle of the station has submitted.
#[derive(Debug, Clone)]
struct Own {
    /// How many submissions are in the heap, and the number of the last.
    counts: Ptr<[u64]>,
    submitted: u64,
    happened: Arc<AtomicU64>,
    /// Some may have happened although they were answered with an error, or not at all.
    in_doubt: bool,
    /// What an attempt saw that must not be.
    seen: Arc<Mutex<Option<String>>>,
}

/// The words that all share: each slot is written blindly in its first, and counted in its second, which
/// the tally of whoever did it counts, too.
#[derive(Debug, Clone, Copy)]
struct Tables {
    slots: Ptr<[u64]>,
    tallies: Ptr<[u64]>,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Count(usize),
    Overwrite(usize, u64),
    /// Reads what is overwritten blindly, and counts.
    Follow(usize),
    Audit,
    GiveUp(usize),
}

impl Tables {
    fn of(tx: &mut Transaction<'_>) -> Result<Self> {
        let mut table = |name, words: usize| -> Result<_> {
            match tx.find_root::<[u64]>(name)? {
                Some(words) => Ok(words),
                None => {
                    let made = tx.alloc_slice_from(&vec![0; words])?;
                    tx.set_root(name, made)?;
                    Ok(made)
                }
            }
        };
        Ok(Self {
            slots: table(SLOTS, SLOTS_MAX * LINE)?,
            tallies: table(TALLIES, TALLIES_MAX * LINE)?,
        })
    }

    fn count(self, tx: &mut Transaction<'_>, slot: usize, station: usize) -> Result<()> {
        let word = self.slots.get(slot * LINE + 1).expect("a slot");
        *tx.get_mut(word)? += 1;
        let tally = self.tallies.get(station * LINE).expect("a tally");
        *tx.get_mut(tally)? += 1;
        Ok(())
    }

    /// Looks whether slots and tallies belong together.
    fn audit(self, tx: &Transaction<'_>) -> Result<Option<String>> {
        let counted: u64 = tx.get(self.slots)?.iter().skip(1).step_by(LINE).sum();
        let told: u64 = tx.get(self.tallies)?.iter().step_by(LINE).sum();
        let at = tx.snapshot();
        Ok((counted != told).then(|| format!("slots have {counted}, tallies {told}, at {at}")))
    }
}

impl Own {
    fn new(station: &mut Station) -> Result<Self> {
        Ok(Self {
            counts: station.transaction(|tx| tx.alloc_slice_from(&[0, 0]))?,
            submitted: 0,
            happened: Arc::default(),
            in_doubt: false,
            seen: Arc::default(),
        })
    }

    /// What a submission does. It is number `number` of its handle.
    fn act(
        &self,
        tx: &mut Transaction<'_>,
        (station, number): (usize, u64),
        deed: Deed,
    ) -> Result<()> {
        let tables = Tables::of(tx)?;
        match deed {
            Deed::Audit => {
                let seen = tables.audit(tx)?;
                self.saw(seen);
                return Ok(());
            }
            Deed::GiveUp(slot) => {
                tables.count(tx, slot, station)?;
                return Err(tx.abort("the program has changed its mind"));
            }
            Deed::Count(slot) => tables.count(tx, slot, station)?,
            Deed::Follow(slot) => {
                let line = tables.slots.range(slot * LINE..slot * LINE + 2);
                let _ = tx.get(line.expect("a slot"))?;
                tables.count(tx, slot, station)?;
            }
            Deed::Overwrite(slot, value) => {
                tx.set(tables.slots.get(slot * LINE).expect("a slot"), value)?;
            }
        }
        let happened = Arc::clone(&self.happened);
        tx.on_commit(move || {
            happened.fetch_add(1, Ordering::Relaxed);
        });
        let counts = tx.get_mut(self.counts)?;
        let last = std::mem::replace(&mut counts[1], number);
        counts[0] += 1;
        self.saw((last >= number).then(|| format!("number {number} runs behind {last}")));
        Ok(())
    }

    fn saw(&self, what: Option<String>) {
        if let Some(what) = what {
            self.seen.lock().expect("nobody panics").get_or_insert(what);
        }
    }

    /// Looks, with nothing in flight, whether each submission has happened once.
    fn check(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let count = station.transaction(|tx| Ok(tx.get(self.counts)?[0]))?;
        let happened = self.happened.load(Ordering::Relaxed);
        if count < happened || count > self.submitted || !self.in_doubt && count != happened {
            let submitted = self.submitted;
            let what = format!("{happened} of {submitted} have happened, and the heap has {count}");
            desk.broken(ORACLE, what);
        }
        Ok(())
    }

    fn tell(&self, desk: &Desk) {
        if let Some(what) = self.seen.lock().expect("nobody panics").take() {
            desk.broken(ORACLE, what);
        }
    }
}

impl Pipeline {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            index: start.index,
            own: None,
            commits: Vec::new(),
        }
    }

    fn submit(&mut self, station: &mut Station, dice: &mut Dice) {
        let own = self.own.as_mut().expect("made before");
        let slot = dice.random.below(SLOTS_MAX as u64) as usize;
        let deed = match dice.random.below(10) {
            0..3 => Deed::Count(slot),
            3..5 => Deed::Overwrite(slot, dice.unique()),
            5..7 => Deed::Follow(slot),
            7..9 => Deed::Audit,
            _ => Deed::GiveUp(slot),
        };
        if !matches!(deed, Deed::Audit | Deed::GiveUp(_)) {
            own.submitted += 1;
        }
        let (it, name) = (own.clone(), (self.index, own.submitted));
        let commit = station.submit(move |tx| it.act(tx, name, deed));
        if dice.random.chance(30) {
            self.commits.push(commit);
        }
    }

    /// Waits for everything that is in flight.
    fn settle(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let handles = self.commits.drain(..).map(|commit| commit.wait(station));
        let mut worst = Ok(());
        let mut hear = |result: Result<()>| match result {
            Err(error) if !matches!(error.kind(), ErrorKind::Aborted(_)) => worst = Err(error),
            _ => {}
        };
        handles.collect::<Vec<_>>().into_iter().for_each(&mut hear);
        hear(station.flush());
        let own = self.own.as_mut().expect("made before");
        own.in_doubt |= worst.is_err();
        own.tell(desk);
        own.check(station, desk)?;
        worst
    }

    fn look(station: &mut Station, desk: &Desk) -> Result<()> {
        let seen = station.transaction(|tx| Tables::of(tx)?.audit(tx))?;
        seen.into_iter().for_each(|what| desk.broken(ORACLE, what));
        Ok(())
    }
}

impl Program for Pipeline {
    fn open(&mut self, _: &mut Station) {
        self.own = None;
        self.commits.clear();
    }

    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        if self.own.is_none() {
            self.own = Some(Own::new(station)?);
        }
        for _ in 0..dice.random.within(1..BURST_MAX) {
            self.submit(station, dice);
            if dice.random.chance(20) {
                desk.think(dice.think());
            }
        }
        self.own.as_ref().expect("made above").tell(desk);
        if dice.random.chance(40) {
            return self.settle(station, desk);
        }
        Ok(())
    }

    fn finish(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        if self.own.is_none() {
            return Ok(());
        }
        self.settle(station, desk)
    }

    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        Self::look(station, desk)
    }
}
