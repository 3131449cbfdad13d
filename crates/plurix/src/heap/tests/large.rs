//! Blocks larger than one commit can carry: fresh, used, freed, and made zero again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{MIB, all_pages, cluster};
use crate::heap::runs::{ORDER_MAX, entry_at, free_list, offset_of, written_of};
use crate::heap::{Allocator, Taken, written::Written};
use crate::station::Station;
use crate::{ErrorKind, Ptr, Result};

/// Written in one transaction, well below what a commit can carry.
const PIECE: u64 = 6 * MIB;

fn make(station: &mut Station, bytes: u64) -> Result<Ptr<[u8]>> {
    station.transaction(|tx| tx.alloc_slice::<u8>(bytes as usize))
}

fn free(station: &mut Station, block: Ptr<[u8]>) {
    station.transaction(|tx| tx.free(block)).unwrap();
}

/// Fills `range` of a block, in as many transactions as it takes.
fn fill(station: &mut Station, block: Ptr<[u8]>, range: std::ops::Range<u64>, value: u8) {
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + PIECE);
        let part = block.range(at as usize..end as usize).unwrap();
        let filled = station.transaction(|tx| tx.set_slice(part, &vec![value; part.len()]));
        filled.unwrap();
        at = end;
    }
}

fn is_all(station: &mut Station, block: Ptr<[u8]>, value: u8) -> bool {
    let expected = vec![value; block.len()];
    let compared = station.transaction(|tx| Ok(tx.get(block)? == expected));
    compared.unwrap()
}

/// Makes a block of `bytes`, fills it and frees it.
fn soil(station: &mut Station, bytes: u64) -> Ptr<[u8]> {
    let block = make(station, bytes).unwrap();
    fill(station, block, 0..bytes, 0xee);
    free(station, block);
    block
}

