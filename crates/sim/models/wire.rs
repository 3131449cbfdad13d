//! A connection as the models see it: two queues of frames, and two ends that learn of its loss
//! separately.
//!
//! ```text
//!   station end                                  leader end
//!     Open  ---- to_leader: frame, frame --->      Open
//!     Open  <--- to_station: frame, frame ---      Open
//! ```
//!
//! An end that is not `Open` receives nothing more, and what is sent to it vanishes. What was under
//! way to the other end may still arrive there, a prefix of it, until that end learns of the loss:
//! this is how answers get lost.

use std::collections::VecDeque;

use plurix_protocol::ConnectionId;
use plurix_wire::message::{ToLeader, ToStation};
use plurix_wire::{Generation, Incarnation};

/// How an end of a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Open,
    /// Closed in order: the peer reads what was sent before.
    Closed,
    /// The connection broke: of what was sent before, the peer may read a part.
    Lost,
    /// The process behind it died.
    Died,
}

/// One connection.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Wire {
    pub(crate) id: ConnectionId,
    /// The process that made it.
    pub(crate) station: usize,
    pub(crate) station_end: End,
    pub(crate) leader_end: End,
    pub(crate) to_leader: VecDeque<ToLeader>,
    pub(crate) to_station: VecDeque<ToStation>,
    /// Whom the leader has welcomed on it.
    pub(crate) member: Option<(Incarnation, Generation)>,
}

impl Wire {
    pub(crate) fn new(id: ConnectionId, station: usize) -> Self {
        Self {
            id,
            station,
            station_end: End::Open,
            leader_end: End::Open,
            to_leader: VecDeque::new(),
            to_station: VecDeque::new(),
            member: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        (self.station_end, self.leader_end) == (End::Open, End::Open)
    }

    /// Neither end knows of it any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.station_end != End::Open && self.leader_end != End::Open
    }

    /// Whether the leader can notice now that the station's end is not open any more.
    pub(crate) fn leader_can_learn(&self, local: bool) -> bool {
        let orderly = match self.station_end {
            End::Open => return false,
            End::Closed => true,
            // What a process on the same host had sent is read before its end counts.
            End::Died => local,
            End::Lost => false,
        };
        self.leader_end == End::Open && (!orderly || self.to_leader.is_empty())
    }

    /// Whether the station can notice now that the leader's end is not open any more.
    pub(crate) fn station_can_learn(&self) -> bool {
        let orderly = match self.leader_end {
            End::Open => return false,
            End::Closed => true,
            End::Lost | End::Died => false,
        };
        self.station_end == End::Open && (!orderly || self.to_station.is_empty())
    }

    pub(crate) fn close_station_end(&mut self, end: End) {
        self.station_end = end;
        self.to_station.clear();
    }

    pub(crate) fn close_leader_end(&mut self, end: End) {
        self.leader_end = end;
        self.to_leader.clear();
    }
}
