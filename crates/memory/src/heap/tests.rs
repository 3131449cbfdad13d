//! Examples, one rule of the heap each; `tests/model.rs` compares whole histories with a model.

use plurix_wire::message::PageLines;
use plurix_wire::{PAGE_BYTES, WriteSet};

use super::*;
use crate::AccessError;

/// A heap of four pages, of which the first three are present and zero.
fn heap() -> HeapMemory {
    let heap = HeapMemory::emulated(4 * PAGE_BYTES as u64).unwrap();
    (0..3).for_each(|page| heap.install_zero(PageNumber(page)));
    heap
}

/// Page, offset and bytes of each run.
fn runs_of(set: &WriteSet) -> Vec<(u32, u16, Vec<u8>)> {
    let runs = set.sections().flat_map(|section| {
        let page = section.page().0;
        section
            .runs()
            .map(move |run| (page, run.offset, run.bytes.to_vec()))
    });
    runs.collect()
}

#[test]
fn a_heap_is_send() {
    fn send<T: Send>() {}
    send::<HeapMemory>();
    send::<crate::MappedFile>();
}

#[test]
fn a_size_is_rounded_to_whole_pages() {
    for (asked, granted) in [(0, 4096), (1, 4096), (4096, 4096), (4097, 8192)] {
        assert_eq!(HeapMemory::emulated(asked).unwrap().len(), granted);
        assert_eq!(HeapMemory::reserve(asked).unwrap().len(), granted);
    }
}

#[test]
#[cfg_attr(miri, ignore = "there is no address space to spare")]
fn the_largest_heap_is_granted_in_part_at_least() {
    let heap = HeapMemory::reserve(u64::MAX).unwrap();
    assert!(heap.len() >= RESERVE_BYTES_MIN && heap.len() <= HEAP_BYTES_MAX);
    let last = PageNumber::of(heap.len() - 1);
    heap.install(last, &[7; PAGE_BYTES]);
    assert_eq!(heap.read::<u64>(heap.len() - 8), Ok(&0x0707_0707_0707_0707));
}

#[test]
fn preparing_a_page_changes_nothing_that_is_seen() {
    let mut heap = heap();
    let (present, absent) = (PageNumber(0), PageNumber(3));
    *heap.open::<u64>(0).unwrap() = 7;
    let before = heap.read::<u64>(8).unwrap();
    heap.prepare(present.into());
    heap.prepare(absent.into());
    assert_eq!((*before, heap.read::<u64>(0)), (0, Ok(&7)));
    assert!(!heap.is_present(absent));
    heap.install_zero(absent);
    assert_eq!(heap.page_bytes(absent), Some(&[0; PAGE_BYTES]));
}

#[test]
fn a_run_is_prepared_and_evicted_as_its_pages_would_be() {
    for mut heap in [
        HeapMemory::emulated(8 * PAGE_BYTES as u64).unwrap(),
        HeapMemory::reserve(8 * PAGE_BYTES as u64).unwrap(),
    ] {
        heap.install(PageNumber(3), &[3; PAGE_BYTES]);
        heap.prepare(PageRun::new(PageNumber(2), 4));
        assert_eq!(heap.page_bytes(PageNumber(3)), Some(&[3; PAGE_BYTES]));
        heap.install(PageNumber(5), &[5; PAGE_BYTES]);
        heap.install(PageNumber(6), &[6; PAGE_BYTES]);
        heap.evict_run(PageRun::new(PageNumber(2), 4));
        assert_eq!(heap.present_pages().collect::<Vec<_>>(), [PageNumber(6)]);
        heap.install_zero(PageNumber(5));
        assert_eq!(heap.page_bytes(PageNumber(5)), Some(&[0; PAGE_BYTES]));
        assert_eq!(heap.page_bytes(PageNumber(6)), Some(&[6; PAGE_BYTES]));
    }
}

