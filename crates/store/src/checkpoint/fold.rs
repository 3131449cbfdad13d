//! Folds the log between two cuts into pages, so that a checkpoint needs none from the leader.
//!
//! The log is read in pieces, and what it writes is kept by page. Then the pages come one after the
//! other: each is loaded, brought up to date and written, and none of them stays in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use plurix_wire::record::{self, Body, Found, RECORD_BYTES_MAX};
use plurix_wire::redo::{Chain, Redo};
use plurix_wire::{PAGE_BYTES, PageBytes, PageNumber, WriteSet};
use rustc_hash::FxHashMap;

use crate::disk::{Files, Reader};
use crate::error::CheckpointError;
use crate::identity::array;
use crate::image::locations::Locations;
use crate::image::reader::read_page;
use crate::image::writer::ImageWriter;
use crate::manifest::Position;
use crate::segment::{self, HEAD_BYTES};

/// Bytes of the log that are read together.
const PIECE_BYTES: u64 = 1 << 20;
/// As many if one record is longer.
const LONG_PIECE_BYTES: u64 = PIECE_BYTES + RECORD_BYTES_MAX as u64;
/// Bytes of writes that are kept. Pages for which there is no room stay in memory instead.
const REDO_BYTES_MAX: usize = 64 << 20;

impl Position {
    /// The log's first record, behind no checkpoint.
    pub(crate) fn beginning() -> Self {
        Self {
            segment: 1,
            at: HEAD_BYTES as u64,
            last_at: 0,
        }
    }
}

/// Writes the pages that the log changes between `from` and `to`; answers how many.
pub(super) fn fold(
    files: &mut dyn Files,
    writer: &mut ImageWriter,
    from: Position,
    to: Position,
    locations: &RwLock<Locations>,
) -> Result<u64, CheckpointError> {
    let reader = files.reader();
    let mut pages = Pages {
        reader: &*reader,
        locations,
        redo: Redo::new(REDO_BYTES_MAX),
        changed: FxHashMap::default(),
    };
    for index in from.segment..=to.segment {
        let begin = if index == from.segment {
            from.at
        } else {
            HEAD_BYTES as u64
        };
        let end = (index == to.segment).then_some(to.at);
        pages.segment(index, begin, end)?;
    }
    // An image is read in the order of its pages.
    let changed: BTreeMap<_, _> = std::mem::take(&mut pages.changed).into_iter().collect();
    for (page, changed) in &changed {
        let bytes = pages.brought_up(*page, changed)?;
        let written = writer.page(files, *page, &bytes);
        written.map_err(|error| CheckpointError::writing(files, writer.id(), error))?;
    }
    Ok(changed.len() as u64)
}

/// The pages changed so far, on top of the images.
struct Pages<'a> {
    reader: &'a dyn Reader,
    locations: &'a RwLock<Locations>,
    redo: Redo,
    changed: FxHashMap<PageNumber, Changed>,
}

/// A page that was changed.
#[derive(Default)]
struct Changed {
    /// Its bytes, if it was brought up to date before the end.
    bytes: Option<Arc<PageBytes>>,
    /// What it needs, beside them or those of the images.
    chain: Chain,
}

impl Pages<'_> {
    /// Applies the records of a segment from `begin` on, to `end` or to its seal.
    fn segment(&mut self, index: u64, begin: u64, end: Option<u64>) -> Result<(), CheckpointError> {
        let name = segment::name(index);
        let length = self.reader.length(&name);
        let length = length.map_err(|error| self.failed(&name, error))?;
        let stop = end.unwrap_or(length);
        let (mut from, mut wanted) = (begin, PIECE_BYTES);
        let mut buffer = vec![0; PIECE_BYTES as usize];
        loop {
            buffer.resize(wanted.min(stop.saturating_sub(from)) as usize, 0);
            let read = self.reader.read_at(&name, from, &mut buffer);
            read.map_err(|error| self.failed(&name, error))?;
            let piece = Bytes::from(std::mem::take(&mut buffer));
            let is_last = from + piece.len() as u64 >= stop;
            let damaged = |at: usize, what: &str| CheckpointError::Fold {
                file: self.reader.path(&name),
                at: from + at as u64,
                what: what.to_owned(),
            };
            let mut at = 0;
            let is_long = piece.len() as u64 > PIECE_BYTES;
            while is_last || is_whole(&piece, at) || is_long && at == 0 {
                let found = record::decode(&piece, index, at);
                match found.map_err(|error| damaged(at, &error.to_string()))? {
                    Found::Record { record, next, .. } => {
                        if let Body::Commit { writes, .. } = &record.body {
                            self.add(writes)?;
                        }
                        at = next;
                    }
                    // The log is sealed here, or the cut was taken here.
                    Found::End if end.is_none_or(|end| end == from + at as u64) => return Ok(()),
                    Found::End => return Err(damaged(at, "a record is missing")),
                }
            }
            wanted = if at > 0 {
                PIECE_BYTES
            } else {
                LONG_PIECE_BYTES
            };
            from += at as u64;
            buffer = Vec::from(piece);
        }
    }

    fn failed(&self, name: &str, error: io::Error) -> CheckpointError {
        CheckpointError::io("read", self.reader.path(name), error)
    }

    fn add(&mut self, writes: &WriteSet) -> Result<(), CheckpointError> {
        for section in writes.sections() {
            let page = section.page();
            let changed = self.changed.entry(page).or_default();
            if changed.bytes.is_none() && self.redo.push(&mut changed.chain, &section) {
                continue;
            }
            let mut changed = std::mem::take(changed);
            let mut bytes = self.brought_up(page, &changed)?;
            self.redo.forget(&mut changed.chain);
            section.apply(Arc::make_mut(&mut bytes));
            changed.bytes = Some(bytes);
            self.changed.insert(page, changed);
        }
        Ok(())
    }

    /// The bytes of a page with all that was written so far.
    fn brought_up(
        &self,
        page: PageNumber,
        changed: &Changed,
    ) -> Result<Arc<PageBytes>, CheckpointError> {
        let mut bytes = match &changed.bytes {
            Some(bytes) => Arc::clone(bytes),
            None => self.load(page)?,
        };
        if !changed.chain.is_empty() {
            self.redo.apply(changed.chain, Arc::make_mut(&mut bytes));
        }
        Ok(bytes)
    }

    fn load(&self, page: PageNumber) -> Result<Arc<PageBytes>, CheckpointError> {
        let locations = self
            .locations
            .read()
            .expect("nothing panics while it is held");
        let location = locations.get(page);
        drop(locations);
        match location {
            Some((image, entry)) => Ok(read_page(self.reader, image, &entry)?),
            None => Ok(Arc::new([0; PAGE_BYTES])),
        }
    }
}

/// Whether all of the record at `at` is in `piece`.
fn is_whole(piece: &[u8], at: usize) -> bool {
    at + record::ALIGN <= piece.len() && {
        let length = u32::from_le_bytes(array(piece, at)) as usize;
        at + length <= piece.len()
    }
}
