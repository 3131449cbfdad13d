//! Tests of the heap's management, on a cluster in this process with a small heap.

mod concurrent;
mod damage;
mod large;
mod names;
mod property;
mod run_out;

use crate::station::Station;
use crate::{Cluster, ClusterOptions, Error, ErrorKind, Ptr};

const MIB: u64 = 1 << 20;

/// A cluster with a heap of `heap_bytes` on emulated memory.
fn cluster(stations: usize, heap_bytes: u64) -> Cluster {
    let mut options = ClusterOptions::new(stations);
    options.server.heap_bytes = Some(heap_bytes);
    options.server.segment_bytes = 64 << 20;
    options.station.emulated_memory = true;
    Cluster::start(options).unwrap()
}

fn is_out_of_memory<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(error) if matches!(error.kind(), ErrorKind::OutOfMemory { .. }))
}

fn is_invalid_free(result: Result<(), Error>) -> bool {
    matches!(result, Err(error) if matches!(error.kind(), ErrorKind::InvalidFree { .. }))
}

/// Free pages of a heap in which nothing is allocated.
fn all_pages(station: &mut Station) -> u64 {
    station.usage().unwrap().program_pages
}

#[test]
fn a_new_heap_is_empty_and_consistent() {
    let mut cluster = cluster(1, 8 * MIB);
    let report = cluster.stations()[0].check_heap().unwrap();
    assert_eq!(report.usage.heap_bytes, 8 * MIB);
    assert_eq!(report.usage.free_pages, report.usage.program_pages);
    assert_eq!((report.usage.blocks, report.usage.allocated_bytes), (0, 0));
    assert_eq!((report.slabs, report.runs, report.roots), (0, 0, 0));
}

#[test]
fn laying_out_the_largest_heap_changes_a_handful_of_pages() {
    let mut options = ClusterOptions::new(1);
    options.server.heap_bytes = Some(1 << 40);
    let mut cluster = Cluster::start(options).unwrap();
    let station = &mut cluster.stations()[0];
    assert!(station.statistics().misses < 64);
    let report = station.check_heap().unwrap();
    assert!(report.free_runs <= 56);
    assert_eq!(report.usage.free_pages, report.usage.program_pages);
}

#[test]
fn values_come_back_from_another_station() {
    let mut cluster = cluster(2, 8 * MIB);
    let [first, second] = cluster.stations() else {
        unreachable!()
    };
    let (value, slice) = first
        .transaction(|tx| Ok((tx.alloc(77u64)?, tx.alloc_slice_from(&[1u32, 2, 3])?)))
        .unwrap();
    second.latest().unwrap();
    second
        .transaction(|tx| {
            assert_eq!((*tx.get(value)?, tx.get(slice)?), (77, &[1, 2, 3][..]));
            tx.free(value)?;
            tx.free(slice)
        })
        .unwrap();
    first.latest().unwrap();
    let usage = first.usage().unwrap();
    assert_eq!((usage.blocks, usage.allocated_bytes), (0, 0));
    first.check_heap().unwrap();
}

#[test]
fn an_aborted_transaction_leaves_no_trace() {
    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    let kept = station.transaction(|tx| tx.alloc([5u64; 8])).unwrap();
    let before = station.check_heap().unwrap();
    let aborted = station.transaction(|tx| {
        tx.free(kept)?;
        tx.alloc_slice::<u8>(100_000)?;
        for value in 0..1000u64 {
            tx.alloc(value)?;
        }
        Err::<(), _>(tx.abort("enough"))
    });
    assert!(aborted.is_err());
    assert_eq!(station.check_heap().unwrap(), before);
    let value = station.transaction(|tx| Ok(*tx.get(kept)?)).unwrap();
    assert_eq!(value, [5; 8]);
}

#[test]
fn slices_are_zero_even_where_something_else_was() {
    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    for bytes in [1, 16, 100, 2016, 2017, 4096, 4097, 100_000, 3_000_000] {
        station
            .transaction(|tx| {
                let dirty = tx.alloc_slice::<u8>(bytes)?;
                assert!(tx.get(dirty)?.iter().all(|&byte| byte == 0));
                tx.get_mut(dirty)?.fill(0xff);
                tx.free(dirty)?;
                let clean = tx.alloc_slice::<u8>(bytes)?;
                assert!(tx.get(clean)?.iter().all(|&byte| byte == 0), "{bytes}");
                tx.free(clean)
            })
            .unwrap();
    }
    assert_eq!(station.usage().unwrap().free_pages, all_pages(station));
}

