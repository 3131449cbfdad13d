//! The bounds of the queue.

use super::*;
use crate::station::Install;
use plurix_wire::message::{Content, Page};
use plurix_wire::{
    Generation, PAGE_BYTES, PageBytes, Section, StreamSequence, Term, WriteSetBuilder,
};

struct Nowhere;

impl Install for Nowhere {
    fn install(&self, _: PageNumber, _: &PageBytes) {}
    fn install_zero(&self, _: PageNumber) {}
}

impl Pages for Nowhere {
    fn apply(&mut self, _: &Section<'_>) {}
    fn evict(&mut self, _: PageNumber) {}
    fn finish(&mut self) {}
    fn rollback(&mut self) {}
}

fn batch(number: u64, item: Item) -> Batch {
    Batch {
        term: Term(1),
        generation: Generation(0),
        sequence: StreamSequence(number),
        through: CommitNumber(number),
        durable: CommitNumber(0),
        last: true,
        items: vec![item],
    }
}

#[test]
fn the_bound_holds_again_after_a_queue_that_could_not_keep_it() {
    let (page, number) = (PageNumber(1), CommitNumber(1));
    let mut cache = Cache::new(CommitNumber(0), &[], Vec::new(), 64);
    let served = Page {
        page,
        base: number,
        held_from: number,
        content: Content::Bytes(vec![1; PAGE_BYTES].into()),
        since: Vec::new(),
    };
    cache.arrive(batch(1, Item::Page(Box::new(served))));
    cache.apply(&mut Nowhere, None);
    for number in 2..100 {
        let mut builder = WriteSetBuilder::new();
        builder.push(page, 0, &[number as u8; 8]);
        let (number, writes) = (CommitNumber(number), builder.finish());
        let delta = Delta { number, writes };
        cache.arrive(batch(number.0, Item::Delta(delta)));
    }
    assert!(cache.queued_bytes <= 2 * 64, "{}", cache.queued_bytes);
}
