//! The page server that keeps lines: the real leader, a log, and checkpoints that take their time. When it
//! is killed, the next process has the log and the newest whole checkpoint.

use std::sync::Arc;

use plurix_protocol::leader::{CollectedPage, Command, Durability, Event, Leader, Settings};
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_wire::message::{CheckpointStatus, ToLeader, ToStation};
use plurix_wire::record::{Body, Stamp};
use plurix_wire::{CommitNumber, Incarnation, PAGE_BYTES, Term, frame};

use super::disk::{Checkpoint, Disk};
use super::{LineEvent, Lines, Side};
use crate::brief::{Brief, Told as _};
use crate::oracle::{Violation, demand};
use crate::tally::Mark;
use crate::team::World;
use crate::trace::{Kind, Lane};

/// Nobody is ever silent for so long.
const NEVER: Span = Span::from_millis(1 << 32);
/// Until a page server that was killed starts again, in microseconds.
const RESTART_US: std::ops::Range<u64> = 20..10_000;

/// The page server's machine.
pub(super) struct Server {
    disk: Disk,
    process: Option<Process>,
    /// Counts processes, and is the term of each.
    count: u64,
}

struct Process {
    leader: Leader,
    writing: Option<Writing>,
    tick_at: Option<Time>,
    /// What was last said on a connection without delay.
    heard: Option<ToStation>,
}

/// A checkpoint that is being taken.
struct Writing {
    checkpoint: Checkpoint,
    pages: Vec<CollectedPage>,
    is_collected: bool,
    job_is_due: bool,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            disk: Disk::default(),
            process: None,
            count: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }
}

fn settings(lines: &Lines, heap_pages: u32) -> Settings {
    Settings {
        silence_max: NEVER,
        resume_max: NEVER,
        heartbeat: NEVER,
        checkpoint: lines.plan.checkpoint,
        resident_pages_max: lines.plan.resident_pages_max,
        ..Settings::new(
            u64::from(heap_pages) * PAGE_BYTES as u64,
            Durability::Memory,
        )
    }
}

impl World {
    /// A page server starts on what is on the disk.
    pub(in crate::team) fn start_server(&mut self) -> Result<(), Violation> {
        let heap_pages = self.plan.heap_pages();
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let settings = settings(lines, heap_pages);
        let disk = &lines.server.disk;
        let mut leader = Leader::with_images(settings, Arc::clone(&disk.image) as _);
        let mut records = 0;
        let broken = |error: &dyn std::fmt::Display| Violation {
            oracle: "lines",
            what: format!("a page server cannot start: {error}"),
        };
        if let Some(checkpoint) = &disk.checkpoint {
            records = checkpoint.records;
            leader
                .start_from(checkpoint.cut, &checkpoint.state, disk.image.pages())
                .map_err(|error| broken(&error))?;
        }
        for record in &disk.log[records..] {
            leader.replay(record).map_err(|error| broken(&error))?;
        }
        lines.server.count += 1;
        leader.start(self.now, Term(lines.server.count), None);
        lines.server.process = Some(Process {
            leader,
            writing: None,
            tick_at: None,
            heard: None,
        });
        let through = lines.server.disk.checkpoint.as_ref();
        lines.model.restarted(through.map(|it| it.cut.number));
        self.tell(Kind::Started(Lane::Leader), format_args!(""));
        self.check_newest_line()?;
        self.pump_server(None)
    }

    /// The page server is killed; another one starts later.
    pub(in crate::team) fn kill_server(&mut self) {
        let again = self.pace.micros(RESTART_US);
        let Some(lines) = &mut self.lines else { return };
        if lines.server.process.take().is_none() {
            return;
        }
        self.tally.leader_ends += 1;
        for connection in lines.network.all_open(Side::Server) {
            lines.network.lose(connection, Side::Keeper);
            lines.network.close(connection, Side::Server);
            let noticed = self.now + lines.pace.micros(lines.plan.weather.delay_us.clone());
            let side = Side::Keeper;
            let event = LineEvent::Ended { connection, side };
            self.queue.push(noticed, event.into());
        }
        self.queue
            .push(self.now + again, LineEvent::StartServer.into());
        self.tell(Kind::Ended(Lane::Leader), format_args!(", killed"));
    }

