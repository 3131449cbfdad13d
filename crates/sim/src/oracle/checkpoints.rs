//! A checkpoint holds the heap as of its cut, byte for byte, and one that was taken on a disk that
//! does what it says can be used.
//!
//! Source: ARCHITECTURE.md, invariant 7, and docs/file-format.md, "Images".

use std::sync::Arc;

use plurix_store::{Base, CheckpointError, StoredPages};
use plurix_wire::record::Stamp;
use plurix_wire::{PAGE_BYTES, PageNumber};

use super::{Model, Moment, Violation, demand};

const ORACLE: &str = "checkpoints";

/// Judges what a page server starts from: nothing may be passed over unless bits have flipped.
pub(crate) fn whole(base: &Base, has_decayed: bool) -> Result<(), Violation> {
    if let Some(passed) = base.passed_over.first() {
        demand!(
            has_decayed,
            ORACLE,
            "{:?} is passed over: {}",
            passed.checkpoint,
            passed.why
        );
    }
    Ok(())
}

/// Judges the pages of a checkpoint against the log.
pub(crate) fn restored(
    model: &Model,
    cut: Stamp,
    pages: u64,
    stored: &StoredPages,
) -> Result<(), Violation> {
    let at = Moment {
        generation: cut.generation,
        number: cut.number,
    };
    for page in (0..pages as u32).map(PageNumber) {
        let expected = model.page(page, at);
        let found = match stored.read(page) {
            Ok(found) => found,
            // What decayed is noticed, and never taken for the heap.
            Err(_) => continue,
        };
        let found = found.unwrap_or_else(|| Arc::new([0; PAGE_BYTES]));
        let differs = expected.iter().zip(found.iter()).position(|(a, b)| a != b);
        demand!(
            differs.is_none(),
            ORACLE,
            "the checkpoint cut at {at} has another {page} from byte {differs:?} on than the log"
        );
    }
    Ok(())
}

/// Judges why no checkpoint was taken, on a disk that `may_fail` or not.
pub(crate) fn failed(error: &CheckpointError, may_fail: bool) -> Result<(), Violation> {
    let is_full = matches!(error, CheckpointError::NoSpace { .. });
    demand!(
        is_full || may_fail,
        ORACLE,
        "no checkpoint was taken on a sound disk: {error}"
    );
    Ok(())
}
