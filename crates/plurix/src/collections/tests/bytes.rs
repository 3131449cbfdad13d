//! Bytes, strings and registers against the standard library's.

use super::super::{HeapBytes, HeapCell, HeapString};
use super::{MIB, assert_no_leak, cluster, is_corrupt, is_other_layout, programs, run};
use crate::Ptr;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Set(Vec<u8>),
    Push(Vec<u8>),
    Fill(u8),
    Truncate(usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        2 => bytes().prop_map(Step::Set),
        4 => bytes().prop_map(Step::Push),
        1 => any::<u8>().prop_map(Step::Fill),
        1 => (0usize..600).prop_map(Step::Truncate),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_do_what_a_vector_does(
        stations in 1usize..=3,
        programs in programs(step(), 12),
    ) {
        let mut cluster = cluster(stations, 2 * MIB);
        let made = cluster.stations()[0].transaction(HeapBytes::create);
        let bytes = made.unwrap();
        run(
            &mut cluster,
            &programs,
            Vec::new(),
            |tx, model: &mut Vec<u8>, step| {
                match step {
                    Step::Set(new) => {
                        *model = new.clone();
                        bytes.set(tx, new)
                    }
                    Step::Push(new) => {
                        model.extend(new);
                        bytes.push(tx, new)
                    }
                    Step::Fill(with) => {
                        model.fill(*with);
                        bytes.as_bytes_mut(tx)?.fill(*with);
                        Ok(())
                    }
                    Step::Truncate(length) => {
                        model.truncate(*length);
                        bytes.truncate(tx, *length)
                    }
                    Step::Clear => {
                        model.clear();
                        bytes.clear(tx)
                    }
                }
            },
            |tx, model| {
                assert_eq!(bytes.as_bytes(tx)?, model);
                assert_eq!((bytes.len(tx)?, bytes.is_empty(tx)?), (model.len(), model.is_empty()));
                assert!(bytes.capacity(tx)? >= model.len());
                Ok(())
            },
        );
        let station = &mut cluster.stations()[0];
        station.transaction(|tx| bytes.destroy(tx)).unwrap();
        assert_no_leak(station);
    }

    #[test]
    fn whatever_a_header_says_there_is_an_error_at_worst(
        at in any::<u64>(), capacity in any::<u64>(), length in any::<u64>(), mask in 0u32..8,
    ) {
        let mut cluster = cluster(1, 2 * MIB);
        let station = &mut cluster.stations()[0];
        let made = station.transaction(|tx| HeapBytes::new(tx, b"some bytes"));
        let bytes = made.unwrap();
        let result = station.transaction(|tx| {
            for (word, value) in [at, capacity, length].into_iter().enumerate() {
                if mask >> word & 1 != 0 {
                    tx.set(Ptr::at(bytes.as_ptr().offset() + 8 + word as u64 * 8), value)?;
                }
            }
            let _ = bytes.as_bytes(tx).map(<[u8]>::len);
            let _ = bytes.as_bytes_mut(tx).map(|bytes| bytes.len());
            let _ = bytes.truncate(tx, 5);
            let _ = bytes.push(tx, b"more");
            let _ = bytes.set(tx, &[7; 100]);
            let _ = bytes.destroy(tx);
            Err::<(), _>(tx.abort("seen"))
        });
        prop_assert!(result.is_err());
    }
}

#[test]
fn a_string_that_is_no_utf8_is_not_lent() {
    let mut cluster = cluster(1, 2 * MIB);
    let station = &mut cluster.stations()[0];
    let result = station.transaction(|tx| {
        let text = HeapString::new(tx, "täglich")?;
        text.push_str(tx, " grüßt")?;
        assert_eq!(text.as_str(tx)?, "täglich grüßt");
        let block = *tx.get(Ptr::<u64>::at(text.as_ptr().offset() + 8))?;
        tx.set(Ptr::<u8>::at(block + 1), b'x')?;
        assert!(is_corrupt(&text.as_str(tx).unwrap_err()));
        let bytes = HeapBytes::from_ptr(Ptr::at(text.as_ptr().offset()));
        assert!(is_other_layout(&bytes.as_bytes(tx).unwrap_err()));
        text.destroy(tx)
    });
    result.unwrap();
    assert_no_leak(station);
}

#[test]
fn a_register_that_is_set_conflicts_with_nobody() {
    let mut cluster = cluster(2, 2 * MIB);
    let made = cluster.stations()[0].transaction(|tx| HeapCell::new(tx, [0u64; 8]));
    let cell = made.unwrap();
    std::thread::scope(|scope| {
        for station in cluster.stations() {
            scope.spawn(move || {
                station.latest().unwrap();
                let before = station.statistics().restarts;
                for value in 0..200 {
                    station.transaction(|tx| cell.set(tx, [value; 8])).unwrap();
                }
                assert_eq!(station.statistics().restarts, before);
            });
        }
    });
    let station = &mut cluster.stations()[0];
    station.latest().unwrap();
    let result = station.transaction(|tx| {
        assert_eq!(cell.swap(tx, [1; 8])?, [199; 8]);
        cell.update(tx, |value| value[0] = 5)?;
        assert_eq!(cell.get(tx)?[..2], [5, 1]);
        cell.destroy(tx)
    });
    result.unwrap();
    assert_no_leak(station);
}