    /// Says something on a connection that takes no time; answers what is said to it.
    pub(super) fn ask_server(
        &mut self,
        connection: ConnectionId,
        message: ToLeader,
    ) -> Result<Option<ToStation>, Violation> {
        let event = Event::Message {
            connection,
            message,
        };
        self.tell_server(event, None)?;
        let process = self
            .lines
            .as_mut()
            .and_then(|it| it.server.process.as_mut());
        Ok(process.and_then(|process| process.heard.take()))
    }

    /// Hands an event to the leader and carries out what it wants; `source` is the connection that a
    /// message came on.
    pub(super) fn tell_server(
        &mut self,
        event: Event,
        source: Option<u64>,
    ) -> Result<(), Violation> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let room = match lines.pace.chance(lines.plan.full_percent) {
            true => 0,
            false => 1 << 20,
        };
        if let Some(process) = &mut lines.server.process {
            process.leader.handle(self.now, Event::Room(room));
            process.leader.handle(self.now, event);
        }
        self.pump_server(source)
    }

    fn process(&mut self) -> Option<&mut Process> {
        self.lines.as_mut()?.server.process.as_mut()
    }

    fn pump_server(&mut self, source: Option<u64>) -> Result<(), Violation> {
        while let Some(command) = self.process().and_then(|it| it.leader.poll()) {
            self.carry_out(command, source)?;
        }
        let now = self.now;
        if let Some(process) = self.process() {
            // What sessions are told is not simulated.
            while let Some(connection) = process.leader.flushable(now) {
                process.leader.batch(now, connection);
            }
        }
        self.go_on_with_checkpoint();
        self.schedule_tick();
        Ok(())
    }

    fn schedule_tick(&mut self) {
        let now = self.now;
        let Some(lines) = &mut self.lines else { return };
        let count = lines.server.count;
        let Some(process) = &mut lines.server.process else {
            return;
        };
        let due = process.leader.next_timeout().max(now);
        let is_earlier = process.tick_at.is_none_or(|tick| due < tick);
        if is_earlier && due < now + Span::from_millis(60_000) {
            process.tick_at = Some(due);
            let event = LineEvent::Tick { process: count };
            self.queue.push(due, event.into());
        }
    }

    pub(in crate::team) fn server_tick(&mut self, count: u64) -> Result<(), Violation> {
        let now = self.now;
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let is_current = lines.server.count == count;
        let Some(process) = lines.server.process.as_mut().filter(|_| is_current) else {
            return Ok(());
        };
        if process.tick_at.is_some_and(|tick| tick > now) {
            return Ok(());
        }
        process.tick_at = None;
        self.tell_server(Event::Tick, None)
    }

    fn carry_out(&mut self, command: Command, source: Option<u64>) -> Result<(), Violation> {
        match command {
            Command::Append(record) => {
                let number = record.stamp.number;
                let is_line = matches!(record.body, Body::RecoveryLine(_));
                if let Some(lines) = &mut self.lines {
                    lines.server.disk.log.push(record);
                }
                if is_line {
                    return self.line_taken(number, source);
                }
            }
            Command::BeginCheckpoint { cut, state, .. } => self.begin_checkpoint(cut, state),
            Command::Send {
                connection,
                message,
            } => self.server_says(connection, message),
            Command::SendCheckpoint { connection } => {
                let status = Box::new(CheckpointStatus::default());
                self.server_says(connection, ToStation::Checkpointed(Ok(status)));
            }
            Command::Sync
            | Command::Close { .. }
            | Command::SendStatus { .. }
            | Command::Shutdown { .. } => {}
        }
        Ok(())
    }

    fn server_says(&mut self, connection: ConnectionId, message: ToStation) {
        let Some(lines) = &mut self.lines else { return };
        if !lines.network.is_open(connection.0, Side::Server) {
            if let Some(process) = &mut lines.server.process {
                process.heard = Some(message);
            }
            return;
        }
        let mut bytes = Vec::new();
        frame::encode(&message, &mut bytes).expect("the protocol bounds its messages");
        self.send_line(
            connection.0,
            Side::Keeper,
            bytes,
            (message.class(), &Brief(&message)),
        );
    }

    /// A message of a keeper has arrived.
    pub(super) fn server_hears(&mut self, connection: u64, bytes: &[u8]) -> Result<(), Violation> {
        let message: ToLeader = frame::decode(bytes).map_err(|error| Violation {
            oracle: "refusals",
            what: format!("what a keeper says cannot be read: {error}"),
        })?;
        let event = Event::Message {
            connection: ConnectionId(connection),
            message,
        };
        self.tell_server(event, Some(connection))
    }

    fn begin_checkpoint(&mut self, cut: Stamp, state: Vec<u8>) {
        let Some(lines) = &mut self.lines else { return };
        let records = lines.server.disk.log.len();
        if let Some(process) = &mut lines.server.process {
            process.writing = Some(Writing {
                checkpoint: Checkpoint {
                    cut,
                    state,
                    records,
                },
                pages: Vec::new(),
                is_collected: false,
                job_is_due: false,
            });
        }
        let number = cut.number;
        self.note(format_args!("a checkpoint begins at {number}"));
    }

    /// Takes pages that are due; the disk does its next piece of work after a while.
    fn go_on_with_checkpoint(&mut self) {
        let now = self.now;
        let Some(lines) = &mut self.lines else { return };
        if let Some(process) = &mut lines.server.process
            && let Some(writing) = process.writing.as_mut().filter(|it| !it.is_collected)
            && let Some((pages, is_last)) = process.leader.collect(now, lines.plan.disk_pages)
        {
            writing.pages.extend(pages);
            writing.is_collected = is_last;
        }
        let event = LineEvent::Job {
            process: lines.server.count,
        };
        let writing = lines
            .server
            .process
            .as_mut()
            .and_then(|it| it.writing.as_mut());
        if let Some(writing) = writing
            && !std::mem::replace(&mut writing.job_is_due, true)
        {
            let due = self.now + lines.pace.micros(lines.plan.disk_us.clone());
            self.queue.push(due, event.into());
        }
    }

    pub(in crate::team) fn server_job(&mut self, count: u64) -> Result<(), Violation> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let Server {
            disk,
            process,
            count: current,
        } = &mut lines.server;
        let Some(process) = process.as_mut().filter(|_| *current == count) else {
            return Ok(());
        };
        let Some(writing) = &mut process.writing else {
            return Ok(());
        };
        writing.job_is_due = false;
        if !writing.is_collected {
            return self.pump_server(None);
        }
        let Some(writing) = process.writing.take() else {
            return Ok(());
        };
        disk.image.add(writing.pages);
        let number = writing.checkpoint.cut.number;
        disk.checkpoint = Some(writing.checkpoint);
        self.tally.mark(Mark::CheckpointTaken);
        self.note(format_args!("the checkpoint of {number} is on disk"));
        self.tell_server(Event::Checkpointed, None)
    }

    /// All parts of a line are in the heap: it is the barrier that it says.
    fn line_taken(&mut self, number: CommitNumber, source: Option<u64>) -> Result<(), Violation> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let line = source.and_then(|connection| lines.network.line(connection));
        let cut = line.and_then(|line| Some((line.life, line.offered?)));
        demand!(
            cut.is_some(),
            "lines",
            "line {number} is taken, and nobody has handed over a part"
        );
        let newest = lines.model.newest().unwrap_or_default();
        let is_lost = newest < self.life.start.number;
        lines.model.taken(number, cut.unwrap_or_default())?;
        self.tally.mark(Mark::LineTaken);
        if is_lost && cut.is_some_and(|(life, _)| life == self.life.number) {
            self.tally.mark(Mark::LineOfItsOwn);
        }
        self.note(format_args!("line {number} is taken"));
        self.check_newest_line()
    }

    /// The heap has the newest line, byte for byte.
    fn check_newest_line(&self) -> Result<(), Violation> {
        let process = |lines: &'_ Lines| lines.server.process.is_some();
        let Some(lines) = self.lines.as_ref().filter(|lines| process(lines)) else {
            return Ok(());
        };
        let raced = self.scripts.race.map(|race| race.spot);
        let Some(process) = &lines.server.process else {
            return Ok(());
        };
        for page in self.plan.pages() {
            let image = process.leader.page(page);
            lines
                .model
                .check(page, image.as_deref(), raced, "the heap")?;
        }
        Ok(())
    }

    /// A station's process is known to have died.
    pub(super) fn server_hears_of_death(&mut self, session: ConnectionId) -> Result<(), Violation> {
        let event = Event::Closed {
            connection: session,
            died: true,
        };
        self.tell_server(event, None)
    }
}

impl Lines {
    /// Some life of a station.
    pub(super) fn life(&self, station: usize) -> Incarnation {
        self.members[station].life.unwrap_or_default()
    }
}
