//! A peer that breaks the protocol: what makes no sense to a station is a typed error that has
//! changed nothing; a station that is out of order is refused. What these tests say by hand, `fuzz/` tries in all combinations.

mod pair;

use pair::{HEAP_BYTES, Memory, byte};
use plurix_protocol::leader::{self, Command, Durability, Event, Leader};
use plurix_protocol::station::{Miss, Settings, Station, StreamError};
use plurix_protocol::{ConnectionId, Time};
use plurix_wire::message::{
    Batch, Commit, Content, Item, Join, Page, Request, Resume, SessionRefusal, ToLeader, ToStation,
    Violation, Welcome,
};
use plurix_wire::{
    CommitNumber, CommitSequence, Generation, Incarnation, PageNumber, StationId, StreamSequence,
    Term,
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
        in_flight_max: 64,
        members: Vec::new(),
    })
}

fn batch(sequence: u64, through: u64, items: Vec<Item>) -> ToStation {
    ToStation::Batch(Batch {
        term: Term(1),
        generation: Generation(0),
        sequence: StreamSequence(sequence),
        through: CommitNumber(through),
        durable: CommitNumber(0),
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

/// What a leader sends to a connection after `messages` have arrived there, without taking batches.
fn answers(leader: &mut Leader, connection: u64, messages: Vec<ToLeader>) -> Vec<ToStation> {
    let connection = ConnectionId(connection);
    let mut answers = Vec::new();
    for message in messages {
        leader.handle(
            Time(1),
            Event::Message {
                connection,
                message,
            },
        );
        while let Some(command) = leader.poll() {
            if let Command::Send { message, .. } = command {
                answers.push(message);
            }
        }
    }
    answers
}

fn led() -> Leader {
    let mut settings = leader::Settings::new(HEAP_BYTES, Durability::Memory);
    settings.answer_bytes_max = 1000;
    let mut leader = Leader::new(settings);
    leader.start(Time(0), Term(1), None);
    leader.handle(Time(0), Event::Room(1 << 20));
    leader
}

fn refused(answers: &[ToStation]) -> Option<Violation> {
    match answers.last() {
        Some(ToStation::Refused(SessionRefusal::Violation(violation))) => Some(*violation),
        _ => None,
    }
}

#[test]
fn who_asks_and_never_reads_is_given_up() {
    let commit = Request::Commit(Commit {
        sequence: CommitSequence(1),
        acknowledged: CommitSequence(0),
        snapshot: CommitNumber(0),
        follows: None,
        reads: Vec::new(),
        writes: byte(3, 1),
    });
    for request in [Request::Latest, commit] {
        let mut leader = led();
        answers(&mut leader, 1, vec![ToLeader::Join(Join::default())]);
        let ask = ToLeader::Request {
            incarnation: Incarnation::of(Term(1), 1),
            generation: Generation(0),
            request,
        };
        let few = answers(&mut leader, 1, vec![ask.clone(); 10]);
        assert_eq!(refused(&few), None);
        let many = answers(&mut leader, 1, vec![ask; 10]);
        let given_up = many.iter().any(|answer| {
            refused(std::slice::from_ref(answer)) == Some(Violation::TooManyInFlight)
        });
        assert!(given_up, "{many:?}");
        assert!(leader.status(Time(1)).stations.is_empty());
    }
}

#[test]
fn a_connection_has_one_member() {
    let mut leader = led();
    for connection in [1, 2] {
        let join = vec![ToLeader::Join(Join::default())];
        answers(&mut leader, connection, join);
    }
    let resume = ToLeader::Resume(Resume {
        incarnation: Incarnation::of(Term(1), 2),
        generation: Generation(0),
        through: CommitNumber(0),
        pages: Vec::new(),
    });
    let answered = answers(&mut leader, 1, vec![resume]);
    assert_eq!(refused(&answered), Some(Violation::OutOfOrder));
}
