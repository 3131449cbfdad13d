//! A transaction that takes long, on words that everybody else changes all the time. Without fairness
//! it would never commit. When the faults have ended, the others go on until it has: if it starves, the
//! run does not end.

use plurix::{Ptr, Result, Station};
use plurix_protocol::Span;

use super::program::{Dice, Program, Start};
use super::report::{Desk, Recorded};

const ORACLE: &str = "fairness";
const WORDS: &str = "contended words";
/// How often the long transaction has changed all words, since the faults have ended.
const ROUNDS: &str = "long rounds";
/// Words that the long transaction changes; each is in a line of its own.
const COUNT: usize = 24;
const WORDS_IN_LINE: usize = 8;
/// The long transaction computes so long for each word.
const STEP: Span = Span::from_micros(400);
/// The others pause so long between two short ones.
const PAUSE: Span = Span::from_micros(200);
/// Long rounds that must get done.
const ROUNDS_MIN: u64 = 2;

/// The program of one station.
#[derive(Debug)]
pub(super) struct Fair {
    is_long: bool,
}

impl Fair {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            is_long: start.everybody.first() == Some(&start.index),
        }
    }
}

fn words(record: &mut Recorded<'_, '_>) -> Result<Ptr<[u64]>> {
    record.root(WORDS, &[0; COUNT * WORDS_IN_LINE])
}

fn word(words: Ptr<[u64]>, at: usize) -> Ptr<u64> {
    words.get(at * WORDS_IN_LINE).expect("as many as there are")
}

fn rounds(record: &mut Recorded<'_, '_>) -> Result<Ptr<u64>> {
    Ok(Ptr::at(record.root(ROUNDS, &[0])?.offset()))
}

/// Changes every word, slowly, and counts the round if it is one that must get done.
fn change_all(station: &mut Station, desk: &Desk, counts: bool) -> Result<()> {
    desk.transaction(station, |record| {
        let words = words(record)?;
        for at in 0..COUNT {
            let word = word(words, at);
            let value = record.get(word)?;
            desk.think(STEP);
            record.set(word, value + 1)?;
        }
        if counts {
            let rounds = rounds(record)?;
            let count = record.get(rounds)?;
            record.set(rounds, count + 1)?;
        }
        Ok(())
    })
}

/// Changes one word, at once; answers how many rounds the long transaction has done.
fn change_one(station: &mut Station, desk: &Desk, at: usize) -> Result<u64> {
    desk.transaction(station, |record| {
        let word = word(words(record)?, at);
        let value = record.get(word)?;
        record.set(word, value + 1)?;
        let rounds = rounds(record)?;
        record.get(rounds)
    })
}

impl Program for Fair {
    fn open(&mut self, _: &mut Station) {}

    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        if self.is_long {
            return change_all(station, desk, false);
        }
        change_one(station, desk, dice.random.below(COUNT as u64) as usize).map(drop)
    }

    fn finish(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        if self.is_long {
            return (0..ROUNDS_MIN).try_for_each(|_| change_all(station, desk, true));
        }
        let mut at = 0;
        while change_one(station, desk, at)? < ROUNDS_MIN {
            at = (at + 7) % COUNT;
            desk.think(PAUSE);
        }
        Ok(())
    }

    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let done = desk.transaction(station, |record| {
            let rounds = rounds(record)?;
            record.get(rounds)
        })?;
        if done < ROUNDS_MIN {
            desk.broken(
                ORACLE,
                format!("the long transaction was done {done} times"),
            );
        }
        Ok(())
    }
}
