//! Reads every byte of the images that checkpoints are made of.

use std::collections::BTreeSet;

use plurix_wire::CheckpointId;

use super::{ImageFile, Inspection, Progress};
use crate::disk::Disk;
use crate::error::ImageError;
use crate::image::reader::Image;
use crate::manifest::{Checkpoint, ImageRecord};

/// Pages that are read before somebody is told.
const PAGES_AT_ONCE: usize = 256;

/// What was found of an image.
#[derive(Debug)]
pub struct ImageVerdict {
    /// The image.
    pub image: ImageFile,
    /// How it is.
    pub state: ImageState,
}

/// How an image is.
#[derive(Debug)]
pub enum ImageState {
    /// Every byte is what was written.
    Whole,
    /// It is not needed any more, and was removed meanwhile.
    Removed,
    /// It is not what was written.
    Damaged(ImageError),
}

impl<D: Disk> Inspection<D> {
    /// Reads all images of these checkpoints, each once, in ascending order.
    pub fn verify(&self, checkpoints: &[&Checkpoint], progress: Progress<'_>) -> Vec<ImageVerdict> {
        let ids: BTreeSet<CheckpointId> = checkpoints
            .iter()
            .flat_map(|checkpoint| checkpoint.images.iter().copied())
            .collect();
        let records: Vec<_> = ids
            .into_iter()
            .filter_map(|id| self.manifest.image(id))
            .collect();
        let total = records.iter().map(|record| record.entries).sum();
        let mut done = 0;
        let mut verdicts = Vec::new();
        for record in records {
            let mut tell = |pages: u64| progress(done + pages, total);
            let state = match self.verify_image(record, &mut tell) {
                Ok(()) => ImageState::Whole,
                Err(ImageError::Missing { .. })
                    if !self.is_there(|now| now.image(record.id).is_some()) =>
                {
                    ImageState::Removed
                }
                Err(error) => ImageState::Damaged(error),
            };
            done += record.entries;
            verdicts.push(ImageVerdict {
                image: ImageFile {
                    id: record.id,
                    bytes: record.bytes,
                    pages: record.entries,
                    is_condemned: record.damaged,
                },
                state,
            });
        }
        verdicts
    }

    fn verify_image(
        &self,
        record: &ImageRecord,
        tell: &mut dyn FnMut(u64),
    ) -> Result<(), ImageError> {
        let reader = &*self.disk.reader();
        let image = Image::open(reader, self.identity.cluster, record)?;
        image.verify_tail(reader)?;
        let mut done = 0;
        image.visit(reader, |entries| {
            for entries in entries.chunks(PAGES_AT_ONCE) {
                for entry in entries {
                    image.page(reader, entry)?;
                }
                done += entries.len() as u64;
                tell(done);
            }
            Ok(())
        })
    }
}
