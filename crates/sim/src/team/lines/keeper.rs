//! Drives a station's keeper, which is the protocol's: carries its messages, collects pages for it, and lets
//! the oracles see what it hands over and what it gets.

use std::collections::VecDeque;

use plurix_protocol::leader;
use plurix_protocol::team::{Boundary, Job, Keeper, KeeperCommand, KeeperSettings, Succession};
use plurix_protocol::{ConnectionId, Span};
use plurix_wire::message::peer::{Cut, Pages};
use plurix_wire::message::recovery_line::{LineAnswer, LineRefusal, LineRequest, Marks};
use plurix_wire::message::{PageRun, ToLeader, ToStation};
use plurix_wire::{CommitNumber, Rank, frame};

use super::{GENERATION, LineEvent, Side, TEAM};
use crate::brief::{Brief, Told as _};
use crate::oracle::{Violation, demand};
use crate::tally::Mark;
use crate::team::World;
use crate::team::oracle::lines::Start;
use crate::team::plan::Plan;
use crate::team::world::Event;
use crate::trace::{Class, Kind, Lane};

/// Until a keeper looks again, in nanoseconds,
const LOOK_NS: std::ops::Range<u64> = 100..20_000;
/// and until it tries again to reach the page server.
const PAUSE: Span = Span::from_micros(500);
/// What breaks a while behind a message does so after so long, in microseconds.
const LATER_US: std::ops::Range<u64> = 500..30_000;

/// What a station knows of lines, and its keeper.
#[derive(Debug)]
pub(in crate::team) struct StationLines {
    succession: Succession,
    keeper: Keeper,
    /// What the keeper has not seen yet.
    jobs: VecDeque<Job>,
    connection: Option<u64>,
    /// Workers wait behind the barrier of this interval for the line under way.
    pub(in crate::team) held_up: Option<usize>,
}

impl StationLines {
    pub(in crate::team) fn new(rank: Rank, plan: &Plan, start: &Start) -> Self {
        let settings = KeeperSettings {
            team: TEAM,
            rank,
            size: plan.stations as u16,
            is_blocking: plan.lines.as_ref().is_some_and(|lines| lines.is_blocking),
        };
        let mut succession = Succession::default();
        succession.begin_formation(start.formation);
        succession.go_on_from(start.number);
        Self {
            succession,
            keeper: Keeper::new(settings),
            jobs: VecDeque::new(),
            connection: None,
            held_up: None,
        }
    }
}

impl World {
    /// What the barrier of an interval is, as far as a station has a say.
    pub(in crate::team) fn boundary(&mut self, station: usize, interval: usize) -> Boundary {
        let Some(lines) = &self.lines else {
            return Boundary::Within;
        };
        if lines.plan.phase_ends.get(interval) != Some(&true) {
            return Boundary::Within;
        }
        let wishes = self.chance_of_line.chance(lines.plan.wish_percent);
        let succession = &mut self.life.stations[station].lines.succession;
        succession.boundary(interval as u64 + 1, wishes)
    }

    /// Whether a station's workers stay where they are until the line under way has ended.
    pub(in crate::team) fn holds_up(&self, station: usize, is_last: bool) -> bool {
        let is_running = self.life.stations[station].lines.succession.is_running();
        let is_blocking = |lines: &super::Lines| lines.plan.is_blocking || is_last && station == 0;
        is_running && self.lines.as_deref().is_some_and(is_blocking)
    }

    /// A barrier that is a cut has opened.
    pub(in crate::team) fn begin_line(&mut self, station: usize, cut: Cut, marks: Option<Marks>) {
        let here = &mut self.life.stations[station].lines;
        here.jobs.push_back(here.succession.begin(cut, marks));
        let (life, phase) = (self.life.number, here.succession.phase());
        if let Some(lines) = &mut self.lines {
            lines.model.cut((life, cut.ordinal), phase as usize);
        }
        self.keep_soon(station);
    }

    /// Pages of the team's line are wanted.
    pub(in crate::team) fn load_of_line(&mut self, station: usize, run: PageRun) {
        let here = &mut self.life.stations[station].lines;
        here.jobs.push_back(here.succession.load(run));
        self.keep_soon(station);
    }

    pub(in crate::team) fn keep_soon(&mut self, station: usize) {
        if let Some(lines) = &mut self.lines {
            let span = Span(lines.pace.within(LOOK_NS));
            self.keep_after(station, span);
        }
    }

    fn keep_after(&mut self, station: usize, span: Span) {
        let life = self.life.number;
        let event = LineEvent::Keep { life, station };
        self.queue.push(self.now + span, event.into());
    }

