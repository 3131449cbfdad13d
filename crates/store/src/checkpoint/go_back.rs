//! Takes the heap back to an earlier checkpoint: a new entry at the end of the manifest that repeats
//! it, and a log that begins anew behind that.
//!
//! ```text
//!   before   1 ── 2 ── 3 ── 4 ── log        after   1 ── 2 ── 3 ── 4    abandoned, but for 2
//!                 │                                      └──────────── 5 ── new log
//! ```
//!
//! The order bears a crash at any moment: a spare segment, an image without pages and a generation
//! that is due change nothing of the heap, and the manifest makes all of it so. It is written into
//! both files, so that no damage to one of them alone leads back to what was abandoned.
//!
//! **Invariant**: the log of an abandoned line is never continued. What it had beyond its newest
//! checkpoint is gone; its checkpoints stay until retention drops them, and one may go back to them.

use std::sync::{Arc, Mutex};

use plurix_wire::CheckpointId;

use super::{Checkpoints, open};
use crate::disk::{Disk, Files, Reader};
use crate::error::{CheckpointError, ImageError, RestoreError};
use crate::image::locations::Locations;
use crate::image::reader::read_page;
use crate::image::writer::{ImageWriter, Written};
use crate::log::Shape;
use crate::manifest::{self, Checkpoint, ImageRecord, Manifest, Position, Strategy};
use crate::segment::{self, HEAD_BYTES};

/// A way back that is prepared, and changes nothing until it is taken.
pub(crate) struct WayBack {
    /// The checkpoint that will begin the new line.
    pub(crate) checkpoint: Checkpoint,
    image: ImageRecord,
}

impl Checkpoints {
    /// Prepares to go back to checkpoint `to`, or the newest; all of it is read and checked first.
    pub(crate) fn prepare_to_go_back(
        &self,
        disk: &mut impl Disk,
        to: Option<CheckpointId>,
        shape: &Shape,
    ) -> Result<WayBack, RestoreError> {
        let reader = disk.reader();
        let earlier = self.manifest.checkpoint(to)?;
        let unusable = |source| RestoreError::Unusable {
            id: earlier.id,
            source,
        };
        let opened = open(&*reader, &self.manifest, earlier, self.pages);
        let (locations, state) = opened.map_err(unusable)?;
        verify(&*reader, &locations).map_err(unusable)?;
        let position = create_segment(disk, &self.manifest, shape)?;
        let id = self.manifest.newest_id.next();
        let begun = disk.now();
        let written = self.write_image(disk, id, earlier, state)?;
        let now = disk.now();
        let image = ImageRecord {
            id,
            bytes: written.bytes,
            entries: 0,
            footer_crc: written.footer_crc,
            damaged: false,
        };
        let mut images = earlier.images.clone();
        images.push(id);
        let checkpoint = Checkpoint {
            id,
            cut: earlier.cut,
            strategy: Strategy::Restored,
            taken_at_ms: now.as_millis() as u64,
            took_us: now.saturating_sub(begun).as_micros() as u64,
            pages: earlier.pages,
            changed: 0,
            carried: 0,
            bytes: written.bytes,
            images,
            position,
        };
        Ok(WayBack { checkpoint, image })
    }

    /// Writes an image that holds the leader's state and no page.
    fn write_image(
        &self,
        disk: &mut impl Disk,
        id: CheckpointId,
        earlier: &Checkpoint,
        state: Vec<u8>,
    ) -> Result<Written, CheckpointError> {
        let (cluster, compression, stamp) = (self.cluster, self.compression, earlier.cut);
        let write = move |files: &mut dyn Files| {
            let writer = ImageWriter::create(files, id, cluster, compression)?;
            let written = writer.complete(files, stamp, &state)?;
            files.finish()?;
            Ok(written)
        };
        let outcome = Arc::new(Mutex::new(None));
        let told = Arc::clone(&outcome);
        disk.start(Box::new(move |files| {
            let written = write(files).map_err(|error| {
                files.give_up();
                CheckpointError::writing(files, id, error)
            });
            *told.lock().expect("nothing panics while it is held") = Some(written);
        }));
        disk.drain();
        let mut outcome = outcome.lock().expect("nothing panics while it is held");
        outcome.take().expect("the job was done")
    }

    /// Makes it so.
    pub(crate) fn go_back(
        &mut self,
        disk: &mut impl Disk,
        way: WayBack,
    ) -> Result<Checkpoint, RestoreError> {
        let mut manifest = self.manifest.clone();
        manifest.newest_id = way.checkpoint.id;
        manifest.images.push(way.image);
        manifest.checkpoints.push(way.checkpoint.clone());
        manifest.keep(self.keep);
        for _ in manifest::NAMES {
            manifest.sequence += 1;
            let name = manifest.name();
            disk.replace(name, &manifest.encode())
                .map_err(|error| CheckpointError::io("replace", disk.path(name), error))?;
        }
        self.manifest = manifest;
        self.remove_garbage(disk);
        Ok(way.checkpoint)
    }
}

/// Reads every page.
pub(crate) fn verify(reader: &dyn Reader, locations: &Locations) -> Result<(), ImageError> {
    let mut pages = locations.pages().filter_map(|page| locations.get(page));
    pages.try_for_each(|(image, entry)| read_page(reader, image, &entry).map(drop))
}

/// Creates the segment in which a log will begin that leads on from no other; answers its first
/// position. Until somebody begins it, it is a spare one like others.
pub(crate) fn create_segment(
    disk: &mut impl Disk,
    manifest: &Manifest,
    shape: &Shape,
) -> Result<Position, CheckpointError> {
    let listed = disk
        .list(segment::DIRECTORY)
        .map_err(|error| CheckpointError::io("list", disk.path(segment::DIRECTORY), error))?;
    let there = listed.iter().filter_map(|entry| segment::index_of(entry));
    let checkpoints = manifest.checkpoints.iter();
    let named = checkpoints.map(|checkpoint| checkpoint.position.segment);
    let index = there.chain(named).max().unwrap_or(0) + 1;
    let created = disk.create(shape.segment(index)).map(drop);
    created
        .map_err(|error| CheckpointError::io("create", disk.path(&segment::name(index)), error))?;
    Ok(Position {
        segment: index,
        at: HEAD_BYTES as u64,
        last_at: 0,
    })
}
