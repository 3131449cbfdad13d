//! Finds the manifest, and the newest checkpoint that can be used as a whole.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use plurix_wire::record::Stamp;
use plurix_wire::{CheckpointId, ClusterId};

use super::Checkpoints;
use crate::disk::{Disk, Reader, SegmentFile as _};
use crate::error::{ImageError, OpenError, ReplayError};
use crate::image::IMAGE_VERSION;
use crate::image::locations::Locations;
use crate::image::reader::Image;
use crate::log;
use crate::manifest::{self, Checkpoint, Manifest, Position, Strategy};
use crate::preamble::Fault;
use crate::segment::{self, BEGINNING_AT, Beginning, HEAD_BYTES};

/// What a store starts from.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// The checkpoint; `None` for the empty heap.
    pub checkpoint: Option<Checkpoint>,
    /// The leader's state at the cut.
    pub state: Vec<u8>,
    /// Newer checkpoints that cannot be used, and why; and a manifest that cannot.
    pub passed_over: Vec<PassedOver>,
    /// The log goes on behind a checkpoint that cannot be used, and no other leads there.
    pub(crate) is_cut_off: bool,
    /// An image that a newer program wrote: the replay refuses to go on without it, for to pass over
    /// it would end in removing it.
    pub(crate) newer: Option<(PathBuf, u32)>,
}

/// A checkpoint or manifest that was passed over.
#[derive(Debug, Clone)]
pub struct PassedOver {
    /// The checkpoint; `None` for a manifest.
    pub checkpoint: Option<CheckpointId>,
    /// Why.
    pub why: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.checkpoint {
            Some(id) => write!(f, "checkpoint {} was passed over: {}", id.0, self.why),
            None => write!(f, "a manifest was passed over: {}", self.why),
        }
    }
}

impl Base {
    /// The cut; all zero for the empty heap.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.checkpoint
            .as_ref()
            .map_or_else(Stamp::default, |checkpoint| checkpoint.cut)
    }

    /// Whether the log begins behind it.
    pub(crate) fn begins_log(&self) -> bool {
        let strategy = self
            .checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.strategy);
        strategy.is_some_and(Strategy::begins_log)
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.position)
    }
}

/// The manifest that counts, and what is wrong with the other. None was written yet: an empty one.
/// `read` answers the bytes of a file, if there is one; `path` is how it is called.
pub(crate) fn load(
    cluster: ClusterId,
    path: impl Fn(&str) -> PathBuf,
    read: impl Fn(&str) -> io::Result<Option<Vec<u8>>>,
) -> Result<(Manifest, Vec<PassedOver>), OpenError> {
    let mut newest: Option<Manifest> = None;
    let mut passed_over = Vec::new();
    for name in manifest::NAMES {
        let path = path(name);
        let bytes = match read(name) {
            Ok(None) => continue,
            Ok(Some(bytes)) => bytes,
            Err(source) => return Err(crate::directory::failed("read", path, source)),
        };
        match Manifest::decode(&bytes) {
            Ok(found) if found.cluster != cluster => {
                passed_over.push(unusable(&path, "it is of another cluster"));
            }
            Ok(found) => {
                if newest
                    .as_ref()
                    .is_none_or(|newest| newest.sequence < found.sequence)
                {
                    newest = Some(found);
                }
            }
            Err(Fault::Newer(found)) => {
                return Err(OpenError::NewerVersion {
                    file: path,
                    found,
                    known: IMAGE_VERSION,
                });
            }
            Err(Fault::Damaged(what)) => passed_over.push(unusable(&path, what)),
        }
    }
    if newest.is_none()
        && let Some(damaged) = passed_over.first()
    {
        return Err(OpenError::ManifestDamaged {
            what: damaged.why.clone(),
        });
    }
    let empty = Manifest {
        cluster,
        ..Manifest::default()
    };
    Ok((newest.unwrap_or(empty), passed_over))
}

fn unusable(path: &Path, what: &str) -> PassedOver {
    PassedOver {
        checkpoint: None,
        why: format!("{} is damaged: {what}", path.display()),
    }
}

