//! Several stations at once, allocating and freeing each other's blocks.

use super::{MIB, cluster};
use crate::station::Station;
use crate::{Ptr, Result};

const SLOTS: usize = 48;
const ROUNDS: u64 = 400;

type Slots = [Ptr<[u8]>; SLOTS];

/// Frees what is in a slot, or fills it, as a linear congruential generator says (Knuth's MMIX).
fn churn(station: &mut Station, slots: Ptr<Slots>, seed: u64) -> Result<()> {
    let mut random = seed;
    for _ in 0..ROUNDS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let slot = (random >> 40) as usize % SLOTS;
        let bytes = [16, 64, 100, 2016, 5000, 40_000][(random >> 50) as usize % 6];
        let fill = slot as u8 + 1;
        station.transaction(|tx| {
            let block = tx.get(slots)?[slot];
            let next = if block.is_null() {
                let made = tx.alloc_slice::<u8>(bytes)?;
                assert!(tx.get(made)?.iter().all(|&byte| byte == 0));
                tx.get_mut(made)?.fill(fill);
                made
            } else {
                assert!(tx.get(block)?.iter().all(|&byte| byte == fill));
                tx.free(block)?;
                Ptr::null()
            };
            tx.get_mut(slots)?[slot] = next;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn stations_share_one_allocator() {
    let mut cluster = cluster(3, 4 * MIB);
    let slots = cluster.stations()[0].transaction(|tx| {
        let slots = tx.alloc([Ptr::null(); SLOTS])?;
        tx.set_root("slots", slots)?;
        Ok(slots)
    });
    let slots: Ptr<Slots> = slots.unwrap();
    std::thread::scope(|scope| {
        for (seed, station) in cluster.stations().iter_mut().enumerate() {
            station.latest().unwrap();
            scope.spawn(move || churn(station, slots, seed as u64).unwrap());
        }
    });

    let station = &mut cluster.stations()[0];
    station.latest().unwrap();
    station.check_heap().unwrap();
    station
        .transaction(|tx| {
            for block in *tx.get(slots)? {
                tx.free(block)?;
            }
            tx.free(slots)?;
            tx.remove_root("slots")
        })
        .unwrap();
    let usage = station.check_heap().unwrap().usage;
    assert_eq!((usage.blocks, usage.allocated_bytes), (0, 0));
    assert_eq!(usage.free_pages, usage.program_pages);
}
