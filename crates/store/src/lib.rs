//! A page server's disk: its directory, lock, identity and commit log, so that what was answered
//! is still there after the failures that the durability promises to survive.
//!
//! ```text
//!          create_or_open            replay              begin_term
//!  nothing ──────────────▶ opened ───────────▶ replayed ────────────▶ leading ──▶ close_clean
//!                                                            append · maintain · sync
//! ```
//!
//! A [`Store`] is generic over its [`Disk`]: [`RealDisk`] is a directory of a file system,
//! [`simulated`] one in memory that crashes, fills up and decays on demand. Above that trait
//! nothing knows a clock, randomness or the environment: boot id, cluster id and time are passed in.
//!
//! A log record reaches its segment by plain stores into a mapped, preallocated file, its first
//! word last. So it survives `kill -9` the moment [`Store::append`] returns, takes no system call,
//! and cannot meet a full disk; [`Store::maintain`] meets it early, in the background. The formats
//! are drawn in `docs/file-format.md`.
//!
//! **Invariant**: what a replay hands out is a prefix of what was appended, in order, and contains
//! every commit that the last successful [`Store::sync`] reported; anything else is an error that
//! names file and byte.

mod background;
mod chain;
mod checkpoint;
mod directory;
mod disk;
mod error;
mod identity;
mod image;
mod inspect;
mod log;
mod manifest;
mod options;
mod preamble;
mod real;
mod repair;
mod replay;
mod segment;
pub mod simulated;
mod store;
mod syncer;
mod transfer;
mod worker;

pub use checkpoint::{Base, CollectedPage, Cut, PassedOver, Pruned, StoredPages, prune};
pub use disk::{Disk, Files, Job, LockError, NewSegment, Reader, SegmentFile};
pub use error::{
    AppendError, CheckpointError, Failure, ImageError, ImportError, InspectError, NoSuchCheckpoint,
    OpenError, ReplayError, RestoreError, UnreadablePage,
};
pub use identity::{BootId, Durability, FORMAT_VERSION};
pub use image::{Codec, Compression, IMAGE_VERSION};
pub use inspect::{
    Difference, ImageFile, ImageState, ImageVerdict, Inspection, PageDifference, Progress,
};
pub use log::Space;
pub use manifest::{Checkpoint, Strategy};
pub use options::Options;
pub use real::{MappedSegment, RealDisk, boot_id};
pub use replay::{Recovered, Torn};
pub use store::Store;
pub use transfer::{ExportOptions, Exported, ImportOptions, Imported, import};
