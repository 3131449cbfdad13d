//! Once faults have ended and everybody was told everything, all stations see the leader's heap,
//! byte for byte.
//!
//! Source: the liveness half of a simulation in two phases, as TigerBeetle's VOPR has it.

use std::sync::Arc;

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
        let found = leader
            .page(page)
            .unwrap_or_else(|| Arc::new([0; PAGE_BYTES]));
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
        let expected = leader
            .page(page)
            .unwrap_or_else(|| Arc::new([0; PAGE_BYTES]));
        demand!(
            memory.page_bytes(page) == Some(&expected),
            ORACLE,
            "page {page} of a station differs from the leader's"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, commit, model, objects, write};
    use super::*;
    use plurix_protocol::leader::{Durability, Settings};

    const PAGES: u64 = 2;

    /// A leader whose log holds these commits.
    fn leader_of(writes: &[(u64, u8)]) -> Leader {
        let settings = Settings::new(PAGES * PAGE_BYTES as u64, Durability::Memory);
        let mut leader = Leader::new(settings);
        for (&(offset, value), number) in writes.iter().zip(1..) {
            let record = commit(at(0, number), number, write(offset, value));
            leader.replay(&record).expect("the log is right");
        }
        leader
    }

    /// The memory of a station that holds the first page, which begins with `value`.
    fn memory(value: u8) -> HeapMemory {
        let heap = HeapMemory::emulated(PAGES * PAGE_BYTES as u64).expect("a small heap");
        let mut bytes = [0; PAGE_BYTES];
        bytes[..8].fill(value);
        heap.install(PageNumber(0), &bytes);
        heap
    }

    #[test]
    fn a_leader_that_differs_from_its_log_is_noticed() {
        let right = leader_of(&[(0, 1), (0, 2)]);
        let log = |writes| model(writes);
        assert_eq!(leader(&log(&[(0, 1), (0, 2)]), &right, PAGES), Ok(()));
        objects(leader(&log(&[(0, 1)]), &right, PAGES), "the leader is at");
        let other = log(&[(0, 1), (4096, 2)]);
        objects(leader(&other, &right, PAGES), "differs from the log's");
    }

    #[test]
    fn a_station_that_differs_from_the_leader_is_noticed() {
        let leader = leader_of(&[(0, 1), (0, 2)]);
        let judge = |value, held, number| {
            let memory = memory(value);
            station(&leader, &memory, held, CommitNumber(number))
        };
        assert_eq!(judge(2, 1, 2), Ok(()));
        objects(judge(1, 1, 2), "differs from the leader's");
        objects(judge(2, 1, 1), "long after");
        objects(judge(2, 2, 2), "holds 2");
    }
}
