//! What every program on the library has in common: it joins, does one thing after the other, joins
//! again when its handle can do no more, and in the end reads the whole heap.

use std::ops::Range;

use plurix::error::SessionRefusal;
use plurix::{ErrorKind, Options, Ptr, Result, Station};
use plurix_protocol::Span;
use plurix_wire::PAGE_BYTES;

use super::machine::Machine;
use super::report::{Desk, Report, moment};
use super::{activities, bank, churn, collections, fair, outbox, pipeline, post};
use crate::random::{Purpose, Random};
use crate::world::Phase;

/// Where every station counts its duties.
const DUTIES: &str = "duties";
/// What a turn takes at least, as it would in a real process: one that only reads takes no virtual
/// time otherwise.
const TURN: Span = Span::from_micros(50);
/// How long a program without anything to do waits.
const IDLE: Span = Span::from_millis(20);

/// What the programs of a run do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Transfers between accounts, whose sum stays.
    Bank,
    /// Allocates, fills, checks and frees blocks.
    Churn,
    /// Spawns activities that spawn activities.
    Activities,
    /// Pushes entries into an outbox, and delivers them.
    Outbox,
    /// Waits for letters, and for everybody in the end.
    Post,
    /// Keeps many transactions in flight.
    Pipeline,
    /// A long transaction among short ones, which must get done.
    Fair,
    /// Random operations on vectors, maps, queues and registers.
    Collections,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Bank,
        Self::Churn,
        Self::Activities,
        Self::Outbox,
        Self::Post,
        Self::Pipeline,
        Self::Fair,
        Self::Collections,
    ];
}

/// How a program starts.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) kind: Kind,
    pub(super) index: usize,
    /// Which stations take part.
    pub(super) everybody: Vec<usize>,
    pub(super) life: u64,
    pub(super) options: Options,
    pub(super) seed: u64,
    pub(super) think_us: Range<u64>,
    pub(super) pause_us: Range<u64>,
    pub(super) activity_ms_max: u64,
}

/// What a program draws from and waits by.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) random: Random,
    think_us: Range<u64>,
    pause_us: Range<u64>,
    /// Unique values for what is written.
    unique: u64,
}

impl Dice {
    fn new(start: &Start) -> Self {
        Self {
            random: Random::new(start.seed, Purpose::Program(start.index)),
            think_us: start.think_us.clone(),
            pause_us: start.pause_us.clone(),
            unique: (start.index as u64 + 1) << 48 | start.life << 32,
        }
    }

    /// How long to compute in the middle of a transaction.
    pub(super) fn think(&mut self) -> Span {
        self.random.micros(self.think_us.clone())
    }

    fn pause(&mut self) -> Span {
        Span(self.random.micros(self.pause_us.clone()).0 + TURN.0)
    }

    /// A value that nobody else writes.
    pub(super) fn unique(&mut self) -> u64 {
        self.unique += 1;
        self.unique
    }
}

/// A program: what it does between joining and the end.
pub(super) trait Program {
    /// Makes this station ready, once for each handle.
    fn open(&mut self, station: &mut Station);

    /// Does one thing.
    ///
    /// # Errors
    /// What the library answers.
    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()>;

    /// Brings what was begun to its end, after the faults.
    ///
    /// # Errors
    /// What the library answers.
    fn finish(&mut self, station: &mut Station, desk: &Desk) -> Result<()>;

    /// Looks at the end whether all is as it must be.
    ///
    /// # Errors
    /// What the library answers.
    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()>;
}

