//! Wrong frees and a damaged heap: a typed error, no panic, no endless loop.

use proptest::prelude::*;

use super::{MIB, cluster, is_invalid_free};
use crate::heap::layout::{ARENAS, FREE_RUNS, NAMES, PAGE_MAP, SUPERBLOCK};
use crate::station::Station;
use crate::{ErrorKind, Ptr, Result};

#[test]
fn what_is_no_block_cannot_be_freed() {
    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    station
        .transaction(|tx| {
            let small = tx.alloc([1u64; 4])?;
            let large = tx.alloc_slice::<u8>(10_000)?;
            let (at, run) = (small.offset(), large.offset());
            assert!(is_invalid_free(tx.free(Ptr::<u64>::at(at))), "smaller");
            assert!(is_invalid_free(tx.free(Ptr::<[u64; 5]>::at(at))), "larger");
            assert!(
                is_invalid_free(tx.free(Ptr::<[u64; 4]>::at(at + 16))),
                "middle"
            );
            assert!(
                is_invalid_free(tx.free(Ptr::<[u64; 4]>::at(at + 32))),
                "never allocated"
            );
            assert!(
                is_invalid_free(tx.free(Ptr::<[u64; 4]>::at(at & !4095))),
                "slab header"
            );
            assert!(
                is_invalid_free(tx.free(large.range(0..5000).unwrap())),
                "part"
            );
            assert!(
                is_invalid_free(tx.free(large.range(4096..10_000).unwrap())),
                "rest"
            );
            assert!(
                is_invalid_free(tx.free(Ptr::<u64>::at(run))),
                "value in a run"
            );
            for garbage in [
                1,
                8,
                SUPERBLOCK,
                NAMES,
                PAGE_MAP,
                8 * MIB,
                1 << 45,
                u64::MAX,
            ] {
                assert!(
                    is_invalid_free(tx.free(Ptr::<u64>::at(garbage))),
                    "{garbage:#x}"
                );
                let slice = Ptr::<[u64]>::slice_at(garbage, u64::MAX);
                assert!(is_invalid_free(tx.free(slice)));
                let slice = Ptr::<[u8]>::slice_at(garbage, 1 << 40);
                assert!(is_invalid_free(tx.free(slice)));
            }
            let null = tx.free(Ptr::<u64>::null()).unwrap_err();
            assert!(matches!(null.kind(), ErrorKind::Null));
            tx.free(small)?;
            tx.free(large)?;
            assert!(is_invalid_free(tx.free(small)), "twice");
            assert!(is_invalid_free(tx.free(large)), "twice");
            Ok(())
        })
        .unwrap();
    let usage = station.check_heap().unwrap().usage;
    assert_eq!((usage.blocks, usage.allocated_bytes), (0, 0));
}

#[test]
fn a_heap_of_another_format_is_refused() {
    for (at, value) in [(SUPERBLOCK, 7u64), (SUPERBLOCK + 8, 99)] {
        let mut cluster = cluster(1, 8 * MIB);
        let word = Ptr::<u64>::at(at);
        cluster.stations()[0]
            .transaction(|tx| tx.set(word, value))
            .unwrap();
        let error = cluster.join().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::HeapFormat { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_heap_too_small_for_its_own_management_is_refused() {
    let mut options = crate::ClusterOptions::new(1);
    options.server.heap_bytes = Some(32 * 4096);
    assert!(crate::Cluster::start(options).is_err());
}

/// Some use of everything; must end whatever the heap holds.
fn exercise(station: &mut Station) -> Result<()> {
    station.transaction(|tx| {
        let mut blocks = Vec::new();
        for size in [16, 64, 64, 2016, 5000, 70_000, 16] {
            blocks.push(tx.alloc_slice::<u8>(size)?);
        }
        blocks.into_iter().try_for_each(|block| tx.free(block))?;
        tx.set_root("b", Ptr::<u64>::at(64))?;
        tx.find_root::<u64>("a").map(drop)
    })?;
    station.roots()?;
    station.usage()?;
    station.check_heap().map(drop)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_heap_gives_an_error_and_neither_panics_nor_hangs(
        damage in prop::collection::vec((0usize..6, 0u64..128, any::<u32>(), 0u32..3), 1..8)
    ) {
        let mut cluster = cluster(1, 2 * MIB);
        let station = &mut cluster.stations()[0];
        exercise(station).unwrap();
        let slab = station.transaction(|tx| Ok(tx.alloc(1u64)?.offset() & !4095)).unwrap();
        station.transaction(|tx| {
            for &(part, at, value, how) in &damage {
                let base = [NAMES, ARENAS, FREE_RUNS, PAGE_MAP + 34 * 16, slab, PAGE_MAP + 128 * 16][part];
                let word = tx.get_mut(Ptr::<u32>::at(base + at * 4))?;
                *word = match how {
                    0 => value,
                    // Plausible page numbers and counts lead further than random ones.
                    1 => value % 512,
                    _ => *word ^ (1 << (value % 32)),
                };
            }
            Ok(())
        }).unwrap();
        if let Err(error) = exercise(station) {
            prop_assert!(matches!(
                error.kind(),
                ErrorKind::Corrupt { .. } | ErrorKind::OutOfMemory { .. } | ErrorKind::InvalidFree { .. }
                    | ErrorKind::LayoutDiffers { .. }
            ), "{error}");
        }
    }
}
