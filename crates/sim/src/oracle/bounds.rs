//! What the leader keeps for a station stays within its settings, however slow the station is.
//!
//! Source: ARCHITECTURE.md, invariant 6.

use plurix_protocol::leader::Settings;
use plurix_wire::PAGE_BYTES;
use plurix_wire::message::Status;

use super::{Violation, demand};

const ORACLE: &str = "bounded memory";
/// What bookkeeping may cost beside the bytes, for each page of the heap and item in flight.
const SLACK_BYTES: u64 = 256;

/// Judges what the leader says of itself.
pub(crate) fn leader(status: &Status, settings: &Settings) -> Result<(), Violation> {
    let pages = settings.heap_bytes / PAGE_BYTES as u64;
    // One item may take a queue beyond its bound: a commit, or a page with its whole history.
    let one = settings.history_bytes_max as u64 + (PAGE_BYTES as u64 + SLACK_BYTES) * 16;
    let most = settings.backlog_bytes_max as u64
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
        let settings = Settings::new(4 * PAGE_BYTES as u64, Durability::Memory);
        assert_eq!(leader(&status(4, 0), &settings), Ok(()));
        objects(leader(&status(5, 0), &settings), "holds 5 pages");
        objects(leader(&status(4, u64::MAX), &settings), "bytes wait");
    }
}
