//! The steps of a checkpoint, as the jobs that carry them out in the background.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};

use plurix_wire::canary::{self, Canary};
use plurix_wire::{CheckpointId, ClusterId};

use super::{CollectedPage, Done, Order, Progress, compaction, fold};
use crate::disk::{Files, Job};
use crate::error::CheckpointError;
use crate::image::Compression;
use crate::image::format as image;
use crate::image::locations::Locations;
use crate::image::writer::{ImageWriter, Written};
use crate::manifest::{Checkpoint, ImageRecord, Manifest, Position};
use crate::segment;

/// Locations that are changed before somebody else may read some.
const LOCATIONS_AT_ONCE: usize = 256;

/// Begins the image.
pub(super) fn create(
    progress: Arc<Progress>,
    id: CheckpointId,
    cluster: ClusterId,
    compression: Compression,
) -> Job {
    step(progress, move |files, progress| {
        let writer = ImageWriter::create(files, id, cluster, compression);
        let writer = writer.map_err(|error| CheckpointError::writing(files, id, error))?;
        *progress.writer.lock().expect("no job panicked") = Some(writer);
        Ok(())
    })
}

/// Appends pages to the image.
pub(super) fn append(progress: Arc<Progress>, pages: Vec<CollectedPage>) -> Job {
    step(progress, move |files, progress| {
        let mut writer = progress.writer.lock().expect("no job panicked");
        let writer = writer.as_mut().expect("the image was begun");
        for (page, bytes) in &pages {
            let appended = writer.page(files, *page, bytes);
            appended.map_err(|error| CheckpointError::writing(files, writer.id(), error))?;
        }
        let appended = pages.len() as u64;
        progress.pages.fetch_add(appended, Ordering::Relaxed);
        Ok(())
    })
}

/// What is needed to complete an image.
pub(super) struct Completion {
    pub(super) order: Order,
    pub(super) state: Vec<u8>,
    /// As it is before the checkpoint.
    pub(super) manifest: Manifest,
    /// The pages come from the log, from here on.
    pub(super) fold_from: Option<Position>,
    pub(super) locations: Arc<RwLock<Locations>>,
}

/// An image that is complete.
pub(super) struct Imaged {
    written: Written,
    changed: u64,
    carried: u64,
    /// It is yet to be brought on disk.
    is_late: bool,
}

/// Completes the image and brings it on disk.
pub(super) fn complete(completion: Completion, progress: Arc<Progress>) -> Job {
    step(progress, move |files, progress| {
        let Completion {
            order,
            state,
            manifest,
            fold_from,
            locations,
        } = completion;
        let writer = progress.writer.lock().expect("no job panicked").take();
        let mut writer = writer.expect("the image was begun");
        let changed = match fold_from {
            Some(from) => fold::fold(files, &mut writer, from, order.position, &locations)?,
            None => writer.sorted().len() as u64,
        };
        let carried = compaction::carry(files, &mut writer, &manifest, &locations)?;
        let failed = |files: &dyn Files, error| CheckpointError::writing(files, order.id, error);
        let written = writer.complete(files, order.stamp, &state);
        let written = written.map_err(|error| failed(files, error))?;
        let is_late = canary::strikes(Canary::ManifestBeforeFsync);
        if !is_late {
            files.finish().map_err(|error| failed(files, error))?;
        }
        progress.settle(Ok(Done::Imaged(Imaged {
            written,
            changed,
            carried,
            is_late,
        })));
        Ok(())
    })
}

/// What is needed to make a checkpoint exist.
pub(super) struct Publication {
    pub(super) order: Order,
    pub(super) imaged: Imaged,
    /// As it is before the checkpoint.
    pub(super) manifest: Manifest,
    /// Checkpoints that are kept.
    pub(super) keep: usize,
    pub(super) locations: Arc<RwLock<Locations>>,
}

