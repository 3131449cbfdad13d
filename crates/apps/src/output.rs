//! Writes results to files, so that there is never half a result where a whole one is expected.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::app::AppError;

/// Readable and writable for whom the user's mask allows it, as of any new file.
const MODE: u32 = 0o666;

/// Lets `write` make the contents of the file at `path`, which appears, or replaces the one that
/// was there, when all of it is on the disk. A device or pipe is written to as it is.
pub(crate) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), AppError> {
    let is_special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    let written = if is_special {
        File::create(path).and_then(|file| write_buffered(&file, write))
    } else {
        replace(path, write)
    };
    written.map_err(AppError::file(path))
}

/// Checks that [`write_file`] can write to `path` as things are now, so that a mistake shows before
/// the work and not after it.
pub(crate) fn check_file(path: &Path) -> Result<(), AppError> {
    let checked = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        _ => beside(path).map(drop),
    };
    checked.map_err(AppError::file(path))
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let file = beside(path)?;
    write_buffered(file.as_file(), write)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file in the directory of `path`.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    Builder::new()
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(directory.unwrap_or(Path::new(".")))
}

fn write_buffered(
    file: &File,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffered = BufWriter::new(file);
    write(&mut buffered)?;
    buffered.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_shows_before() {
        let directory = tempfile::tempdir().unwrap();
        let in_directory = |name: &str| directory.path().join(name);
        check_file(&in_directory("new")).unwrap();
        check_file(Path::new("/dev/null")).unwrap();
        for wrong in [in_directory("missing/new"), directory.path().to_owned()] {
            assert!(matches!(check_file(&wrong), Err(AppError::File { .. })));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result");
        write_file(&path, |out| out.write_all(b"old")).unwrap();
        let failed = write_file(&path, |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(failed, Err(AppError::File { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_device_stays_one() {
        write_file(Path::new("/dev/null"), |out| out.write_all(b"gone")).unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
