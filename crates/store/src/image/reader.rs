//! Reads images, and believes nothing of them that a checksum does not cover.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use plurix_wire::{CheckpointId, ClusterId, PAGE_BYTES, PageBytes, PageNumber};

use super::format::{self, BLOCK_BYTES, Codec, ENTRY_BYTES, Entry, FOOTER_BYTES, Fault, Footer};
use super::page;
use crate::disk::Reader;
use crate::error::ImageError;
use crate::identity::array;
use crate::manifest::ImageRecord;

/// Entries of an index that are handed out together: some 256 KiB of it.
const ENTRIES_AT_ONCE: usize = 13_107;

/// An image whose head and footer were read and found whole.
pub(crate) struct Image {
    /// Its file.
    name: String,
    /// Length of the file.
    bytes: u64,
    pub(crate) footer: Footer,
    /// The checksum of the footer, which covers all others.
    footer_crc: u32,
}

impl Image {
    /// Reads the head and the footer of the image that the manifest has as `record`.
    pub(crate) fn open(
        reader: &dyn Reader,
        cluster: ClusterId,
        record: &ImageRecord,
    ) -> Result<Self, ImageError> {
        let file = ImageFile::new(reader, format::name(record.id));
        let length = file.length()?;
        if length != record.bytes {
            return Err(file.damaged(
                length.min(record.bytes),
                format!("it has {length} bytes instead of {}", record.bytes),
            ));
        }
        let head = file.read(0, BLOCK_BYTES as u64)?;
        format::check_head(&head, record.id, cluster).map_err(|fault| file.fault(0, fault))?;
        let image = Self::read(file, length)?;
        let Footer {
            id, cluster: of, ..
        } = image.footer;
        if (id, of, image.footer_crc) != (record.id, cluster, record.footer_crc) {
            return Err(image.damaged(reader, "it is not the image that the manifest names"));
        }
        Ok(image)
    }

    /// Reads a file that an image was exported to; answers its first block, too, which the caller
    /// checks.
    pub(crate) fn open_exported(
        reader: &dyn Reader,
        name: &str,
    ) -> Result<(Self, Vec<u8>), ImageError> {
        let file = ImageFile::new(reader, name.to_owned());
        let length = file.length()?;
        if length < (BLOCK_BYTES + FOOTER_BYTES) as u64 {
            return Err(file.damaged(length, "it ends early"));
        }
        let head = file.read(0, BLOCK_BYTES as u64)?;
        Ok((Self::read(file, length)?, head))
    }

    /// Reads the footer of a file of `length` bytes.
    fn read(file: ImageFile<'_>, length: u64) -> Result<Self, ImageError> {
        let footer_at = length - FOOTER_BYTES as u64;
        let bytes = file.read(footer_at, FOOTER_BYTES as u64)?;
        let footer =
            Footer::decode(&bytes, length).map_err(|fault| file.fault(footer_at, fault))?;
        Ok(Self {
            name: file.name,
            bytes: length,
            footer,
            footer_crc: u32::from_le_bytes(array(&bytes, 12)),
        })
    }

    /// The index, ascending by page.
    pub(crate) fn entries(&self, reader: &dyn Reader) -> Result<Vec<Entry>, ImageError> {
        let mut all = Vec::new();
        self.visit(reader, |entries| {
            all.extend_from_slice(entries);
            Ok(())
        })?;
        Ok(all)
    }

