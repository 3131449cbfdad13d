//! A page that a transaction misses arrives, whatever becomes of the connection while it is missed: to
//! miss it once is enough.

mod pair;

use pair::Pair;
use plurix_protocol::station::Miss;
use plurix_wire::PageNumber;

const PAGE: PageNumber = PageNumber(3);

fn miss(pair: &mut Pair) -> Miss {
    pair.stations[0].miss(PAGE, &pair.memories[0])
}

fn arrives(pair: &mut Pair) {
    pair.run();
    assert!(pair.stations[0].has_arrived(PAGE));
    assert_eq!(miss(pair), Miss::Installed);
}

#[test]
fn a_page_missed_before_the_session_is_resumed_is_asked_for_then() {
    let mut pair = Pair::new(1, |_| {});
    pair.begin(0);
    // The welcome is under way when the program comes to the page.
    pair.slow[0] = Some(Vec::new());
    pair.reconnect(0);
    assert_eq!(miss(&mut pair), Miss::Pending);
    pair.hand_over(0, 1);
    pair.slow[0] = None;
    arrives(&mut pair);
}

#[test]
fn a_page_missed_without_a_connection_is_asked_for_on_the_next() {
    let mut pair = Pair::new(1, |_| {});
    pair.begin(0);
    pair.close(0, false);
    assert_eq!(miss(&mut pair), Miss::Pending);
    pair.reconnect(0);
    arrives(&mut pair);
}

#[test]
fn a_request_that_was_lost_with_its_connection_is_made_again() {
    let mut pair = Pair::new(1, |_| {});
    pair.begin(0);
    assert_eq!(miss(&mut pair), Miss::Pending);
    pair.reconnect(0);
    arrives(&mut pair);
}

#[test]
fn an_answer_that_was_lost_with_its_connection_is_asked_for_again() {
    let mut pair = Pair::new(1, |_| {});
    pair.begin(0);
    pair.slow[0] = Some(Vec::new());
    assert_eq!(miss(&mut pair), Miss::Pending);
    pair.run();
    pair.slow[0] = None;
    pair.reconnect(0);
    arrives(&mut pair);
}

#[test]
fn a_page_that_nobody_waits_for_any_more_is_not_asked_for() {
    let mut pair = Pair::new(1, |_| {});
    pair.begin(0);
    pair.close(0, false);
    assert_eq!(miss(&mut pair), Miss::Pending);
    pair.abort(0);
    pair.begin(0);
    pair.reconnect(0);
    assert!(!pair.stations[0].has_arrived(PAGE));
}
