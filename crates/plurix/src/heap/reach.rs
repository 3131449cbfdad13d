//! From which roots a block can be reached: by the root that stands for it, or by a guess. Whatever
//! looks like a pointer into the block counts as one, as for a conservative collector (Boehm, Weiser
//! 1988); the heap does not say which words are pointers.

use plurix_wire::PAGE_BYTES;

use super::layout::Geometry;
use super::names::{self, Root};
use super::places::Place;
use crate::error::Result;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// Bytes of one root that are looked at.
const ROOT_BYTES_MAX: u64 = 1 << 20;
/// Bytes that are looked at behind a pointer of a root.
const SECOND_BYTES: u64 = PAGE_BYTES as u64;
/// Pointers of all roots that are followed.
const FOLLOWED_MAX: usize = 1024;

/// Notes the root that leads to each of the `places`, if one is found.
pub(super) fn find_roots(tx: &Transaction<'_>, places: &mut [Place]) -> Result<()> {
    let roots = names::list(tx)?;
    for place in places.iter_mut() {
        let holds = |root: &&Root| {
            let end = root.offset.saturating_add(root.bytes);
            (root.offset..end).contains(&place.offset)
        };
        place.root = roots.iter().find(holds).map(|root| root.name.clone());
        if place.root.is_none() {
            let entry = names::entry_of(tx, place.offset)?;
            if let Some(name) = entry {
                place.what = format!("name directory: entry of root {name}");
            }
        }
    }
    let mut follow = Vec::new();
    for root in &roots {
        if is_wanted(places) {
            for word in words(tx, root.offset, root.bytes.min(ROOT_BYTES_MAX))? {
                note(places, word, &root.name, 1);
                if follow.len() < FOLLOWED_MAX {
                    follow.push((word, root));
                }
            }
        }
    }
    follow.dedup();
    for (pointer, root) in follow {
        if is_wanted(places) {
            for word in words(tx, pointer, SECOND_BYTES)? {
                note(places, word, &root.name, 2);
            }
        }
    }
    Ok(())
}

fn is_wanted(places: &[Place]) -> bool {
    let wanted = |place: &Place| place.root.is_none() && place.block.is_some();
    places.iter().any(wanted)
}

/// Notes all blocks into which `word` points.
fn note(places: &mut [Place], word: u64, root: &str, steps: u32) {
    for place in places.iter_mut().filter(|place| place.root.is_none()) {
        let block = place.block.zip(place.block_bytes);
        if block.is_some_and(|(begin, bytes)| (begin..begin + bytes).contains(&word)) {
            place.root = Some(root.to_owned());
            place.guessed_steps = Some(steps);
        }
    }
}

/// The words of some memory that can be pointers to what programs have.
fn words(tx: &Transaction<'_>, offset: u64, bytes: u64) -> Result<Vec<u64>> {
    let begin = offset.next_multiple_of(8);
    let geometry = Geometry::of(tx.pages.len());
    let programs = geometry.first * PAGE_BYTES as u64..tx.pages.len();
    let end = offset.saturating_add(bytes).min(tx.pages.len());
    if begin >= end {
        return Ok(Vec::new());
    }
    let words = tx.get(Ptr::<[u64]>::slice_at(begin, (end - begin) / 8))?;
    let pointers = words.iter().filter(|word| programs.contains(word));
    Ok(pointers.copied().collect())
}
