//! How served pages and changes reach memory.

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Content, Page};
use plurix_wire::{CommitNumber, PAGE_BYTES, PageBytes, PageNumber, WriteSet};
use rustc_hash::FxHashMap;

use super::super::{Install, Pages};
use super::arrived::Arrived;
use crate::page_set::PageSet;

/// Puts a page into memory as of `through`.
pub(super) fn install(page: &Page, through: CommitNumber, memory: &impl Install) {
    let mut changes = page
        .since
        .iter()
        .take_while(|delta| delta.number <= through)
        .peekable();
    if changes.peek().is_none() {
        return match &page.content {
            Content::Zero => memory.install_zero(page.page),
            Content::Bytes(bytes) => memory.install(page.page, whole(bytes)),
        };
    }
    let mut bytes = match &page.content {
        Content::Zero => [0; PAGE_BYTES],
        Content::Bytes(bytes) => *whole(bytes),
    };
    for section in changes.flat_map(|delta| delta.writes.sections()) {
        section.apply(&mut bytes);
    }
    memory.install(page.page, &bytes);
}

/// The queue has reached a served page: brings it to the commit from which it is held.
pub(super) fn settle_page(arrived: Arrived, memory: &mut impl Pages) {
    let page = arrived.page;
    match arrived.installed {
        None => install(&page, page.held_from, memory),
        Some(snapshot) => {
            for delta in page.since.iter().filter(|delta| delta.number > snapshot) {
                delta
                    .writes
                    .sections()
                    .for_each(|section| memory.apply(&section));
            }
        }
    }
}

pub(super) fn apply_held(held: &PageSet, writes: &WriteSet, memory: &mut impl Pages) {
    for section in writes
        .sections()
        .filter(|section| held.contains(section.page()))
    {
        memory.apply(&section);
    }
}

/// Puts the bytes of the station's own commit `number` into memory, but for pages that were
/// brought to that commit or beyond already: after a resume the refreshed lines contain it.
pub(super) fn put_back(
    held: &PageSet,
    refreshed: &FxHashMap<PageNumber, CommitNumber>,
    number: CommitNumber,
    writes: &WriteSet,
    memory: &mut impl Pages,
) {
    for section in writes.sections() {
        let page = section.page();
        let beneath = refreshed.get(&page).is_none_or(|refresh| *refresh < number);
        if beneath && held.contains(page) && !canary::strikes(Canary::LoseMerge) {
            memory.apply(&section);
        }
    }
}

/// The session has checked the length when the page arrived.
fn whole(bytes: &bytes::Bytes) -> &PageBytes {
    bytes[..].try_into().expect("checked on arrival")
}
