//! Writes a checkpoint as one file.

use std::path::Path;
use std::sync::Arc;

use plurix_wire::CheckpointId;

use super::head::Head;
use crate::background::{RealFiles, RealReader};
use crate::disk::{Disk, Files};
use crate::error::{CheckpointError, InspectError};
use crate::image::Compression;
use crate::image::writer::ImageWriter;
use crate::inspect::{Inspection, Progress, Whole};
use crate::manifest::Checkpoint;

/// Pages that are written before somebody is told.
const PAGES_AT_ONCE: u64 = 256;

/// How a checkpoint is exported.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    /// How pages are stored.
    pub compression: Compression,
    /// A file of this name is replaced.
    pub replaces: bool,
}

/// A checkpoint that was exported.
#[derive(Debug, Clone)]
pub struct Exported {
    /// As it is in the store.
    pub checkpoint: Checkpoint,
    /// Length of the file.
    pub bytes: u64,
}

impl<D: Disk> Inspection<D> {
    /// Writes checkpoint `id`, or the newest, to `file`, which is there as a whole or not at all.
    ///
    /// # Errors
    /// [`InspectError`]; nothing was written then.
    pub fn export(
        &self,
        id: Option<CheckpointId>,
        file: &Path,
        options: ExportOptions,
        progress: Progress<'_>,
    ) -> Result<Exported, InspectError> {
        let bad = || InspectError::BadName {
            file: file.to_owned(),
        };
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.filter(|_| !file.is_dir()).ok_or_else(bad)?;
        let free = || match file.try_exists() {
            Ok(true) if !options.replaces => Err(InspectError::Exists {
                file: file.to_owned(),
            }),
            _ => Ok(()),
        };
        free()?;
        let checkpoint = self.checkpoint(id)?;
        let whole = self.whole(checkpoint)?;
        let parent = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let files = RealFiles::new(Arc::new(RealReader::new(parent.to_owned())));
        let mut files =
            files.map_err(|error| CheckpointError::io("write", file.to_owned(), error))?;
        let written = self
            .write(checkpoint, &whole, &mut files, name, options, progress)
            .and_then(|bytes| {
                free()?;
                let finished = files.finish();
                finished.map_err(|error| CheckpointError::io("write", file.to_owned(), error))?;
                Ok(bytes)
            });
        if written.is_err() {
            files.give_up();
        }
        Ok(Exported {
            checkpoint: checkpoint.clone(),
            bytes: written?,
        })
    }

    fn write(
        &self,
        checkpoint: &Checkpoint,
        whole: &Whole<'_, D>,
        files: &mut dyn Files,
        name: &str,
        options: ExportOptions,
        progress: Progress<'_>,
    ) -> Result<u64, InspectError> {
        let identity = self.identity();
        let head = Head {
            id: checkpoint.id,
            cluster: identity.cluster,
            heap_bytes: identity.heap_bytes,
            taken_at_ms: checkpoint.taken_at_ms,
            term: identity.term.max(checkpoint.cut.term),
            generation: identity.generation.max(checkpoint.cut.generation),
        };
        let path = files.reader().path(name);
        let failed = |error| CheckpointError::io("write", path.clone(), error);
        let ids = (checkpoint.id, identity.cluster);
        let mut writer = ImageWriter::begin(files, name, &head.encode(), ids, options.compression)
            .map_err(failed)?;
        let total = whole.locations.len();
        for (page, done) in whole.locations.pages().zip(1..) {
            let bytes = whole.page(page)?.expect("it was listed");
            writer.page(files, page, &bytes).map_err(failed)?;
            if done % PAGES_AT_ONCE == 0 || done == total {
                progress(done, total);
            }
        }
        let written = writer.complete(files, checkpoint.cut, &whole.state);
        Ok(written.map_err(failed)?.bytes)
    }
}
