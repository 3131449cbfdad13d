//! The connections of keepers to the page server: each carries what was sent in order, some time later, and
//! its two ends learn at different times that it has ended.

use std::collections::BTreeMap;

use plurix_protocol::Time;

use crate::random::Purpose;
use crate::team::network::Network;
use crate::team::plan::Weather;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::team) enum Side {
    Server,
    Keeper,
}

/// A connection that one of its ends believes in.
#[derive(Debug, Clone, Copy)]
pub(in crate::team) struct Line {
    /// The life of the team whose keeper has it.
    pub(in crate::team) life: u64,
    pub(in crate::team) station: usize,
    is_open: [bool; 2],
    /// It carries nothing more, whoever has noticed.
    is_broken: bool,
    /// The cut of which a part was last offered on it.
    pub(super) offered: Option<u32>,
}

/// All of them.
pub(in crate::team) struct LineNetwork {
    network: Network,
    lines: BTreeMap<u64, Line>,
    count: u64,
}

impl LineNetwork {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            network: Network::new(seed, Purpose::Team(7), weather),
            lines: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn open(&mut self, life: u64, station: usize) -> u64 {
        self.count += 1;
        let line = Line {
            life,
            station,
            is_open: [true; 2],
            is_broken: false,
            offered: None,
        };
        self.lines.insert(self.count, line);
        self.count
    }

    pub(in crate::team) fn line(&self, connection: u64) -> Option<Line> {
        self.lines.get(&connection).copied()
    }

    pub(super) fn note_offer(&mut self, connection: u64, cut: u32) {
        if let Some(line) = self.lines.get_mut(&connection) {
            line.offered = Some(cut);
        }
    }

    /// Whether this end has not learnt that the connection has ended.
    pub(super) fn is_open(&self, connection: u64, side: Side) -> bool {
        let line = self.lines.get(&connection);
        line.is_some_and(|line| line.is_open[side as usize])
    }

    /// Whether what is sent has a chance to arrive.
    pub(super) fn carries(&self, connection: u64) -> bool {
        let line = self.lines.get(&connection);
        line.is_some_and(|line| line.is_open == [true; 2] && !line.is_broken)
    }

    /// Loses all that is under way, and all that is sent from now on.
    pub(super) fn break_down(&mut self, connection: u64) {
        self.lose(connection, Side::Server);
        self.lose(connection, Side::Keeper);
        if let Some(line) = self.lines.get_mut(&connection) {
            line.is_broken = true;
        }
    }

    /// Connections of which this end is open.
    pub(super) fn all_open(&self, side: Side) -> Vec<u64> {
        let open = self
            .lines
            .iter()
            .filter(|(_, line)| line.is_open[side as usize]);
        open.map(|(connection, _)| *connection).collect()
    }

    /// Sends to one end, unless the other has closed; answers the frame's number, and when it arrives.
    pub(super) fn send(
        &mut self,
        now: Time,
        (connection, to): (u64, Side),
        bytes: Vec<u8>,
    ) -> (u64, Time) {
        self.network.send(now, link(connection, to), bytes)
    }

    pub(super) fn take(&mut self, connection: u64, to: Side) -> Option<(u64, Vec<u8>)> {
        self.network.take(link(connection, to))
    }

    /// When all that is under way to one end will have arrived.
    pub(super) fn settled(&self, connection: u64, to: Side) -> Time {
        self.network.busy_until(link(connection, to))
    }

    /// Loses what is under way to one end.
    pub(super) fn lose(&mut self, connection: u64, to: Side) {
        self.network.lose(link(connection, to));
    }

    /// One end closes, or learns that the other has.
    pub(super) fn close(&mut self, connection: u64, side: Side) {
        self.lose(connection, side);
        if let Some(line) = self.lines.get_mut(&connection) {
            line.is_open[side as usize] = false;
            if line.is_open == [false; 2] {
                self.lines.remove(&connection);
            }
        }
    }
}

fn link(connection: u64, to: Side) -> (usize, usize) {
    (connection as usize, to as usize)
}
