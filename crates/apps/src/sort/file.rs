//! Files of keys: numbers of 64 bits, the lowest byte first. They are read and written in pieces, by
//! the place of a key, so that every worker reads its own block.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use crate::app::AppError;

/// How many keys are read or written at once.
pub const PIECE_KEYS: usize = 1 << 17;

const KEY_BYTES: u64 = size_of::<u64>() as u64;

/// Opens a file of keys, and answers how many there are.
///
/// # Errors
/// [`AppError::File`], or [`AppError::Input`] if that is no file of keys.
pub fn open(path: &Path) -> Result<(File, u64), AppError> {
    let file = File::open(path).map_err(AppError::file(path))?;
    let metadata = file.metadata().map_err(AppError::file(path))?;
    let bytes = metadata.len();
    if !metadata.is_file() || !bytes.is_multiple_of(KEY_BYTES) {
        return Err(AppError::Input(format!(
            "{}: {bytes} bytes are no file of keys, of {KEY_BYTES} bytes each; name one of these",
            path.display()
        )));
    }
    Ok((file, bytes / KEY_BYTES))
}

/// Reads the keys from the one of number `first` on, and tells `progress` of every piece how many
/// keys it had.
///
/// # Errors
/// What the system says; [`io::ErrorKind::UnexpectedEof`] if there are less keys.
pub fn read(
    file: &File,
    first: usize,
    keys: &mut [u64],
    mut progress: impl FnMut(usize),
) -> io::Result<()> {
    let mut place = first as u64 * KEY_BYTES;
    for piece in keys.chunks_mut(PIECE_KEYS) {
        file.read_exact_at(piece.as_mut_bytes(), place)?;
        for key in &mut *piece {
            *key = u64::from_le(*key);
        }
        place += piece.len() as u64 * KEY_BYTES;
        progress(piece.len());
    }
    Ok(())
}

/// Writes keys after what has been written before.
///
/// # Errors
/// What `out` answers.
pub fn write(out: &mut (impl Write + ?Sized), keys: &[u64]) -> io::Result<()> {
    for piece in keys.chunks(PIECE_KEYS) {
        let piece: Vec<U64> = piece.iter().copied().map(U64::new).collect();
        out.write_all(piece.as_bytes())?;
    }
    Ok(())
}

/// Writes keys to a file, to where the one of number `first` on belong.
///
/// # Errors
/// What the system says.
pub fn write_at(file: &File, first: usize, keys: &[u64]) -> io::Result<()> {
    let mut place = first as u64 * KEY_BYTES;
    for piece in keys.chunks(PIECE_KEYS) {
        let mut bytes = Vec::with_capacity(size_of_val(piece));
        write(&mut bytes, piece)?;
        file.write_all_at(&bytes, place)?;
        place += bytes.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_byte_comes_first() {
        let mut bytes = Vec::new();
        write(&mut bytes, &[0x0102, u64::MAX - 1]).unwrap();
        assert_eq!(bytes[..9], [2, 1, 0, 0, 0, 0, 0, 0, 0xfe]);
    }

    #[test]
    fn parts_are_written_where_they_belong() {
        let keys: Vec<u64> = (0..2 * PIECE_KEYS as u64).collect();
        let mut expected = Vec::new();
        write(&mut expected, &keys).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        write_at(file.as_file(), 3, &keys[3..]).unwrap();
        write_at(file.as_file(), 0, &keys[..3]).unwrap();
        assert!(std::fs::read(file.path()).unwrap() == expected);
    }

    #[test]
    fn a_block_is_read_where_it_is_and_progress_is_told() {
        let keys: Vec<u64> = (0..3 * PIECE_KEYS as u64).collect();
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, &keys).unwrap();
        let mut block = vec![0; 2 * PIECE_KEYS + 5];
        let mut told = Vec::new();
        read(&file, 7, &mut block, |count| told.push(count)).unwrap();
        assert!(block == keys[7..][..block.len()]);
        assert_eq!(told, [PIECE_KEYS, PIECE_KEYS, 5]);
    }
}
