//! Keeps every segment of the page server's log, whose own are removed once checkpoints hold what they
//! say: the judge reads the log from its first record.
//!
//! A segment gets a second name in another directory as soon as it is seen. It is written in place, so
//! the bytes behind that name are those that the page server wrote last, and they stay when the first
//! name is removed. A segment lives for many times the period at which the directory is looked at.

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The second names of the segments.
#[derive(Debug)]
pub(crate) struct Archive {
    log: PathBuf,
    kept: PathBuf,
}

impl Archive {
    /// Keeps the segments in `log` in `kept`, which is made.
    pub(crate) fn new(log: PathBuf, kept: PathBuf) -> Result<Self> {
        fs::create_dir_all(&kept)?;
        Ok(Self { log, kept })
    }

    /// Keeps what is there now.
    pub(crate) fn keep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.log)? {
            let entry = entry?;
            let kept = self.keep_segment(&entry);
            let kept = kept.or_else(|error| match error.kind() {
                // It was removed meanwhile; it was kept long before.
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            });
            kept.with_context(|| format!("cannot keep {}", entry.path().display()))?;
        }
        Ok(())
    }

    fn keep_segment(&self, entry: &DirEntry) -> io::Result<()> {
        let path = entry.path();
        if path.extension().is_none_or(|kind| kind != "log") {
            return Ok(());
        }
        let kept = self.kept.join(entry.file_name());
        match fs::metadata(&kept) {
            Ok(old) if old.ino() == entry.metadata()?.ino() => return Ok(()),
            // A spare segment was removed after a kill, and is made anew.
            Ok(_) => fs::remove_file(&kept)?,
            Err(_) => {}
        }
        fs::hard_link(path, kept)
    }

    /// Copies the segments that are gone into `log`, a copy of the directory.
    pub(crate) fn complete(&self, log: &Path) -> Result<()> {
        for entry in fs::read_dir(&self.kept)? {
            let entry = entry?;
            let copy = log.join(entry.file_name());
            if !copy.exists() {
                fs::copy(entry.path(), copy)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_kept_as_it_was_last() {
        let root = tempfile::tempdir().unwrap();
        let [log, kept, copy] = ["log", "kept", "copy"].map(|name| root.path().join(name));
        fs::create_dir(&log).unwrap();
        fs::create_dir(&copy).unwrap();
        fs::write(log.join("1.log"), "begun").unwrap();
        fs::write(log.join("2.log.new"), "").unwrap();
        fs::write(log.join("3.log"), "spare").unwrap();
        let archive = Archive::new(log.clone(), kept).unwrap();
        archive.keep().unwrap();
        fs::write(log.join("1.log"), "full").unwrap();
        fs::remove_file(log.join("3.log")).unwrap();
        fs::write(log.join("3.log"), "anew").unwrap();
        archive.keep().unwrap();
        fs::remove_file(log.join("1.log")).unwrap();
        archive.complete(&copy).unwrap();
        let read = |name: &str| fs::read_to_string(copy.join(name)).ok();
        assert_eq!(read("1.log").as_deref(), Some("full"));
        assert_eq!(read("2.log.new"), None);
        assert_eq!(read("3.log").as_deref(), Some("anew"));
    }
}
