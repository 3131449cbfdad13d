//! The output of a team, whose workers write to it wherever they are done: a file beside the one that is
//! asked for, which takes its place when it is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Digest, file};
use crate::app::AppError;
use crate::output::check_file;

/// The sorted file, and the one that it is made in.
#[derive(Debug, Clone)]
pub(super) struct Output {
    path: PathBuf,
    part: PathBuf,
}

impl Output {
    pub(super) fn new(path: &Path) -> Result<Self, AppError> {
        let path = std::path::absolute(path).map_err(AppError::file(path))?;
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = part.into();
        Ok(Self { path, part })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that it can be written, so that a mistake shows before the work.
    pub(super) fn check(&self) -> Result<(), AppError> {
        check_file(&self.path)?;
        if fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            let path = self.path.display();
            return Err(AppError::Input(format!(
                "{path} is no file; many workers write their parts of it, so name a file"
            )));
        }
        Ok(())
    }

    /// Makes room for so many keys.
    pub(super) fn prepare(&self, keys: usize) -> Result<(), AppError> {
        let made = File::create(&self.part).and_then(|part| part.set_len(bytes(keys)));
        made.map_err(AppError::file(&self.part))
    }

    /// Writes some keys to where they belong. To do it again changes nothing.
    pub(super) fn write(&self, first: usize, keys: &[u64]) -> Result<(), AppError> {
        let opened = File::options().write(true).open(&self.part);
        let written = opened.and_then(|part| file::write_at(&part, first, keys));
        written.map_err(AppError::file(&self.part))
    }

    /// Reads the whole file, in its place or beside it, if `verifies`; answers whether it holds the
    /// keys of `digest` in their order. Then it takes its place, unless it is wrong.
    pub(super) fn finish(&self, digest: &Digest, verifies: bool) -> Result<bool, AppError> {
        let is_beside = self.part.exists();
        let found = if is_beside { &self.part } else { &self.path };
        if verifies && !is_sorted(found, digest)? {
            return Ok(false);
        }
        if is_beside {
            let whole = File::open(&self.part).and_then(|part| part.sync_all());
            let placed = whole.and_then(|()| fs::rename(&self.part, &self.path));
            placed.map_err(AppError::file(&self.path))?;
        }
        Ok(true)
    }
}

fn bytes(keys: usize) -> u64 {
    (keys * size_of::<u64>()) as u64
}

/// Whether a file holds the keys of `digest`, in their order.
fn is_sorted(path: &Path, digest: &Digest) -> Result<bool, AppError> {
    let (opened, count) = file::open(path)?;
    let mut found = Digest::default();
    let mut largest = 0;
    let mut is_sorted = true;
    let mut piece = vec![0; file::PIECE_KEYS];
    let mut first = 0;
    while first < count as usize {
        let keys = piece.len().min(count as usize - first);
        let read: io::Result<()> = file::read(&opened, first, &mut piece[..keys], |_| ());
        read.map_err(AppError::file(path))?;
        is_sorted &= largest <= piece[0] && piece[..keys].is_sorted();
        largest = piece[keys - 1];
        found = found.and(Digest::of(&piece[..keys]));
        first += keys;
    }
    Ok(is_sorted && found == *digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_its_place_when_it_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sorted");
        let output = Output::new(&path).unwrap();
        let digest = Digest::of(&[1, 2, 3]);
        output.check().unwrap();
        output.prepare(3).unwrap();
        output.write(1, &[2, 3]).unwrap();
        assert!(!output.finish(&digest, true).unwrap());
        output.write(0, &[2, 1]).unwrap();
        output.write(2, &[3]).unwrap();
        assert!(!output.finish(&digest, true).unwrap());
        assert!(!path.exists());
        output.write(0, &[1, 2]).unwrap();
        assert!(output.finish(&digest, true).unwrap());
        assert_eq!(fs::read(&path).unwrap().len(), 24);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        // Whoever looks again finds the same.
        assert!(output.finish(&digest, true).unwrap());
        let device = Output::new(Path::new("/dev/null")).unwrap();
        assert!(matches!(device.check(), Err(AppError::Input(_))));
    }
}
