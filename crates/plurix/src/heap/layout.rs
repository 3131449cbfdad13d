//! Where the heap keeps its own management.
//!
//! ```text
//!  page  0        superblock; byte 0 stays unused, so that no pointer to anything is null
//!  page  1        name directory: hash buckets
//!  pages 2..10    activity queue: 64 stripes of 512 bytes
//!  pages 10..26   allocator: 64 arenas of 1024 bytes
//!  page  26       allocator: heads of the lists of free page runs
//!  pages 32..     page map: 16 bytes for each page of the heap
//!  then           what programs allocate
//! ```
//!
//! Every part is ordinary transactional data: a station that allocates takes part in the same
//! validation as one that writes an account, and a commit that dies leaves no leak.

use plurix_wire::PAGE_BYTES;

/// The superblock.
pub(crate) const SUPERBLOCK: u64 = 64;
/// The name directory.
pub(crate) const NAMES: u64 = PAGE_BYTES as u64;
/// The stripes of the activity queue.
pub(crate) const ACTIVITIES: u64 = 2 * PAGE_BYTES as u64;
/// Bytes of one stripe.
pub(crate) const STRIPE_BYTES: u64 = 512;
/// Stripes, and arenas: stations beyond share them.
pub(crate) const STRIPES: usize = 64;
/// The arenas.
pub(crate) const ARENAS: u64 = 10 * PAGE_BYTES as u64;
/// Bytes of one arena.
pub(crate) const ARENA_BYTES: u64 = 1024;
/// The heads of the lists of free page runs.
pub(crate) const FREE_RUNS: u64 = 26 * PAGE_BYTES as u64;
/// The page map.
pub(crate) const PAGE_MAP: u64 = 32 * PAGE_BYTES as u64;