/// Checks the heap, and that free pages of which the allocator does not know that they were
/// written are zero.
fn check(station: &mut Station) {
    station.latest().unwrap();
    station.check_heap().unwrap();
    let checked = station.transaction(|tx| {
        for order in 0..=ORDER_MAX {
            let mut block = tx.get(free_list(order))?.first;
            while block != 0 {
                let written = written_of(tx, block, order)?;
                for page in
                    (0..1 << order).filter(|page| !(written.from..written.to).contains(page))
                {
                    let bytes = Ptr::<[u64]>::slice_at(offset_of(block + page), 512);
                    assert!(tx.get(bytes)?.iter().all(|&word| word == 0));
                }
                block = tx.get(entry_at(block))?.next;
            }
        }
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn a_freed_block_larger_than_a_commit_becomes_a_slice_of_zeros() {
    let mut cluster = cluster(1, 64 * MIB);
    let station = &mut cluster.stations()[0];
    let used = soil(station, 30 * MIB);
    let again = make(station, 30 * MIB).unwrap();
    assert_eq!(again.offset(), used.offset());
    assert!(is_all(station, again, 0));
    free(station, again);
    check(station);
    assert_eq!(station.usage().unwrap().free_pages, all_pages(station));
}

#[test]
fn several_large_slices_of_zeros_in_one_transaction() {
    let mut cluster = cluster(1, 256 * MIB);
    let station = &mut cluster.stations()[0];
    soil(station, 90 * MIB);
    let blocks = station.transaction(|tx| {
        let make = |_| tx.alloc_slice::<u8>(20 << 20);
        (0..4).map(make).collect::<Result<Vec<_>>>()
    });
    for block in blocks.unwrap() {
        assert!(is_all(station, block, 0));
    }
    check(station);
}

#[test]
fn a_transaction_that_makes_large_zeros_and_aborts_leaves_no_trace() {
    let mut cluster = cluster(1, 64 * MIB);
    let station = &mut cluster.stations()[0];
    soil(station, 30 * MIB);
    let before = station.check_heap().unwrap();
    let aborted = station.transaction(|tx| {
        tx.alloc_slice::<u8>(30 << 20)?;
        Err::<(), _>(tx.abort("enough"))
    });
    assert!(matches!(aborted.unwrap_err().kind(), ErrorKind::Aborted(_)));
    assert_eq!(station.check_heap().unwrap(), before);
    check(station);
}

#[test]
fn what_a_station_zeroed_before_it_died_serves_the_next() {
    let mut cluster = cluster(2, 64 * MIB);
    let [first, second] = cluster.stations() else {
        unreachable!()
    };
    let used = soil(first, 30 * MIB);
    let pages = (30 * MIB / 4096) as u32;
    let taken = Taken {
        first: (used.offset() / 4096) as u32,
        written: Written::all(pages),
    };
    let once = |station: &mut Station| station.transaction(|tx| Allocator::new(tx).scrub(taken));
    assert!(once(first).unwrap());
    // It goes no further; nothing is lost.
    check(second);
    assert_eq!(second.usage().unwrap().free_pages, all_pages(second));
    let again = make(second, 30 * MIB).unwrap();
    assert!(is_all(second, again, 0));
    first.latest().unwrap();
    assert!(!once(first).unwrap(), "what is allocated is left alone");
    check(first);
}

#[test]
fn pages_that_were_never_written_are_not_written_to_make_them_zero() {
    let mut cluster = cluster(1, 512 * MIB);
    let station = &mut cluster.stations()[0];
    let sparse = make(station, 200 * MIB).unwrap();
    fill(station, sparse, 100 * MIB..100 * MIB + 4096, 7);
    free(station, sparse);
    let before = station.statistics();
    let again = make(station, 200 * MIB).unwrap();
    // Each piece is noted, one of them has bytes.
    assert!(station.statistics().commits - before.commits <= 200 / 4 + 1);
    assert!(is_all(station, again, 0));
}

#[test]
fn to_free_and_make_large_zeros_in_one_transaction_is_too_much() {
    let mut cluster = cluster(1, 64 * MIB);
    let station = &mut cluster.stations()[0];
    let block = make(station, 30 * MIB).unwrap();
    fill(station, block, 0..30 * MIB, 1);
    let exchanged = station.transaction(|tx| {
        tx.free(block)?;
        tx.alloc_slice::<u8>(30 << 20)
    });
    let error = exchanged.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TooLarge { .. }),
        "{error}"
    );
    assert!(is_all(station, block, 1));
    check(station);
}

#[test]
fn stations_that_make_large_zeros_at_once_all_get_them() {
    let mut cluster = cluster(3, 256 * MIB);
    soil(&mut cluster.stations()[0], 100 * MIB);
    std::thread::scope(|scope| {
        for (value, station) in (1..).zip(cluster.stations()) {
            scope.spawn(move || {
                for _ in 0..3 {
                    let block = make(station, 20 * MIB).unwrap();
                    assert!(is_all(station, block, 0));
                    fill(station, block, 0..20 * MIB, value);
                    assert!(is_all(station, block, value));
                    free(station, block);
                }
            });
        }
    });
    let station = &mut cluster.stations()[0];
    check(station);
    assert_eq!(station.usage().unwrap().free_pages, all_pages(station));
}

#[derive(Debug, Clone)]
enum Step {
    /// Length in KiB.
    Make(u64),
    Free(usize),
    /// Which block, which part of it in percent, with what.
    Fill(usize, u64, u64, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![3 << 10..50u64 << 10, 1u64..3 << 10].prop_map(Step::Make),
        2 => any::<usize>().prop_map(Step::Free),
        3 => (any::<usize>(), 0u64..100, 0u64..100, 1u8..)
            .prop_map(|(block, from, to, value)| Step::Fill(block, from.min(to), from.max(to), value)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn slices_of_any_length_begin_as_zeros_and_nothing_is_lost(
        steps in prop::collection::vec((0usize..2, step()), 1..24)
    ) {
        let mut cluster = cluster(2, 160 * MIB);
        let mut blocks = BTreeMap::new();
        let nth = |blocks: &BTreeMap<u64, Ptr<[u8]>>, index: usize| {
            index.checked_rem(blocks.len()).and_then(|index| blocks.values().nth(index).copied())
        };
        for (station, step) in steps {
            let station = &mut cluster.stations()[station];
            station.latest().unwrap();
            match step {
                Step::Make(kib) => match make(station, kib << 10) {
                    Ok(block) => {
                        prop_assert!(is_all(station, block, 0));
                        blocks.insert(block.offset(), block);
                    }
                    Err(error) => {
                        let full = matches!(error.kind(), ErrorKind::OutOfMemory { .. });
                        prop_assert!(full, "{error}");
                    }
                },
                Step::Free(index) => if let Some(block) = nth(&blocks, index) {
                    free(station, block);
                    blocks.remove(&block.offset());
                },
                Step::Fill(index, from, to, value) => if let Some(block) = nth(&blocks, index) {
                    let percent = block.len() as u64 / 100;
                    fill(station, block, from * percent..to * percent, value);
                },
            }
        }
        let station = &mut cluster.stations()[0];
        check(station);
        let usage = station.usage().unwrap();
        let lengths = blocks.values().map(|block| (block.len() as u64).next_multiple_of(4096));
        prop_assert_eq!(usage.allocated_bytes, lengths.sum::<u64>());
        blocks.values().for_each(|block| free(station, *block));
        check(station);
        prop_assert_eq!(station.usage().unwrap().free_pages, all_pages(station));
    }
}
