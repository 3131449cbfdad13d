//! Leader and station as engines: events in, what they say out. Each test holds one promise that
//! a driver relies on; the simulator (crates/sim) tries their combinations.

mod pair;

use pair::{HEAP_BYTES, Pair, byte, line};
use plurix_protocol::leader::{Command, Durability, Event, Leader, Settings};
use plurix_protocol::station::{self, Miss, Outcome, Station};
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_wire::message::{
    Batch, CommitRefusal, Item, Join, Lines, PageRun, Request, Resume, SessionRefusal, ToLeader,
    ToStation, Welcome,
};
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{
    CommitId, CommitNumber, CommitSequence, Generation, Incarnation, LINE_BYTES, PAGE_BYTES,
    PageNumber, StationId, StreamSequence, Term, WriteSetBuilder,
};

/// Fetches a page for the running transaction.
fn fetch(pair: &mut Pair, index: usize, page: u32) {
    let page = PageNumber(page);
    let asked = pair.stations[index].miss(page, &pair.memories[index]);
    assert_eq!(asked, Miss::Pending);
    pair.run();
    let answered = pair.stations[index].miss(page, &pair.memories[index]);
    assert_eq!(answered, Miss::Installed);
}

#[test]
fn a_holder_hears_of_every_commit_of_others() {
    let mut pair = Pair::new(2, |_| {});
    pair.begin(1);
    fetch(&mut pair, 1, 3);
    pair.abort(1);
    for value in 1..=5 {
        let number = CommitNumber(u64::from(value));
        assert_eq!(pair.write(0, 3, value), Outcome::Committed(number));
        pair.settle();
        assert_eq!(pair.begin(1), number);
        assert_eq!(pair.memories[1].byte(3, 0), Some(value));
        pair.abort(1);
    }
}

#[test]
fn what_was_read_and_has_changed_is_refused() {
    let mut pair = Pair::new(2, |_| {});
    pair.begin(1);
    fetch(&mut pair, 1, 3);
    pair.write(0, 3, 1);
    pair.stations[1].commit(line(3), byte(4, 1));
    pair.run();
    let outcome = pair.stations[1].settle(&mut pair.memories[1]);
    assert!(matches!(
        outcome,
        Outcome::Refused(CommitRefusal::Conflict(_))
    ));
    assert_eq!(pair.memories[1].byte(3, 0), Some(1), "the reason is there");
}

#[test]
fn a_station_that_opens_its_session_waits_instead_of_spinning() {
    let mut station = Station::new(station::Settings::default());
    assert_eq!(station.next_timeout(), Time(u64::MAX));
    station.connected(Time(5));
    let mut now = Time(5);
    for _ in 0..3 {
        let due = station.next_timeout();
        assert!(due > now, "the leader's answer is waited for");
        now = due;
        assert!(station.tick(now), "the leader is silent");
        station.disconnected();
        station.connected(now);
    }
}

/// A page in a group of two batches, of which the first has arrived; meanwhile the stream has reached
/// commit 2, which the running transaction does not see.
fn half_a_group(page_is_too_new: bool) -> Pair {
    let mut pair = Pair::new(2, |settings| {
        settings.batch_bytes = 1;
        settings.history_bytes_max = if page_is_too_new { 0 } else { 1 << 20 };
    });
    pair.begin(1);
    fetch(&mut pair, 1, 9);
    pair.write(0, 3, 7);
    pair.write(0, 9, 1);
    pair.settle();
    pair.slow[1] = Some(Vec::new());
    pair.stations[1].prefetch(PageNumber(3), 1);
    pair.stations[1].ask_latest();
    pair.run();
    pair.hand_over(1, 1);
    pair
}

