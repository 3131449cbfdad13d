//! The page table: conflicts, undo, and what a replay leaves for later.

use plurix_wire::WriteSetBuilder;
use proptest::prelude::*;

use super::*;
use crate::leader::{Durability, Images};

fn table(recent: usize) -> PageTable {
    PageTable::in_memory(1 << 20, recent)
}

fn write(page: u32, offset: usize, bytes: &[u8]) -> WriteSet {
    let mut builder = WriteSetBuilder::new();
    builder.push(PageNumber(page), offset, bytes);
    builder.finish()
}

fn reads(page: u32, lines: u64) -> [PageLines; 1] {
    [PageLines {
        page: PageNumber(page),
        lines: LineMask(lines),
    }]
}

#[test]
fn only_lines_written_after_the_snapshot_conflict() {
    let mut pages = table(4);
    pages.apply(CommitNumber(1), &write(1, 0, b"a"), &mut Vec::new());
    pages.apply(CommitNumber(2), &write(1, 64, b"b"), &mut Vec::new());
    assert_eq!(
        pages.conflict(&reads(1, 0b01), CommitNumber(1), &Seen::default()),
        None
    );
    assert_eq!(
        pages.conflict(&reads(1, 0b11), CommitNumber(1), &Seen::default()),
        Some(reads(1, 0b10)[0])
    );
    assert_eq!(
        pages.conflict(&reads(1, 0b11), CommitNumber(2), &Seen::default()),
        None
    );
    assert_eq!(
        pages.conflict(&reads(2, 0b11), CommitNumber(0), &Seen::default()),
        None
    );
}

#[test]
fn a_forgotten_page_conflicts_as_a_whole_and_never_too_little() {
    let mut pages = table(1);
    pages.apply(CommitNumber(1), &write(1, 0, b"a"), &mut Vec::new());
    pages.apply(CommitNumber(2), &write(2, 0, b"b"), &mut Vec::new());
    assert!(
        pages
            .conflict(&reads(1, 0b10), CommitNumber(0), &Seen::default())
            .is_some()
    );
    assert_eq!(
        pages.conflict(&reads(1, 0b10), CommitNumber(1), &Seen::default()),
        None
    );
    pages.apply(CommitNumber(3), &write(1, 64, b"c"), &mut Vec::new());
    assert!(
        pages
            .conflict(&reads(1, 0b01), CommitNumber(0), &Seen::default())
            .is_some()
    );
    assert_eq!(
        pages.conflict(&reads(1, 0b01), CommitNumber(2), &Seen::default()),
        None
    );
}

#[test]
fn a_line_that_somebody_else_may_have_written_is_not_seen() {
    let mut pages = table(1);
    let mut seen = Seen::default();
    seen.push(CommitNumber(2), 8);
    pages.apply(CommitNumber(1), &write(1, 0, b"a"), &mut Vec::new());
    pages.apply(CommitNumber(2), &write(1, 64, b"b"), &mut Vec::new());
    assert_eq!(
        pages.conflict(&reads(1, 0b10), CommitNumber(0), &seen),
        None
    );
    assert!(
        pages
            .conflict(&reads(1, 0b11), CommitNumber(0), &seen)
            .is_some()
    );
    // The page is forgotten: that commit 2 wrote it last says nothing of its lines any more.
    pages.apply(CommitNumber(3), &write(2, 0, b"c"), &mut Vec::new());
    pages.apply(CommitNumber(4), &write(1, 128, b"d"), &mut Vec::new());
    assert!(
        pages
            .conflict(&reads(1, 0b10), CommitNumber(0), &seen)
            .is_some()
    );
}

#[test]
fn undo_holds_the_version_and_the_bytes_before() {
    let mut pages = table(4);
    pages.apply(CommitNumber(7), &write(1, 10, b"old"), &mut Vec::new());
    let mut undo = Vec::new();
    pages.apply(CommitNumber(8), &write(1, 11, b"ew"), &mut undo);
    assert_eq!(undo, [&7u64.to_le_bytes()[..], b"ld"].concat());
    assert_eq!(&pages.image(PageNumber(1)).unwrap()[10..13], b"oew");
}

const PAGES: u32 = 8;

/// Pages of which each byte is the page's number.
#[derive(Debug)]
struct Numbered;

impl Images for Numbered {
    fn load(&self, page: PageNumber) -> Arc<PageBytes> {
        Arc::new([page.0 as u8; PAGE_BYTES])
    }
}

fn started(redo_bytes_max: usize) -> PageTable {
    let settings = Settings {
        redo_bytes_max,
        ..Settings::new(1 << 20, Durability::Memory)
    };
    let mut pages = PageTable::new(&settings, Arc::new(Numbered));
    let stored = (0..PAGES / 2).map(PageNumber);
    assert!(pages.start_from(CommitNumber(0), stored));
    pages
}

fn bytes(pages: &PageTable) -> Vec<Option<Arc<PageBytes>>> {
    (0..PAGES)
        .map(|page| pages.image(PageNumber(page)))
        .collect()
}

/// What happens to a page: a commit writes it, or somebody asks for it.
#[derive(Debug, Clone)]
enum Step {
    Write(u32, usize, Vec<u8>),
    Touch(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let page = 0..PAGES;
    prop_oneof![
        4 => (page.clone(), 0..PAGE_BYTES - 40, prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(page, at, bytes)| Step::Write(page, at, bytes)),
        1 => page.prop_map(Step::Touch),
    ]
}

proptest! {
    #[test]
    fn pages_are_as_if_written_at_once(
        replayed in prop::collection::vec(step(), 0..40),
        later in prop::collection::vec(step(), 0..10),
        room in prop_oneof![0..2000_usize, Just(1 << 20)],
    ) {
        let (mut lazy, mut eager) = (started(room), started(0));
        let replays = replayed.len();
        for (at, step) in replayed.into_iter().chain(later).enumerate() {
            let number = CommitNumber(at as u64 + 1);
            for pages in [&mut lazy, &mut eager] {
                match &step {
                    Step::Touch(page) => pages.touch(PageNumber(*page)),
                    Step::Write(page, offset, bytes) => {
                        let writes = write(*page, *offset, bytes);
                        if at < replays {
                            pages.replay(number, &writes);
                        } else {
                            pages.apply(number, &writes, &mut Vec::new());
                        }
                    }
                }
            }
            prop_assert_eq!(bytes(&lazy), bytes(&eager));
            prop_assert_eq!(lazy.written(), eager.written());
            prop_assert_eq!(lazy.changed(), eager.changed());
        }
    }
}

#[test]
fn a_page_is_brought_up_to_date_where_there_is_no_room_to_wait() {
    let mut pages = started(40);
    let writes = write(7, 100, b"7");
    for number in 1..=4 {
        pages.replay(CommitNumber(number), &writes);
        assert_eq!(pages.resident(), 0);
    }
    pages.replay(CommitNumber(5), &writes);
    assert_eq!(pages.resident(), 1);
}

#[test]
fn a_checkpoint_ends_what_was_left() {
    let mut pages = started(1 << 20);
    pages.replay(CommitNumber(1), &write(1, 0, b"one"));
    assert_eq!(pages.freeze(true), 1);
    let (collected, is_last) = pages.collect(10);
    assert!(is_last);
    assert_eq!(&collected[0].1[..4], b"one\x01");
    pages.stored(CommitNumber(1));
    assert!(pages.entry(PageNumber(1)).is_as_stored());
}
