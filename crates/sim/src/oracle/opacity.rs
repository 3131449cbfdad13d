//! Every attempt, also one that will abort, sees the heap at exactly one commit.
//!
//! Source: Guerraoui and Kapałka, "On the correctness of transactional memory", PPoPP 2008.

use std::ops::Range;

use plurix_memory::HeapMemory;
use plurix_wire::{LINE_BYTES, LineNumber, PageNumber};

use super::{Attempt, Model, Moment, Violation, demand};

const ORACLE: &str = "opacity";
const LINE: u64 = LINE_BYTES as u64;

/// Judges what an attempt has just read from `range` of the heap; `seen` has as many bytes.
///
/// # Errors
/// A violation naming the first byte that was not there at the attempt's snapshot.
pub fn read(
    model: &Model,
    attempt: &Attempt,
    range: Range<u64>,
    seen: &[u8],
) -> Result<(), Violation> {
    let mut line = None;
    for (offset, byte) in range.zip(seen) {
        let (number, within) = (LineNumber(offset / LINE), (offset % LINE) as usize);
        let (_, bytes) = *line
            .filter(|(before, _)| *before == number)
            .get_or_insert_with(|| (number, model.line(number, attempt.at)));
        line = Some((number, bytes));
        let own = attempt.own.get(&offset).copied();
        let expected = own.unwrap_or(bytes[within]);
        demand!(
            *byte == expected,
            ORACLE,
            "offset {offset:#x} (page {}) is {byte} in an attempt at {}, where the log has {expected}",
            PageNumber::of(offset),
            attempt.at
        );
    }
    Ok(())
}

/// Judges all of a station's memory, when no transaction has changed it.
pub(crate) fn memory(model: &Model, memory: &HeapMemory, at: Moment) -> Result<(), Violation> {
    for page in memory.present_pages() {
        let expected = model.page(page, at);
        let found = memory.page_bytes(page).expect("present");
        let differs = found.iter().zip(&expected[..]).position(|(a, b)| a != b);
        demand!(
            differs.is_none(),
            ORACLE,
            "page {page} differs from the log's at {at}, first at byte {}",
            differs.unwrap_or_default()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, model, objects};
    use super::*;
    use plurix_wire::PAGE_BYTES;

    #[test]
    fn what_was_read_is_what_was_there_or_what_it_wrote_itself() {
        let model = model(&[(0, 1), (0, 2)]);
        let attempt = Attempt {
            at: at(0, 1),
            own: [(4, 9)].into(),
            ..Attempt::default()
        };
        let own = [1, 1, 1, 1, 9, 1, 1, 1];
        assert_eq!(read(&model, &attempt, 0..8, &own), Ok(()));
        assert_eq!(read(&model, &attempt, 8..16, &[0; 8]), Ok(()));
        objects(read(&model, &attempt, 0..8, &[1; 8]), "offset 0x4");
        objects(read(&model, &attempt, 0..4, &[2; 4]), "offset 0x0");
    }

    #[test]
    fn a_page_that_is_not_as_of_the_snapshot_is_noticed() {
        let model = model(&[(0, 1), (0, 2)]);
        let heap = HeapMemory::emulated(PAGE_BYTES as u64).expect("a small heap");
        let mut bytes = [0; PAGE_BYTES];
        bytes[..8].fill(1);
        heap.install(PageNumber(0), &bytes);
        assert_eq!(memory(&model, &heap, at(0, 1)), Ok(()));
        objects(memory(&model, &heap, at(0, 2)), "first at byte 0");
    }
}