    /// Hands out the index in pieces that stay in the processor's cache, ascending by page. A start
    /// waits for this. What it says is known to be true when this has returned without an error.
    pub(crate) fn visit(
        &self,
        reader: &dyn Reader,
        mut each: impl FnMut(&[Entry]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let file = ImageFile::new(reader, self.name.clone());
        let damaged = |what| file.damaged(self.footer.index_at, what);
        let mut checksum = crc32fast::Hasher::new();
        let mut bytes = vec![0; ENTRIES_AT_ONCE * ENTRY_BYTES];
        let mut entries = Vec::with_capacity(ENTRIES_AT_ONCE);
        let mut last = None;
        let mut done = 0;
        while done < self.footer.entries {
            let count = (self.footer.entries - done).min(ENTRIES_AT_ONCE as u64);
            let bytes = &mut bytes[..count as usize * ENTRY_BYTES];
            file.fill(self.footer.index_at + done * ENTRY_BYTES as u64, bytes)?;
            checksum.update(bytes);
            entries.clear();
            let is_possible = decode_entries(bytes, self.footer.index_at, last, &mut entries);
            if !is_possible {
                return Err(damaged("its index is impossible"));
            }
            each(&entries)?;
            last = entries.last().map(|entry| entry.page);
            done += count;
        }
        match checksum.finalize() == self.footer.index_crc {
            true => Ok(()),
            false => Err(damaged("the checksum of its index does not match")),
        }
    }

    /// As [`visit`](Self::visit), of a heap of so many pages, beyond which no place is made.
    pub(crate) fn visit_within(
        &self,
        reader: &dyn Reader,
        pages: u64,
        mut each: impl FnMut(&[Entry]),
    ) -> Result<(), ImageError> {
        self.visit(reader, |entries| {
            let last = entries.last().map(|entry| entry.page.0);
            if let Some(page) = last.filter(|page| u64::from(*page) >= pages) {
                let file = ImageFile::new(reader, self.name.clone());
                let what = format!("page {page} lies beyond the heap");
                return Err(file.damaged(self.footer.index_at, what));
            }
            each(entries);
            Ok(())
        })
    }

    /// Reads all of it.
    pub(crate) fn verify(&self, reader: &dyn Reader) -> Result<(), ImageError> {
        self.verify_tail(reader)?;
        self.visit(reader, |entries| {
            let mut pages = entries.iter();
            pages.try_for_each(|entry| self.page(reader, entry).map(drop))
        })
    }

    /// Reads all of it but the index and the pages.
    pub(crate) fn verify_tail(&self, reader: &dyn Reader) -> Result<(), ImageError> {
        self.state(reader)?;
        let file = ImageFile::new(reader, self.name.clone());
        let at = self.footer.state_at + self.footer.state_bytes;
        let padding = file.read(at, self.bytes - FOOTER_BYTES as u64 - at)?;
        match padding.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(file.damaged(at, "the padding is not zero")),
        }
    }

    /// The leader's state at the cut.
    pub(crate) fn state(&self, reader: &dyn Reader) -> Result<Vec<u8>, ImageError> {
        let file = ImageFile::new(reader, self.name.clone());
        let state = file.read(self.footer.state_at, self.footer.state_bytes)?;
        if crc32fast::hash(&state) != self.footer.state_crc {
            let what = "the checksum of the leader's state does not match";
            return Err(file.damaged(self.footer.state_at, what));
        }
        Ok(state)
    }

    /// The blob of one of its entries.
    pub(crate) fn blob(&self, reader: &dyn Reader, entry: &Entry) -> Result<Vec<u8>, ImageError> {
        let mut blob = vec![0; usize::from(entry.length)];
        let file = ImageFile::new(reader, self.name.clone());
        read_into(&file, entry, &mut blob).map(|()| blob)
    }

    /// The page of one of its entries.
    pub(crate) fn page(
        &self,
        reader: &dyn Reader,
        entry: &Entry,
    ) -> Result<Arc<PageBytes>, ImageError> {
        page_of(&ImageFile::new(reader, self.name.clone()), entry)
    }

    /// Something is wrong with the whole of it.
    pub(crate) fn damaged(&self, reader: &dyn Reader, what: &str) -> ImageError {
        ImageFile::new(reader, self.name.clone()).damaged(self.bytes, what)
    }

    /// Its first block is not what it should be.
    pub(crate) fn head_fault(&self, reader: &dyn Reader, fault: Fault) -> ImageError {
        ImageFile::new(reader, self.name.clone()).fault(0, fault)
    }
}

/// The blob of `entry` of image `id`.
pub(crate) fn read_blob(
    reader: &dyn Reader,
    id: CheckpointId,
    entry: &Entry,
    blob: &mut Vec<u8>,
) -> Result<(), ImageError> {
    blob.resize(usize::from(entry.length), 0);
    read_into(&ImageFile::new(reader, format::name(id)), entry, blob)
}

/// The page of `entry` of image `id`.
pub(crate) fn read_page(
    reader: &dyn Reader,
    id: CheckpointId,
    entry: &Entry,
) -> Result<Arc<PageBytes>, ImageError> {
    page_of(&ImageFile::new(reader, format::name(id)), entry)
}

