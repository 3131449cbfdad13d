//! Sorts the numbers of a file, by sampling: a few keys tell where to cut the range of all keys, so
//! that every worker gets about as many to sort.
//!
//! ```text
//!             read      │ partition      │ gather, sort
//!   worker 0  block ────┼─► 0 │ 1 │ 2 ──┼─► all 0s ─► first part of the result
//!   worker 1  block ────┼─► 0 │ 1 │ 2 ──┼─► all 1s ─► second part
//!   worker 2  block ────┼─► 0 │ 1 │ 2 ──┼─► all 2s ─► third part
//!             sample    │                │
//!                    barrier          barrier
//! ```
//!
//! The samples are taken at regular places, and every worker finds the same cuts in them (after Shi
//! and Schaeffer, *Parallel sorting by regular sampling*, JPDC 1992, who sort the blocks before).
//! Where the cuts are decides only who sorts what; the result is the same for any of them. Equal
//! keys go to one worker, so a file of few different keys is sorted right, but not by many.
//!
//! The file holds numbers of 64 bits, the lowest byte first. [`generate`] makes one. [`kernel`] is
//! what one worker does with its slices, [`mod@file`] how it reads its block; [`serial`],
//! [`threads()`] and the team's [`Program`](plurix::team::Program) are whole runs.

mod app;
pub mod file;
pub mod kernel;
mod output;
mod team;
mod threads;

use std::fs::File;
use std::path::{Path, PathBuf};

use plurix::plain;

use crate::app::AppError;
use crate::bank::SplitMix64;
use crate::output::{check_file, write_file};

pub use app::{Options, TeamSort};
pub(crate) use app::{new, register};
pub use team::{Desks, Found};
pub use threads::threads;

/// What a run sorts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortOptions {
    /// The file of keys.
    pub input: PathBuf,
    /// Where to put the sorted keys, if anywhere.
    pub output: Option<PathBuf>,
}

/// The keys of a generated file, if nothing else is said.
pub const KEYS: u64 = 16 << 20;

/// A run that was found possible.
#[derive(Debug)]
pub struct Sort {
    options: SortOptions,
    file: File,
    keys: u64,
}

/// What a run found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Of the sorted keys. Which they are says in which order they are, too.
    pub checksum: u64,
    /// How many keys there are.
    pub keys: u64,
    /// Whether no key is larger than the next, and the keys are those of the file.
    pub verified: bool,
}

/// What some keys are, in any order: two digests can be added.
#[plain]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub keys: u64,
    /// The sum of what a good mixer makes of each.
    pub sum: u64,
    /// The same bits, but without carries.
    pub xor: u64,
}

impl Digest {
    /// That of `keys`.
    #[must_use]
    pub fn of(keys: &[u64]) -> Self {
        let mut digest = Self::default();
        for &key in keys {
            let mixed = SplitMix64::new(key).draw();
            digest.sum = digest.sum.wrapping_add(mixed);
            digest.xor ^= mixed;
        }
        digest.keys = keys.len() as u64;
        digest
    }

    /// That of these keys and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            keys: self.keys + other.keys,
            sum: self.sum.wrapping_add(other.sum),
            xor: self.xor ^ other.xor,
        }
    }

    /// All of it in one word.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        self.sum ^ self.xor.rotate_left(32) ^ self.keys
    }
}

impl Sort {
    /// Opens the file, and checks that the output can be written.
    ///
    /// # Errors
    /// [`AppError`] naming the file at fault.
    pub fn new(options: SortOptions) -> Result<Self, AppError> {
        let (file, keys) = file::open(&options.input)?;
        options.output.as_deref().map(check_file).transpose()?;
        Ok(Self {
            options,
            file,
            keys,
        })
    }

    /// The options that the run was made with.
    #[must_use]
    pub fn options(&self) -> &SortOptions {
        &self.options
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys as usize
    }

    /// Reads the keys from the one of number `first` on, and tells `progress` how many more have
    /// been read, now and then.
    ///
    /// # Errors
    /// [`AppError::File`], also if the file has become shorter.
    pub fn read(
        &self,
        first: usize,
        keys: &mut [u64],
        progress: impl FnMut(usize),
    ) -> Result<(), AppError> {
        let read = file::read(&self.file, first, keys, progress);
        read.map_err(AppError::file(&self.options.input))
    }

    /// Writes the sorted keys, one part after the other, and says of them what is to be said: `input`
    /// is what was read, `output` what the parts hold.
    ///
    /// # Errors
    /// [`AppError::File`]
    pub fn finish(
        &self,
        input: Digest,
        output: Digest,
        parts: &[Vec<u64>],
    ) -> Result<Outcome, AppError> {
        if let Some(path) = &self.options.output {
            write_file(path, |out| {
                parts.iter().try_for_each(|part| file::write(out, part))
            })?;
        }
        Ok(Outcome {
            checksum: output.checksum(),
            keys: output.keys,
            verified: output == input && kernel::are_sorted(parts),
        })
    }
}

