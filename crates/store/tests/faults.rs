//! Full disks, second openers, and directories that are something else.

mod common;

use std::time::Duration;

use common::{Error, Led, commit, fill, lead, led, left, options, replay};
use plurix_store::Durability::{Durable, Memory};
use plurix_store::simulated::Machine;
use plurix_store::{AppendError, OpenError, Space, Store};

#[test]
fn a_full_disk_refuses_commits_lets_members_pass_and_goes_on_when_there_is_room() {
    let machine = Machine::new();
    machine.set_free_bytes(Some(10_000));
    let Led { mut store, .. } = led(&machine, Durable, 1);
    let mut appended = 1;
    let refused = loop {
        store.maintain(Duration::ZERO);
        let record = commit(store.last(), 300, 1);
        if record.encoded_bytes() as u64 > store.room() {
            break record;
        }
        store.append(&record).expect("there is room");
        appended += 1;
    };
    assert!(matches!(store.maintain(Duration::ZERO), Space::Short(_)));
    for _ in 0..5 {
        store
            .append(&left(store.last()))
            .expect("the reserve is kept for members");
        appended += 1;
    }
    store.sync().expect("what was accepted can be synced");

    machine.set_free_bytes(Some(100_000));
    store.maintain(Duration::from_millis(999));
    store.maintain(Duration::from_millis(999));
    assert!(
        matches!(store.space(), Space::Short(_)),
        "the disk is left alone for a second"
    );
    store.maintain(Duration::from_secs(1));
    assert!(matches!(
        store.maintain(Duration::from_secs(1)),
        Space::Ample
    ));
    assert!(refused.encoded_bytes() as u64 <= store.room());
    store.append(&refused).expect("there is room");
    drop(store);
    machine.kill();
    assert_eq!(led(&machine, Durable, 1).records.len(), appended + 1);
}

#[test]
fn a_full_disk_at_a_restart_is_no_failure_of_the_log() {
    let machine = Machine::new();
    machine.set_free_bytes(Some(10_000));
    let Led { mut store, .. } = led(&machine, Memory, 1);
    while store.control_room() >= 56 {
        store.append(&left(store.last())).expect("there is room");
    }
    assert!(matches!(
        store.close_clean(),
        Err(AppendError::NoRoom { .. }) | Ok(())
    ));
    machine.kill();
    let mut store = Store::create_or_open(machine.disk(), options(Memory, 1)).expect("opens");
    let (_, before) = replay(&mut store).expect("the log stays readable");
    assert!(matches!(
        store.begin_term(),
        Err(AppendError::NoRoom { .. })
    ));
    drop(store);
    machine.set_free_bytes(None);
    assert_eq!(led(&machine, Memory, 1).records, before);
}

#[test]
fn an_identity_that_cannot_be_replaced_leaves_the_term_as_it_was() {
    let machine = Machine::new();
    let first = led(&machine, Memory, 1).store.last().term;
    machine.kill();
    let mut store = Store::create_or_open(machine.disk(), options(Memory, 1)).expect("opens");
    replay(&mut store).expect("replays");
    machine.fail_writes(true);
    assert!(matches!(store.begin_term(), Err(AppendError::Identity(_))));
    machine.fail_writes(false);
    assert_eq!(
        store.begin_term().expect("it can be tried again"),
        first.next()
    );
}

#[test]
fn a_slow_disk_is_waited_for_without_a_stop() {
    let machine = Machine::new();
    machine.set_create_polls(1000);
    let Led { mut store, .. } = led(&machine, Durable, 1);
    while store.room() >= 400 {
        store
            .append(&commit(store.last(), 300, 1))
            .expect("there is room");
        store.maintain(Duration::ZERO);
    }
    assert!(matches!(store.space(), Space::Preparing));
    (0..1000).for_each(|_| drop(store.maintain(Duration::ZERO).clone()));
    assert!(matches!(store.space(), Space::Ample));
    fill(&mut store, 1, 2000);
}

#[test]
fn no_room_for_the_first_segment() {
    let machine = Machine::new();
    machine.set_free_bytes(Some(4000));
    let error = lead(machine.disk(), options(Memory, 1)).err();
    assert!(
        matches!(error, Some(Error::Open(OpenError::NoSpace { .. }))),
        "{error:?}"
    );
    machine.set_free_bytes(None);
    assert!(
        led(&machine, Memory, 1).records.is_empty(),
        "it can be tried again"
    );
}

#[test]
fn one_opener_at_a_time() {
    let machine = Machine::new();
    let first = led(&machine, Memory, 1);
    let second = lead(machine.disk(), options(Memory, 1)).err();
    assert!(
        matches!(
            second,
            Some(Error::Open(OpenError::Locked { pid: Some(0), .. }))
        ),
        "{second:?}"
    );
    drop(first);
    led(&machine, Memory, 1);
}

#[test]
fn what_is_no_store_is_left_alone() {
    let machine = Machine::new();
    machine.put("holiday.jpg", vec![1]);
    let error = lead(machine.disk(), options(Memory, 1)).err();
    assert!(
        matches!(error, Some(Error::Open(OpenError::Foreign { .. }))),
        "{error:?}"
    );
    assert_eq!(machine.names(), ["holiday.jpg"]);
}

#[test]
fn the_heap_keeps_its_size_and_the_cluster_its_id() {
    let machine = Machine::new();
    let cluster = led(&machine, Memory, 1).store.cluster();
    machine.kill();
    let mut other = options(Memory, 1);
    other.heap_bytes *= 2;
    let error = lead(machine.disk(), other.clone()).err();
    assert!(
        matches!(error, Some(Error::Open(OpenError::HeapBytes { .. }))),
        "{error:?}"
    );
    other.heap_bytes /= 2;
    other.cluster = plurix_wire::ClusterId([9; 16]);
    assert_eq!(
        lead(machine.disk(), other).expect("opens").store.cluster(),
        cluster
    );
}

#[test]
fn segments_must_hold_the_largest_commit() {
    for segment_bytes in [0, 4096, 8191, 1 << 31] {
        let options = plurix_store::Options {
            segment_bytes,
            commit_bytes_max: 4096,
            ..options(Memory, 1)
        };
        let error = lead(Machine::new().disk(), options).err();
        assert!(
            matches!(error, Some(Error::Open(OpenError::SegmentBytes { .. }))),
            "{segment_bytes}: {error:?}"
        );
    }
}

#[test]
fn what_the_caller_refuses_is_named() {
    let machine = Machine::new();
    drop(led(&machine, Memory, 1));
    let mut store = Store::create_or_open(machine.disk(), options(Memory, 1)).expect("opens");
    let error = store.replay(|_| Err("page beyond the heap")).err();
    assert!(
        matches!(
            error,
            Some(plurix_store::ReplayError::Refused { at: 128, .. })
        ),
        "{error:?}"
    );
}

#[test]
#[should_panic(expected = "room is reserved")]
fn appending_more_than_there_is_room_for_is_a_bug() {
    let Led { mut store, .. } = led(&Machine::new(), Memory, 1);
    (0..100).for_each(|_| {
        store
            .append(&commit(store.last(), 500, 1))
            .expect("not failed")
    });
}

#[test]
#[should_panic(expected = "the number is not the next one")]
fn a_gap_in_the_numbers_is_a_bug() {
    let Led { mut store, .. } = led(&Machine::new(), Memory, 1);
    let mut record = commit(store.last(), 5, 1);
    record.stamp.number.0 += 1;
    drop(store.append(&record));
}