#[test]
fn a_page_of_an_unfinished_group_is_not_seen_at_a_later_snapshot() {
    let mut pair = half_a_group(false);
    let page = PageNumber(3);
    let found = pair.stations[1].miss(page, &pair.memories[1]);
    assert_eq!(
        (found, pair.memories[1].byte(3, 0)),
        (Miss::Installed, Some(0))
    );
    pair.abort(1);
    assert_eq!(pair.begin(1), CommitNumber(2));
    assert_eq!(pair.memories[1].byte(3, 0), None, "it was as of commit 0");
    let found = pair.stations[1].miss(page, &pair.memories[1]);
    assert_eq!(
        (found, pair.memories[1].byte(3, 0)),
        (Miss::Installed, Some(7))
    );
    pair.abort(1);
    pair.hand_over(1, 1);
    pair.begin(1);
    assert_eq!(pair.memories[1].byte(3, 0), Some(7));
    assert_eq!(pair.stations[1].pages_held(), 2);
}

#[test]
fn a_page_that_is_too_new_is_waited_for_until_a_restart_helps() {
    let mut pair = half_a_group(true);
    let page = PageNumber(3);
    let begun = pair.stations[1].snapshot();
    let early = pair.stations[1].miss(page, &pair.memories[1]);
    if early == Miss::Pending {
        assert!(!pair.stations[1].has_arrived(page));
        pair.hand_over(1, 1);
    }
    let late = pair.stations[1].miss(page, &pair.memories[1]);
    assert_eq!(late, Miss::SnapshotTooOld);
    pair.abort(1);
    assert!(pair.begin(1) > begun, "else the restart would fail again");
    assert_eq!(pair.memories[1].byte(3, 0), Some(7));
}

#[test]
fn what_is_no_longer_queued_is_not_counted() {
    let mut pair = half_a_group(false);
    let whole = pair.stations[1].queued_bytes();
    pair.abort(1);
    pair.begin(1);
    let unfinished = pair.stations[1].queued_bytes();
    assert!(
        0 < unfinished && unfinished < whole,
        "{unfinished} of {whole}"
    );
    pair.abort(1);
    pair.stations[1].disconnected();
    pair.stations[1].connected(Time(1));
    assert_eq!(pair.stations[1].queued_bytes(), 0, "the group is lost");
}

/// A batch of a group that does not end with it, with one line of each of two pages.
fn hot_lines(sequence: u64, value: u8) -> ToStation {
    let lines = |page| {
        let mut writes = WriteSetBuilder::new();
        writes.push(PageNumber(page), 0, &[value; LINE_BYTES]);
        Item::Lines(Box::new(Lines {
            number: CommitNumber(sequence),
            writes: writes.finish(),
        }))
    };
    ToStation::Batch(Batch {
        term: Term(1),
        generation: Generation(0),
        sequence: StreamSequence(sequence),
        through: CommitNumber(sequence),
        durable: CommitNumber(0),
        last: false,
        items: vec![lines(3), lines(4)],
    })
}

fn welcome(silence_ms_max: u32) -> ToStation {
    ToStation::Welcome(Welcome {
        station: StationId(1),
        incarnation: Incarnation(1),
        term: Term(1),
        generation: Generation(0),
        through: CommitNumber(0),
        heap_bytes: HEAP_BYTES,
        silence_ms_max,
        in_flight_max: 64,
        members: Vec::new(),
    })
}

#[test]
fn a_station_speaks_as_often_as_its_leader_must_hear_it() {
    for (silence_ms_max, speaks_within) in [(60_000, 100), (80, 20), (0, 1)] {
        let mut station = Station::new(station::Settings::default());
        station.connected(Time(0));
        station.handle(Time(0), welcome(silence_ms_max)).unwrap();
        let due = Time(0) + Span::from_millis(speaks_within);
        assert_eq!(station.next_timeout(), due, "{silence_ms_max} ms");
        while station.poll().is_some() {}
        assert!(!station.tick(due));
        let beats = |message: &ToLeader| {
            let request = Request::Heartbeat;
            matches!(message, ToLeader::Request { request: said, .. } if *said == request)
        };
        assert!(station.poll().is_some_and(beats));
    }
}

#[test]
fn lines_that_come_again_and_again_are_kept_once() {
    let mut station = Station::new(station::Settings::default());
    station.connected(Time(0));
    station.handle(Time(0), welcome(1000)).unwrap();
    station.handle(Time(0), hot_lines(1, 1)).unwrap();
    let once = station.queued_bytes();
    for sequence in 2..100 {
        let batch = hot_lines(sequence, sequence as u8);
        station.handle(Time(0), batch).unwrap();
    }
    assert!(once > 0);
    assert_eq!(station.queued_bytes(), once);
}

