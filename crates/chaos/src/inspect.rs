//! What a station that was never there before finds in the heap when all is over.

use anyhow::{Result, ensure};
use plurix::{HeapReport, Ptr, Station};
use plurix_wire::PAGE_BYTES;

use crate::judge::Judge;
use crate::tables::{SLOTS, Tables};
use crate::workload::{answer, is_intact};

/// Compares every page that anybody ever changed with what the log makes of it.
///
/// # Errors
/// The first page that differs.
pub(crate) fn compare(station: &mut Station, judge: &Judge) -> Result<u64> {
    let mut compared = 0;
    for (page, expected) in judge.pages() {
        // The first byte of the heap cannot be pointed at.
        let start = page.offset().max(1);
        let skipped = (start - page.offset()) as usize;
        let bytes = Ptr::<[u8]>::slice_at(start, (PAGE_BYTES - skipped) as u64);
        let differs = station.transaction(|tx| {
            let found = tx.get(bytes)?.iter().zip(&expected[skipped..]);
            Ok(found.enumerate().find_map(|(at, (found, expected))| {
                (found != expected).then_some((at + skipped, *found, *expected))
            }))
        })?;
        ensure!(
            differs.is_none(),
            "convergence: page {page} of a new station differs from the log's, (byte, found, \
             expected): {differs:?}"
        );
        compared += 1;
    }
    Ok(compared)
}

/// Frees everything that the workers left; then the heap must be as it was before they came.
///
/// # Errors
/// What is wrong with an activity, a block, or the allocator's accounts.
pub(crate) fn clear(
    station: &mut Station,
    tables: &Tables,
    judge: &Judge,
    before: &HeapReport,
) -> Result<()> {
    for task in judge.spawned() {
        let (runs, result) = station.transaction(|tx| {
            let (runs, results) = (tables.runs, tables.results);
            let index = task as usize;
            let runs = *tx.get(runs.get(index).unwrap_or_default())?;
            let result = *tx.get(results.get(index).unwrap_or_default())?;
            Ok((runs, tx.take_result(result)?))
        })?;
        ensure!(
            (runs, result) == (1, Some(answer(task))),
            "activities: number {task} ran {runs} times and answered {result:?}"
        );
    }
    let blocks = station.transaction(|tx| Ok(tx.get(tables.slots)?.to_vec()))?;
    let mut ends = Vec::new();
    for (slot, block) in (0..SLOTS).zip(blocks).filter(|(_, block)| !block.is_null()) {
        let intact = station.transaction(|tx| Ok(is_intact(tx.get(block)?)))?;
        ensure!(
            intact,
            "allocator: {block:?} in slot {slot} lost its pattern"
        );
        ends.push((block.offset(), block.offset() + block.len() as u64 * 8));
        station.transaction(|tx| tx.free(block))?;
    }
    ends.sort_unstable();
    let overlap = ends.windows(2).find(|pair| pair[0].1 > pair[1].0);
    ensure!(overlap.is_none(), "allocator: blocks overlap: {overlap:x?}");
    let after = station.check_heap()?;
    ensure!(
        (after.usage.blocks, after.usage.allocated_bytes)
            == (before.usage.blocks, before.usage.allocated_bytes),
        "allocator: {:?} is left, before the workers came there was {:?}",
        after.usage,
        before.usage
    );
    Ok(())
}
