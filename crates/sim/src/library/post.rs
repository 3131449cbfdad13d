//! Stations that wait for each other: each has a letter box, a word in the heap, and waits for a while
//! until somebody puts something in. In the end all meet, and wait without any limit: a wake-up that
//! is lost is a run that does not end.

use std::time::Duration;

use plurix::{ErrorKind, Ptr, Result, Station};
use plurix_protocol::Span;

use super::program::{Dice, Program, Start};
use super::report::{Desk, Recorded};

const ORACLE: &str = "waiting";
const BOXES: &str = "letter boxes";
const MEETING: &str = "meeting";
/// A box, with a neighbour in its line, for each number that a station can have.
const BOXES_MAX: usize = 64;
/// Letters put in, letters taken out.
const WORDS: usize = 2;

/// How long a station computes before it waits for the others: what arrives meanwhile is queued by
/// the library's service, and must wake it too.
const SURPRISE: Span = Span::from_millis(60);

/// The program of one station.
#[derive(Debug)]
pub(super) struct Post {
    index: usize,
    everybody: Vec<usize>,
}

impl Post {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            index: start.index,
            everybody: start.everybody.clone(),
        }
    }

    /// The counts of letters put into a station's box, and taken out.
    fn letters(record: &mut Recorded<'_, '_>, station: usize) -> Result<[Ptr<u64>; WORDS]> {
        let boxes = record.root(BOXES, &[0; BOXES_MAX * WORDS])?;
        let word = |at| {
            boxes
                .get(station * WORDS + at)
                .expect("as many as stations")
        };
        Ok([word(0), word(1)])
    }

    fn send(&self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        let to = dice.random.pick(&self.everybody);
        let is_registered = dice.random.chance(20);
        desk.transaction(station, |record| {
            if is_registered {
                record.tx.durable();
            }
            let [sent, _] = Self::letters(record, to)?;
            let count = record.get(sent)?;
            record.set(sent, count + 1)
        })?;
        let commit = station.statistics().last_commit;
        if is_registered && station.durable() < commit {
            desk.broken(
                "durability",
                format!("{commit} is answered, and not durable"),
            );
        }
        Ok(())
    }

    /// Counts its letters as of now: all that this station has sent to itself, or heard of.
    fn look(&self, station: &mut Station, desk: &Desk, at_first: bool) -> Result<()> {
        desk.transaction(station, |record| {
            if at_first {
                record.latest()?;
            }
            let [sent, taken] = Self::letters(record, self.index)?;
            let (sent, taken) = (record.get(sent)?, record.get(taken)?);
            if taken > sent {
                desk.broken(ORACLE, format!("{taken} of {sent} letters were taken"));
            }
            record.latest()
        })
    }

    /// Waits for letters, though not for ever: their sender may have died.
    fn take(
        &self,
        station: &mut Station,
        desk: &Desk,
        (limit, think): (Duration, Span),
    ) -> Result<()> {
        desk.transaction(station, |record| {
            let [sent, taken] = Self::letters(record, self.index)?;
            let (count, before) = (record.get(sent)?, record.get(taken)?);
            if before > count {
                let what = format!("{before} of {count} letters were taken");
                desk.broken(ORACLE, what);
            }
            match count - before {
                0 if record.tx.has_timed_out() => Ok(()),
                0 => {
                    // What arrives meanwhile is queued when the wait begins.
                    desk.think(think);
                    Err(record.tx.wait_for_change_for(limit))
                }
                _ => record.set(taken, count),
            }
        })
    }
}

impl Program for Post {
    fn open(&mut self, _: &mut Station) {}

    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        match dice.random.below(10) {
            0..6 => self.send(station, desk, dice),
            6 => self.look(station, desk, dice.random.chance(50)),
            _ => {
                let limit = Duration::from_micros(dice.random.log_within(1..50_000));
                self.take(station, desk, (limit, dice.think()))
            }
        }
    }

    /// Says that it is there, and waits for everybody else.
    fn finish(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        desk.transaction(station, |record| {
            let meeting = record.root(MEETING, &[0; BOXES_MAX])?;
            let own = meeting.get(self.index).expect("as many as stations");
            record.set(own, 1)
        })?;
        desk.transaction(station, |record| {
            let meeting = record.root(MEETING, &[0; BOXES_MAX])?;
            let present = record.slice(meeting)?;
            if self.everybody.iter().all(|&index| present[index] == 1) {
                return Ok(());
            }
            desk.think(SURPRISE);
            Err(record.tx.wait_for_change())
        })
    }

    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let limited = self.take(station, desk, (Duration::ZERO, Span(0)));
        match limited {
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. }) => {
                desk.broken(ORACLE, "a wait was not told that its limit is over".into());
                Ok(())
            }
            other => other,
        }
    }
}
