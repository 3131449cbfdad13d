//! Makes a store of an exported checkpoint.
//!
//! The identity is written last: until then the directory is no store, and no page server takes it
//! for an empty one.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use plurix_wire::{CheckpointId, ClusterId};

use super::head::Head;
use crate::background::RealReader;
use crate::checkpoint::create_segment;
use crate::directory::{self, LOCK};
use crate::disk::{Disk, Files, LockError, Reader};
use crate::error::{CheckpointError, ImageError, ImportError, OpenError};
use crate::identity::{self, BootId, Durability, Identity};
use crate::image::Compression;
use crate::image::format::{self, Entry};
use crate::image::reader::Image;
use crate::image::writer::{ImageWriter, Written};
use crate::inspect::Progress;
use crate::log::Shape;
use crate::manifest::{self, Checkpoint, ImageRecord, Manifest, Strategy};
use crate::options::Options;
use crate::segment;

/// The only checkpoint of the new store.
const ID: CheckpointId = CheckpointId(1);
/// Pages that are read or written before somebody is told.
const PAGES_AT_ONCE: usize = 256;

/// How a checkpoint is imported.
#[derive(Debug, Clone, Copy)]
pub struct ImportOptions {
    /// The new store's heap is another cluster's than the file's: this one's.
    pub cluster: Option<ClusterId>,
    /// Length of the first segment of the log.
    pub segment_bytes: u64,
}

/// A store that was made of a file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Size of its heap, in bytes.
    pub heap_bytes: u64,
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// The checkpoint that the file was made of.
    pub exported: CheckpointId,
}

/// An exported checkpoint of which every byte was read.
struct Source {
    reader: Arc<dyn Reader>,
    image: Image,
    entries: Vec<Entry>,
    head: Head,
}

/// Makes a store on `disk` of the exported checkpoint in `file`. All of the file is checked first.
///
/// # Errors
/// [`ImportError`]; nothing is left on the disk then.
pub fn import(
    file: &Path,
    disk: &mut impl Disk,
    options: ImportOptions,
    progress: Progress<'_>,
) -> Result<Imported, ImportError> {
    let source = Source::open(file, progress)?;
    let cluster = options.cluster.unwrap_or(source.head.cluster);
    let mut wished = Options::new(source.head.heap_bytes, cluster, BootId::NONE);
    wished.segment_bytes = options.segment_bytes;
    wished.check()?;
    check_empty(disk)?;
    lock(disk)?;
    check_empty(disk)?;
    let made = make(&source, disk, &wished, progress);
    if made.is_err() {
        let first = segment::name(1);
        for name in [
            manifest::NAMES[0],
            manifest::NAMES[1],
            &format::name(ID),
            &first,
        ] {
            // What is not there need not be removed, and nobody takes what is left for a store.
            let _ = disk.remove(name);
        }
    }
    made
}

impl Source {
    fn open(file: &Path, progress: Progress<'_>) -> Result<Self, ImageError> {
        let missing = || ImageError::Missing {
            file: file.to_owned(),
        };
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(missing)?;
        let parent = file.parent().unwrap_or(Path::new(""));
        let reader: Arc<dyn Reader> = Arc::new(RealReader::new(parent.to_owned()));
        let (image, head) = Image::open_exported(&*reader, name)?;
        let head = Head::decode(&head).map_err(|fault| image.head_fault(&*reader, fault))?;
        let footer = &image.footer;
        let is_one = footer.id == head.id
            && footer.cluster == head.cluster
            && footer.stamp.term <= head.term
            && footer.stamp.generation <= head.generation;
        let pages = head.heap_bytes / plurix_wire::PAGE_BYTES as u64;
        let entries = image.entries(&*reader)?;
        let last = entries.last();
        if !is_one || last.is_some_and(|last| u64::from(last.page.0) >= pages) {
            return Err(image.damaged(&*reader, "its head and its end contradict each other"));
        }
        image.verify_tail(&*reader)?;
        let total = entries.len();
        for (entries, at) in entries.chunks(PAGES_AT_ONCE).zip(1..) {
            for entry in entries {
                image.page(&*reader, entry)?;
            }
            progress((at * PAGES_AT_ONCE).min(total) as u64, 2 * total as u64);
        }
        Ok(Self {
            reader,
            image,
            entries,
            head,
        })
    }
}

fn check_empty(disk: &impl Disk) -> Result<(), ImportError> {
    let directory = disk.path("");
    let entries = disk.list("").map_err(|source| OpenError::Io {
        doing: "list",
        path: directory.clone(),
        source,
    })?;
    let mut others = entries.into_iter();
    match others.find(|entry| entry != LOCK && entry != "lost+found") {
        Some(entry) => Err(ImportError::NotEmpty { directory, entry }),
        None => Ok(()),
    }
}