/// Runs a program until its process is killed.
pub(super) fn run(machine: Machine, start: Start) {
    let mut dice = Dice::new(&start);
    let desk = Desk { machine };
    let mut program: Box<dyn Program> = match start.kind {
        Kind::Bank => Box::new(bank::Bank),
        Kind::Churn => Box::new(churn::Churn::new(start.index)),
        Kind::Activities => Box::new(activities::Activities::new(&start)),
        Kind::Outbox => Box::new(outbox::Outbox),
        Kind::Fair => Box::new(fair::Fair::new(&start)),
        Kind::Post => Box::new(post::Post::new(&start)),
        Kind::Pipeline => Box::new(pipeline::Pipeline::new(&start)),
        Kind::Collections => Box::new(collections::Collections),
    };
    let mut done = Done::default();
    let mut options = start.options;
    while !desk.machine.is_dead() {
        let host = Box::new(desk.machine.clone());
        match Station::join_on(host, options.clone()) {
            Ok(mut station) => {
                desk.report(Report::Joined);
                program.open(&mut station);
                live(&mut station, &mut *program, &desk, &mut dice, &mut done);
            }
            Err(error) => {
                desk.report(Report::Note(format!("cannot join: {error}")));
                if let ErrorKind::Refused(SessionRefusal::StationTaken(_)) = error.kind() {
                    // A stranger was given the number while this station was away.
                    options.station = None;
                }
            }
        }
        desk.think(IDLE);
    }
}

/// How far the end has been seen to.
#[derive(Debug, Default)]
struct Done {
    duties: u32,
    inspected: bool,
}

/// Uses one handle as long as it goes.
fn live(
    station: &mut Station,
    program: &mut dyn Program,
    desk: &Desk,
    dice: &mut Dice,
    done: &mut Done,
) {
    while !desk.machine.is_dead() {
        let result = match desk.phase() {
            Phase::Chaos => program.turn(station, desk, dice),
            Phase::Duties if done.duties < crate::world::DUTIES => {
                duty(station, program, desk, done)
            }
            Phase::Rest if !done.inspected => inspect(station, program, desk, done),
            Phase::Duties | Phase::Rest => {
                desk.think(IDLE);
                Ok(())
            }
        };
        if let Err(error) = result {
            desk.report(Report::Note(format!("{error}")));
            match error.kind() {
                // Others were in the way, or the program itself wanted it so.
                ErrorKind::Aborted(_)
                | ErrorKind::NotDelivered { .. }
                | ErrorKind::OutcomeUnknown
                | ErrorKind::SnapshotTooOld { .. }
                | ErrorKind::TooLong { .. }
                | ErrorKind::OutOfMemory { .. }
                | ErrorKind::LogFull => {}
                // This handle can do no more.
                ErrorKind::RolledBack { .. }
                | ErrorKind::NotRun
                | ErrorKind::Refused(_)
                | ErrorKind::Gone { .. }
                | ErrorKind::Connect(_) => return,
                _ if desk.machine.is_dead() => return,
                other => desk.broken("library", format!("an honest program is told: {other}")),
            }
        }
        desk.think(dice.pause());
    }
}

/// One commit that everybody must get done once the faults are over.
fn duty(
    station: &mut Station,
    program: &mut dyn Program,
    desk: &Desk,
    done: &mut Done,
) -> Result<()> {
    if done.duties == 0 {
        program.finish(station, desk)?;
    }
    desk.transaction(station, |record| {
        let counter = Ptr::at(record.root(DUTIES, &[0])?.offset());
        let count = record.get(counter)?;
        record.set(counter, count + 1)
    })?;
    done.duties += 1;
    Ok(())
}

/// Reads the whole heap as of now, and looks at what the program knows of it.
fn inspect(
    station: &mut Station,
    program: &mut dyn Program,
    desk: &Desk,
    done: &mut Done,
) -> Result<()> {
    station.latest()?;
    let bytes = station.usage()?.heap_bytes;
    for page in 0..bytes / PAGE_BYTES as u64 {
        // Nothing begins at offset zero, so that no pointer to anything is null.
        let start = (page * PAGE_BYTES as u64).max(1);
        let end = (page + 1) * PAGE_BYTES as u64;
        let (at, bytes) = station.transaction(|tx| {
            let bytes = tx.get(Ptr::<[u8]>::slice_at(start, end - start))?;
            Ok((moment(tx.generation(), tx.snapshot()), bytes.to_vec()))
        })?;
        desk.report(Report::Heap(at, start, bytes));
    }
    program.inspect(station, desk)?;
    if let Err(error) = station.check_heap() {
        match error.kind() {
            ErrorKind::Corrupt { .. } => desk.broken("allocator", error.to_string()),
            _ => return Err(error),
        }
    }
    done.inspected = true;
    desk.report(Report::Inspected);
    Ok(())
}