#[test]
fn an_older_answer_is_not_taken_for_the_newest_snapshot() {
    let mut pair = Pair::new(2, |_| {});
    pair.stations[1].ask_latest();
    pair.run();
    assert!(pair.stations[1].has_latest());
    pair.write(0, 3, 1);
    pair.slow[1] = Some(Vec::new());
    pair.stations[1].ask_latest();
    pair.run();
    assert!(!pair.stations[1].has_latest(), "the answer is under way");
    let count = pair.slow[1].as_ref().map_or(0, Vec::len);
    pair.hand_over(1, count);
    assert!(pair.stations[1].has_latest());
    assert_eq!(pair.begin(1), CommitNumber(1));
    assert!(!pair.stations[1].has_latest(), "it is used up");
}

#[test]
fn a_prefetch_asks_for_no_more_than_may_be_under_way() {
    let settings = Settings {
        heap_bytes: 1 << 30,
        ..Settings::new(1 << 30, Durability::Memory)
    };
    let mut pair = Pair::new(1, |old| *old = settings);
    pair.begin(0);
    pair.stations[0].prefetch(PageNumber(0), 1 << 18);
    pair.run();
    assert_eq!(pair.stations[0].state(), station::State::Active);
}

#[test]
fn a_station_keeps_as_many_pages_as_it_may_have() {
    let mut pair = Pair::new(0, |_| {});
    pair.join(station::Settings {
        cache_pages_max: 4,
        read_ahead: 1,
        ..Default::default()
    });
    pair.join(station::Settings::default());
    let held_by_leader = |pair: &Pair| pair.leader.status(pair.now).stations[0].pages;
    for first in [0, 10, 20] {
        pair.begin(0);
        (first..first + 7).for_each(|page| fetch(&mut pair, 0, page));
        let now = pair.stations[0].pages_held() + pair.stations[0].pages_arrived();
        assert!(now >= 7, "what a running transaction has read stays: {now}");
        pair.abort(0);
        pair.begin(0);
        assert!(pair.stations[0].pages_held() <= 4);
        assert_eq!(pair.memories[0].pages(), pair.stations[0].pages_held());
        pair.abort(0);
        pair.run();
        let held = pair.stations[0].pages_held() as u64;
        assert_eq!(held_by_leader(&pair), held, "the leader was told");
    }
    // A page that was given up is seen as it is now when it comes back.
    pair.write(1, 0, 9);
    pair.settle();
    pair.begin(0);
    fetch(&mut pair, 0, 0);
    assert_eq!(pair.memories[0].byte(0, 0), Some(9));
}

#[test]
fn pages_read_one_after_the_other_are_asked_for_before_they_are_missed() {
    let mut pair = Pair::new(1, |_| {});
    pair.begin(0);
    let mut waits = 0;
    for page in 0..64 {
        let page = PageNumber(page);
        if pair.memories[0].byte(page.0, 0).is_none() {
            if pair.stations[0].miss(page, &pair.memories[0]) == Miss::Pending {
                waits += 1;
                pair.run();
                let answered = pair.stations[0].miss(page, &pair.memories[0]);
                assert_eq!(answered, Miss::Installed);
            }
            pair.run();
        }
    }
    assert!(waits <= 6, "waited {waits} times");
}

/// A station that was silent for so long that it was dropped, and another that took its number.
fn robbed_of_its_number(wanted: Option<StationId>) -> Pair {
    let mut pair = Pair::new(1, |_| {});
    pair.join(station::Settings {
        station: wanted,
        ..Default::default()
    });
    assert_eq!(pair.stations[1].station(), Some(StationId(2)));
    pair.silence(1);
    pair.join(station::Settings::default());
    assert_eq!(pair.stations[2].station(), Some(StationId(2)));
    pair.reconnect(1);
    assert_eq!(pair.stations[1].state(), station::State::Waiting);
    pair.reconnect(1);
    pair
}

