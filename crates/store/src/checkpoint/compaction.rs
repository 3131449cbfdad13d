//! Keeps the chain of images short: pages that an old image still serves are carried into the new
//! one, until nothing needs the old one and it is removed.
//!
//! As the cleaner of a log-structured file system (Rosenblum and Ousterhout 1992), it empties the
//! image with the smallest share of live pages. It begins when the chain has twice as many pages as
//! the heap, so that what it carries is no more than what it frees, or when there are too many images.
//! One checkpoint carries a bounded number of pages: nobody waits for a large image to be emptied.

use std::sync::RwLock;

use plurix_wire::{CheckpointId, PageNumber};

use crate::disk::{Files, Reader};
use crate::error::CheckpointError;
use crate::image::format::Entry;
use crate::image::locations::Locations;
use crate::image::reader::{Image, read_blob};
use crate::image::writer::ImageWriter;
use crate::manifest::{ImageRecord, Manifest};

/// Images of a chain beyond which the smallest are merged.
const IMAGES_MAX: usize = 32;
/// Pages that a chain may have beyond twice those of the heap.
const SLACK_PAGES: u64 = 4096;
/// Pages that a checkpoint may carry beyond twice those that changed.
const BUDGET_PAGES: u64 = 1024;

/// Carries pages into the image being written; answers how many.
pub(super) fn carry(
    files: &mut dyn Files,
    writer: &mut ImageWriter,
    manifest: &Manifest,
    locations: &RwLock<Locations>,
) -> Result<u64, CheckpointError> {
    let reader = &*files.reader();
    let Some(newest) = manifest.checkpoints.last() else {
        return Ok(0);
    };
    let mut chain: Vec<Link<'_>> = {
        let locations = locations.read().expect("nothing panics while it is held");
        let records = newest.images.iter().filter_map(|id| manifest.image(*id));
        records
            .map(|image| Link {
                image,
                live: locations.live_in(image.id),
            })
            .collect()
    };
    let changed: Vec<PageNumber> = writer.sorted().iter().map(|entry| entry.page).collect();
    let mut budget = 2 * changed.len() as u64 + BUDGET_PAGES;
    let mut carried = 0;
    while let Some(victim) = victim(&chain) {
        let link = chain.remove(victim);
        let entries = live_entries(reader, manifest, link.image, locations, &changed)?;
        for entry in entries.iter().take(budget as usize) {
            copy(files, reader, writer, link.image.id, entry)?;
        }
        carried += budget.min(entries.len() as u64);
        let Some(rest) = budget.checked_sub(entries.len() as u64) else {
            break;
        };
        budget = rest;
    }
    Ok(carried)
}

/// An image of the chain, and how many pages it serves.
struct Link<'a> {
    image: &'a ImageRecord,
    live: u64,
}

/// The image to be emptied next, by its place in the chain.
fn victim(chain: &[Link<'_>]) -> Option<usize> {
    let all: u64 = chain.iter().map(|link| link.image.entries).sum();
    let live: u64 = chain.iter().map(|link| link.live).sum();
    let places = 0..chain.len();
    if all > 2 * live + SLACK_PAGES {
        // The smallest share of live pages; shares are compared without dividing.
        let by_share = |a: &usize, b: &usize| {
            let (a, b) = (&chain[*a], &chain[*b]);
            (a.live * b.image.entries).cmp(&(b.live * a.image.entries))
        };
        return places.min_by(by_share);
    }
    // The image being written is one more.
    (chain.len() >= IMAGES_MAX)
        .then(|| places.min_by_key(|at| chain[*at].live))
        .flatten()
}

/// The pages that `image` serves and that did not change.
fn live_entries(
    reader: &dyn Reader,
    manifest: &Manifest,
    image: &ImageRecord,
    locations: &RwLock<Locations>,
    changed: &[PageNumber],
) -> Result<Vec<Entry>, CheckpointError> {
    let mut entries = Image::open(reader, manifest.cluster, image)?.entries(reader)?;
    let locations = locations.read().expect("nothing panics while it is held");
    entries.retain(|entry| {
        let serves = locations
            .get(entry.page)
            .is_some_and(|(id, _)| id == image.id);
        serves && changed.binary_search(&entry.page).is_err()
    });
    Ok(entries)
}

fn copy(
    files: &mut dyn Files,
    reader: &dyn Reader,
    writer: &mut ImageWriter,
    from: CheckpointId,
    entry: &Entry,
) -> Result<(), CheckpointError> {
    let mut blob = Vec::new();
    read_blob(reader, from, entry, &mut blob)?;
    let carried = writer.carry(files, entry, &blob);
    carried.map_err(|error| CheckpointError::writing(files, writer.id(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u32, entries: u64) -> ImageRecord {
        ImageRecord {
            id: CheckpointId(id),
            bytes: 0,
            entries,
            footer_crc: 0,
            damaged: false,
        }
    }

    #[test]
    fn the_emptiest_image_goes_first_once_half_of_the_chain_is_dead() {
        let records = [record(1, 20_000), record(2, 10_000), record(3, 100)];
        let chain = |live: [u64; 3]| -> Vec<Link<'_>> {
            let links = records.iter().zip(live);
            links.map(|(image, live)| Link { image, live }).collect()
        };
        assert_eq!(victim(&chain([20_000, 10_000, 100])), None);
        assert_eq!(victim(&chain([12_000, 1_000, 50])), None);
        assert_eq!(victim(&chain([9_000, 1_000, 50])), Some(1));
        assert_eq!(victim(&chain([0, 1_000, 50])), Some(0));
    }

    #[test]
    fn the_smallest_goes_when_there_are_too_many() {
        let records: Vec<_> = (1..=IMAGES_MAX as u32).map(|id| record(id, 50)).collect();
        let chain: Vec<_> = records
            .iter()
            .map(|image| Link {
                image,
                live: if image.id.0 == 9 { 3 } else { 50 },
            })
            .collect();
        assert_eq!(victim(&chain), Some(8));
        assert_eq!(victim(&chain[1..]), None);
    }
}
