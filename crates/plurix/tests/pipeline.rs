//! Many transactions in flight: order, conflicts, errors, and what nobody may see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use plurix::{Cluster, ErrorKind, Ptr, Result, Station};

const ACCOUNTS: usize = 16;
const EACH: u64 = 1000;

/// Slots of a line each.
#[plurix::plain]
struct Slot {
    value: u64,
    fill: [u64; 7],
}

fn slots(station: &mut Station, value: u64) -> Ptr<[Slot]> {
    let made = station.transaction(|tx| {
        let slots = [Slot {
            value,
            fill: [0; 7],
        }; ACCOUNTS];
        tx.alloc_slice_from(&slots)
    });
    made.expect("there is room")
}

fn random(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    (*state >> 33) as usize
}

#[test]
fn each_runs_on_the_changes_of_those_before_it() -> Result<()> {
    let mut cluster = Cluster::local(1)?;
    let station = &mut cluster.stations()[0];
    let counter = station.transaction(|tx| tx.alloc(0u64))?;
    let commits: Vec<_> = (0..500)
        .map(|_| {
            station.submit(move |tx| {
                let counter = tx.get_mut(counter)?;
                *counter += 1;
                Ok(*counter)
            })
        })
        .collect();
    for (index, commit) in commits.into_iter().enumerate() {
        assert_eq!(commit.wait(station)?, index as u64 + 1);
    }
    assert_eq!(station.statistics().restarts, 0, "nobody is in the way");
    assert_eq!(station.transaction(|tx| tx.get(counter).copied())?, 500);
    Ok(())
}

#[test]
fn increments_of_several_stations_all_count() -> Result<()> {
    let mut cluster = Cluster::local(3)?;
    let slots = slots(&mut cluster.stations()[0], 0);
    let happened = Arc::new(AtomicU64::new(0));
    thread::scope(|scope| {
        for (seed, station) in cluster.stations().iter_mut().enumerate() {
            let happened = &happened;
            scope.spawn(move || {
                let mut state = seed as u64;
                station.latest().unwrap();
                for _ in 0..EACH {
                    let slot = slots.get(random(&mut state) % ACCOUNTS).unwrap();
                    let happened = Arc::clone(happened);
                    let _ = station.submit(move |tx| {
                        let happened = Arc::clone(&happened);
                        tx.on_commit(move || {
                            happened.fetch_add(1, Ordering::Relaxed);
                        });
                        tx.get_mut(slot)?.value += 1;
                        Ok(())
                    });
                }
                station.flush().unwrap();
                assert_eq!(station.submitted(), 0);
            });
        }
    });
    let sum = cluster.stations()[0].transaction(|tx| {
        tx.latest()?;
        Ok(tx.get(slots)?.iter().map(|slot| slot.value).sum::<u64>())
    })?;
    assert_eq!(sum, 3 * EACH);
    assert_eq!(happened.load(Ordering::Relaxed), 3 * EACH);
    Ok(())
}

/// Money moves between accounts, and every attempt, also one that comes to nothing, looks whether some
/// is missing: it must see the heap as it was at one moment.
#[test]
fn no_attempt_sees_what_never_was() -> Result<()> {
    let mut cluster = Cluster::local(3)?;
    let accounts = slots(&mut cluster.stations()[0], 100);
    thread::scope(|scope| {
        for (seed, station) in cluster.stations().iter_mut().enumerate() {
            scope.spawn(move || {
                let mut state = 77 + seed as u64;
                station.latest().unwrap();
                for round in 0..EACH {
                    let (from, to) = (random(&mut state) % ACCOUNTS, random(&mut state) % ACCOUNTS);
                    let blind = round % 7 == 0;
                    let _ = station.submit(move |tx| {
                        let all = tx.get(accounts)?;
                        let sum: u64 = all.iter().map(|account| account.value).sum();
                        assert_eq!(sum, 100 * ACCOUNTS as u64, "an attempt saw half a transfer");
                        let (give, take) = (all[from].value.min(3), all[to].value);
                        if from == to || round % 5 == 0 {
                            return Ok(());
                        }
                        if blind {
                            let slot = accounts.get(to).unwrap();
                            tx.set(
                                slot,
                                Slot {
                                    value: take + give,
                                    fill: [round; 7],
                                },
                            )?;
                        } else {
                            tx.get_mut(accounts)?[to].value += give;
                        }
                        tx.get_mut(accounts)?[from].value -= give;
                        Ok(())
                    });
                }
                station.flush().unwrap();
            });
        }
    });
    Ok(())
}