/// Makes the checkpoint exist.
pub(super) fn publish(publication: Publication, progress: Arc<Progress>) -> Job {
    step(progress, move |files, progress| {
        let Publication {
            order,
            imaged,
            mut manifest,
            keep,
            locations,
        } = publication;
        let checkpoint = describe(files, &order, &imaged, &locations);
        let written = &imaged.written;
        manifest.images.push(ImageRecord {
            id: order.id,
            bytes: written.bytes,
            entries: written.entries.len() as u64,
            footer_crc: written.footer_crc,
            damaged: false,
        });
        manifest.checkpoints.push(checkpoint);
        manifest.keep(keep);
        manifest.sequence += 1;
        let name = manifest.name();
        files
            .replace(name, &manifest.encode())
            .map_err(|error| CheckpointError::io("replace", files.reader().path(name), error))?;
        if imaged.is_late {
            let finished = files.finish();
            finished.map_err(|error| CheckpointError::writing(files, order.id, error))?;
        }
        for entries in written.entries.chunks(LOCATIONS_AT_ONCE) {
            let mut locations = locations.write().expect("nothing panics while it is held");
            entries
                .iter()
                .for_each(|entry| locations.set(order.id, entry));
        }
        progress.settle(Ok(Done::Published(manifest)));
        Ok(())
    })
}

/// A job that does nothing if one before it failed, and says so if it fails itself.
fn step(
    progress: Arc<Progress>,
    work: impl FnOnce(&mut dyn Files, &Progress) -> Result<(), CheckpointError> + Send + 'static,
) -> Job {
    Box::new(move |files| {
        if progress.has_failed.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = work(files, &progress) {
            files.give_up();
            progress.has_failed.store(true, Ordering::Relaxed);
            progress.settle(Err(error));
        }
    })
}

/// The checkpoint whose image is written.
fn describe(
    files: &dyn Files,
    order: &Order,
    imaged: &Imaged,
    locations: &RwLock<Locations>,
) -> Checkpoint {
    let Order {
        id,
        stamp,
        strategy,
        position,
        begun,
    } = *order;
    let written = &imaged.written;
    let locations = locations.read().expect("nothing panics while it is held");
    let mut replaced = BTreeMap::<CheckpointId, u64>::new();
    for (image, _) in written
        .entries
        .iter()
        .filter_map(|entry| locations.get(entry.page))
    {
        *replaced.entry(image).or_default() += 1;
    }
    let pages = locations.len() + written.entries.len() as u64 - replaced.values().sum::<u64>();
    let is_needed = |image: &CheckpointId| Some(&locations.live_in(*image)) != replaced.get(image);
    let mut images: Vec<_> = locations.images().filter(is_needed).collect();
    images.push(id);
    let now = files.now();
    Checkpoint {
        id,
        cut: stamp,
        strategy,
        taken_at_ms: now.as_millis() as u64,
        took_us: now.saturating_sub(begun).as_micros() as u64,
        pages,
        changed: imaged.changed,
        carried: imaged.carried,
        bytes: written.bytes,
        images,
        position,
    }
}

/// Removes images that are not `needed`, and segments of the log before `log_from`. What cannot be
/// removed now is removed after the next checkpoint.
pub(super) fn remove_garbage(needed: BTreeSet<CheckpointId>, log_from: u64) -> Job {
    Box::new(move |files| {
        let images = files.list(image::DIRECTORY).unwrap_or_default();
        let images = images.iter().filter_map(|entry| image::id_of(entry));
        for id in images.filter(|id| !needed.contains(id)) {
            let _ = files.remove(&image::name(id));
        }
        let segments = files.list(segment::DIRECTORY).unwrap_or_default();
        let segments = segments.iter().filter_map(|entry| segment::index_of(entry));
        let mut old: Vec<u64> = segments.filter(|index| *index < log_from).collect();
        // Oldest first, so that what is left has no gap.
        old.sort_unstable();
        for index in old {
            if files.remove(&segment::name(index)).is_err() {
                break;
            }
        }
    })
}
