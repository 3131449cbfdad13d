//! The checkpoints in a page server's directory: looked at while it runs, removed while it does not,
//! and carried to another directory or machine as one file.
//!
//! ```no_run
//! use std::path::Path;
//!
//! fn main() -> Result<(), plurix::checkpoints::InspectError> {
//!     let found = plurix::checkpoints::inspect("heap")?;
//!     for checkpoint in found.checkpoints() {
//!         println!("{} holds {} pages", checkpoint.id, checkpoint.pages);
//!     }
//!     let options = plurix::checkpoints::ExportOptions::default();
//!     found.export(None, Path::new("heap.plurix"), options, &mut |_, _| {})?;
//!     Ok(())
//! }
//! ```

use std::io;
use std::path::{Path, PathBuf};

pub use plurix_store::{
    Difference, ExportOptions, Exported, ImageFile, ImageState, ImageVerdict, ImportError,
    Imported, InspectError, PageDifference, Progress, Pruned,
};
use plurix_store::{ImportOptions, Inspection as StoreInspection, RealDisk};
use plurix_wire::ClusterId;
pub use plurix_wire::{LineMask, PageNumber};

/// The checkpoints of a directory, as of when they were looked at.
pub type Inspection = StoreInspection<RealDisk>;

/// Looks at the checkpoints in `dir`, also while a page server runs there.
///
/// # Errors
/// [`InspectError`] if there is no store, or it cannot be read.
pub fn inspect(dir: impl Into<PathBuf>) -> Result<Inspection, InspectError> {
    Inspection::open(RealDisk::new(dir))
}

/// Removes all checkpoints in `dir` but the newest `keep`, of which two are kept at least.
///
/// # Errors
/// [`InspectError`], also if a page server runs there; every checkpoint is then as it was.
pub fn prune(dir: impl Into<PathBuf>, keep: usize) -> Result<Pruned, InspectError> {
    plurix_store::prune(&mut RealDisk::new(dir), keep)
}

/// Makes `dir` a page server's directory of the exported checkpoint in `file`, all of which is checked
/// first. With `is_new_cluster` it gets another cluster id, so that members of the file's cluster never
/// take the one for the other.
///
/// # Errors
/// [`ImportError`]; nothing is left in `dir` then.
pub fn import(
    file: &Path,
    dir: impl Into<PathBuf>,
    segment_bytes: u64,
    is_new_cluster: bool,
    progress: Progress<'_>,
) -> Result<Imported, ImportError> {
    let system = |source: io::Error| ImportError::System { source };
    let cluster = is_new_cluster.then(draw).transpose().map_err(system)?;
    let options = ImportOptions {
        cluster,
        segment_bytes,
    };
    plurix_store::import(file, &mut RealDisk::new(dir), options, progress)
}

/// The id of a new cluster.
pub(crate) fn draw() -> io::Result<ClusterId> {
    let mut cluster = [0; 16];
    getrandom::fill(&mut cluster).map_err(io::Error::other)?;
    Ok(ClusterId(cluster))
}