#[test]
fn a_number_that_was_only_assigned_is_given_up_when_somebody_else_has_it() {
    let mut pair = robbed_of_its_number(None);
    assert_eq!(pair.stations[1].state(), station::State::Waiting);
    pair.reconnect(1);
    assert_eq!(pair.stations[1].state(), station::State::Active);
    assert_eq!(pair.stations[1].station(), Some(StationId(3)));
    assert!(matches!(pair.write(1, 3, 1), Outcome::Committed(_)));
    assert!(matches!(pair.write(2, 3, 2), Outcome::Committed(_)));
}

#[test]
fn a_number_that_was_asked_for_is_asked_for_again() {
    let mut pair = robbed_of_its_number(Some(StationId(2)));
    let taken = station::State::Ended(SessionRefusal::StationTaken(StationId(2)));
    assert_eq!(pair.stations[1].state(), taken);
    pair.stations[2].leave();
    pair.run();
    pair.stations[1].retry();
    pair.reconnect(1);
    assert_eq!(pair.stations[1].station(), Some(StationId(2)));
}

#[test]
fn a_number_that_nobody_took_is_had_again() {
    let mut pair = Pair::new(2, |_| {});
    pair.silence(0);
    pair.silence(1);
    for _ in 0..2 {
        pair.reconnect(1);
    }
    assert_eq!(pair.stations[1].station(), Some(StationId(2)));
}

#[test]
fn a_leader_begins_the_generation_that_its_log_asks_for() {
    let mut leader = Leader::new(Settings::new(HEAP_BYTES, Durability::Memory));
    leader.start(Time(0), Term(4), Some(Generation(3)));
    assert_eq!(leader.generation(), Generation(3));
}

/// How a leader whose third generation began with an empty heap refuses a newcomer.
fn refusal_after_a_rollback(message: ToLeader) -> Option<SessionRefusal> {
    let mut leader = Leader::new(Settings::new(HEAP_BYTES, Durability::Memory));
    leader.start(Time(0), Term(4), Some(Generation(3)));
    refusal(&mut leader, message)
}

fn refusal(leader: &mut Leader, message: ToLeader) -> Option<SessionRefusal> {
    let event = Event::Message {
        connection: ConnectionId(1),
        message,
    };
    leader.handle(Time(0), event);
    std::iter::from_fn(|| leader.poll()).find_map(|command| match command {
        Command::Send {
            message: ToStation::Refused(refusal),
            ..
        } => Some(refusal),
        _ => None,
    })
}

const ROLLED_BACK: Option<SessionRefusal> = Some(SessionRefusal::RolledBack {
    generation: Generation(3),
    cut: CommitNumber(0),
});

/// The log lost the commits that a station has seen, and its joining with them.
#[test]
fn a_station_that_joined_behind_the_cut_learns_that_the_heap_was_rolled_back() {
    let resumes = |through| {
        refusal_after_a_rollback(ToLeader::Resume(Resume {
            incarnation: Incarnation(7),
            generation: Generation(2),
            through: CommitNumber(through),
            pages: Vec::new(),
        }))
    };
    assert_eq!(resumes(0), Some(SessionRefusal::UnknownIncarnation));
    assert_eq!(resumes(5), ROLLED_BACK);
}

