//! A keeper: hands over what has changed at a cut, and fetches pages of the line that the team went on from.
//! It decides as the library's does: a part of which some pages may be lost is withdrawn; what was asked for
//! and has not come is asked again on the next connection.

use std::collections::VecDeque;

use plurix_protocol::leader;
use plurix_protocol::team::Boundary;
use plurix_protocol::{ConnectionId, Span};
use plurix_wire::message::peer::Cut;
use plurix_wire::message::recovery_line::{
    Basis, LineAnswer, LineRequest, LineState, Marks, Offer,
};
use plurix_wire::message::{PageRun, ToLeader, ToStation};
use plurix_wire::{CommitNumber, Rank, frame};

use super::{GENERATION, LineEvent, Side, TEAM};
use crate::brief::{Brief, Told as _};
use crate::oracle::{Violation, demand};
use crate::tally::Mark;
use crate::team::World;
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
pub(in crate::team) struct Keeper {
    /// The line that the team went on from.
    start: CommitNumber,
    basis: Basis,
    /// The cut that is being handed over, as the engine knows.
    running: Option<Cut>,
    /// The phase behind the barrier that the workers are at.
    pub(in crate::team) phase: usize,
    /// Workers wait behind the barrier of this interval for the line under way.
    pub(in crate::team) held_up: Option<usize>,
    jobs: VecDeque<Job>,
    connection: Option<u64>,
    /// Runs that were asked for and have not come, in order.
    loads: VecDeque<PageRun>,
    part: Option<Part>,
    offered: VecDeque<Cut>,
    /// The last cut, if this station's part is of no line.
    withdrawn: Option<Cut>,
}

#[derive(Debug)]
enum Job {
    Load(PageRun),
    HandOver(Cut, LineState),
}

#[derive(Debug)]
struct Part {
    cut: Cut,
    /// Until all pages are on their way.
    state: Option<LineState>,
    is_begun: bool,
    is_taken: Option<CommitNumber>,
}

impl Keeper {
    pub(in crate::team) fn new(start: CommitNumber) -> Self {
        Self {
            start,
            basis: Basis::Changed(start),
            running: None,
            phase: 0,
            held_up: None,
            jobs: VecDeque::new(),
            connection: None,
            loads: VecDeque::new(),
            part: None,
            offered: VecDeque::new(),
            withdrawn: None,
        }
    }

    fn is_idle(&self) -> bool {
        let wants = !self.loads.is_empty() || self.part.is_some() || self.withdrawn.is_some();
        !wants && self.connection.is_none()
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
        let keeper = &mut self.life.stations[station].keeper;
        keeper.phase = interval + 1;
        let wishes = self.chance_of_line.chance(lines.plan.wish_percent);
        match keeper.running.is_none() && wishes {
            true => Boundary::Cut(keeper.basis),
            false => Boundary::Phase,
        }
    }

    /// Whether a station's workers stay where they are until the line under way has ended.
    pub(in crate::team) fn holds_up(&self, station: usize, is_last: bool) -> bool {
        let is_running = self.life.stations[station].keeper.running.is_some();
        let is_blocking = |lines: &super::Lines| lines.plan.is_blocking || is_last && station == 0;
        is_running && self.lines.as_deref().is_some_and(is_blocking)
    }

    /// A barrier that is a cut has opened.
    pub(in crate::team) fn begin_line(&mut self, station: usize, cut: Cut, marks: Option<Marks>) {
        let keeper = &mut self.life.stations[station].keeper;
        keeper.running = Some(cut);
        let state = LineState {
            phase: keeper.phase as u64,
            marks: marks.unwrap_or_default(),
        };
        keeper.jobs.push_back(Job::HandOver(cut, state));
        let (life, phase) = (self.life.number, self.life.stations[station].keeper.phase);
        if let Some(lines) = &mut self.lines {
            lines.model.cut((life, cut.ordinal), phase);
        }
        self.keep_soon(station);
    }

