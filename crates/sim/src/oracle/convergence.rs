//! Once faults have ended and everybody was told everything, all stations see the leader's heap,
//! byte for byte.
//!
//! Source: the liveness half of a simulation in two phases, as TigerBeetle's VOPR has it.

use plurix_memory::HeapMemory;
use plurix_protocol::leader::Leader;
use plurix_wire::{CommitNumber, PAGE_BYTES, PageNumber};

use super::{Model, Violation, demand};

const ORACLE: &str = "convergence";

/// Judges the leader's heap against the log.
pub(crate) fn leader(model: &Model, leader: &Leader, pages: u64) -> Result<(), Violation> {
    demand!(
        leader.number() == model.newest().number
            && leader.generation() == model.newest().generation,
        ORACLE,
        "the leader is at {}{}, the log at {}",
        leader.generation(),
        leader.number(),
        model.newest()
    );
    for page in (0..pages as u32).map(PageNumber) {
        let expected = model.page(page, model.newest());
        let found = leader.page(page).map_or(&[0; PAGE_BYTES], |bytes| bytes);
        demand!(
            *found == *expected,
            ORACLE,
            "the leader's page {page} differs from the log's"
        );
    }
    Ok(())
}

/// Judges one station, whose last transaction began at `snapshot`, against the leader.
pub(crate) fn station(
    leader: &Leader,
    memory: &HeapMemory,
    held: usize,
    snapshot: CommitNumber,
) -> Result<(), Violation> {
    demand!(
        snapshot == leader.number(),
        ORACLE,
        "a station is at {snapshot} long after the leader's last commit {}",
        leader.number()
    );
    demand!(
        memory.present_count() == held,
        ORACLE,
        "a station has {} pages in memory and holds {held}",
        memory.present_count()
    );
    for page in memory.present_pages() {
        let expected = leader.page(page).map_or(&[0; PAGE_BYTES], |bytes| bytes);
        demand!(
            memory.page_bytes(page) == Some(expected),
            ORACLE,
            "page {page} of a station differs from the leader's"
        );
    }
    Ok(())
}
