//! The repository's files, read once, so that every check is a function of their paths and text
//! and can be tried in a unit test on a repository that never was on disk.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Directories that hold no source of ours.
const SKIPPED: [&str; 2] = [".git", "target"];

/// The text of every file by path relative to the root, with `/` between components; binary files
/// are listed with empty text.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    files: BTreeMap<String, String>,
}

impl Repository {
    /// Reads everything below `root`.
    ///
    /// # Errors
    /// Names the file or directory that could not be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut repository = Self::default();
        repository.read_directory(root, "")?;
        Ok(repository)
    }

    /// A repository of the given paths and texts.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self {
            files: files
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .into(),
        }
    }

    /// Every file, ascending by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The files below directory `prefix` whose name ends in `suffix`.
    pub(crate) fn below<'a>(
        &'a self,
        prefix: &'a str,
        suffix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files()
            .filter(move |(path, _)| path.starts_with(prefix) && path.ends_with(suffix))
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether `path`, without a trailing slash, is a file or a directory that holds one.
    pub(crate) fn exists(&self, path: &str) -> bool {
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| {
                file.strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('/'))
            })
    }

    fn read_directory(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        let entries = std::fs::read_dir(directory)
            .with_context(|| format!("{} cannot be listed", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                self.read_directory(&entry.path(), &format!("{path}/"))?;
            } else if entry.path().is_file() {
                // A link to a file counts as the file; links to directories are not followed.
                let bytes = std::fs::read(entry.path())
                    .with_context(|| format!("{path} cannot be read"))?;
                self.files
                    .insert(path, String::from_utf8(bytes).unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// The number, from 1, of the first line of `text` that starts with `word`; 1 if none does.
pub(crate) fn line_starting_with(text: &str, word: &str) -> usize {
    text.lines()
        .position(|line| line.starts_with(word))
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_files_but_neither_git_nor_build_output() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/b.rs", "a/target/c.rs", ".git/d.rs", ".ci/run"] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text").unwrap();
        }
        let repository = Repository::read(root.path()).unwrap();
        assert_eq!(
            repository.files().collect::<Vec<_>>(),
            [(".ci/run", "text"), ("a/b.rs", "text")]
        );
        assert!(repository.exists("a") && repository.exists("a/b.rs"));
        assert!(!repository.exists("a/b") && !repository.exists("a/c.rs"));
    }
}
