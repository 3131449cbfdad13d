//! Files past the kernel's cache: the floor of all that is written or read in one go; and files that
//! the cache is to forget.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Advice, OFlags, fadvise};

use crate::rounds::Random;

/// Bytes that are written or read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Where such bytes must begin in memory, and how long they must be.
const BLOCK_BYTES: usize = 4096;

/// Memory for one piece, where the kernel wants it.
struct Piece {
    memory: Vec<u8>,
    place: Range<usize>,
}

impl Piece {
    /// A piece of bytes that no disk finds to be alike.
    fn new() -> Self {
        let mut memory = vec![0; PIECE_BYTES + BLOCK_BYTES];
        let mut random = Random(3);
        memory
            .chunks_exact_mut(8)
            .for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
        let begin = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self {
            memory,
            place: begin..begin + PIECE_BYTES,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.place.clone()]
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> Result<File> {
    options
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path)
        .with_context(|| format!("cannot open {} past the cache", path.display()))
}

/// Writes a new file of `bytes` bytes, whole blocks, and brings it on disk.
pub(crate) fn write(path: &Path, bytes: u64) -> Result<()> {
    let mut piece = Piece::new();
    let mut file = open(OpenOptions::new().write(true).create_new(true), path)?;
    let mut left = bytes as usize;
    while left > 0 {
        let now = left.min(PIECE_BYTES);
        file.write_all(&piece.bytes()[..now])?;
        left -= now;
    }
    Ok(file.sync_data()?)
}

/// Reads a file; answers its length.
pub(crate) fn read(path: &Path) -> Result<u64> {
    let mut piece = Piece::new();
    let mut file = open(OpenOptions::new().read(true), path)?;
    let mut bytes = 0;
    loop {
        match file.read(piece.bytes())? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

/// All files below `directory`.
pub(crate) fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Has the kernel's cache forget what it has of `path`.
pub(crate) fn forget(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    // Only what is on disk is forgotten.
    file.sync_all()?;
    fadvise(&file, 0, None, Advice::DontNeed).context("cannot drop a file from the cache")
}
