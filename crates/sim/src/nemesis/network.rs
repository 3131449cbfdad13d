//! What breaks between stations and the leader: single connections, sets of them, and answers.

use plurix_protocol::{ConnectionId, Span};
use plurix_wire::message::{Item, Request, ToLeader, ToStation};

use super::Fault;
use crate::network::Side;
use crate::queue::Event;
use crate::world::World;

/// Connections that will be cut at the worst moment.
#[derive(Debug, Default)]
pub(crate) struct Traps {
    /// So many batches with an answer are lost together with their connection.
    answers: u32,
    /// So many commit requests are.
    commits: u32,
    /// So many sessions end in a crash while they are opened or resumed.
    pub(crate) openings: u32,
}

impl World {
    pub(super) fn strike_network(&mut self, fault: Fault) {
        match fault {
            Fault::StallLink => self.stall_link(),
            Fault::PartOneWay => {
                let side = self.chance.pick(&[Side::Leader, Side::Station]);
                self.part(&[side]);
            }
            Fault::PartBothWays => self.part(&[Side::Leader, Side::Station]),
            Fault::BlackHole => self.black_hole(),
            Fault::LoseAnswer => self.traps.answers = self.chance.within(1..5) as u32,
            Fault::LoseCommit => self.traps.commits = self.chance.within(1..5) as u32,
            Fault::Squall => {
                let span = self.chance.around(Span::from_millis(50));
                self.network.squall(self.now + span);
            }
            _ => self.cut_link(),
        }
    }

    fn any_link(&mut self) -> Option<ConnectionId> {
        let open = self.network.open(Side::Station);
        (!open.is_empty()).then(|| self.chance.pick(&open))
    }

    fn cut_link(&mut self) {
        if let Some(connection) = self.any_link() {
            self.cut(connection);
        }
    }

    /// A connection breaks with all that is under way; each end learns it in its own time.
    pub(super) fn cut(&mut self, connection: ConnectionId) {
        if let Some([leader, station]) = self.network.cut(self.now, connection) {
            self.queue
                .push(leader, Event::Closed(connection, Side::Leader));
            self.queue
                .push(station, Event::Closed(connection, Side::Station));
        }
    }

    fn stall_link(&mut self) {
        if let Some(connection) = self.any_link() {
            let side = self.chance.pick(&[Side::Leader, Side::Station]);
            let until = self.now + self.chance.around(self.plan.leader.silence_max);
            self.network.stall(connection, side, until);
        }
    }

    /// Some stations and the leader do not hear each other for a while, which may be longer than
    /// either of them bears.
    fn part(&mut self, sides: &[Side]) {
        let percent = self.chance.pick(&[20, 50, 100]);
        let members = self.some_members(percent);
        let silence = self.plan.leader.silence_max;
        let mean = self
            .chance
            .pick(&[Span(silence.0 / 4), silence, Span(silence.0 * 2)]);
        let until = self.now + self.chance.around(mean);
        self.note(format_args!("{members:?} parted, {sides:?} hears nothing"));
        self.network.part(self.now, members, sides, until);
    }

    /// At least one station, and each other one with this chance.
    pub(super) fn some_members(&mut self, percent: u64) -> Vec<usize> {
        let count = self.members.len();
        let first = self.chance.below(count as u64) as usize;
        let chosen = (0..count).filter(|index| *index == first || self.chance.chance(percent));
        chosen.collect()
    }

    fn black_hole(&mut self) {
        if let Some(connection) = self.any_link() {
            for side in [Side::Leader, Side::Station] {
                if self.chance.chance(70) {
                    self.network.swallow(connection, side);
                }
            }
        }
    }

    /// Whether the connection is cut instead of carrying the answer to a commit, so that the
    /// station must ask again by its id.
    pub(crate) fn loses_answer(&mut self, connection: ConnectionId, message: &ToStation) -> bool {
        let ToStation::Batch(batch) = message else {
            return false;
        };
        let is_answer = |item: &Item| matches!(item, Item::Committed { .. } | Item::Refused { .. });
        if self.traps.answers == 0 || !batch.items.iter().any(is_answer) {
            return false;
        }
        self.traps.answers -= 1;
        self.note(format_args!("the answer on {connection:?} is lost"));
        self.cut(connection);
        true
    }

    /// Whether the connection is cut instead of carrying a request to commit.
    pub(crate) fn loses_commit(&mut self, connection: ConnectionId, message: &ToLeader) -> bool {
        let is_commit = matches!(
            message,
            ToLeader::Request {
                request: Request::Commit(_),
                ..
            }
        );
        if self.traps.commits == 0 || !is_commit {
            return false;
        }
        self.traps.commits -= 1;
        self.note(format_args!("the commit on {connection:?} is lost"));
        self.cut(connection);
        true
    }
}