    /// A keeper looks what there is to be done.
    pub(in crate::team) fn keep(&mut self, station: usize) -> Result<(), Violation> {
        if self.life.has_ended {
            return Ok(());
        }
        let jobs = std::mem::take(&mut self.life.stations[station].lines.jobs);
        for job in jobs {
            self.life.stations[station].lines.keeper.begin(job);
            self.carry_out_of_keeper(station)?;
        }
        let lines = &self.life.stations[station].lines;
        if lines.keeper.is_idle() {
            return Ok(());
        }
        if lines.connection.is_none() && !self.reconnect(station)? {
            self.keep_after(station, PAUSE);
            return Ok(());
        }
        if self.collect(station)? {
            let collect_us = self.lines.as_ref().map(|it| it.plan.collect_us.clone());
            let span = collect_us.map_or(PAUSE, |range| self.pace.micros(range));
            self.keep_after(station, span);
        }
        Ok(())
    }

    /// Does what a keeper wants.
    fn carry_out_of_keeper(&mut self, station: usize) -> Result<(), Violation> {
        while let Some(command) = self.life.stations[station].lines.keeper.poll() {
            match command {
                KeeperCommand::Say(request) => self.say(station, request),
                KeeperCommand::AskCheckpoint => self.say_message(station, &ToLeader::Checkpoint),
                KeeperCommand::Loaded(pages) => self.loaded(station, &pages)?,
                KeeperCommand::Ended { cut, number } => self.end_line(station, cut, number)?,
                KeeperCommand::Lost(why) => self.lose_line(station, why)?,
            }
        }
        Ok(())
    }

    fn say(&mut self, station: usize, request: LineRequest) {
        let connection = self.life.stations[station].lines.connection;
        let Some(lines) = &mut self.lines else { return };
        if let (LineRequest::Offer(offer), Some(connection)) = (&request, connection) {
            lines.network.note_offer(connection, offer.cut);
        }
        let message = ToLeader::RecoveryLine {
            incarnation: lines.life(station),
            generation: GENERATION,
            request,
        };
        self.say_message(station, &message);
    }

    fn say_message(&mut self, station: usize, message: &ToLeader) {
        if let Some(connection) = self.life.stations[station].lines.connection {
            let mut bytes = Vec::new();
            frame::encode(message, &mut bytes).expect("the protocol bounds its messages");
            self.send_line(
                connection,
                Side::Server,
                bytes,
                (message.class(), &Brief(message)),
            );
        }
    }

    /// Sends a frame to one end of a keeper's connection.
    pub(super) fn send_line(
        &mut self,
        connection: u64,
        to: Side,
        bytes: Vec<u8>,
        (class, brief): (Class, &dyn std::fmt::Display),
    ) {
        let now = self.now;
        let Some(lines) = &mut self.lines else { return };
        let Some(line) = lines.network.line(connection) else {
            return;
        };
        // What is sent to an end that has closed gets lost.
        if !lines.network.carries(connection) {
            return;
        }
        self.trace.bytes(&bytes);
        self.tally.bytes += bytes.len() as u64;
        let (number, arrival) = lines.network.send(now, (connection, to), bytes);
        let station = Lane::Station(line.station);
        let (from, lane) = match to {
            Side::Server => (station, Lane::Leader),
            Side::Keeper => (Lane::Leader, station),
        };
        let kind = Kind::Sent {
            frame: Some(number),
            from,
            to: lane,
            class,
        };
        self.tell(kind, format_args!("on line {connection}: {brief}"));
        let event = LineEvent::Arrive {
            connection,
            side: to,
        };
        self.queue.push(arrival, event.into());
        if to == Side::Server {
            self.pull_triggers();
        }
    }

    /// A keeper has sent one more message: something may break soon.
    fn pull_triggers(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        lines.sent += 1;
        let sent = lines.sent;
        let due = lines.plan.triggers.partition_point(|it| it.0 <= sent);
        for (_, stroke) in lines.plan.triggers.drain(..due) {
            // At once, or when the line is taken.
            let span = match lines.pace.chance(60) {
                true => lines.pace.micros(lines.plan.weather.delay_us.clone()),
                false => lines.pace.micros(LATER_US),
            };
            self.queue.push(self.now + span, Event::Trigger(stroke));
        }
    }

    /// Takes some more pages of the part; answers whether there may be more to do.
    fn collect(&mut self, station: usize) -> Result<bool, Violation> {
        let here = &mut self.life.stations[station];
        let (Some(lines), Some(cut)) = (&self.lines, here.lines.keeper.wants_pages()) else {
            return Ok(false);
        };
        let most = lines.plan.collected;
        let collected = here.member.collect(cut, most, &here.memory.view);
        let id = (self.life.number, cut.ordinal);
        let raced = self.scripts.race.map(|race| race.spot);
        let pages = collected.iter().flat_map(|(pages, _)| pages);
        for (page, bytes) in pages.flat_map(Pages::each) {
            lines.model.collected(id, page, bytes, raced, station)?;
        }
        here.lines.keeper.collected(collected);
        self.carry_out_of_keeper(station)?;
        Ok(true)
    }