fn lock(disk: &mut impl Disk) -> Result<(), OpenError> {
    let directory = disk.path("");
    disk.lock().map_err(|error| match error {
        LockError::Held { pid } => OpenError::Locked { directory, pid },
        LockError::Io(source) => directory::failed("lock", directory, source),
    })
}

fn make(
    source: &Source,
    disk: &mut impl Disk,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Imported, ImportError> {
    let (cluster, cut) = (options.cluster, source.image.footer.stamp);
    let empty = Manifest {
        cluster,
        newest_id: ID,
        ..Manifest::default()
    };
    let shape: Shape = options.shape(cluster);
    let position = create_segment(disk, &empty, &shape)?;
    let begun = disk.now();
    let written = write_image(source, disk, cluster, progress)?;
    let now = disk.now();
    let pages = written.entries.len() as u64;
    let checkpoint = Checkpoint {
        id: ID,
        cut,
        strategy: Strategy::Imported,
        taken_at_ms: now.as_millis() as u64,
        took_us: now.saturating_sub(begun).as_micros() as u64,
        pages,
        changed: pages,
        carried: 0,
        bytes: written.bytes,
        images: vec![ID],
        position,
    };
    let mut manifest = Manifest {
        images: vec![ImageRecord {
            id: ID,
            bytes: written.bytes,
            entries: pages,
            footer_crc: written.footer_crc,
            damaged: false,
        }],
        checkpoints: vec![checkpoint.clone()],
        ..empty
    };
    for _ in manifest::NAMES {
        manifest.sequence += 1;
        replace(disk, manifest.name(), &manifest.encode())?;
    }
    let identity = Identity {
        cluster,
        heap_bytes: source.head.heap_bytes,
        term: source.head.term,
        boot: BootId::NONE,
        // What the file's cluster did after the cut has not happened here.
        generation: source.head.generation.next(),
        durability: Durability::Memory,
    };
    replace(disk, identity::NAME, &identity.encode())?;
    Ok(Imported {
        cluster,
        heap_bytes: source.head.heap_bytes,
        checkpoint,
        exported: source.head.id,
    })
}

fn replace(disk: &mut impl Disk, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
    let replaced = disk.replace(name, bytes);
    replaced.map_err(|error| CheckpointError::io("create", disk.path(name), error))
}

/// What the background work shares with who waits for it.
type Shared = Arc<
    Mutex<(
        Option<ImageWriter>,
        Result<Option<Written>, CheckpointError>,
    )>,
>;

fn write_image(
    source: &Source,
    disk: &mut impl Disk,
    cluster: ClusterId,
    progress: Progress<'_>,
) -> Result<Written, ImportError> {
    let shared: Shared = Arc::new(Mutex::new((None, Ok(None))));
    step(disk, &shared, move |files, writer| {
        *writer = Some(ImageWriter::create(files, ID, cluster, Compression::None)?);
        Ok(None)
    });
    let total = source.entries.len();
    for (entries, at) in source.entries.chunks(PAGES_AT_ONCE).zip(1..) {
        let mut blobs = Vec::with_capacity(entries.len());
        for entry in entries {
            blobs.push((*entry, source.image.blob(&*source.reader, entry)?));
        }
        step(disk, &shared, move |files, writer| {
            let writer = writer.as_mut().expect("the image was begun");
            let mut carry = |(entry, blob): &(Entry, Vec<u8>)| writer.carry(files, entry, blob);
            blobs.iter().try_for_each(&mut carry)?;
            Ok(None)
        });
        progress(
            (total + (at * PAGES_AT_ONCE).min(total)) as u64,
            2 * total as u64,
        );
    }
    let state = source.image.state(&*source.reader)?;
    let cut = source.image.footer.stamp;
    step(disk, &shared, move |files, writer| {
        let writer = writer.take().expect("the image was begun");
        let written = writer.complete(files, cut, &state)?;
        files.finish()?;
        Ok(Some(written))
    });
    let mut shared = shared.lock().expect("no job panicked");
    let outcome = std::mem::replace(&mut shared.1, Ok(None));
    Ok(outcome?.expect("the last step was done"))
}

/// Does one step on the thread that writes images, unless one before it failed.
fn step(
    disk: &mut impl Disk,
    shared: &Shared,
    work: impl FnOnce(&mut dyn Files, &mut Option<ImageWriter>) -> io::Result<Option<Written>>
    + Send
    + 'static,
) {
    let shared = Arc::clone(shared);
    disk.start(Box::new(move |files| {
        let mut shared = shared.lock().expect("no job panicked");
        let (writer, outcome) = &mut *shared;
        if outcome.is_err() {
            return;
        }
        *outcome = work(files, writer).map_err(|error| {
            files.give_up();
            CheckpointError::writing(files, ID, error)
        });
    }));
    disk.drain();
}
