//! The leader's state machine alone on one processor: no socket, no disk. Sixteen stations commit
//! in turn, one transaction in flight each; every record is drained and every batch taken.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plurix_protocol::leader::{Command, Durability, Event, Leader, Settings};
use plurix_protocol::{ConnectionId, Time};
use plurix_wire::message::{
    Commit, Item, Join, PageLines, PageRun, Request, ToLeader, ToStation, Welcome,
};
use plurix_wire::{
    CommitSequence, LineMask, LineNumber, PageNumber, Term, WriteSet, WriteSetBuilder,
};

use crate::figure::{Figure, Target};
use crate::machine::Pinned;
use crate::rounds::{Computing, Plan, Random};

const STATIONS: u64 = 16;
/// Pages that belong to each station.
const OWN_PAGES: u64 = 16;
const LINES: u64 = 64;
/// Turns whose messages are made at a time, so that they are still in the cache when they are
/// handled, as those that a server has just decoded.
const TURNS: u64 = 32;
/// Commits handled in each round are a share of [`Plan::operations`].
const SHARE: u64 = 4;
/// Commits before the first that counts: enough to fill the leader's history of 64 MiB, whose
/// growth would cost a page fault every few commits.
const WARM_UP: u64 = 400_000;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let _pinned = Pinned::to(0)?;
    let target = Target::ValueAtLeast(1e6);
    Ok(vec![
        measure(plan, 1, "sequencer", "each page held by its writer", target)?,
        measure(
            plan,
            2,
            "sequencer-shared",
            "each page held by its writer and one other station",
            Target::None,
        )?,
    ])
}

fn measure(plan: &Plan, holders: u64, name: &str, held: &str, target: Target) -> Result<Figure> {
    let mut cluster = Sequencer::new(holders)?;
    let mut floor = Floor::new();
    for _ in 0..WARM_UP / (STATIONS * TURNS) {
        cluster.run()?;
    }
    let chunks = (plan.operations / SHARE / (STATIONS * TURNS)).max(1);
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let (mut ours, mut least) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..chunks {
            ours += cluster.run()?;
            least += floor.run(STATIONS * TURNS);
        }
        let commits = (chunks * STATIONS * TURNS) as f64;
        rounds.push((commits / ours.as_secs_f64(), commits / least.as_secs_f64()));
    }
    Ok(Figure::against(
        name,
        format!("2 lines read + 2 opened in 4 pages, {held}, {STATIONS} stations"),
        "commits/s",
        "to compare 4 numbers, copy the bytes and store 2 numbers",
        &rounds,
        target,
    ))
}

/// A leader and what its stations know.
struct Sequencer {
    leader: Leader,
    members: Vec<Welcome>,
    sequence: CommitSequence,
    random: Random,
    now: Time,
    appended: u64,
}

impl Sequencer {
    fn new(holders: u64) -> Result<Self> {
        let mut leader = Leader::new(Settings::new(1 << 30, Durability::Memory));
        leader.start(Time(0), Term(1), None);
        leader.handle(Time(0), Event::Room(u64::MAX));
        let mut sequencer = Self {
            leader,
            members: Vec::new(),
            sequence: CommitSequence(0),
            random: Random(3),
            now: Time(1),
            appended: 0,
        };
        for station in 0..STATIONS {
            sequencer.join(station)?;
        }
        for station in 0..STATIONS {
            for other in 0..holders {
                let first = (station + other) % STATIONS * OWN_PAGES;
                let run = PageRun {
                    first: PageNumber(first as u32),
                    count: OWN_PAGES as u32,
                };
                let snapshot = sequencer.leader.number();
                sequencer.say(station, Request::Fetch { run, snapshot });
            }
        }
        sequencer.take_batches();
        Ok(sequencer)
    }

    fn join(&mut self, station: u64) -> Result<()> {
        let connection = ConnectionId(station);
        let message = ToLeader::Join(Join::default());
        self.handle(connection, message);
        let mut welcome = None;
        while let Some(command) = self.leader.poll() {
            if let Command::Send {
                message: ToStation::Welcome(sent),
                ..
            } = command
            {
                welcome = Some(sent);
            }
        }
        self.members
            .push(welcome.context("the leader welcomes a station")?);
        Ok(())
    }

    fn say(&mut self, station: u64, request: Request) {
        let message = self.message(station, request);
        self.handle(ConnectionId(station), message);
    }

    fn message(&self, station: u64, request: Request) -> ToLeader {
        let member = &self.members[station as usize];
        ToLeader::Request {
            incarnation: member.incarnation,
            generation: member.generation,
            request,
        }
    }