/// Fills `blob`, which is as long as that of `entry`.
fn read_into(file: &ImageFile<'_>, entry: &Entry, blob: &mut [u8]) -> Result<(), ImageError> {
    file.fill(entry.at, blob)?;
    if crc32fast::hash(blob) != entry.crc {
        let what = format!("the checksum of page {} does not match", entry.page.0);
        return Err(file.damaged(entry.at, what));
    }
    Ok(())
}

/// A raw page is read to where it stays: whoever starts with a large heap waits for the pages, one
/// after the other.
fn page_of(file: &ImageFile<'_>, entry: &Entry) -> Result<Arc<PageBytes>, ImageError> {
    let mut page = Arc::new([0; PAGE_BYTES]);
    let bytes = Arc::get_mut(&mut page).expect("nobody else has it yet");
    if entry.codec == Codec::Raw {
        read_into(file, entry, bytes)?;
        return Ok(page);
    }
    let mut blob = vec![0; usize::from(entry.length)];
    read_into(file, entry, &mut blob)?;
    if !page::decode(entry.codec, &blob, bytes) {
        let what = format!("page {} cannot be decompressed", entry.page.0);
        return Err(file.damaged(entry.at, what));
    }
    Ok(page)
}

/// Appends the entries in `index`, all of them behind the page `last`, to `entries`; answers whether they
/// do not contradict each other. The blobs lie before `end`.
fn decode_entries(
    index: &[u8],
    end: u64,
    mut last: Option<PageNumber>,
    entries: &mut Vec<Entry>,
) -> bool {
    let (chunks, rest) = index.as_chunks::<ENTRY_BYTES>();
    for chunk in chunks {
        let Some(entry) = Entry::decode(chunk) else {
            return false;
        };
        let ascends = last.is_none_or(|last| last < entry.page);
        let within = entry.at >= BLOCK_BYTES as u64
            && entry
                .at
                .checked_add(u64::from(entry.length))
                .is_some_and(|to| to <= end);
        let length = usize::from(entry.length);
        let fits = match entry.codec {
            Codec::Zero => length == 0,
            Codec::Raw => length == PAGE_BYTES,
            Codec::Lz4 | Codec::Zstd => (1..PAGE_BYTES).contains(&length),
        };
        if !ascends || !within || !fits {
            return false;
        }
        last = Some(entry.page);
        entries.push(entry);
    }
    rest.is_empty()
}

/// An image file by name, for what is wrong with it.
struct ImageFile<'a> {
    reader: &'a dyn Reader,
    name: String,
}

impl<'a> ImageFile<'a> {
    fn new(reader: &'a dyn Reader, name: String) -> Self {
        Self { reader, name }
    }

    fn length(&self) -> Result<u64, ImageError> {
        let length = self.reader.length(&self.name);
        length.map_err(|error| self.io("read", error))
    }

    fn read(&self, at: u64, bytes: u64) -> Result<Vec<u8>, ImageError> {
        let mut into = vec![0; bytes as usize];
        self.fill(at, &mut into)?;
        Ok(into)
    }

    fn fill(&self, at: u64, into: &mut [u8]) -> Result<(), ImageError> {
        let read = self.reader.read_at(&self.name, at, into);
        read.map_err(|error| self.failed(at, error))
    }

    fn path(&self) -> PathBuf {
        self.reader.path(&self.name)
    }

    fn fault(&self, at: u64, fault: Fault) -> ImageError {
        match fault {
            Fault::Damaged(what) => self.damaged(at, what),
            Fault::Newer(found) => ImageError::NewerVersion {
                file: self.path(),
                found,
                known: format::IMAGE_VERSION,
            },
        }
    }

    fn damaged(&self, at: u64, what: impl Into<String>) -> ImageError {
        ImageError::Damaged {
            file: self.path(),
            at,
            what: what.into(),
        }
    }

    fn failed(&self, at: u64, error: io::Error) -> ImageError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(at, "it ends early"),
            _ => self.io("read", error),
        }
    }

    fn io(&self, doing: &'static str, source: io::Error) -> ImageError {
        match source.kind() {
            io::ErrorKind::NotFound => ImageError::Missing { file: self.path() },
            _ => ImageError::Io {
                doing,
                path: self.path(),
                source,
            },
        }
    }
}
