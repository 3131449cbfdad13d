//! Where everything of a chart stands: a column for each lane, and a row for each event that needs
//! one. Time goes downwards, but not evenly: a pause takes as much room as its logarithm, so that
//! microseconds can be read and seconds do not fill the page.

use std::collections::BTreeSet;

use plurix_protocol::{Span, Time};

use crate::trace::{Entry, Kind, Lane};

/// Left of the lanes: times and faults. Right of them: what stations on the right do.
pub(super) const MARGIN: f64 = 214.0;
/// Above the lanes: title and names.
pub(super) const HEAD: f64 = 96.0;
/// A pause of ten times the length takes so much more.
const DECADE: f64 = 7.0;

/// The places of everything.
pub(super) struct Layout {
    /// From left to right: half of the stations, the leader, the other half.
    lanes: Vec<Lane>,
    gap: f64,
    /// Time and height of each entry.
    rows: Vec<(Time, f64)>,
    pub(super) bottom: f64,
    pub(super) width: f64,
}

impl Layout {
    pub(super) fn new(entries: &[Entry], stations: impl Iterator<Item = usize>) -> Self {
        let mut lanes: Vec<Lane> = stations
            .map(Lane::Station)
            .chain(entries.iter().filter_map(|entry| lane(&entry.kind)))
            .filter(|lane| *lane != Lane::Leader)
            .collect::<BTreeSet<Lane>>()
            .into_iter()
            .collect();
        lanes.insert(lanes.len() / 2, Lane::Leader);
        let gap = match lanes.len() {
            0..=3 => 330.0,
            4..=5 => 270.0,
            _ => 220.0,
        };
        let mut y = HEAD + 24.0;
        let mut before = entries.first().map_or(Time(0), |entry| entry.time);
        let rows = entries
            .iter()
            .map(|entry| {
                y += pause(entry.time.since(before));
                before = entry.time;
                let [above, below] = height(&entry.kind);
                y += above;
                let row = (entry.time, y);
                y += below;
                row
            })
            .collect();
        Self {
            width: 2.0 * MARGIN + gap * (lanes.len() - 1) as f64,
            lanes,
            gap,
            rows,
            bottom: y + 14.0,
        }
    }

    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    pub(super) fn gap(&self) -> f64 {
        self.gap
    }

    /// The column of a lane.
    pub(super) fn x(&self, lane: Lane) -> f64 {
        let at = self.lanes.iter().position(|other| *other == lane);
        MARGIN + self.gap * at.unwrap_or_default() as f64
    }

    /// Whether a lane's remarks stand on its left: away from the leader.
    pub(super) fn is_left(&self, lane: Lane) -> bool {
        self.x(lane) < self.x(Lane::Leader)
    }

    /// The row of an entry.
    pub(super) fn row(&self, index: usize) -> f64 {
        self.rows[index].1
    }

    /// The height of a moment at which nothing need have happened.
    pub(super) fn y(&self, time: Time) -> f64 {
        let after = self.rows.partition_point(|(other, _)| *other < time);
        let Some((next, low)) = self.rows.get(after) else {
            return self.bottom;
        };
        let Some((last, high)) = after.checked_sub(1).map(|at| self.rows[at]) else {
            return *low;
        };
        let whole = next.since(last).0.max(1) as f64;
        high + (low - high) * time.since(last).0 as f64 / whole
    }
}

/// The lane that an event needs beside the leader's, if any.
fn lane(kind: &Kind) -> Option<Lane> {
    match *kind {
        Kind::Sent { from, to, .. } => Some(from.max(to)),
        Kind::Delivered { to: lane, .. }
        | Kind::Started(lane)
        | Kind::Ended(lane)
        | Kind::Remark(lane)
        | Kind::Frozen { lane, .. } => Some(lane),
        Kind::Began { station, .. } | Kind::Finished { station, .. } => {
            Some(Lane::Station(station))
        }
        Kind::Note
        | Kind::Vanished { .. }
        | Kind::Fault { .. }
        | Kind::Healed
        | Kind::Logged { .. } => None,
    }
}

fn pause(span: Span) -> f64 {
    DECADE * (1.0 + span.0 as f64 / 1000.0).log10()
}

/// The room that an event needs above and below its row.
fn height(kind: &Kind) -> [f64; 2] {
    match kind {
        Kind::Vanished { .. } => [0.0, 0.0],
        Kind::Delivered { .. } => [3.0, 3.0],
        Kind::Fault { .. } | Kind::Healed => [12.0, 12.0],
        Kind::Sent { .. } => [13.0, 3.0],
        _ => [9.0, 5.0],
    }
}
