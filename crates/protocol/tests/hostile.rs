//! A station whose leader breaks the protocol: each message that makes no sense is a typed error,
//! and has changed nothing. What these tests say by hand, `fuzz/` tries in all combinations.

mod pair;

use pair::{HEAP_BYTES, Memory};
use plurix_protocol::Time;
use plurix_protocol::station::{Miss, Settings, Station, StreamError};
use plurix_wire::message::{Batch, Content, Item, Page, SessionRefusal, ToStation, Welcome};
use plurix_wire::{
    CommitNumber, Generation, Incarnation, PageNumber, StationId, StreamSequence, Term,
};

const PAGE: PageNumber = PageNumber(3);

fn welcome(heap_bytes: u64) -> ToStation {
    ToStation::Welcome(Welcome {
        station: StationId(1),
        incarnation: Incarnation(1),
        term: Term(1),
        generation: Generation(0),
        through: CommitNumber(5),
        heap_bytes,
        silence_ms_max: 1000,
        members: Vec::new(),
    })
}

fn batch(sequence: u64, through: u64, items: Vec<Item>) -> ToStation {
    ToStation::Batch(Batch {
        term: Term(1),
        generation: Generation(0),
        sequence: StreamSequence(sequence),
        through: CommitNumber(through),
        last: true,
        items,
    })
}

fn zero_page() -> Item {
    Item::Page(Box::new(Page {
        page: PAGE,
        base: CommitNumber(5),
        held_from: CommitNumber(5),
        content: Content::Zero,
        since: Vec::new(),
    }))
}

/// A member at commit 5.
fn joined() -> Station {
    let mut station = Station::new(Settings::default());
    station.connected(Time(0));
    hears(&mut station, welcome(HEAP_BYTES));
    station
}

fn hears(station: &mut Station, message: ToStation) {
    station.handle(Time(0), message).expect("it makes sense");
}

fn refuses(station: &mut Station, message: ToStation) {
    let heard = station.handle(Time(0), message);
    assert!(matches!(heard, Err(StreamError::Violation(_))), "{heard:?}");
}

#[test]
fn a_stream_that_goes_back_is_given_up() {
    let (mut station, mut memory) = (joined(), Memory::default());
    refuses(&mut station, batch(1, 4, Vec::new()));
    hears(&mut station, batch(1, 7, Vec::new()));
    refuses(&mut station, batch(2, 6, Vec::new()));
    assert_eq!(station.begin(&mut memory), Some(CommitNumber(7)));
    station.abort(&mut memory);

    station.disconnected();
    station.connected(Time(0));
    hears(&mut station, welcome(HEAP_BYTES));
    refuses(&mut station, batch(1, 6, Vec::new()));
}

#[test]
fn a_page_that_comes_twice_in_a_batch_is_refused_with_it() {
    let (mut station, mut memory) = (joined(), Memory::default());
    station.begin(&mut memory);
    assert_eq!(station.miss(PAGE, &memory), Miss::Pending);
    refuses(&mut station, batch(1, 5, vec![zero_page(), zero_page()]));
    hears(&mut station, batch(1, 5, vec![zero_page()]));
    assert_eq!(station.miss(PAGE, &memory), Miss::Installed);
    refuses(&mut station, batch(2, 5, vec![zero_page()]));
}

#[test]
fn there_is_no_stream_outside_of_a_session() {
    let mut station = joined();
    station.disconnected();
    station.connected(Time(0));
    refuses(&mut station, batch(1, 6, Vec::new()));
    hears(&mut station, welcome(HEAP_BYTES));
    hears(
        &mut station,
        ToStation::Refused(SessionRefusal::ShuttingDown),
    );
    refuses(&mut station, batch(1, 6, Vec::new()));
}

#[test]
fn a_heap_keeps_its_size_from_life_to_life() {
    let mut station = joined();
    let unknown = SessionRefusal::UnknownIncarnation;
    hears(&mut station, ToStation::Refused(unknown));
    station.disconnected();
    station.connected(Time(0));
    refuses(&mut station, welcome(2 * HEAP_BYTES));
    assert_eq!(station.incarnation(), None);
    hears(&mut station, welcome(HEAP_BYTES));
    assert_eq!(station.heap_bytes(), Some(HEAP_BYTES));
}
