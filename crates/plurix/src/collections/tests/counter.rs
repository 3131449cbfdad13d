//! Counters: that stations add to one without conflicts, and that the sum is right.

use super::super::Counter;
use super::{MIB, assert_no_leak, cluster, is_other_layout, programs, run};
use proptest::prelude::*;

#[test]
fn stations_add_without_a_conflict() {
    let mut cluster = cluster(3, 4 * MIB);
    let make = |tx: &mut crate::Transaction<'_>| tx.named::<Counter>("counter");
    let counter = cluster.stations()[0].transaction(make).unwrap();
    std::thread::scope(|scope| {
        for station in cluster.stations() {
            scope.spawn(move || {
                station.latest().unwrap();
                let before = station.statistics().restarts;
                for _ in 0..300 {
                    station.transaction(|tx| counter.add(tx, 2)).unwrap();
                    station.transaction(|tx| counter.add(tx, -1)).unwrap();
                }
                assert_eq!(station.statistics().restarts, before);
            });
        }
    });
    let station = &mut cluster.stations()[1];
    station.latest().unwrap();
    assert_eq!(station.transaction(|tx| counter.get(tx)).unwrap(), 900);
    station
        .transaction(|tx| {
            counter.reset(tx)?;
            assert_eq!(counter.get(tx)?, 0);
            tx.remove_root("counter")?;
            counter.destroy(tx)
        })
        .unwrap();
    let gone = station.transaction(|tx| counter.get(tx)).unwrap_err();
    assert!(is_other_layout(&gone), "{gone}");
    assert_no_leak(station);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_counter_is_the_sum_of_what_was_added(
        stations in 1usize..=3,
        programs in programs(any::<i64>(), 5),
    ) {
        let mut cluster = cluster(stations, 2 * MIB);
        let made = cluster.stations()[0].transaction(Counter::create);
        let counter = made.unwrap();
        run(
            &mut cluster,
            &programs,
            0i64,
            |tx, sum, &change| {
                *sum = sum.wrapping_add(change);
                counter.add(tx, change)
            },
            |tx, &sum| {
                assert_eq!(counter.get(tx)?, sum);
                Ok(())
            },
        );
        let station = &mut cluster.stations()[0];
        station.transaction(|tx| counter.destroy(tx)).unwrap();
        assert_no_leak(station);
    }
}
