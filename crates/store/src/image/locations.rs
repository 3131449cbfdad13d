//! Where the newest stored bytes of each page are: the images of a chain, folded.

use std::collections::BTreeMap;

use plurix_wire::{CheckpointId, PageNumber};

use super::format::{Codec, Entry};

const CHUNK_PAGES: usize = 512;

/// Where a page is stored.
#[derive(Debug, Clone, Copy)]
struct Location {
    /// Zero if it is nowhere.
    image: CheckpointId,
    crc: u32,
    at: u64,
    length: u16,
    codec: Codec,
}

impl Location {
    fn of(image: CheckpointId, entry: &Entry) -> Self {
        Self {
            image,
            crc: entry.crc,
            at: entry.at,
            length: entry.length,
            codec: entry.codec,
        }
    }
}

const NOWHERE: Location = Location {
    image: CheckpointId(0),
    crc: 0,
    at: 0,
    length: 0,
    codec: Codec::Zero,
};

/// The image and the entry of every stored page, and how many pages each image still serves.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    chunks: Vec<Option<Box<[Location; CHUNK_PAGES]>>>,
    live: BTreeMap<CheckpointId, u64>,
}

impl Locations {
    /// Where `page` is, if it is stored.
    pub(crate) fn get(&self, page: PageNumber) -> Option<(CheckpointId, Entry)> {
        let (chunk, index) = position(page);
        let location = self.chunks.get(chunk)?.as_ref()?[index];
        (location.image != CheckpointId(0)).then_some((
            location.image,
            Entry {
                page,
                at: location.at,
                length: location.length,
                codec: location.codec,
                crc: location.crc,
            },
        ))
    }

    /// The page of `entry` is stored in `image` from now on.
    pub(crate) fn set(&mut self, image: CheckpointId, entry: &Entry) {
        let before = self.replace(image, entry);
        if before != CheckpointId(0) {
            let live = self.live.get_mut(&before).expect("it serves this page");
            *live -= 1;
            if *live == 0 {
                self.live.remove(&before);
            }
        }
        *self.live.entry(image).or_default() += 1;
    }

    /// As [`set`](Self::set) of each entry whose page is not stored elsewhere already. A large heap
    /// has many, so they are counted together.
    pub(crate) fn add_older(&mut self, image: CheckpointId, entries: &[Entry]) {
        let mut added = 0;
        for entry in entries {
            let place = self.place(entry.page);
            if place.image == CheckpointId(0) {
                *place = Location::of(image, entry);
                added += 1;
            }
        }
        if added > 0 {
            *self.live.entry(image).or_default() += added;
        }
    }

    fn replace(&mut self, image: CheckpointId, entry: &Entry) -> CheckpointId {
        std::mem::replace(self.place(entry.page), Location::of(image, entry)).image
    }

    fn place(&mut self, page: PageNumber) -> &mut Location {
        let (chunk, index) = position(page);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = self.chunks[chunk].get_or_insert_with(|| Box::new([NOWHERE; CHUNK_PAGES]));
        &mut chunk[index]
    }

    /// Pages that `image` serves.
    pub(crate) fn live_in(&self, image: CheckpointId) -> u64 {
        self.live.get(&image).copied().unwrap_or(0)
    }

    /// All stored pages.
    pub(crate) fn len(&self) -> u64 {
        self.live.values().sum()
    }

    /// All stored pages, ascending.
    pub(crate) fn pages(&self) -> impl Iterator<Item = PageNumber> {
        let chunks = self.chunks.iter().enumerate();
        chunks.flat_map(|(at, chunk)| {
            let pages = chunk.iter().flat_map(|chunk| chunk.iter()).enumerate();
            pages
                .filter(|(_, location)| location.image != CheckpointId(0))
                .map(move |(index, _)| PageNumber((at * CHUNK_PAGES + index) as u32))
        })
    }

    /// The images that serve a page, ascending.
    pub(crate) fn images(&self) -> impl Iterator<Item = CheckpointId> {
        self.live.keys().copied()
    }
}

fn position(page: PageNumber) -> (usize, usize) {
    let page = page.0 as usize;
    (page / CHUNK_PAGES, page % CHUNK_PAGES)
}
