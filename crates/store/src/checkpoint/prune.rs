//! Removes old checkpoints of a store that nobody uses, by the rule that a page server follows.

use plurix_wire::CheckpointId;

use super::{load_from, steps};
use crate::directory;
use crate::disk::{Disk, LockError};
use crate::error::{CheckpointError, InspectError, OpenError};
use crate::identity;
use crate::image::format as image;
use crate::manifest::{Checkpoint, Manifest};
use crate::segment;

/// What was removed.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// These are no more, oldest first.
    pub removed: Vec<Checkpoint>,
    /// These are left, oldest first.
    pub left: Vec<Checkpoint>,
    /// Bytes of images and log that were given back.
    pub freed_bytes: u64,
}

/// Removes all checkpoints of the store on `disk` but the newest `keep`, of which two are kept at
/// least, with the images and the log that only they need.
///
/// # Errors
/// [`InspectError`], also if a page server runs there; every checkpoint is then as it was.
pub fn prune(disk: &mut impl Disk, keep: usize) -> Result<Pruned, InspectError> {
    let directory = disk.path("");
    let entries = directory::entries(disk)?;
    if !entries.iter().any(|entry| entry == identity::NAME) {
        return Err(InspectError::NoStore { directory });
    }
    disk.lock().map_err(|error| match error {
        LockError::Held { pid } => OpenError::Locked { directory, pid },
        LockError::Io(source) => directory::failed("lock", directory, source),
    })?;
    let identity = directory::read_identity(disk)?;
    let (before, _) = load_from(disk, identity.cluster)?;
    let mut manifest = before.clone();
    manifest.keep(keep.max(2));
    let bytes = bytes_in(disk);
    if manifest.checkpoints.len() < before.checkpoints.len() {
        manifest.sequence += 1;
        let name = manifest.name();
        let replaced = disk.replace(name, &manifest.encode());
        replaced.map_err(|error| CheckpointError::io("replace", disk.path(name), error))?;
    }
    let needed = manifest.images.iter().map(|image| image.id).collect();
    disk.start(steps::remove_garbage(needed, manifest.log_needed_from()));
    disk.drain();
    Ok(Pruned {
        removed: removed(&before, &manifest),
        left: manifest.checkpoints,
        freed_bytes: bytes.saturating_sub(bytes_in(disk)),
    })
}

fn removed(before: &Manifest, after: &Manifest) -> Vec<Checkpoint> {
    let is_left = |id: CheckpointId| after.checkpoints.iter().any(|left| left.id == id);
    let all = before.checkpoints.iter();
    all.filter(|checkpoint| !is_left(checkpoint.id))
        .cloned()
        .collect()
}

/// Bytes of all images and segments, as far as they can be counted.
fn bytes_in(disk: &impl Disk) -> u64 {
    let directories = [image::DIRECTORY, segment::DIRECTORY];
    let names = directories.iter().flat_map(|directory| {
        let entries = disk.list(directory).unwrap_or_default();
        entries
            .into_iter()
            .map(move |entry| format!("{directory}/{entry}"))
    });
    names.map(|name| disk.length(&name).unwrap_or(0)).sum()
}
