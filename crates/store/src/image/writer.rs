//! Writes one image, page by page, in the background.

use std::io;

use plurix_wire::record::Stamp;
use plurix_wire::{CheckpointId, ClusterId, PAGE_BYTES, PageBytes, PageNumber};

use super::format::{self, BLOCK_BYTES, Codec, Entry, FOOTER_BYTES, Footer};
use super::page::{self, Compression};
use crate::disk::Files;
use crate::identity::array;

/// An image that is being written.
pub(crate) struct ImageWriter {
    id: CheckpointId,
    cluster: ClusterId,
    compression: Compression,
    at: u64,
    entries: Vec<Entry>,
    blob: Vec<u8>,
}

/// An image of which everything was appended.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Ascending by page.
    pub(crate) entries: Vec<Entry>,
    /// The checksum of its footer, which covers all others.
    pub(crate) footer_crc: u32,
}

impl ImageWriter {
    /// Begins image `id`.
    pub(crate) fn create(
        files: &mut dyn Files,
        id: CheckpointId,
        cluster: ClusterId,
        compression: Compression,
    ) -> io::Result<Self> {
        let head = format::encode_head(id, cluster);
        Self::begin(files, &format::name(id), &head, (id, cluster), compression)
    }

    /// Begins a file of this name and first block.
    pub(crate) fn begin(
        files: &mut dyn Files,
        name: &str,
        head: &[u8],
        (id, cluster): (CheckpointId, ClusterId),
        compression: Compression,
    ) -> io::Result<Self> {
        debug_assert_eq!(head.len(), BLOCK_BYTES);
        files.create(name)?;
        files.append(head)?;
        Ok(Self {
            id,
            cluster,
            compression,
            at: BLOCK_BYTES as u64,
            entries: Vec::new(),
            blob: Vec::new(),
        })
    }

    /// Its number.
    pub(crate) fn id(&self) -> CheckpointId {
        self.id
    }

    /// Appends a page. Each comes once.
    pub(crate) fn page(
        &mut self,
        files: &mut dyn Files,
        page: PageNumber,
        bytes: &PageBytes,
    ) -> io::Result<()> {
        let mut blob = std::mem::take(&mut self.blob);
        let codec = page::encode(bytes, self.compression, &mut blob);
        let appended = match codec {
            Codec::Raw => self.blob(files, page, codec, bytes),
            _ => self.blob(files, page, codec, &blob),
        };
        self.blob = blob;
        appended
    }

    /// Appends a page as another image has it.
    pub(crate) fn carry(
        &mut self,
        files: &mut dyn Files,
        entry: &Entry,
        blob: &[u8],
    ) -> io::Result<()> {
        self.blob(files, entry.page, entry.codec, blob)
    }

    fn blob(
        &mut self,
        files: &mut dyn Files,
        page: PageNumber,
        codec: Codec,
        blob: &[u8],
    ) -> io::Result<()> {
        debug_assert!(blob.len() <= PAGE_BYTES);
        files.append(blob)?;
        self.entries.push(Entry {
            page,
            at: self.at,
            length: blob.len() as u16,
            codec,
            crc: crc32fast::hash(blob),
        });
        self.at += blob.len() as u64;
        Ok(())
    }

    /// The pages appended so far, in ascending order from now on.
    pub(crate) fn sorted(&mut self) -> &[Entry] {
        self.entries.sort_unstable_by_key(|entry| entry.page);
        &self.entries
    }

    /// Appends the tail. What is left to be done is [`Files::finish`].
    pub(crate) fn complete(
        mut self,
        files: &mut dyn Files,
        stamp: Stamp,
        state: &[u8],
    ) -> io::Result<Written> {
        self.sorted();
        let twice = self
            .entries
            .windows(2)
            .find(|pair| pair[0].page == pair[1].page);
        assert!(twice.is_none(), "a page comes once: {twice:?}");
        let mut index = Vec::with_capacity(self.entries.len() * format::ENTRY_BYTES);
        self.entries
            .iter()
            .for_each(|entry| entry.encode(&mut index));
        let footer = Footer {
            id: self.id,
            cluster: self.cluster,
            stamp,
            index_at: self.at,
            entries: self.entries.len() as u64,
            index_crc: crc32fast::hash(&index),
            state_at: self.at + index.len() as u64,
            state_bytes: state.len() as u64,
            state_crc: crc32fast::hash(state),
        }
        .encode();
        let end = self.at + (index.len() + state.len()) as u64;
        let bytes = (end + FOOTER_BYTES as u64).next_multiple_of(BLOCK_BYTES as u64);
        let padding = bytes - end - FOOTER_BYTES as u64;
        files.append(&index)?;
        files.append(state)?;
        files.append(&[0; BLOCK_BYTES][..padding as usize])?;
        files.append(&footer)?;
        Ok(Written {
            bytes,
            entries: self.entries,
            footer_crc: u32::from_le_bytes(array(&footer, 12)),
        })
    }
}