/// Generation 2 was abandoned when a checkpoint of generation 1 was restored. That a station of it has
/// seen no more commits than there are now says nothing: they may have been others.
#[test]
fn a_station_of_a_generation_that_this_heap_never_had_is_rolled_back() {
    let joins = |generation, seen| {
        let mut leader = Leader::new(Settings::new(HEAP_BYTES, Durability::Memory));
        for (generation, number, body) in [
            (0, 1, commit_body(1)),
            (1, 1, Body::Generation),
            (1, 2, commit_body(2)),
        ] {
            let stamp = Stamp {
                generation: Generation(generation),
                term: Term(1),
                number: CommitNumber(number),
            };
            leader.replay(&Record { stamp, body }).unwrap();
        }
        leader.start(Time(0), Term(4), Some(Generation(3)));
        let join = Join {
            generation: Generation(generation),
            seen: CommitNumber(seen),
            ..Join::default()
        };
        refusal(&mut leader, ToLeader::Join(join))
    };
    for (generation, seen) in [(0, 1), (1, 1), (1, 2), (2, 0)] {
        assert_eq!(joins(generation, seen), None, "g{generation}c{seen}");
    }
    // What is left of what it has seen is what the first generation after its own began with.
    for (generation, seen, cut) in [(0, 2, 1), (1, 3, 2), (2, 1, 2), (2, 2, 2), (2, 9, 2)] {
        let refused = SessionRefusal::RolledBack {
            generation: Generation(3),
            cut: CommitNumber(cut),
        };
        let joined = joins(generation, seen);
        assert_eq!(joined, Some(refused), "g{generation}c{seen}");
    }
}

fn commit_body(sequence: u64) -> Body {
    Body::Commit {
        id: CommitId {
            incarnation: Incarnation(7),
            sequence: CommitSequence(sequence),
        },
        acknowledged: CommitSequence(0),
        writes: byte(3, 1),
    }
}

/// It was dropped before the rollback, and has no life that it could resume.
#[test]
fn a_new_life_that_saw_more_in_its_last_one_learns_that_the_heap_was_rolled_back() {
    let joins = |seen| {
        refusal_after_a_rollback(ToLeader::Join(Join {
            generation: Generation(2),
            seen: CommitNumber(seen),
            ..Join::default()
        }))
    };
    assert_eq!(joins(0), None);
    assert_eq!(joins(5), ROLLED_BACK);
}

#[test]
fn what_lies_beyond_the_heap_is_not_fetched_ahead() {
    let mut pair = Pair::new(1, |_| {});
    let last = (HEAP_BYTES / PAGE_BYTES as u64) as u32 - 1;
    pair.stations[0].prefetch(PageNumber(last), 5);
    pair.run();
    pair.begin(0);
    assert_eq!(pair.stations[0].pages_held(), 1);
}

/// The claims of the dead are freed at a snapshot that must hold all they ever did.
#[test]
fn who_ended_after_a_commit_is_alive_as_long_as_that_is_not_logged() {
    let mut pair = Pair::new(1, |settings| settings.durability = Durability::Durable);
    let life = pair.stations[0].incarnation().expect("a member");
    pair.begin(0);
    pair.stations[0].commit(Vec::new(), byte(3, 1));
    pair.run();
    let (connection, died) = (ConnectionId(0), true);
    pair.leader
        .handle(pair.now, Event::Closed { connection, died });
    pair.join(station::Settings::default());
    assert_eq!(pair.begin(1), CommitNumber(0));
    assert!(pair.stations[1].is_alive(life));
    pair.abort(1);
    pair.leader.handle(pair.now, Event::Logged(CommitNumber(1)));
    pair.run();
    assert_eq!(pair.begin(1), CommitNumber(1));
    assert!(!pair.stations[1].is_alive(life));
}

#[test]
fn who_may_not_resume_loses_its_older_connection_too() {
    let mut leader = Leader::new(Settings::new(HEAP_BYTES, Durability::Memory));
    leader.start(Time(0), Term(1), None);
    let mut tell = |connection, message| {
        let connection = ConnectionId(connection);
        leader.handle(
            Time(0),
            Event::Message {
                connection,
                message,
            },
        );
        let commands = std::iter::from_fn(|| leader.poll()).collect::<Vec<_>>();
        let closed = commands.iter().filter_map(|command| match command {
            Command::Close { connection } => Some(connection.0),
            _ => None,
        });
        closed.collect::<Vec<_>>()
    };
    assert_eq!(tell(1, ToLeader::Join(Join::default())), []);
    let beyond = PageRun {
        first: PageNumber(1 << 20),
        count: 1,
    };
    let resume = ToLeader::Resume(Resume {
        incarnation: Incarnation::of(Term(1), 1),
        generation: Generation(0),
        through: CommitNumber(0),
        pages: vec![beyond],
    });
    assert_eq!(tell(2, resume), [1, 2]);
}
