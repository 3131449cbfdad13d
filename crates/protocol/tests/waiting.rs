//! Who waits for a change is woken by it at once, and by nothing else.

mod pair;

use pair::{Pair, byte, line};
use plurix_protocol::station::{Miss, Settings};
use plurix_wire::message::PageLines;
use plurix_wire::{LineMask, PageNumber, WriteSet, WriteSetBuilder};

const PAGE: u32 = 3;

/// Station 0 runs a transaction that has read the first line of the page.
fn read(pair: &mut Pair) {
    pair.begin(0);
    while pair.memories[0].byte(PAGE, 0).is_none() {
        let miss = pair.stations[0].miss(PageNumber(PAGE), &pair.memories[0]);
        assert!(matches!(miss, Miss::Pending | Miss::Installed), "{miss:?}");
        pair.run();
    }
}

fn wait(pair: &mut Pair) {
    pair.stations[0].abort_until_change(&line(PAGE), &mut pair.memories[0]);
    pair.run();
}

fn has_changed(pair: &Pair) -> bool {
    pair.stations[0].has_changed()
}

/// Eight bytes in the second line of the page.
fn beside() -> WriteSet {
    let mut builder = WriteSetBuilder::new();
    builder.push(PageNumber(PAGE), 64, &[1; 8]);
    builder.finish()
}

fn write_beside(pair: &mut Pair) {
    pair.begin(1);
    pair.stations[1].commit(Vec::new(), beside());
    pair.run();
    pair.stations[1].settle(&mut pair.memories[1]);
}

#[test]
fn a_change_of_the_line_wakes_without_the_delay_of_the_stream() {
    let mut pair = Pair::new(2, |_| {});
    read(&mut pair);
    wait(&mut pair);
    assert!(!has_changed(&pair));
    // No time passes: what nobody waits for would be held back.
    pair.write(1, PAGE, 7);
    assert!(has_changed(&pair));
    pair.begin(0);
    assert_eq!(pair.memories[0].byte(PAGE, 0), Some(7));
}

#[test]
fn a_change_between_snapshot_and_wait_is_not_lost() {
    for has_arrived in [true, false] {
        let mut pair = Pair::new(2, |_| {});
        read(&mut pair);
        pair.write(1, PAGE, 7);
        if has_arrived {
            pair.settle();
        }
        wait(&mut pair);
        assert!(has_changed(&pair), "arrived: {has_arrived}");
        pair.begin(0);
        assert_eq!(pair.memories[0].byte(PAGE, 0), Some(7));
    }
}

#[test]
fn a_change_that_came_with_the_page_itself_is_not_lost() {
    let mut pair = Pair::new(2, |_| {});
    pair.begin(0);
    pair.write(1, PAGE, 7);
    // The page is served as of the snapshot, and what came since is known to the station.
    while pair.stations[0].miss(PageNumber(PAGE), &pair.memories[0]) == Miss::Pending {
        pair.run();
    }
    assert_eq!(pair.memories[0].byte(PAGE, 0), Some(0));
    wait(&mut pair);
    assert!(has_changed(&pair));
}

#[test]
fn other_lines_do_not_wake_however_often_they_change() {
    let mut pair = Pair::new(2, |_| {});
    read(&mut pair);
    wait(&mut pair);
    for other in 0..20 {
        write_beside(&mut pair);
        pair.write(1, PAGE + 1 + other, 1);
        pair.settle();
    }
    assert!(!has_changed(&pair));
    pair.write(1, PAGE, 7);
    assert!(has_changed(&pair), "it still hears at once");
}

#[test]
fn a_queue_that_was_merged_wakes_as_its_parts_would() {
    let mut pair = Pair::new(0, |_| {});
    pair.join(Settings {
        queue_bytes_max: 1,
        ..Settings::default()
    });
    pair.join(Settings::default());
    read(&mut pair);
    wait(&mut pair);
    for _ in 0..20 {
        write_beside(&mut pair);
        pair.settle();
    }
    assert!(!has_changed(&pair));
    pair.write(1, PAGE, 7);
    pair.settle();
    assert!(has_changed(&pair));
}

#[test]
fn a_group_wakes_when_it_is_whole() {
    let mut pair = Pair::new(2, |settings| settings.batch_bytes = 1);
    read(&mut pair);
    wait(&mut pair);
    pair.slow[0] = Some(Vec::new());
    pair.write(1, PAGE, 7);
    write_beside(&mut pair);
    pair.settle();
    let batches = pair.slow[0].as_ref().unwrap().len();
    assert!(batches > 1, "each change in a batch of its own");
    for _ in 1..batches {
        pair.hand_over(0, 1);
        let before = has_changed(&pair);
        let snapshot = pair.stations[0].snapshot();
        if before {
            assert!(pair.begin(0) > snapshot, "woken for something to see");
            return;
        }
    }
    pair.hand_over(0, 1);
    assert!(has_changed(&pair));
}

#[test]
fn a_lost_connection_wakes_for_what_was_missed_alone() {
    let mut pair = Pair::new(2, |_| {});
    read(&mut pair);
    pair.abort(0);
    read(&mut pair);
    wait(&mut pair);
    pair.reconnect(0);
    assert!(!has_changed(&pair));
    pair.write(1, PAGE, 7);
    assert!(has_changed(&pair), "the wish outlives the connection");
    read(&mut pair);
    wait(&mut pair);
    pair.slow[0] = Some(Vec::new());
    pair.write(1, PAGE, 8);
    pair.slow[0] = None;
    assert!(!has_changed(&pair));
    pair.reconnect(0);
    assert!(has_changed(&pair));
}

#[test]
fn what_is_not_kept_up_to_date_any_more_counts_as_changed() {
    let mut pair = Pair::new(2, |_| {});
    read(&mut pair);
    pair.abort(0);
    read(&mut pair);
    wait(&mut pair);
    let (station, memory) = (&mut pair.stations[0], &mut pair.memories[0]);
    station.evict([PageNumber(PAGE)], memory);
    assert!(has_changed(&pair), "evicted");
    read(&mut pair);
    wait(&mut pair);
    assert!(!has_changed(&pair));
    pair.silence(0);
    pair.reconnect(0);
    pair.reconnect(0);
    assert!(has_changed(&pair), "taken for dead, and begun anew");
}

#[test]
fn a_transaction_whose_life_has_ended_does_not_wait() {
    let mut pair = Pair::new(2, |_| {});
    read(&mut pair);
    pair.silence(0);
    pair.reconnect(0);
    pair.reconnect(0);
    wait(&mut pair);
    assert!(has_changed(&pair));
}

#[test]
fn lines_that_were_not_read_are_not_waited_for() {
    let mut pair = Pair::new(2, |_| {});
    read(&mut pair);
    let reads = [PageLines {
        page: PageNumber(PAGE),
        lines: LineMask(0b10),
    }];
    let (station, memory) = (&mut pair.stations[0], &mut pair.memories[0]);
    station.abort_until_change(&reads, memory);
    pair.begin(1);
    pair.stations[1].commit(Vec::new(), byte(PAGE, 7));
    pair.settle();
    pair.stations[1].settle(&mut pair.memories[1]);
    assert!(!has_changed(&pair));
    write_beside(&mut pair);
    assert!(has_changed(&pair));
}