/// [`load`]s from the disk of a store.
pub(crate) fn load_from(
    disk: &impl Disk,
    cluster: ClusterId,
) -> Result<(Manifest, Vec<PassedOver>), OpenError> {
    load(
        cluster,
        |name| disk.path(name),
        |name| {
            if !disk.list("")?.iter().any(|entry| entry == name) {
                return Ok(None);
            }
            let length = disk.length(name)?;
            let mut bytes = Vec::new();
            if length <= manifest::BYTES_MAX {
                disk.read(name, 0..0, &mut bytes)?;
                bytes.resize(length as usize, 0);
            }
            Ok(Some(bytes))
        },
    )
}

impl Checkpoints {
    /// Loads the newest checkpoint that is whole; newer ones are forgotten. Where the heap went back,
    /// older ones lead elsewhere than the log does, and none of them is taken instead.
    pub(crate) fn restore(&mut self, disk: &impl Disk) -> Base {
        let reader = disk.reader();
        let mut base = Base::default();
        while let Some(checkpoint) = self.manifest.checkpoints.last() {
            match open(&*reader, &self.manifest, checkpoint, self.pages) {
                Ok((locations, state)) => {
                    *self.locations.write().expect("nobody else has it yet") = locations;
                    base.checkpoint = Some(checkpoint.clone());
                    base.state = state;
                    break;
                }
                Err(ImageError::NewerVersion { file, found, .. }) => {
                    base.newer = Some((file, found));
                    break;
                }
                Err(error) => {
                    base.passed_over.push(PassedOver {
                        checkpoint: Some(checkpoint.id),
                        why: error.to_string(),
                    });
                    if checkpoint.strategy.begins_log() {
                        base.is_cut_off = true;
                        break;
                    }
                    self.manifest.checkpoints.pop();
                    self.manifest.forget_unused_images();
                }
            }
        }
        base
    }
}

/// Reads the indices of the images of `checkpoint`, the newest first: where its pages are, in a heap of
/// so many, and the leader's state.
pub(crate) fn open(
    reader: &dyn Reader,
    manifest: &Manifest,
    checkpoint: &Checkpoint,
    pages: u64,
) -> Result<(Locations, Vec<u8>), ImageError> {
    let mut locations = Locations::default();
    let mut state = Vec::new();
    for id in checkpoint.images.iter().rev() {
        let record = manifest.image(*id).expect("a manifest is consistent");
        let image = Image::open(reader, manifest.cluster, record)?;
        if record.damaged {
            // A page of it was found damaged; perhaps the file was restored from a copy since.
            image.verify(reader)?;
        }
        if *id == checkpoint.id {
            state = image.state(reader)?;
        }
        image.visit_within(reader, pages, |entries| locations.add_older(*id, entries))?;
    }
    Ok((locations, state))
}

/// Begins the log behind a checkpoint that was restored or imported, if nobody has yet: its first
/// segment was created as a spare, so that no crash could leave a log that tells two stories.
pub(crate) fn begin_log<D: Disk>(disk: &mut D, base: &Base) -> Result<(), ReplayError> {
    let Some(position) = base.position().filter(|_| base.begins_log()) else {
        return Ok(());
    };
    let name = segment::name(position.segment);
    let path = disk.path(&name);
    let io = |doing| ReplayError::io(doing, &path);
    let mut head = [0; HEAD_BYTES];
    disk.reader()
        .read_at(&name, 0, &mut head)
        .map_err(io("read"))?;
    if segment::beginning(&head, position.segment) != Beginning::Spare {
        return Ok(());
    }
    let bytes = disk.length(&name).map_err(io("read"))?;
    let mut file = disk
        .open(&name, bytes, HEAD_BYTES as u64, false)
        .map_err(io("open"))?;
    let stamp = base.stamp();
    let beginning = segment::encode_beginning(position.segment, stamp, stamp.number);
    log::store_word_last(&mut file, BEGINNING_AT as u64, &beginning);
    file.sync().map_err(io("sync"))
}
