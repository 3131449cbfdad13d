//! What the leader keeps for a station, what it remembers of the past, and what a station queues
//! stay within their settings, however slow anybody is.
//!
//! Source: ARCHITECTURE.md, invariant 6.

use plurix_protocol::Time;
use plurix_protocol::leader::{self, Leader};
use plurix_protocol::station::{self, Station};
use plurix_wire::PAGE_BYTES;
use plurix_wire::message::Status;

use super::{Violation, demand};
use crate::plan::Plan;

const ORACLE: &str = "bounded memory";
/// What bookkeeping may cost beside the bytes, for each page of the heap and item in flight.
const SLACK_BYTES: u64 = 256;
/// The most that merged changes of one page take: every other byte, each with an offset and a length
/// before it, and the header of the page.
const MERGED_BYTES_MAX: u64 = 8 + PAGE_BYTES as u64 / 2 * (4 + 1);

/// Judges what the leader says of itself.
pub(crate) fn leader(leader: &Leader, plan: &Plan) -> Result<(), Violation> {
    let settings = &plan.leader;
    // The newest commit is remembered even if it is longer: its bytes, those before, and a version
    // for each of its pages.
    let commit = 2 * plan.disk.commit_bytes_max + SLACK_BYTES;
    let most = commit.max(settings.history_bytes_max as u64);
    demand!(
        leader.history_bytes() as u64 <= most,
        ORACLE,
        "the history takes {} bytes, the settings allow {most}",
        leader.history_bytes()
    );
    demand!(
        leader.outcomes_kept() <= settings.outcomes_max,
        ORACLE,
        "{} outcomes are kept for a station, the settings allow {}",
        leader.outcomes_kept(),
        settings.outcomes_max
    );
    backlogs(&leader.status(Time(0)), settings)
}

fn backlogs(status: &Status, settings: &leader::Settings) -> Result<(), Violation> {
    let pages = settings.heap_bytes / PAGE_BYTES as u64;
    // One item may take a queue beyond its bound: a commit, or a page with its whole history.
    let one = settings.history_bytes_max as u64 + (PAGE_BYTES as u64 + SLACK_BYTES) * 16;
    // Deltas that wait, or lines that were copied instead, of which some may always be.
    let most = settings.backlog_bytes_max.max(leader::FROZEN_BYTES_MIN) as u64
        + settings.answer_bytes_max as u64
        + pages * SLACK_BYTES
        + one;
    for station in &status.stations {
        demand!(
            station.backlog_bytes <= most,
            ORACLE,
            "{} bytes wait for station {}, the settings allow {most}",
            station.backlog_bytes,
            station.station
        );
        demand!(
            station.pages <= pages,
            ORACLE,
            "station {} holds {} pages of {pages}",
            station.station,
            station.pages
        );
    }
    Ok(())
}

/// What a station had when its transaction began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cached {
    /// Pages in memory.
    pub(crate) present: usize,
    /// Pages held or arrived.
    pub(crate) pages: usize,
}

/// Judges the pages of a station whose transaction begins: those that it holds are as many as it may
/// have. Answers what the transaction begins with.
pub(crate) fn cache_at_begin(
    station: &Station,
    present: usize,
    settings: &station::Settings,
) -> Result<Cached, Violation> {
    let (held, most) = (station.pages_held(), settings.cache_pages_max);
    demand!(
        held <= most,
        ORACLE,
        "a station begins a transaction with {held} pages, the settings allow {most}"
    );
    let pages = held + station.pages_arrived();
    Ok(Cached { present, pages })
}

/// Judges the pages of a station that now has `present` in memory: more than it may have are those
/// that came for the transaction, and some that were asked for ahead.
pub(crate) fn cache(
    station: &Station,
    present: usize,
    began: Cached,
    settings: &station::Settings,
) -> Result<(), Violation> {
    let pages = station.pages_held() + station.pages_arrived();
    let came = present.saturating_sub(began.present);
    let most = settings
        .cache_pages_max
        .max(began.pages)
        .saturating_add(came + 2 * settings.read_ahead as usize + 1);
    demand!(
        pages <= most,
        ORACLE,
        "a station has {pages} pages, of which {came} came for its transaction; the settings allow {most}"
    );
    Ok(())
}

/// Judges what a station queues that has had at most `pages` pages so far. Changes are merged when
/// they exceed the setting, but never below the newest bytes of each page; a page that has arrived brings its
/// history with it, and what the leader sends as one group is taken as one.
pub(crate) fn station(
    station: &Station,
    pages: usize,
    settings: &station::Settings,
    leader: &leader::Settings,
) -> Result<(), Violation> {
    let heap = leader.heap_bytes / PAGE_BYTES as u64;
    let pages = pages as u64;
    demand!(
        pages <= 2 * heap,
        ORACLE,
        "a station has {pages} pages of a heap of {heap}"
    );
    let history = leader.history_bytes_max as u64;
    let whole = pages * MERGED_BYTES_MAX + history;
    let merged = (2 * whole).max(settings.queue_bytes_max as u64);
    let group = leader.backlog_bytes_max as u64 + whole;
    demand!(
        station.queued_bytes() as u64 <= merged + group,
        ORACLE,
        "a station with {pages} pages queues {} bytes, the settings allow {}",
        station.queued_bytes(),
        merged + group
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::objects;
    use super::*;
    use plurix_protocol::leader::Durability;
    use plurix_wire::message::StationStatus;

    fn status(pages: u64, backlog_bytes: u64) -> Status {
        Status {
            stations: vec![StationStatus {
                pages,
                backlog_bytes,
                ..StationStatus::default()
            }],
            ..Status::default()
        }
    }

    #[test]
    fn more_than_the_settings_allow_is_noticed() {
        let settings = leader::Settings::new(4 * PAGE_BYTES as u64, Durability::Memory);
        assert_eq!(backlogs(&status(4, 0), &settings), Ok(()));
        objects(backlogs(&status(5, 0), &settings), "holds 5 pages");
        objects(backlogs(&status(4, u64::MAX), &settings), "bytes wait");
    }
}
