//! The end of a transaction: what it read, what it changed, and whether its bytes stay.
//!
//! The write set is found line by line, from the undo in ascending order:
//!
//! ```text
//!  old  . . a b c d . . . .      changed bytes (diff), and
//!  new  . . A b C D . . x x      bytes overwritten blindly (x), even if the same as before
//!  runs     [     ]     [ ]      a gap of unchanged bytes up to 4 is bridged where it was read
//! ```
//!
//! To bridge a gap is safe in lines that were read, because the commit is refused if anybody else
//! changed them; in a line overwritten blindly, it would undo the change of another station.

#![allow(unsafe_code)]

use std::ops::Range;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageLines;
use plurix_wire::{LINE_BYTES, LineMask, PAGE_BYTES, PageNumber, WriteSet};

use super::HeapMemory;
use super::table::PageTable;

/// A run costs four bytes beside its contents, so to bridge a gap of more bytes would not pay.
const GAP_BYTES_MAX: usize = 4;

impl HeapMemory {
    /// Whether the transaction opened or overwrote anything, changed or not.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        !self.undo.is_empty()
    }

    /// The lines read or opened, ascending by page; not those only overwritten.
    #[must_use]
    pub fn read_set(&self) -> Vec<PageLines> {
        let mut reads = Vec::new();
        self.table.for_each_touched(|page, read| {
            if read != 0 {
                reads.push(PageLines {
                    page,
                    lines: LineMask(read),
                });
            }
        });
        reads
    }

    /// What the transaction changed: the bytes that differ from before, and all that were
    /// overwritten. Empty if there are none. The transaction goes on.
    pub fn write_set(&mut self) -> WriteSet {
        let Self {
            memory,
            table,
            undo,
            blind,
            comparer,
            builder,
            pending: _,
        } = self;
        let mut push = |run: Range<usize>| {
            let (page, offset) = (PageNumber::of(run.start as u64), run.start % PAGE_BYTES);
            // SAFETY: `&mut self` excludes writers; the page is present, as all that was saved.
            let bytes = unsafe { memory.array::<PAGE_BYTES>(run.start - offset) };
            builder.push(page, offset, &bytes[offset..offset + run.len()]);
        };
        let mut overwritten = blind.cursor();
        let mut pending: Option<Range<usize>> = None;
        for saved in undo.sorted() {
            let start = saved.start();
            // SAFETY: `&mut self` excludes writers, for as long as the comparison takes.
            let current = unsafe { memory.array::<LINE_BYTES>(start) };
            let changed = comparer.changed(&saved.bytes, current);
            if changed == 0 && canary::strikes(Canary::DropSilentStores) {
                let entry = table.touch(start / PAGE_BYTES);
                let line = LineMask::covering(start % PAGE_BYTES, LINE_BYTES);
                entry.read.set(entry.read.get() & !line.0);
            }
            for run in runs(changed | overwritten.mask(start as u64)) {
                let next = start + run.start..start + run.end;
                pending = match pending {
                    Some(run) if may_join(table, &run, &next) => Some(run.start..next.end),
                    before => {
                        before.into_iter().for_each(&mut push);
                        Some(next)
                    }
                };
            }
        }
        pending.into_iter().for_each(&mut push);
        builder.finish()
    }

    /// Puts the old lines back and ends the transaction. To apply changes of others beneath its
    /// own, take the [`write_set`](Self::write_set) first and [`apply`](Self::apply) it at last.
    pub fn rollback(&mut self) {
        for saved in self.undo.lines() {
            if canary::strikes(Canary::ForgetUndo) {
                continue;
            }
            // SAFETY: `&mut self` excludes every reference into the heap; the undo lies outside.
            unsafe { self.memory.store(saved.start(), &saved.bytes) };
        }
        self.finish();
    }

    /// Keeps the bytes as they are and ends the transaction.
    pub fn finish(&mut self) {
        self.table.forget_touched();
        self.undo.clear();
        self.blind.clear();
    }
}

/// Whether what lies between two ascending runs may be sent with them: little, in one page, and in
/// lines that were read.
fn may_join(table: &PageTable, first: &Range<usize>, second: &Range<usize>) -> bool {
    let page = first.start / PAGE_BYTES;
    let gap = second.start - first.end;
    if gap > GAP_BYTES_MAX || page != second.start / PAGE_BYTES {
        return false;
    }
    gap == 0 || {
        let lines = LineMask::covering(first.end % PAGE_BYTES, gap).0;
        table.read(page) & lines == lines
    }
}

/// The runs of ones in a line's mask, ascending.
fn runs(mut mask: u64) -> impl Iterator<Item = Range<usize>> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let start = mask.trailing_zeros() as usize;
        let end = start + (mask >> start).trailing_ones() as usize;
        mask &= u64::MAX.checked_shl(end as u32).unwrap_or(0);
        Some(start..end)
    })
}
