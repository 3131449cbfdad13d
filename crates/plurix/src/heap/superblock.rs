//! The superblock says that the heap has been laid out, and how.

use plurix_wire::PAGE_BYTES;

use super::layout::{Geometry, SUPERBLOCK};
use super::{Allocator, corrupt};
use crate::error::{ErrorKind, Result};
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

const MAGIC: u64 = u64::from_le_bytes(*b"PLURIXHP");
/// Raised whenever the heap's own structures change their meaning.
const FORMAT: u64 = 1;

const WHERE: Ptr<Superblock> = Ptr::at(SUPERBLOCK);

#[plain]
#[derive(PartialEq, Eq)]
struct Superblock {
    magic: u64,
    format: u64,
    /// Size of the heap, in bytes.
    heap_bytes: u64,
    /// The first page that programs may have.
    first_page: u64,
}

/// Checks the heap's format, and lays the heap out if nobody has. Of two stations that do so at
/// once, one commits; the other runs again and finds it done.
pub(super) fn open(tx: &mut Transaction<'_>) -> Result<()> {
    let heap_bytes = tx.pages.len();
    let geometry = Geometry::of(heap_bytes);
    let expected = Superblock {
        magic: MAGIC,
        format: FORMAT,
        heap_bytes,
        first_page: geometry.first,
    };
    let superblock = *tx.get(WHERE)?;
    if superblock == expected {
        return Ok(());
    }
    if superblock.magic != 0 {
        // What is not a heap of Plurix has no format; the number zero was never given out.
        let known = superblock.magic == MAGIC;
        let found = if known { superblock.format } else { 0 };
        if found == FORMAT {
            return Err(corrupt("superblock"));
        }
        let expected = FORMAT;
        return Err(ErrorKind::HeapFormat { found, expected }.into());
    }
    if geometry.pages() == 0 {
        let bytes = (geometry.first + 1) * PAGE_BYTES as u64;
        return Err(ErrorKind::OutOfMemory { bytes }.into());
    }
    *tx.get_mut(WHERE)? = expected;
    Allocator::new(tx).lay_out()
}