/// Writes a file of random keys, the same ones for the same seed.
///
/// # Errors
/// [`AppError::File`]
pub fn generate(path: &Path, keys: u64, seed: u64) -> Result<(), AppError> {
    let mut generator = SplitMix64::new(seed);
    write_file(path, |out| {
        let mut left = keys;
        while left > 0 {
            let count = left.min(file::PIECE_KEYS as u64);
            let piece: Vec<u64> = (0..count).map(|_| generator.draw()).collect();
            file::write(out, &piece)?;
            left -= count;
        }
        Ok(())
    })
}

/// The whole run, by the caller alone.
///
/// # Errors
/// [`AppError::File`]
pub fn serial(sort: &Sort) -> Result<Outcome, AppError> {
    let mut keys = vec![0; sort.keys()];
    sort.read(0, &mut keys, |_| ())?;
    let input = Digest::of(&keys);
    keys.sort_unstable();
    sort.finish(input, Digest::of(&keys), &[keys])
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A directory with a file of `keys`, and the run that sorts it.
    fn run(keys: &[u64]) -> (TempDir, Sort) {
        let directory = tempfile::tempdir().unwrap();
        let options = SortOptions {
            input: directory.path().join("keys"),
            output: Some(directory.path().join("sorted")),
        };
        write_file(&options.input, |out| file::write(out, keys)).unwrap();
        let sort = Sort::new(options).unwrap();
        (directory, sort)
    }

    fn output(sort: &Sort) -> Vec<u64> {
        let (file, keys) = file::open(sort.options.output.as_ref().unwrap()).unwrap();
        let mut sorted = vec![0; keys as usize];
        file::read(&file, 0, &mut sorted, |_| ()).unwrap();
        sorted
    }

    #[test]
    fn files_that_hold_no_keys_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("keys");
        let new = |output: Option<PathBuf>| {
            let input = input.clone();
            Sort::new(SortOptions { input, output })
        };
        assert!(matches!(new(None), Err(AppError::File { .. })));
        std::fs::write(&input, [0; 15]).unwrap();
        assert!(matches!(new(None), Err(AppError::Input(_))));
        std::fs::write(&input, [0; 16]).unwrap();
        assert_eq!(new(None).unwrap().keys(), 2);
        let nowhere = directory.path().join("missing/sorted");
        assert!(matches!(new(Some(nowhere)), Err(AppError::File { .. })));
    }

    #[test]
    fn a_file_that_becomes_shorter_is_noticed_by_everybody() {
        let (_directory, sort) = run(&[3, 2, 1, 0]);
        let input = File::options().write(true).open(&sort.options.input);
        input.unwrap().set_len(16).unwrap();
        assert!(matches!(serial(&sort), Err(AppError::File { .. })));
        for workers in [1, 2, 3] {
            let sorted = threads(&sort, workers);
            assert!(matches!(sorted, Err(AppError::File { .. })));
        }
    }

    #[test]
    fn generated_keys_are_those_of_the_seed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let count = file::PIECE_KEYS as u64 + 3;
        generate(&path, count, 7).unwrap();
        let (file, keys) = file::open(&path).unwrap();
        assert_eq!(keys, count);
        let mut found = vec![0; keys as usize];
        file::read(&file, 0, &mut found, |_| ()).unwrap();
        let mut generator = SplitMix64::new(7);
        assert!(found.iter().all(|&key| key == generator.draw()));
    }

    #[test]
    fn any_number_of_threads_finds_the_same() {
        let mut generator = SplitMix64::new(11);
        for (count, largest) in [
            (0, 1),
            (1, 9),
            (4, 2),
            (100, 1),
            (1000, 10),
            (20_011, u64::MAX),
        ] {
            let keys: Vec<u64> = (0..count).map(|_| generator.below(largest)).collect();
            let (_directory, sort) = run(&keys);
            let mut expected = keys.clone();
            expected.sort_unstable();
            let alone = serial(&sort).unwrap();
            assert!(alone.verified && output(&sort) == expected);
            for workers in [1, 2, 3, 5, 8] {
                std::fs::remove_file(sort.options.output.as_ref().unwrap()).unwrap();
                assert_eq!(threads(&sort, workers).unwrap(), alone, "by {workers}");
                assert!(output(&sort) == expected, "{count} keys by {workers}");
            }
        }
    }

    #[test]
    fn wrong_results_are_not_verified() {
        let (_directory, sort) = run(&[1, 2, 3]);
        let input = Digest::of(&[1, 2, 3]);
        let verified = |parts: &[Vec<u64>]| {
            let output = Digest::of(&parts.concat());
            sort.finish(input, output, parts).unwrap().verified
        };
        assert!(verified(&[vec![1, 2], vec![], vec![3]]));
        for wrong in [
            vec![vec![1, 3, 2]],
            vec![vec![2, 3], vec![1]],
            vec![vec![1, 2], vec![], vec![2]],
            vec![vec![1, 2]],
            vec![vec![1, 2, 3, 3]],
        ] {
            assert!(!verified(&wrong), "{wrong:?}");
        }
    }
}
