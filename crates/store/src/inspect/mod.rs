//! Looking at the checkpoints of a store that somebody else may be writing: nothing is locked, and
//! nothing is changed.
//!
//! A page server replaces its manifest as a whole and never changes an image, so what was read is
//! right, if perhaps of a moment ago. It removes images that no checkpoint needs any more; what they
//! held can then be read no longer, and that is told from damage by looking at the manifest again.

mod diff;
mod verify;

use std::sync::Arc;

use plurix_wire::PAGE_BYTES;
use plurix_wire::{CheckpointId, ClusterId, PageBytes, PageNumber};

use crate::checkpoint::{self, PassedOver};
use crate::directory;
use crate::disk::Disk;
use crate::error::{ImageError, InspectError, OpenError};
use crate::identity::{self, Identity};
use crate::image::locations::Locations;
use crate::image::reader::read_page;
use crate::manifest::{Checkpoint, Manifest};
pub use diff::{Difference, PageDifference};
pub use verify::{ImageState, ImageVerdict};

/// A file that is replaced while it is read looks damaged; it is not when it is read again.
const ATTEMPTS: u32 = 5;

/// How far a long operation is: what is done, and what there is to do, in pages.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// The checkpoints of a store, as of when they were looked at.
pub struct Inspection<D> {
    disk: D,
    identity: Identity,
    manifest: Manifest,
    passed_over: Vec<PassedOver>,
}

/// An image that a checkpoint is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFile {
    /// Its number, and that of the checkpoint it was written for.
    pub id: CheckpointId,
    /// Length of the file.
    pub bytes: u64,
    /// Pages in it.
    pub pages: u64,
    /// A page server has found it damaged.
    pub is_condemned: bool,
}

impl<D: Disk> Inspection<D> {
    /// Looks at the store on `disk`.
    ///
    /// # Errors
    /// [`InspectError`] if there is none, or it cannot be read.
    pub fn open(disk: D) -> Result<Self, InspectError> {
        let entries = directory::entries(&disk)?;
        if !entries.iter().any(|entry| entry == identity::NAME) {
            return Err(InspectError::NoStore {
                directory: disk.path(""),
            });
        }
        let identity = again(|| directory::read_identity(&disk), |_| true)?;
        let (manifest, passed_over) = again(
            || checkpoint::load_from(&disk, identity.cluster),
            |(_, passed_over)| passed_over.is_empty(),
        )?;
        Ok(Self {
            disk,
            identity,
            manifest,
            passed_over,
        })
    }

    /// Whose store it is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.identity.cluster
    }

    /// Size of the heap, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        self.identity.heap_bytes
    }

    /// Oldest first.
    #[must_use]
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.manifest.checkpoints
    }

    /// A manifest that cannot be read, and why.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// Checkpoint `id`, or the newest.
    ///
    /// # Errors
    /// [`InspectError::NoSuch`].
    pub fn checkpoint(&self, id: Option<CheckpointId>) -> Result<&Checkpoint, InspectError> {
        Ok(self.manifest.checkpoint(id)?)
    }

    /// The images that `checkpoint` is made of, oldest first.
    #[must_use]
    pub fn images(&self, checkpoint: &Checkpoint) -> Vec<ImageFile> {
        let records = checkpoint.images.iter();
        let records = records.filter_map(|id| self.manifest.image(*id));
        let files = records.map(|record| ImageFile {
            id: record.id,
            bytes: record.bytes,
            pages: record.entries,
            is_condemned: record.damaged,
        });
        files.collect()
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the pages of `checkpoint` are, with the leader's state. From then on they can be read,
    /// also if the page server removes their images.
    pub(crate) fn whole(&self, checkpoint: &Checkpoint) -> Result<Whole<'_, D>, InspectError> {
        let reader = self.disk.reader();
        let pages = self.identity.heap_bytes / PAGE_BYTES as u64;
        let opened = checkpoint::open(&*reader, &self.manifest, checkpoint, pages);
        let (locations, state) = opened.map_err(|error| self.why(checkpoint.id, error))?;
        Ok(Whole {
            inspection: self,
            id: checkpoint.id,
            locations,
            state,
        })
    }

    /// Why checkpoint `id` could not be read: it may have been removed meanwhile.
    fn why(&self, id: CheckpointId, source: ImageError) -> InspectError {
        let is_missing = matches!(source, ImageError::Missing { .. });
        if is_missing && !self.is_there(|now| now.checkpoint(Some(id)).is_ok()) {
            return InspectError::Removed { id };
        }
        InspectError::Unusable { id, source }
    }

    /// Whether the present manifest still says so.
    fn is_there(&self, says: impl Fn(&Manifest) -> bool) -> bool {
        let now = checkpoint::load_from(&self.disk, self.identity.cluster);
        now.is_ok_and(|(manifest, _)| says(&manifest))
    }
}

/// Does `read` until it is as it should be, or that does not help.
fn again<T>(
    read: impl Fn() -> Result<T, OpenError>,
    is_good: impl Fn(&T) -> bool,
) -> Result<T, OpenError> {
    let mut found = read();
    for _ in 1..ATTEMPTS {
        if found.as_ref().is_ok_and(&is_good) {
            break;
        }
        found = read();
    }
    found
}

/// A checkpoint of which every page can be read.
pub(crate) struct Whole<'a, D> {
    inspection: &'a Inspection<D>,
    id: CheckpointId,
    pub(crate) locations: Locations,
    pub(crate) state: Vec<u8>,
}

impl<D: Disk> Whole<'_, D> {
    /// The bytes of `page`, or `None` if it is not there.
    pub(crate) fn page(&self, page: PageNumber) -> Result<Option<Arc<PageBytes>>, InspectError> {
        let Some((image, entry)) = self.locations.get(page) else {
            return Ok(None);
        };
        let bytes = read_page(&*self.inspection.disk.reader(), image, &entry);
        bytes
            .map(Some)
            .map_err(|error| self.inspection.why(self.id, error))
    }
}