#[test]
fn what_is_used_stays_when_the_clock_passes() {
    let mut heap = HeapMemory::emulated(200 * PAGE_BYTES as u64).unwrap();
    let installed: Vec<_> = (0..200).step_by(3).map(PageNumber).collect();
    for page in &installed {
        heap.install_zero(*page);
    }
    // All have come since the hand passed, so the first round finds none.
    let first = heap.unused(10);
    assert_eq!(first, installed[..10]);
    let used = [PageNumber(0), PageNumber(99), PageNumber(198)];
    for page in used {
        heap.read::<u8>(u64::from(page.0) * PAGE_BYTES as u64)
            .unwrap();
    }
    heap.finish();
    let mut unused = heap.unused(installed.len() - used.len());
    unused.sort_unstable();
    assert!(used.iter().all(|page| !unused.contains(page)));
    unused.extend(used);
    unused.sort_unstable();
    assert_eq!(unused, installed);
}

#[test]
fn a_reference_survives_the_installation_of_another_page() {
    let heap = heap();
    let before = heap.read::<u64>(8).unwrap();
    assert_eq!(
        heap.read::<u8>(3 * 4096),
        Err(AccessError::Missing {
            page: PageNumber(3)
        })
    );
    heap.install(PageNumber(3), &[9; PAGE_BYTES]);
    assert_eq!((heap.read::<u8>(3 * 4096), before), (Ok(&9), &0));
}

#[test]
fn damaged_pointers_are_refused() {
    let heap = heap();
    for offset in [4 * 4096, 4 * 4096 - 7, u64::MAX, u64::MAX - 7] {
        let refused = heap.read::<u64>(offset);
        assert_eq!(refused, Err(AccessError::OutOfBounds { offset, length: 8 }));
    }
    assert_eq!(
        heap.read::<u32>(2),
        Err(AccessError::Misaligned {
            offset: 2,
            align: 4
        })
    );
    let refused = heap.read_slice::<u64>(8, usize::MAX);
    assert_eq!(
        refused,
        Err(AccessError::OutOfBounds {
            offset: 8,
            length: u64::MAX
        })
    );
    assert!(heap.is_idle());
}

#[test]
fn an_access_that_misses_a_page_leaves_no_trace() {
    let mut heap = heap();
    let missing = Err(AccessError::Missing {
        page: PageNumber(3),
    });
    assert_eq!(heap.open_slice::<u8>(3 * 4096 - 1, 2).map(|_| ()), missing);
    assert_eq!(heap.overwrite(3 * 4096 - 1, &[1, 2]), missing);
    assert!(heap.is_idle() && !heap.has_writes());
}

#[test]
fn empty_slices_touch_nothing() {
    let mut heap = heap();
    assert_eq!(heap.read_slice::<u64>(4 * 4096, 0), Ok(&[][..]));
    assert_eq!(heap.open_slice::<u64>(3 * 4096, 0), Ok(&mut [][..]));
    assert_eq!(heap.overwrite(0, &[]), Ok(()));
    assert!(heap.is_idle());
}

#[test]
fn values_opened_together_must_be_disjoint() {
    let mut heap = heap();
    let [a, b] = heap.open_many::<u32, 2>([8, 4]).unwrap();
    (*a, *b) = (1, 2);
    assert_eq!(heap.read::<[u32; 2]>(4), Ok(&[2, 1]));
    let overlap = heap.open_many::<[u8; 4], 3>([0, 8, 11]);
    assert_eq!(
        overlap,
        Err(AccessError::Overlap {
            first: 8,
            second: 11
        })
    );
}

#[test]
fn lines_read_and_opened_are_listed_in_order_and_blind_ones_are_not() {
    let mut heap = heap();
    heap.read::<u8>(2 * 4096 + 64).unwrap();
    heap.open::<u64>(128).unwrap();
    heap.overwrite(256, &[1]).unwrap();
    heap.read_slice::<u8>(4095, 2).unwrap();
    let lines = |page, mask| PageLines {
        page: PageNumber(page),
        lines: LineMask(mask),
    };
    let expected = [lines(0, 1 << 2 | 1 << 63), lines(1, 1), lines(2, 2)];
    assert_eq!(heap.read_set(), expected);
    assert_eq!(heap.saved_lines(PageNumber(0)), LineMask(1 << 2 | 1 << 4));
    heap.finish();
    assert!(heap.read_set().is_empty());
}

