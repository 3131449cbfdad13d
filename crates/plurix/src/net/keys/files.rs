//! Files of keys on disk: for their owner alone, whole or not at all, and not replaced by accident.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

use super::KeysError;

/// The longest file of keys that is read.
const BYTES_MAX: u64 = 1 << 20;

/// What is in a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    let read = fs::metadata(path).and_then(|found| match found.len() <= BYTES_MAX {
        true => fs::read(path),
        false => Err(io::Error::other("it is too long for keys")),
    });
    read.map_err(|source| KeysError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The certificates in a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeysError> {
    super::certificates_of(&read(path)?).map_err(|why| KeysError::malformed(path, why))
}

/// Sees to it that a key is not open to everybody.
pub(super) fn check_hidden(path: &Path) -> Result<(), KeysError> {
    // Who cannot ask, cannot read it either, and hears of that.
    let is_open = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o007 != 0);
    match is_open {
        true => Err(KeysError::Exposed {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

/// Makes a directory for keys, if it is not there.
pub(super) fn make_dir(path: &Path) -> Result<(), KeysError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| unwritable(path, source))
}

/// Writes all `files` of a directory; none of them if one is there already and not to be replaced.
pub(super) fn write_all(
    dir: &Path,
    files: &[(&str, &[u8])],
    replace: bool,
) -> Result<(), KeysError> {
    let known = |path: &Path, bytes: &[u8]| fs::read(path).is_ok_and(|found| found == bytes);
    let paths = files.iter().map(|(name, bytes)| (dir.join(name), *bytes));
    let new: Vec<(PathBuf, &[u8])> = paths.filter(|(path, bytes)| !known(path, bytes)).collect();
    if let Some((path, _)) = new.iter().find(|(path, _)| path.symlink_metadata().is_ok())
        && !replace
    {
        return Err(KeysError::Exists { path: path.clone() });
    }
    for (path, bytes) in new {
        write(&path, bytes, replace).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeysError::Exists { path: path.clone() },
            _ => unwritable(&path, source),
        })?;
    }
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| unwritable(dir, source))
}

/// Writes one file in one step.
fn write(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    // Left by a process that died and had the same number.
    let _ = fs::remove_file(beside);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| match replace {
        true => fs::rename(beside, path),
        // Fails if somebody else was faster.
        false => fs::hard_link(beside, path),
    });
    let _ = fs::remove_file(beside);
    placed
}

fn unwritable(path: &Path, source: io::Error) -> KeysError {
    KeysError::Unwritable {
        path: path.to_owned(),
        source,
    }
}
