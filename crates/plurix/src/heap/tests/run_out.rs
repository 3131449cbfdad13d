//! Running out of memory, and getting going again.

use super::{MIB, all_pages, cluster, is_out_of_memory};
use crate::station::Station;
use crate::{Ptr, Result};

/// Allocates blocks of `bytes` until there is no room, in several transactions.
fn fill(station: &mut Station, bytes: usize) -> Vec<Ptr<[u8]>> {
    let mut all = Vec::new();
    loop {
        let (mut some, full) = station
            .transaction(|tx| {
                let mut some = Vec::new();
                for _ in 0..200 {
                    let block = tx.alloc_slice::<u8>(bytes);
                    if is_out_of_memory(&block) {
                        return Ok((some, true));
                    }
                    some.push(block?);
                }
                Ok((some, false))
            })
            .unwrap();
        all.append(&mut some);
        if full {
            return all;
        }
    }
}

fn free_all(station: &mut Station, blocks: &[Ptr<[u8]>]) -> Result<()> {
    for some in blocks.chunks(500) {
        station.transaction(|tx| some.iter().try_for_each(|&block| tx.free(block)))?;
    }
    Ok(())
}

#[test]
fn a_full_heap_refuses_and_has_room_again_after_free() {
    let mut cluster = cluster(1, MIB);
    let station = &mut cluster.stations()[0];
    let pages = all_pages(station);
    for (bytes, blocks_per_page) in [(48, 84.0), (4096, 1.0), (2016, 2.0), (12_288, 1.0 / 4.0)] {
        let blocks = fill(station, bytes);
        // Three pages are cut from four; what is left is too small for three more.
        let expected = pages as f64 * blocks_per_page;
        assert!(blocks.len() as f64 > expected * 0.9, "{bytes}");
        station.check_heap().unwrap();
        free_all(station, &blocks).unwrap();
        let usage = station.check_heap().unwrap().usage;
        assert_eq!((usage.blocks, usage.free_pages), (0, pages));
    }
}

#[test]
fn a_refused_allocation_leaves_the_transaction_usable() {
    let mut cluster = cluster(1, MIB);
    let station = &mut cluster.stations()[0];
    let kept = station
        .transaction(|tx| {
            let kept = tx.alloc(1u64)?;
            assert!(is_out_of_memory(&tx.alloc_slice::<u8>(2 << 20)));
            assert!(is_out_of_memory(&tx.alloc_slice::<u64>(usize::MAX)));
            assert!(is_out_of_memory(&tx.alloc_slice::<u8>(usize::MAX)));
            *tx.get_mut(kept)? += 1;
            Ok(kept)
        })
        .unwrap();
    let usage = station.check_heap().unwrap().usage;
    assert_eq!(usage.blocks, 1);
    let value = station.transaction(|tx| Ok(*tx.get(kept)?)).unwrap();
    assert_eq!(value, 2);
}

#[test]
fn what_one_station_freed_another_can_use_for_something_else() {
    let mut cluster = cluster(2, MIB);
    let [first, second] = cluster.stations() else {
        unreachable!()
    };
    let small = fill(first, 64);
    second.latest().unwrap();
    assert!(is_out_of_memory(
        &second.transaction(|tx| tx.alloc_slice::<u8>(64))
    ));
    // One free block in an arena of the other station is enough.
    second.transaction(|tx| tx.free(small[5])).unwrap();
    let again = second.transaction(|tx| tx.alloc_slice::<u8>(64)).unwrap();
    assert_eq!(again.offset(), small[5].offset());
    free_all(second, &small).unwrap();
    // The pages are idle in the first station's arena.
    let large = second
        .transaction(|tx| tx.alloc_slice::<u8>(512 << 10))
        .unwrap();
    second.check_heap().unwrap();
    first.latest().unwrap();
    first.transaction(|tx| tx.free(large)).unwrap();
    let usage = first.check_heap().unwrap().usage;
    assert_eq!(usage.free_pages, usage.program_pages);
}

#[test]
fn a_block_allocated_and_freed_in_turn_keeps_its_slab() {
    let mut cluster = cluster(1, MIB);
    let station = &mut cluster.stations()[0];
    let first = station.transaction(|tx| tx.alloc(0u64)).unwrap();
    station.transaction(|tx| tx.free(first)).unwrap();
    for _ in 0..3 {
        let next = station.transaction(|tx| tx.alloc(0u64)).unwrap();
        assert_eq!(next, first);
        assert_eq!(station.check_heap().unwrap().slabs, 1);
        station.transaction(|tx| tx.free(next)).unwrap();
        let report = station.check_heap().unwrap();
        assert_eq!(report.usage.free_pages, report.usage.program_pages);
    }
}
