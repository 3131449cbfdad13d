//! A file of fixed length written by plain stores, for the page server's log segments: a store to a
//! mapped segment costs a tenth of a `write()` and survives the death of the process just as well.
//!
//! **Hazard**: if somebody truncates the file, touching the lost pages raises SIGBUS, which ends
//! the process. So does a block that the file system cannot provide. Therefore the owner allocates
//! all blocks before it maps the file, never shortens a mapped file, and keeps other processes of
//! its kind out by the lock on its directory. Reading copies bytes out instead of lending them, so
//! that a stranger who writes to the file anyway can change values, but no reference.

#![allow(unsafe_code)]

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::sys::Mapping;

/// A mapped file of fixed length.
pub struct MappedFile {
    mapping: Mapping,
    file: Arc<File>,
}

impl MappedFile {
    /// Maps the first `length` bytes of `file`, which is open for reading and writing and whose
    /// blocks are allocated.
    ///
    /// # Errors
    /// [`Error::FileTooShort`] if the file has fewer bytes; [`Error::MapFile`] if the kernel
    /// refuses, or if `length` is zero.
    pub fn new(file: File, length: u64) -> Result<Self, Error> {
        let refused = |source| Error::MapFile {
            bytes: length,
            source,
        };
        let actual = file.metadata().map_err(refused)?.len();
        if actual < length {
            return Err(Error::FileTooShort {
                wanted: length,
                actual,
            });
        }
        // Fits: `sys` refuses to be built for less than 64 bits.
        let mapping = Mapping::file(&file, length as usize).map_err(refused)?;
        Ok(Self {
            mapping,
            file: Arc::new(file),
        })
    }

    /// Length in bytes.
    #[must_use]
    #[allow(
        clippy::len_without_is_empty,
        reason = "an empty file cannot be mapped"
    )]
    pub fn len(&self) -> u64 {
        self.mapping.len() as u64
    }

    /// The file that is mapped, for instance to sync it from another thread.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Stores `bytes` at `at`. They are in the file at once, on disk after [`sync`](Self::sync).
    ///
    /// # Panics
    /// If the range leaves the file.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        // SAFETY: no reference into the mapping is ever handed out, so `bytes` lies elsewhere.
        unsafe { self.mapping.store(self.checked(at, bytes.len()), bytes) }
    }

    /// Stores `value`, little-endian, in one piece and after everything written before: whoever
    /// reads the new value, in this process or from the file after this process was killed, reads
    /// the earlier writes as well. (A power failure respects no order; that is what checksums are
    /// for.)
    ///
    /// # Panics
    /// If `at` is not a multiple of 8 or the range leaves the file.
    pub fn publish_u64(&mut self, at: u64, value: u64) {
        assert!(
            at.is_multiple_of(8),
            "only an aligned word is stored in one piece"
        );
        let word = self.mapping.pointer(self.checked(at, 8)).cast::<u64>();
        // SAFETY: the word lies in the mapping, which is page-aligned, and is aligned to 8 bytes;
        // the exclusive borrow keeps this process's other accesses away.
        let word = unsafe { AtomicU64::from_ptr(word) };
        word.store(value.to_le(), Ordering::Release);
    }

    /// Copies the bytes at `at` into `buffer`.
    ///
    /// # Panics
    /// If the range leaves the file.
    pub fn read(&self, at: u64, buffer: &mut [u8]) {
        let source = self.mapping.pointer(self.checked(at, buffer.len()));
        // SAFETY: the range lies in the mapping and is initialised; the buffer lies elsewhere, for
        // no reference into the mapping is ever handed out; the shared borrow excludes writers.
        unsafe { source.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) }
    }

    /// Returns when everything stored so far is on disk (`fdatasync`).
    ///
    /// # Errors
    /// [`Error::Sync`]: the kernel may have dropped the bytes, and a second call may succeed
    /// without writing them. Do not retry; treat them as lost.
    pub fn sync(&self) -> Result<(), Error> {
        self.file
            .sync_data()
            .map_err(|source| Error::Sync { source })
    }

    fn checked(&self, at: u64, length: usize) -> usize {
        let inside = usize::try_from(at)
            .ok()
            .filter(|&at| self.mapping.contains(at, length));
        inside.unwrap_or_else(|| panic!("{length} bytes at {at} leave a file of {}", self.len()))
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(miri)))]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn mapped(length: u64) -> MappedFile {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        MappedFile::new(file, length).unwrap()
    }

    #[test]
    fn stores_reach_the_file_and_come_back() {
        let mut mapped = mapped(10_000);
        mapped.write(9_990, b"0123456789");
        mapped.publish_u64(4096, 0x0102_0304_0506_0708);
        mapped.sync().unwrap();

        let (mut tail, mut word) = ([0; 10], [0; 8]);
        mapped.read(9_990, &mut tail);
        mapped.file().read_exact_at(&mut word, 4096).unwrap();
        assert_eq!(&tail, b"0123456789");
        assert_eq!(u64::from_le_bytes(word), 0x0102_0304_0506_0708);
    }

    #[test]
    fn a_short_or_empty_file_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let error = MappedFile::new(file.try_clone().unwrap(), 1).err();
        assert!(matches!(
            error,
            Some(Error::FileTooShort {
                wanted: 1,
                actual: 0
            })
        ));
        assert!(matches!(
            MappedFile::new(file, 0).err(),
            Some(Error::MapFile { .. })
        ));
    }

    #[test]
    #[should_panic(expected = "leave a file")]
    fn a_store_beyond_the_end_panics() {
        mapped(4096).write(4090, b"0123456789");
    }

    #[test]
    #[should_panic(expected = "aligned")]
    fn a_misaligned_publication_panics() {
        mapped(4096).publish_u64(4, 1);
    }
}