#[test]
fn opening_without_change_sends_nothing() {
    let mut heap = heap();
    *heap.open::<u64>(0).unwrap() = 5;
    *heap.open::<u64>(0).unwrap() = 0;
    assert!(heap.has_writes());
    assert!(heap.write_set().is_empty());
}

#[test]
fn only_a_short_gap_that_was_read_is_bridged() {
    let mut heap = heap();
    let line = heap.open::<[u8; 64]>(0).unwrap();
    for at in [0, 5, 11] {
        line[at] = 1;
    }
    heap.overwrite(4096, &[2]).unwrap();
    heap.overwrite(4096 + 2, &[2]).unwrap();
    // The gap begins in a line that was opened and reaches into one that was only overwritten.
    heap.open::<[u8; 64]>(2 * 4096).unwrap()[62] = 3;
    heap.overwrite(2 * 4096 + 65, &[3]).unwrap();
    assert_eq!(
        runs_of(&heap.write_set()),
        [
            (0, 0, vec![1, 0, 0, 0, 0, 1]),
            (0, 11, vec![1]),
            (1, 0, vec![2]),
            (1, 2, vec![2]),
            (2, 62, vec![3]),
            (2, 65, vec![3]),
        ]
    );
}

#[test]
fn a_blind_write_is_sent_whole_even_if_nothing_changed() {
    let mut heap = heap();
    heap.overwrite(4090, &[0; 10]).unwrap();
    assert_eq!(
        runs_of(&heap.write_set()),
        [(0, 4090, vec![0; 6]), (1, 0, vec![0; 4])]
    );
    assert!(heap.read_set().is_empty());
}

#[test]
fn own_bytes_can_be_set_aside_while_a_foreign_change_goes_beneath() {
    let mut heap = heap();
    heap.overwrite(0, &[1, 1]).unwrap();
    let own = heap.write_set();
    heap.rollback();
    heap.write(PageNumber(0), 1, &[2, 2]);
    own.sections().for_each(|section| heap.apply(&section));
    assert_eq!(heap.page_bytes(PageNumber(0)).unwrap()[..4], [1, 1, 2, 0]);
}

#[test]
fn an_evicted_page_comes_back_empty() {
    for mut heap in [
        HeapMemory::emulated(1 << 20).unwrap(),
        HeapMemory::reserve(1 << 20).unwrap(),
    ] {
        for page in [0, 1, 70] {
            heap.install(PageNumber(page), &[5; PAGE_BYTES]);
        }
        heap.evict(PageNumber(1));
        heap.evict(PageNumber(2));
        assert_eq!(
            heap.present_pages().collect::<Vec<_>>(),
            [0, 70].map(PageNumber)
        );
        heap.evict_all();
        assert_eq!(heap.present_count(), 0);
        for page in [0, 1, 70] {
            heap.install_zero(PageNumber(page));
            assert_eq!(heap.page_bytes(PageNumber(page)), Some(&[0; PAGE_BYTES]));
        }
    }
}

#[test]
#[should_panic(expected = "is present")]
fn a_present_page_cannot_be_installed() {
    heap().install(PageNumber(0), &[0; PAGE_BYTES]);
}

#[test]
#[should_panic(expected = "beyond the heap")]
fn a_page_beyond_the_heap_cannot_be_installed() {
    heap().install_zero(PageNumber(4));
}

#[test]
#[should_panic(expected = "in progress")]
fn a_running_transaction_sees_no_foreign_write() {
    let mut heap = heap();
    heap.read::<u8>(0).unwrap();
    heap.write(PageNumber(1), 0, &[1]);
}

#[test]
#[should_panic(expected = "in progress")]
fn a_running_transaction_keeps_its_pages() {
    let mut heap = heap();
    heap.read::<u8>(0).unwrap();
    heap.evict(PageNumber(1));
}

#[test]
#[should_panic(expected = "must be present")]
fn an_absent_page_cannot_be_written() {
    heap().write(PageNumber(3), 0, &[1]);
}

#[test]
#[should_panic(expected = "leave page")]
fn a_write_stays_in_its_page() {
    heap().write(PageNumber(0), 4095, &[1, 2]);
}
