//! Where in the heap the benchmarks work: words at fixed places, which every process of a
//! measurement knows without asking, in a part of the heap that nobody allocates from.

use plurix::{Ptr, Station};
use plurix_wire::{LINE_BYTES, PAGE_BYTES, PageNumber};

/// Far behind what a new heap uses, and far before its end.
const BASE: u64 = 1 << 34;

/// The first word of line `line` of page `page`, counted from the benchmarks' first one.
pub(crate) fn cell(page: u64, line: u64) -> Ptr<u64> {
    Ptr::at(BASE + page * PAGE_BYTES as u64 + line * LINE_BYTES as u64)
}

/// All words of a page.
pub(crate) fn whole(page: u64) -> Ptr<[u64]> {
    Ptr::slice_at(cell(page, 0).offset(), PAGE_BYTES as u64 / 8)
}

/// Word `index` of words that lie one behind the other.
pub(crate) fn dense(index: u64) -> Ptr<u64> {
    Ptr::at(BASE + index * 8)
}

/// The heap's number of the page that holds `ptr`.
pub(crate) fn page_of(ptr: Ptr<u64>) -> PageNumber {
    PageNumber::of(ptr.offset())
}

/// Reads `count` dense words, so that their pages are here.
pub(crate) fn read_all(station: &mut Station, count: u64) -> plurix::Result<()> {
    station.transaction(|tx| {
        tx.get(Ptr::<[u64]>::slice_at(dense(0).offset(), count))?;
        Ok(())
    })
}