    fn handle(&mut self, connection: ConnectionId, message: ToLeader) {
        let event = Event::Message {
            connection,
            message,
        };
        self.leader.handle(self.now, event);
    }

    /// Handles some turns; answers how long that took, without making the messages.
    fn run(&mut self) -> Result<Duration> {
        let mut turns: Vec<Vec<ToLeader>> = (0..TURNS).map(|turn| self.turn(turn)).collect();
        let before = self.leader.number().0;
        let appended = self.appended;
        let begun = Computing::begin();
        for turn in turns.drain(..) {
            for (station, message) in (0..).zip(turn) {
                self.handle(ConnectionId(station), message);
                self.drain();
            }
            self.take_batches();
        }
        let took = begun.elapsed();
        self.now = Time(self.now.0 + took.as_nanos() as u64);
        let commits = self.leader.number().0 - before;
        ensure!(
            commits == STATIONS * TURNS && self.appended - appended == commits,
            "the leader ordered {commits} of {} commits",
            STATIONS * TURNS
        );
        Ok(took)
    }

    /// One commit of each station, at the snapshot that it will have by then.
    fn turn(&mut self, turn: u64) -> Vec<ToLeader> {
        let mut snapshot = self.leader.number();
        snapshot.0 += turn * STATIONS;
        self.sequence = self.sequence.next();
        (0..STATIONS)
            .map(|station| {
                let (reads, writes) = transaction(&mut self.random, station);
                let commit = Commit {
                    sequence: self.sequence,
                    acknowledged: CommitSequence(self.sequence.0 - 1),
                    snapshot,
                    follows: None,
                    reads,
                    writes,
                };
                self.message(station, Request::Commit(commit))
            })
            .collect()
    }

    fn drain(&mut self) {
        while let Some(command) = self.leader.poll() {
            if let Command::Append(record) = command {
                self.appended += 1;
                black_box(record);
            }
        }
        self.leader.handle(self.now, Event::Room(u64::MAX));
    }

    fn take_batches(&mut self) {
        self.drain();
        while let Some(connection) = self.leader.flushable(self.now) {
            let Some(ToStation::Batch(batch)) = self.leader.batch(self.now, connection) else {
                continue;
            };
            debug_assert!(
                batch
                    .items
                    .iter()
                    .all(|item| !matches!(item, Item::Refused { .. }))
            );
            black_box(batch);
        }
    }
}

/// Lines of four different pages of a station: two that it reads, two of which it changes a word.
fn transaction(random: &mut Random, station: u64) -> (Vec<PageLines>, WriteSet) {
    let first = random.below(OWN_PAGES / 4);
    let mut builder = WriteSetBuilder::new();
    let reads = (0..4)
        .map(|index| {
            let page = PageNumber((station * OWN_PAGES + first + index * OWN_PAGES / 4) as u32);
            let line = random.below(LINES);
            if index % 2 == 1 {
                builder.push(page, line as usize * 64, &random.next().to_le_bytes());
            }
            PageLines {
                page,
                lines: LineMask(1 << line),
            }
        })
        .collect();
    (reads, builder.finish())
}

/// What ordering takes at least: the newest writer of each line is compared and replaced, and the
/// bytes are copied to the page, to the undo and to the log.
struct Floor {
    writers: Vec<u64>,
    pages: Vec<u64>,
    log: Vec<u64>,
    undo: Vec<u64>,
    number: u64,
    random: Random,
}

impl Floor {
    fn new() -> Self {
        let lines = (STATIONS * OWN_PAGES * LINES) as usize;
        Self {
            writers: vec![0; lines],
            pages: vec![0; lines * 8],
            log: Vec::new(),
            undo: Vec::new(),
            number: 0,
            random: Random(5),
        }
    }

    fn run(&mut self, commits: u64) -> Duration {
        let lines = self.writers.len() as u64;
        let chosen: Vec<[LineNumber; 4]> = (0..commits)
            .map(|_| std::array::from_fn(|_| LineNumber(self.random.below(lines))))
            .collect();
        let begun = Computing::begin();
        for lines in &chosen {
            self.number += 1;
            let newest = lines.iter().map(|line| self.writers[line.0 as usize]).max();
            assert!(newest < Some(self.number));
            for line in &lines[..2] {
                let word = line.0 as usize * 8;
                self.undo.push(self.pages[word]);
                self.pages[word] = self.number;
                self.writers[line.0 as usize] = self.number;
                self.log.extend_from_slice(&[line.0, self.number, 0, 0]);
            }
        }
        let took = begun.elapsed();
        black_box((&self.log, &self.undo));
        self.log.clear();
        self.undo.clear();
        took
    }
}