#[test]
fn memory_that_was_never_written_is_not_written_to_make_it_zero() {
    let mut cluster = cluster(1, 64 * MIB);
    let station = &mut cluster.stations()[0];
    let used = station
        .transaction(|tx| tx.alloc_slice_from(&[1u8; 10_000]))
        .unwrap();
    station.transaction(|tx| tx.free(used)).unwrap();
    // More than one commit can carry, and its first pages were used.
    let large = station
        .transaction(|tx| tx.alloc_slice::<u64>(4 << 20))
        .unwrap();
    let sample = station.transaction(|tx| {
        Ok([0, 1000, 4_000_000].map(|at| *tx.get(large.get(at).unwrap()).unwrap()))
    });
    assert_eq!(sample.unwrap(), [0; 3]);
}

#[test]
fn slices_without_values_take_no_room() {
    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    station
        .transaction(|tx| {
            let empty = tx.alloc_slice::<u64>(0)?;
            let other = tx.alloc_slice_from::<[u8; 3]>(&[])?;
            assert!(!empty.is_null() && tx.get(empty)?.is_empty());
            assert!(tx.get(other)?.is_empty() && tx.get_mut(other)?.is_empty());
            tx.free(empty)?;
            tx.free(empty)?;
            tx.free(other)
        })
        .unwrap();
    assert_eq!(station.usage().unwrap().blocks, 0);
}

#[test]
fn values_are_aligned_and_blocks_of_whole_lines_share_none() {
    #[crate::plain]
    #[repr(C, align(64))]
    struct Line([u8; 64]);
    #[crate::plain]
    #[repr(C, align(256))]
    struct Wide([u8; 256]);

    let mut cluster = cluster(1, 8 * MIB);
    let station = &mut cluster.stations()[0];
    station
        .transaction(|tx| {
            tx.alloc(1u8)?;
            let line = tx.alloc(Line([1; 64]))?;
            let wide = tx.alloc(Wide([2; 256]))?;
            let lines = tx.alloc_slice::<Line>(10)?;
            let vector = tx.alloc([0u128; 3])?;
            assert_eq!(line.offset() % 64, 0);
            assert_eq!(wide.offset() % 256, 0);
            assert_eq!(lines.offset() % 64, 0);
            assert_eq!(vector.offset() % 16, 0);
            assert_eq!(tx.alloc([0u64; 8])?.offset() % 64, 0);
            tx.free(wide)?;
            tx.free(lines)
        })
        .unwrap();
    station.check_heap().unwrap();
}

#[test]
fn stations_allocating_at_once_do_not_conflict() {
    let mut cluster = cluster(2, 16 * MIB);
    // The first allocation of an arena takes pages from all; after it the stations are apart.
    for station in cluster.stations() {
        station.transaction(|tx| tx.alloc([0u64; 4])).unwrap();
    }
    let before: Vec<_> = cluster
        .stations()
        .iter()
        .map(|station| station.statistics().restarts)
        .collect();
    std::thread::scope(|scope| {
        for station in cluster.stations() {
            scope.spawn(move || {
                for _ in 0..300 {
                    station
                        .transaction(|tx| {
                            let value = tx.alloc([7u64; 4])?;
                            tx.alloc([8u64; 4])?;
                            tx.free(value)
                        })
                        .unwrap();
                }
            });
        }
    });
    for (station, before) in cluster.stations().iter().zip(before) {
        assert_eq!(station.statistics().restarts, before);
    }
    let station = &mut cluster.stations()[0];
    station.latest().unwrap();
    let usage = station.usage().unwrap();
    assert_eq!((usage.blocks, usage.allocated_bytes), (602, 602 * 32));
}

#[test]
fn a_heap_is_found_as_it_was_left() {
    let directory = tempfile::tempdir().unwrap();
    let options = || {
        let mut options = ClusterOptions::new(1).in_dir(directory.path());
        options.server.heap_bytes = Some(8 * MIB);
        options
    };
    let mut first = Cluster::start(options()).unwrap();
    let left = first.stations()[0].transaction(|tx| {
        let value = tx.alloc(9u64)?;
        tx.set_root("value", value)?;
        Ok(value)
    });
    let report = first.stations()[0].check_heap().unwrap();
    first.stop().unwrap();

    let mut second = Cluster::start(options()).unwrap();
    let station = &mut second.stations()[0];
    assert_eq!(station.check_heap().unwrap(), report);
    let found = station.transaction(|tx| {
        let value: Ptr<u64> = tx.root("value")?;
        assert_eq!(*tx.get(value)?, 9);
        Ok(value)
    });
    assert_eq!(found.unwrap(), left.unwrap());
}
