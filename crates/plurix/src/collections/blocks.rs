//! Blocks of whole lines, which the parts of a collection are made of: two of them never share a line,
//! so that who writes one is in nobody's way at the other.

use super::{corrupt, or_corrupt};
use crate::error::Result;
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// Bytes of a line.
pub(super) const LINE_BYTES: usize = 64;

/// One line.
#[plain]
#[repr(C, align(64))]
struct Line([u8; LINE_BYTES]);

/// Allocates `bytes` bytes, rounded up to whole lines; what is in them is left open.
pub(super) fn allocate(tx: &mut Transaction<'_>, bytes: usize) -> Result<u64> {
    let lines = tx.alloc_slice_unset::<Line>(bytes.div_ceil(LINE_BYTES))?;
    tx.prefetch(lines);
    Ok(lines.offset())
}

/// Allocates `bytes` bytes of zeros, rounded up to whole lines.
pub(super) fn allocate_zeroed(tx: &mut Transaction<'_>, bytes: usize) -> Result<u64> {
    let lines = tx.alloc_slice::<Line>(bytes.div_ceil(LINE_BYTES))?;
    Ok(lines.offset())
}

/// Frees a block of `what` with `bytes` bytes.
pub(super) fn free(
    tx: &mut Transaction<'_>,
    offset: u64,
    bytes: usize,
    what: &'static str,
) -> Result<()> {
    let lines = bytes.div_ceil(LINE_BYTES) as u64;
    tx.free(Ptr::<[Line]>::slice_at(offset, lines))
        .map_err(|error| or_corrupt(error, what))
}

/// The offset `bytes` beyond `offset`, both of which were read from the heap.
#[inline]
pub(super) fn beyond(offset: u64, bytes: u64, what: &'static str) -> Result<u64> {
    offset.checked_add(bytes).ok_or_else(|| corrupt(what))
}

/// How many blocks of `bytes` bytes a heap can hold at most; a walk along more goes in circles.
pub(super) fn blocks_max(tx: &Transaction<'_>, bytes: usize) -> u64 {
    tx.pages.len() / bytes as u64 + 1
}
