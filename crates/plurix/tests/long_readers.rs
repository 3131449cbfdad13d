//! A transaction that reads a large heap from end to end while others write all over it: the page
//! server's history lets it finish at its snapshot.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use plurix::{Cluster, Ptr};

const HEAP_BYTES: u64 = 256 << 20;
const BASE: u64 = 1 << 34;
const BLOCK: u64 = 1 << 20;
const WORDS: u64 = BLOCK / 8;

fn block(index: u64) -> Ptr<[u64]> {
    Ptr::slice_at(BASE + index * BLOCK, WORDS)
}

#[test]
fn a_long_reader_finishes_without_a_restart_while_others_write() {
    let mut cluster = Cluster::local(3).unwrap();
    let [reader, writers @ ..] = cluster.stations() else {
        unreachable!()
    };
    let blocks = HEAP_BYTES / BLOCK;
    for index in 0..blocks {
        let full = vec![1; WORDS as usize];
        let filled = writers[0].transaction(|tx| tx.set_slice(block(index), &full));
        filled.unwrap();
    }
    reader.latest().unwrap();
    let before = reader.statistics().restarts;
    let (done, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let sum = std::thread::scope(|scope| {
        for (seed, station) in writers.iter_mut().enumerate() {
            let (done, commits) = (&done, &commits);
            scope.spawn(move || {
                let mut random = seed as u64 * 77 + 1;
                while !done.load(Ordering::Relaxed) {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let (from, to) = (random >> 33, random >> 13);
                    let word = |at: u64| Ptr::<u64>::at(BASE + at % (HEAP_BYTES / 8) * 8);
                    let moved = station.transaction(|tx| {
                        if word(from) == word(to) {
                            return Ok(());
                        }
                        let taken = tx.get_mut(word(from))?;
                        *taken = taken.wrapping_sub(1);
                        let given = tx.get_mut(word(to))?;
                        *given = given.wrapping_add(1);
                        Ok(())
                    });
                    moved.unwrap();
                    commits.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let sum = reader.transaction(|tx| {
            let mut sum = 0u64;
            for index in 0..blocks {
                sum = tx
                    .get(block(index))?
                    .iter()
                    .fold(sum, |sum, word| sum.wrapping_add(*word));
                std::thread::sleep(Duration::from_millis(8));
            }
            Ok(sum)
        });
        done.store(true, Ordering::Relaxed);
        sum
    });
    assert_eq!(sum.unwrap(), HEAP_BYTES / 8, "one snapshot");
    assert_eq!(reader.statistics().restarts, before);
    eprintln!("{} commits meanwhile", commits.into_inner());
}
