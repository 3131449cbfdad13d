//! The page server's disk, as far as lines need it: the newest checkpoint, and the log, which survive a kill.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use plurix_protocol::leader::{CollectedPage, Images};
use plurix_wire::record::{Record, Stamp};
use plurix_wire::{PageBytes, PageNumber};

/// A checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    pub(super) cut: Stamp,
    pub(super) state: Vec<u8>,
    /// Records of the log before it.
    pub(super) records: usize,
}

/// The pages of the newest checkpoint.
#[derive(Debug, Default)]
pub(super) struct Image(Mutex<BTreeMap<PageNumber, Arc<PageBytes>>>);

impl Image {
    pub(super) fn add(&self, pages: Vec<CollectedPage>) {
        let mut image = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        image.extend(pages);
    }

    pub(super) fn pages(&self) -> Vec<PageNumber> {
        let image = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        image.keys().copied().collect()
    }
}

impl Images for Image {
    fn load(&self, page: PageNumber) -> Arc<PageBytes> {
        let image = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&image[&page])
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) log: Vec<Record>,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) image: Arc<Image>,
}
