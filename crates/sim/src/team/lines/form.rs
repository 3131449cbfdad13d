//! How a team comes together in the simulation: whoever was killed has a successor, the first station asks
//! for the newest line, and all go on from there.

use plurix_protocol::ConnectionId;
use plurix_wire::message::recovery_line::{LineAnswer, LineRequest, LineState};
use plurix_wire::message::{Join, ToLeader, ToStation};
use plurix_wire::{CommitNumber, StationId};

use super::{GENERATION, LineEvent, Side, TEAM};
use crate::oracle::{Violation, demand};
use crate::team::World;
use crate::team::oracle::lines::Start;

/// Sessions of stations are numbered from here on.
const SESSIONS: u64 = 1 << 40;

impl World {
    /// All stations have a life that the page server knows; `None` while there is no page server. Answers
    /// what the team begins from.
    pub(in crate::team) fn gather(&mut self) -> Result<Option<Start>, Violation> {
        let Some(lines) = &self.lines else {
            return Ok(Some(Start::default()));
        };
        if !lines.server.is_up() {
            return Ok(None);
        }
        for station in 0..self.plan.stations {
            self.succeed(station)?;
        }
        let Some(lines) = &self.lines else {
            return Ok(None);
        };
        let question = ToLeader::RecoveryLine {
            incarnation: lines.life(0),
            generation: GENERATION,
            request: LineRequest::Ask(TEAM),
        };
        let answer = self.ask_server(ConnectionId(SESSIONS), question)?;
        let Some(ToStation::RecoveryLine(LineAnswer::Newest { formation, line })) = answer else {
            let what = format!("asked for the newest line, the page server says {answer:?}");
            let oracle = "lines";
            return Err(Violation { oracle, what });
        };
        let Some(lines) = &self.lines else {
            return Ok(None);
        };
        let number = line.as_ref().map(|line| line.number);
        demand!(
            number == lines.model.newest(),
            "lines",
            "the newest line is {number:?}, and should be {:?}",
            lines.model.newest()
        );
        let state = line.map(|line| LineState::from_bytes(&line.state));
        let state = state.transpose().map_err(|error| Violation {
            oracle: "lines",
            what: format!("a line's state cannot be read: {error}"),
        })?;
        let start = lines.model.start(state)?;
        Ok(Some(Start { formation, ..start }))
    }

    /// The page server knows of a station's death, and of the next life.
    fn succeed(&mut self, station: usize) -> Result<(), Violation> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let old = lines.members[station];
        if old.life.is_some() {
            return Ok(());
        }
        lines.sessions += 1;
        let session = ConnectionId(SESSIONS + lines.sessions);
        lines.members[station].session = session;
        if old.session != ConnectionId(0) {
            self.server_hears_of_death(old.session)?;
        }
        let join = ToLeader::Join(Join {
            station: Some(StationId(station as u32 + 1)),
            observer: false,
            generation: GENERATION,
            seen: CommitNumber(0),
        });
        let answer = self.ask_server(session, join)?;
        let Some(ToStation::Welcome(welcome)) = answer else {
            let what = format!("station {station} wants to join, and is told {answer:?}");
            let oracle = "lines";
            return Err(Violation { oracle, what });
        };
        if let Some(lines) = &mut self.lines {
            lines.members[station].life = Some(welcome.incarnation);
        }
        Ok(())
    }

    /// A station's process ends: the page server may know at once, or when its successor comes.
    pub(in crate::team) fn bury(&mut self, station: usize) -> Result<(), Violation> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let member = &mut lines.members[station];
        let session = member.session;
        if member.life.take().is_some() && lines.pace.chance(50) {
            return self.server_hears_of_death(session);
        }
        Ok(())
    }

    /// The program has failed, and is started afresh at all stations.
    pub(in crate::team) fn bury_all(&mut self) -> Result<(), Violation> {
        (0..self.plan.stations).try_for_each(|station| self.bury(station))
    }

    /// All keepers end, and close their connections behind what they have said; it may be lost if the
    /// process has died.
    pub(in crate::team) fn end_keepers(&mut self) {
        let now = self.now;
        let Some(lines) = &mut self.lines else { return };
        for connection in lines.network.all_open(Side::Keeper) {
            let station = lines.network.line(connection).map(|line| line.station);
            let has_died = station.is_some_and(|station| lines.members[station].life.is_none());
            if has_died && lines.pace.chance(50) {
                lines.network.lose(connection, Side::Server);
            }
            lines.network.close(connection, Side::Keeper);
            let delay = lines.pace.micros(lines.plan.weather.delay_us.clone());
            let settled = lines.network.settled(connection, Side::Server).max(now);
            let event = LineEvent::Ended {
                connection,
                side: Side::Server,
            };
            self.queue.push(settled + delay, event.into());
        }
    }

    /// A keeper's connection breaks; both ends notice when they do.
    pub(in crate::team) fn break_line(&mut self, station: usize) {
        let now = self.now;
        let Some(lines) = &mut self.lines else { return };
        for connection in lines.network.all_open(Side::Keeper) {
            let is_its = |line: super::network::Line| line.station == station;
            if !lines.network.line(connection).is_some_and(is_its) {
                continue;
            }
            lines.network.break_down(connection);
            for side in [Side::Server, Side::Keeper] {
                let delay = lines.pace.micros(lines.plan.weather.delay_us.clone());
                let event = LineEvent::Ended { connection, side };
                self.queue.push(now + delay, event.into());
            }
        }
    }
}