#[test]
fn an_error_ends_one_and_not_those_behind_it() -> Result<()> {
    let mut cluster = Cluster::local(1)?;
    let station = &mut cluster.stations()[0];
    let counter = station.transaction(|tx| tx.alloc(0u64))?;
    let add = move |station: &mut Station, most: u64| {
        station.submit(move |tx| {
            let counter = tx.get_mut(counter)?;
            *counter += 1;
            if *counter > most {
                return Err(tx.abort("enough"));
            }
            Ok(())
        })
    };
    let (first, second, third) = (add(station, 5), add(station, 1), add(station, 5));
    third.wait(station)?;
    first.wait(station)?;
    let refused = second.wait(station).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Aborted(_)), "{refused}");
    assert_eq!(station.transaction(|tx| tx.get(counter).copied())?, 2);

    drop(add(station, 0));
    let unheard = station.flush().unwrap_err();
    assert!(unheard.to_string().contains("enough"), "{unheard}");
    station.flush()?;
    Ok(())
}

#[test]
fn what_must_be_alone_is_alone() -> Result<()> {
    let mut cluster = Cluster::local(2)?;
    let [station, other] = cluster.stations() else {
        unreachable!()
    };
    let (first, second) = station.transaction(|tx| Ok((tx.alloc(0u64)?, tx.alloc(0u64)?)))?;
    let _ = station.submit(move |tx| tx.set(first, 1));
    let latest = station.submit(move |tx| {
        tx.latest()?;
        tx.get(first).copied()
    });
    let durable = station.submit(move |tx| {
        tx.durable();
        tx.set(second, 2)
    });
    assert_eq!(latest.wait(station)?, 1);
    durable.wait(station)?;
    assert!(station.durable() >= station.statistics().last_commit);

    // One that waits for a change does not keep what was before it from being sent.
    let _ = station.submit(move |tx| tx.set(first, 5));
    thread::scope(|scope| {
        scope.spawn(|| {
            other.latest().unwrap();
            other.transaction(|tx| match *tx.get(first)? {
                5 => tx.set(second, 9),
                _ => Err(tx.wait_for_change()),
            })
        });
        let waited = station.submit(move |tx| match *tx.get(second)? {
            9 => Ok(()),
            _ => Err(tx.wait_for_change()),
        });
        waited.wait(station)
    })
}

#[test]
fn a_panic_in_a_closure_ends_that_one_alone() -> Result<()> {
    let mut cluster = Cluster::local(1)?;
    let station = &mut cluster.stations()[0];
    let counter = station.transaction(|tx| tx.alloc(0u64))?;
    let before = station.submit(move |tx| tx.set(counter, 1));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = station.submit::<()>(|_| panic!("as intended"));
    }));
    assert!(panicked.is_err());
    let after = station.submit(move |tx| {
        *tx.get_mut(counter)? += 1;
        Ok(())
    });
    before.wait(station)?;
    after.wait(station)?;
    assert_eq!(station.transaction(|tx| tx.get(counter).copied())?, 2);
    Ok(())
}

#[test]
fn a_handle_of_another_station_is_told_so() -> Result<()> {
    let mut cluster = Cluster::local(2)?;
    let [one, other] = cluster.stations() else {
        unreachable!()
    };
    let commit = one.submit(|tx| tx.alloc(1u64));
    let error = commit.wait(other);
    assert!(error.is_ok() || matches!(error.unwrap_err().kind(), ErrorKind::NotRun));
    one.flush()
}
