//! The store's directory when it is opened: whether it is a store, a new one, or something else
//! that must be left alone.

use std::io;
use std::path::PathBuf;

use plurix_wire::{Generation, Term};

use crate::disk::{Disk, NewSegment};
use crate::error::OpenError;
use crate::identity::{self, FORMAT_VERSION, Identity};
use crate::image::format as image;
use crate::options::Options;
use crate::preamble::Fault;
use crate::segment;

/// A file that replaces another one, or becomes a segment, has this at the end of its name until
/// it is on disk.
pub(crate) const UNFINISHED: &str = ".new";
/// The file that is locked.
pub(crate) const LOCK: &str = "lock";

/// Longer than an identity of any version.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// The entries of the store's directory, none if it is yet to be made; refuses what is no store
/// before anything is written there.
pub(crate) fn entries(disk: &impl Disk) -> Result<Vec<String>, OpenError> {
    let path = disk.path("");
    let entries = disk.list("").map_err(|source| match source.kind() {
        io::ErrorKind::NotADirectory => OpenError::NotADirectory { path: path.clone() },
        _ => failed("list", path.clone(), source),
    })?;
    if entries.iter().any(|entry| entry == identity::NAME) {
        return Ok(entries);
    }
    let known = [LOCK, segment::DIRECTORY, image::DIRECTORY, "lost+found"];
    let foreign = entries.iter().find(|entry| {
        !known.contains(&entry.as_str()) && entry.strip_suffix(UNFINISHED) != Some(identity::NAME)
    });
    match foreign {
        Some(entry) => Err(OpenError::Foreign {
            directory: path,
            entry: entry.clone(),
        }),
        None => Ok(entries),
    }
}

pub(crate) fn existing_identity(
    disk: &impl Disk,
    options: &Options,
) -> Result<Identity, OpenError> {
    let identity = read_identity(disk)?;
    if identity.heap_bytes != options.heap_bytes {
        return Err(OpenError::HeapBytes {
            directory: disk.path(""),
            existing: identity.heap_bytes,
            asked: options.heap_bytes,
        });
    }
    Ok(identity)
}

/// Whose store it is.
pub(crate) fn read_identity(disk: &impl Disk) -> Result<Identity, OpenError> {
    let file = disk.path(identity::NAME);
    let io = |source| failed("read", file.clone(), source);
    let length = disk.length(identity::NAME).map_err(io)?;
    if length > IDENTITY_BYTES_MAX {
        return Err(OpenError::IdentityDamaged {
            file,
            what: "it is too long",
        });
    }
    let mut bytes = Vec::new();
    disk.read(identity::NAME, 0..0, &mut bytes).map_err(io)?;
    bytes.resize(length as usize, 0);
    Identity::decode(&bytes).map_err(|fault| match fault {
        Fault::Damaged(what) => OpenError::IdentityDamaged { file, what },
        Fault::Newer(found) => OpenError::NewerVersion {
            file,
            found,
            known: FORMAT_VERSION,
        },
    })
}

/// Writes the identity before the first segment, so that a log without one is never a new store.
pub(crate) fn create_identity(
    disk: &mut impl Disk,
    options: &Options,
) -> Result<Identity, OpenError> {
    let file = disk.path(identity::NAME);
    if !segments(disk)?.is_empty() {
        return Err(OpenError::IdentityMissing { file });
    }
    let identity = Identity {
        cluster: options.cluster,
        heap_bytes: options.heap_bytes,
        term: Term(0),
        boot: options.boot,
        generation: Generation(0),
        durability: options.durability,
    };
    disk.replace(identity::NAME, &identity.encode())
        .map_err(|source| failed("create", file, source))?;
    Ok(identity)
}

fn segments(disk: &impl Disk) -> Result<Vec<String>, OpenError> {
    disk.list(segment::DIRECTORY)
        .map_err(|source| failed("list", disk.path(segment::DIRECTORY), source))
}

/// Removes segments and images whose creation a crash interrupted; answers how many whole segments
/// there are.
pub(crate) fn remove_unfinished(disk: &mut impl Disk) -> Result<usize, OpenError> {
    let entries = segments(disk)?;
    let images = disk.list(image::DIRECTORY);
    let images = images.map_err(|source| failed("list", disk.path(image::DIRECTORY), source))?;
    let files = entries.iter().map(|entry| (segment::DIRECTORY, entry));
    let files = files.chain(images.iter().map(|entry| (image::DIRECTORY, entry)));
    for (directory, entry) in files.filter(|(_, entry)| entry.ends_with(UNFINISHED)) {
        let name = format!("{directory}/{entry}");
        disk.remove(&name)
            .map_err(|source| failed("remove", disk.path(&name), source))?;
    }
    Ok(entries
        .iter()
        .filter(|entry| segment::index_of(entry).is_some())
        .count())
}

/// Creates the first segment.
pub(crate) fn create_log(disk: &mut impl Disk, first: NewSegment) -> Result<(), OpenError> {
    let (name, bytes) = (first.name.clone(), first.bytes);
    match disk.create(first) {
        Ok(_) => Ok(()),
        Err(source) => Err(match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::NoSpace {
                directory: disk.path(""),
                bytes,
                source,
            },
            _ => failed("create", disk.path(&name), source),
        }),
    }
}

/// What the file system refused.
pub(crate) fn failed(doing: &'static str, path: PathBuf, source: io::Error) -> OpenError {
    OpenError::Io {
        doing,
        path,
        source,
    }
}
