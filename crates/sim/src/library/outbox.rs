//! Everybody pushes entries into one outbox and delivers it, in turn and on top of each other. Each
//! entry is noted in a ledger by the transaction that pushes it, so that the heap that is there in
//! the end says what must have been delivered.

use std::io;

use plurix::outbox::{Delivery, Entry};
use plurix::{ErrorKind, Ptr, Result, Station};

use super::program::{Dice, Program};
use super::report::{Desk, Report};

const ORACLE: &str = "outbox";
const NAME: &str = "receipts";
const LEDGER: &str = "ledger";
/// Entries of a run; there is a word for each in the ledger.
const ENTRIES_MAX: usize = 2048;
/// The longest entry, in bytes.
const BYTES_MAX: u64 = 300;

/// The program of one station.
#[derive(Debug)]
pub(super) struct Outbox;

/// What is pushed for a value, which nobody else pushes.
fn content(value: u64, length: usize) -> Vec<u8> {
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.resize(size_of::<u64>() + length, value as u8);
    bytes
}

/// The value that an entry was pushed for, if it is whole.
fn value(bytes: &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first_chunk()?;
    let value = u64::from_le_bytes(*first);
    (bytes == content(value, rest.len())).then_some(value)
}

fn push(station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
    let count = dice.random.log_within(1..6);
    let entries: Vec<(u64, usize)> = (0..count)
        .map(|_| (dice.unique(), dice.random.below(BYTES_MAX) as usize))
        .collect();
    let gives_up = dice.random.chance(5);
    let think = dice.random.chance(20).then(|| dice.think());
    desk.transaction(station, |record| {
        let ledger = record.root(LEDGER, &[0; ENTRIES_MAX])?;
        for &(value, length) in &entries {
            let mut outbox = record.tx.outbox(NAME)?;
            if outbox.pushed()? as usize == ENTRIES_MAX {
                return Ok(());
            }
            let number = outbox.push(&content(value, length))?;
            let word = ledger.get(number as usize - 1).expect("there is room");
            record.set(word, value)?;
        }
        if let Some(span) = think {
            desk.think(span);
        }
        if gives_up {
            return Err(record.abort("the program has changed its mind"));
        }
        Ok(())
    })
}

/// Delivers what is there; `fails` says before which of the entries the sink fails, and `thinks` how
/// long it takes for one.
fn deliver(station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<Delivery> {
    let mut left = if dice.random.chance(10) {
        dice.random.below(4)
    } else {
        u64::MAX
    };
    station.deliver(NAME, |entry| {
        if left == 0 {
            return Err(io::Error::other("the sink is full"));
        }
        left -= 1;
        take(desk, entry);
        if dice.random.chance(10) {
            desk.think(dice.think());
        }
        Ok(())
    })
}

fn take(desk: &Desk, entry: &Entry) {
    let number = entry.number;
    match value(&entry.content) {
        Some(value) => desk.report(Report::Delivered(number, value)),
        None => desk.broken(ORACLE, format!("entry {number} is {:x?}", entry.content)),
    }
}

impl Program for Outbox {
    fn open(&mut self, _: &mut Station) {}

    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        match dice.random.below(10) {
            0..=4 => push(station, desk, dice),
            5 => station.release_outbox(NAME),
            _ => deliver(station, desk, dice).map(drop),
        }
    }

    /// Delivers until nothing is left, and lets whoever pushes later deliver that.
    fn finish(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let delivery = station.deliver(NAME, |entry| {
            take(desk, entry);
            Ok(())
        });
        match delivery? {
            Delivery::Done(_) => station.release_outbox(NAME),
            // Its holder finishes too; until then this one tries again.
            Delivery::Claimed => Err(ErrorKind::Aborted("the outbox is claimed".into()).into()),
        }
    }

    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let (words, pushed, removed) = desk.transaction(station, |record| {
            let ledger: Ptr<[u64]> = record.root(LEDGER, &[0; ENTRIES_MAX])?;
            let words = record.slice(ledger)?;
            let outbox = record.tx.outbox(NAME)?;
            Ok((words, outbox.pushed()?, outbox.removed()?))
        })?;
        if removed != pushed {
            desk.broken(
                ORACLE,
                format!("{removed} of {pushed} entries were removed"),
            );
        }
        let entries = words.into_iter().take(pushed as usize);
        desk.report(Report::Pushed(entries.collect()));
        Ok(())
    }
}