    /// The next message of a connection reaches its end.
    pub(in crate::team) fn line_arrives(
        &mut self,
        connection: u64,
        side: Side,
    ) -> Result<(), Violation> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let Some(line) = lines.network.line(connection) else {
            return Ok(());
        };
        let Some((frame, bytes)) = lines.network.take(connection, side) else {
            return Ok(());
        };
        let to = match side {
            Side::Server => Lane::Leader,
            Side::Keeper => Lane::Station(line.station),
        };
        self.tell(Kind::Delivered { frame, to }, format_args!(""));
        if side == Side::Server {
            return self.server_hears(connection, &bytes);
        }
        if line.life != self.life.number || self.life.has_ended {
            return Ok(());
        }
        let answer: ToStation = frame::decode(&bytes).map_err(|error| Violation {
            oracle: "refusals",
            what: format!("what the page server says cannot be read: {error}"),
        })?;
        self.hear(line.station, answer)?;
        self.keep_soon(line.station);
        Ok(())
    }

    fn hear(&mut self, station: usize, answer: ToStation) -> Result<(), Violation> {
        if let ToStation::RecoveryLine(LineAnswer::Refused(why)) = &answer {
            demand!(
                *why != LineRefusal::NotAMember,
                "lines",
                "station {station} is refused: {why}"
            );
            self.tally.mark(Mark::LineRefused);
        }
        let heard = self.life.stations[station].lines.keeper.hear(answer);
        heard.map_err(|error| Violation {
            oracle: "refusals",
            what: format!("station {station}: {error}"),
        })?;
        self.carry_out_of_keeper(station)
    }

    /// Pages of the line that the team went on from are there.
    fn loaded(&mut self, station: usize, pages: &Pages) -> Result<(), Violation> {
        self.tally.mark(Mark::LinePagesLoaded);
        let raced = self.scripts.race.map(|race| race.spot);
        for (page, bytes) in pages.each() {
            self.life
                .start
                .check(page, bytes, raced, "what is loaded")?;
        }
        let here = &mut self.life.stations[station];
        let answer = here.member.loaded(pages, &mut here.memory.view);
        answer.map_err(|error| Violation {
            oracle: "refusals",
            what: format!("station {station} refuses pages of a line: {error}"),
        })?;
        self.flush(station)?;
        self.wake(station);
        self.look_at_copies()
    }

    /// The team cannot go on from its line: there must be none that is as new.
    fn lose_line(&mut self, station: usize, why: LineRefusal) -> Result<(), Violation> {
        self.tally.mark(Mark::LineLost);
        self.note(format_args!("station {station} has lost its line: {why}"));
        let lines = self.lines.as_ref();
        let newest = lines.and_then(|lines| lines.model.newest());
        let start = self.life.start.number;
        demand!(
            newest.is_none_or(|newest| newest < start),
            "lines",
            "station {station} is told that line {start} is lost, and there is {newest:?}"
        );
        self.end();
        Ok(())
    }

    /// The line of this cut is in the heap as this commit; or nowhere.
    fn end_line(
        &mut self,
        station: usize,
        cut: Cut,
        number: Option<CommitNumber>,
    ) -> Result<(), Violation> {
        let here = &mut self.life.stations[station].lines;
        here.succession.end(cut, number);
        if here.succession.is_running() {
            return Ok(());
        }
        match here.held_up.take() {
            Some(interval) => self.leave_barrier(station, interval),
            None => Ok(()),
        }
    }

    /// Tries to reach the page server.
    fn reconnect(&mut self, station: usize) -> Result<bool, Violation> {
        let life = self.life.number;
        let Some(lines) = &mut self.lines else {
            return Ok(false);
        };
        if !lines.server.is_up() {
            return Ok(false);
        }
        let here = &mut self.life.stations[station].lines;
        here.connection = Some(lines.network.open(life, station));
        here.keeper.connected();
        self.carry_out_of_keeper(station)?;
        Ok(true)
    }

    /// One end of a connection learns that it has ended.
    pub(in crate::team) fn line_ended(
        &mut self,
        connection: u64,
        side: Side,
    ) -> Result<(), Violation> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let line = lines.network.line(connection);
        let is_open = lines.network.is_open(connection, side);
        lines.network.close(connection, side);
        let Some(line) = line.filter(|_| is_open) else {
            return Ok(());
        };
        if side == Side::Server {
            let event = leader::Event::Closed {
                connection: ConnectionId(connection),
                died: false,
            };
            return self.tell_server(event, None);
        }
        if line.life == self.life.number && !self.life.has_ended {
            let lines = &mut self.life.stations[line.station].lines;
            if lines.connection == Some(connection) {
                lines.connection = None;
                lines.keeper.disconnected();
                self.keep_soon(line.station);
            }
        }
        Ok(())
    }
}
