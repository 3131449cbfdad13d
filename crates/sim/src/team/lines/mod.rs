//! Recovery lines of a team in the simulation: a page server that keeps them, keepers at the stations that
//! hand over their parts, and the connections between these.
//!
//! ```text
//!   member --Cut, Load--> Keeper --Offer, Pages, Complete--> network --> Server: Leader, log, disk
//!          <--collect, loaded--- <--Taken, Refused, Pages--- network <--
//!                                                       oracle: is each line the barrier that it says?
//! ```
//!
//! The keeper is the protocol's, which the library's thread drives as well; what is left out is how long its
//! sockets take. Sessions of stations are not simulated: they join when a team is formed, and
//! whoever was killed is dropped before the next one is.

mod disk;
mod form;
mod keeper;
mod network;
pub(super) mod plan;
mod server;

use plurix_protocol::ConnectionId;
use plurix_wire::{Generation, Incarnation, TeamId};

pub(super) use keeper::StationLines;
use network::LineNetwork;
use network::Side;
use plan::LinePlan;
use server::Server;

use super::World;
use super::oracle::lines::LineModel;
use crate::oracle::Violation;
use crate::random::{Purpose, Random};

/// The only team there is.
const TEAM: TeamId = TeamId(1);
const GENERATION: Generation = Generation(0);

/// What will happen to a keeper or to the page server. Those of a life, or of a server's process, that has
/// ended change nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum LineEvent {
    /// A keeper looks what there is to be done.
    Keep {
        life: u64,
        station: usize,
    },
    /// The next message of a connection reaches its end.
    Arrive {
        connection: u64,
        side: Side,
    },
    /// One end of a connection learns that it has ended.
    Ended {
        connection: u64,
        side: Side,
    },
    /// A timer of the page server.
    Tick {
        process: u64,
    },
    /// Its disk has done a piece of work.
    Job {
        process: u64,
    },
    StartServer,
}

/// All of it.
pub(super) struct Lines {
    pub(super) plan: LinePlan,
    pub(super) network: LineNetwork,
    server: Server,
    /// Who the stations are.
    members: Vec<Member>,
    /// How many sessions there were.
    sessions: u64,
    /// Times that nobody's decisions depend on.
    pace: Random,
    pub(super) model: LineModel,
    /// Messages of keepers so far.
    sent: u64,
}

/// A station, as the page server knows it.
#[derive(Debug, Clone, Copy)]
struct Member {
    /// None if its process has ended, and no other has begun.
    life: Option<Incarnation>,
    session: ConnectionId,
}

impl Lines {
    pub(super) fn new(seed: u64, plan: LinePlan, stations: usize) -> Self {
        let member = Member {
            life: None,
            session: ConnectionId(0),
        };
        Self {
            network: LineNetwork::new(seed, plan.weather.clone()),
            server: Server::new(),
            members: vec![member; stations],
            sessions: 0,
            pace: Random::new(seed, Purpose::Team(6)),
            model: LineModel::default(),
            sent: 0,
            plan,
        }
    }
}

impl World {
    /// Something happens to a keeper or to the page server.
    pub(in crate::team) fn take_line_event(&mut self, event: LineEvent) -> Result<(), Violation> {
        match event {
            LineEvent::Keep { life, station } if life == self.life.number => self.keep(station),
            LineEvent::Keep { .. } => Ok(()),
            LineEvent::Arrive { connection, side } => self.line_arrives(connection, side),
            LineEvent::Ended { connection, side } => self.line_ended(connection, side),
            LineEvent::Tick { process } => self.server_tick(process),
            LineEvent::Job { process } => self.server_job(process),
            LineEvent::StartServer => self.start_server(),
        }
    }

    /// The life and the station that something happens to, if it does to a station.
    pub(in crate::team) fn line_event_of(&self, event: LineEvent) -> Option<(u64, usize)> {
        match event {
            LineEvent::Keep { life, station } => Some((life, station)),
            LineEvent::Arrive {
                connection,
                side: Side::Keeper,
            }
            | LineEvent::Ended {
                connection,
                side: Side::Keeper,
            } => {
                let line = self.lines.as_ref()?.network.line(connection)?;
                Some((line.life, line.station))
            }
            _ => None,
        }
    }
}