    /// Pages of the team's line are wanted.
    pub(in crate::team) fn load_of_line(&mut self, station: usize, run: PageRun) {
        let keeper = &mut self.life.stations[station].keeper;
        keeper.jobs.push_back(Job::Load(run));
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
        let jobs = std::mem::take(&mut self.life.stations[station].keeper.jobs);
        for job in jobs {
            self.begin_job(station, job);
        }
        if self.life.stations[station].keeper.is_idle() {
            return Ok(());
        }
        if self.life.stations[station].keeper.connection.is_none() && !self.reconnect(station)? {
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

    fn begin_job(&mut self, station: usize, job: Job) {
        let keeper = &mut self.life.stations[station].keeper;
        match job {
            Job::Load(run) => {
                keeper.loads.push_back(run);
                self.say_load(station, run);
            }
            Job::HandOver(cut, state) => {
                keeper.withdrawn = None;
                keeper.part = Some(Part {
                    cut,
                    state: Some(state),
                    is_begun: false,
                    is_taken: None,
                });
                self.say_offer(station);
            }
        }
    }

    fn say_load(&mut self, station: usize, run: PageRun) {
        let line = self.life.stations[station].keeper.start;
        let team = TEAM;
        self.say(station, LineRequest::Load { team, line, run });
    }

    fn say_offer(&mut self, station: usize) {
        let keeper = &mut self.life.stations[station].keeper;
        let (Some(part), Some(connection)) = (&keeper.part, keeper.connection) else {
            return;
        };
        let cut = part.cut;
        keeper.offered.push_back(cut);
        let offer = self.offer(station, cut);
        if let Some(lines) = &mut self.lines {
            lines.network.note_offer(connection, cut.ordinal);
        }
        self.say(station, LineRequest::Offer(offer));
    }

    fn offer(&self, station: usize, cut: Cut) -> Offer {
        Offer {
            team: TEAM,
            formation: self.life.start.formation,
            cut: cut.ordinal,
            basis: cut.basis,
            rank: Rank(station as u16),
            size: self.plan.stations as u16,
        }
    }

    fn say(&mut self, station: usize, request: LineRequest) {
        let Some(lines) = &self.lines else { return };
        let message = ToLeader::RecoveryLine {
            incarnation: lines.life(station),
            generation: GENERATION,
            request,
        };
        self.say_message(station, &message);
    }

    fn say_message(&mut self, station: usize, message: &ToLeader) {
        if let Some(connection) = self.life.stations[station].keeper.connection {
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
        let Some(lines) = &self.lines else {
            return Ok(false);
        };
        let most = lines.plan.collected;
        let here = &mut self.life.stations[station];
        let Some(part) = here
            .keeper
            .part
            .as_mut()
            .filter(|part| part.state.is_some())
        else {
            return Ok(false);
        };
        part.is_begun = true;
        let collected = here.member.collect(part.cut, most, &here.memory.view);
        let Some((pages, is_last)) = collected else {
            // There has been another cut.
            here.keeper.part = None;
            return Ok(true);
        };
        let cut = (self.life.number, part.cut.ordinal);
        let state = part.state.take_if(|_| is_last);
        for pages in &pages {
            for (page, bytes) in pages.each() {
                let raced = self.scripts.race.map(|race| race.spot);
                lines.model.collected(cut, page, bytes, raced, station)?;
            }
        }
        for pages in pages {
            self.say(station, LineRequest::Pages(pages));
        }
        if let Some(state) = state {
            let state = if station == 0 {
                state.to_bytes()
            } else {
                Vec::new()
            };
            self.say(station, LineRequest::Complete { state });
        }
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
        let here = &mut self.life.stations[station];
        match answer {
            ToStation::RecoveryLine(LineAnswer::Pages(pages)) => {
                let keeper = &mut here.keeper;
                let first = keeper.loads.front_mut();
                if let Some(first) = first {
                    first.first.0 = first.first.0.wrapping_add(pages.run.count);
                    first.count = first.count.saturating_sub(pages.run.count);
                    if first.count == 0 {
                        keeper.loads.pop_front();
                    }
                }
                self.tally.mark(Mark::LinePagesLoaded);
                let raced = self.scripts.race.map(|race| race.spot);
                for (page, bytes) in pages.each() {
                    self.life
                        .start
                        .check(page, bytes, raced, "what is loaded")?;
                }
                let answer = here.member.loaded(&pages, &mut here.memory.view);
                answer.map_err(|error| Violation {
                    oracle: "refusals",
                    what: format!("station {station} refuses pages of a line: {error}"),
                })?;
                self.flush(station)?;
                self.wake(station);
                self.look_at_copies()
            }
            ToStation::RecoveryLine(LineAnswer::Taken(number)) => self.taken(station, number),
            ToStation::RecoveryLine(LineAnswer::Refused(why)) => {
                let refused = here.keeper.offered.pop_front();
                demand!(
                    why != plurix_wire::message::recovery_line::LineRefusal::NotAMember,
                    "lines",
                    "station {station} is refused: {why}"
                );
                self.tally.mark(Mark::LineRefused);
                if here.keeper.part.as_ref().map(|part| part.cut) == refused {
                    return self.fail(station);
                }
                Ok(())
            }
            ToStation::RecoveryLine(LineAnswer::Lost(why)) => {
                self.tally.mark(Mark::LineLost);
                self.note(format_args!("station {station} has lost its line: {why}"));
                let lines = self.lines.as_ref();
                let newest = lines.and_then(|lines| lines.model.newest());
                let start = here_start(self, station);
                demand!(
                    newest.is_none_or(|newest| newest < start),
                    "lines",
                    "station {station} is told that line {start} is lost, and there is {newest:?}"
                );
                self.end();
                Ok(())
            }
            ToStation::Checkpointed(outcome) => {
                let part = here.keeper.part.take_if(|part| part.is_taken.is_some());
                match part.and_then(|part| part.is_taken) {
                    Some(number) => self.end_line(station, outcome.is_ok().then_some(number)),
                    None => Ok(()),
                }
            }
            other => Err(Violation {
                oracle: "refusals",
                what: format!("station {station} is told {other:?}"),
            }),
        }
    }

    fn taken(&mut self, station: usize, number: CommitNumber) -> Result<(), Violation> {
        let is_blocking = self.lines.as_ref().is_some_and(|it| it.plan.is_blocking);
        let keeper = &mut self.life.stations[station].keeper;
        let taken = keeper.offered.pop_front();
        let Some(part) = keeper.part.as_mut().filter(|part| Some(part.cut) == taken) else {
            return Ok(());
        };
        part.is_taken = Some(number);
        if is_blocking {
            self.say_message(station, &ToLeader::Checkpoint);
            return Ok(());
        }
        keeper.part = None;
        self.end_line(station, Some(number))
    }

    fn fail(&mut self, station: usize) -> Result<(), Violation> {
        let keeper = &mut self.life.stations[station].keeper;
        match keeper.part.take() {
            Some(part) => {
                keeper.withdrawn = Some(part.cut);
                self.end_line(station, None)
            }
            None => Ok(()),
        }
    }

    /// The line under way is in the heap as this commit; or nowhere.
    fn end_line(&mut self, station: usize, number: Option<CommitNumber>) -> Result<(), Violation> {
        let keeper = &mut self.life.stations[station].keeper;
        keeper.running = None;
        keeper.basis = match number {
            Some(number) => Basis::Changed(number),
            None => Basis::All(keeper.start),
        };
        match keeper.held_up.take() {
            Some(interval) => self.leave_barrier(station, interval),
            None => Ok(()),
        }
    }

    /// Tries to reach the page server, and asks again for what has not come.
    fn reconnect(&mut self, station: usize) -> Result<bool, Violation> {
        let life = self.life.number;
        let Some(lines) = &mut self.lines else {
            return Ok(false);
        };
        if !lines.server.is_up() {
            return Ok(false);
        }
        let connection = lines.network.open(life, station);
        let keeper = &mut self.life.stations[station].keeper;
        keeper.connection = Some(connection);
        for run in keeper.loads.clone() {
            self.say_load(station, run);
        }
        let part = self.life.stations[station].keeper.part.as_ref();
        if part.is_some_and(|part| part.is_begun) {
            self.fail(station)?;
        }
        if let Some(cut) = self.life.stations[station].keeper.withdrawn {
            let offer = self.offer(station, cut);
            self.say(station, LineRequest::Withdraw(offer));
        }
        self.say_offer(station);
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
            let keeper = &mut self.life.stations[line.station].keeper;
            if keeper.connection == Some(connection) {
                keeper.connection = None;
                keeper.offered.clear();
                self.keep_soon(line.station);
            }
        }
        Ok(())
    }
}

fn here_start(world: &World, station: usize) -> CommitNumber {
    world.life.stations[station].keeper.start
}
