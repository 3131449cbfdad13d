//! The leader's state in a checkpoint: whatever it says, a leader refuses it with a typed error, or
//! lives on with it, and writes the same down again.

use plurix_protocol::leader::{Durability, Event, Leader, Settings};
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_wire::message::{Commit, Join, PageRun, Request, Resume, ToLeader};
use plurix_wire::record::Stamp;
use plurix_wire::{
    CommitNumber, CommitSequence, Generation, Incarnation, PAGE_BYTES, PageNumber, StationId, Term,
    WriteSetBuilder,
};

const STAMP: Stamp = Stamp {
    generation: Generation(2),
    term: Term(5),
    number: CommitNumber(100),
};

fn leader(state: &[u8]) -> Option<Leader> {
    let mut settings = Settings::new(16 * PAGE_BYTES as u64, Durability::Memory);
    settings.stations_max = 3;
    let mut leader = Leader::new(settings);
    // No page: nothing is asked of images that are not there.
    leader.start_from(STAMP, state, []).ok()?;
    leader.start(Time(0), Term(6), None);
    Some(leader)
}

/// The bytes are the state.
pub(crate) fn check(bytes: &[u8]) {
    let Some(mut first) = leader(bytes) else {
        return;
    };
    let state = first.encode_state();
    let second = leader(&state).expect("what a leader writes, a leader reads");
    assert_eq!(second.encode_state(), state);
    live(&mut first, &state);
}

/// Members come back, ask again, and new ones come, until those of the state are given up.
fn live(leader: &mut Leader, state: &[u8]) {
    let status = leader.status(Time(1));
    let members = status
        .stations
        .iter()
        .map(|station| Incarnation(station.incarnation));
    for (connection, incarnation) in (1..).map(ConnectionId).zip(members) {
        let resume = Resume {
            incarnation,
            generation: leader.generation(),
            through: leader.number(),
            pages: vec![PageRun {
                first: PageNumber(1),
                count: 2,
            }],
        };
        say(leader, connection, ToLeader::Resume(resume));
        for sequence in [1, 2, u64::from_le_bytes(tail(state)), u64::MAX] {
            let mut writes = WriteSetBuilder::new();
            writes.push(PageNumber(1), 0, &[7]);
            let commit = Commit {
                sequence: CommitSequence(sequence),
                acknowledged: CommitSequence(0),
                snapshot: leader.number(),
                follows: None,
                reads: Vec::new(),
                writes: writes.finish(),
            };
            let message = ToLeader::Request {
                incarnation,
                generation: leader.generation(),
                request: Request::Commit(commit),
            };
            say(leader, connection, message);
        }
    }
    for (connection, generation) in (10..).map(ConnectionId).zip(0..4) {
        let join = Join {
            station: (generation > 2).then_some(StationId(1)),
            generation: Generation(generation),
            seen: CommitNumber(90),
            ..Join::default()
        };
        say(leader, connection, ToLeader::Join(join));
    }
    for second in 1..6 {
        leader.handle(Time(0) + Span::from_millis(1000 * second), Event::Tick);
        hear(leader);
    }
}

/// The last eight bytes: the number of some outcome, mostly.
fn tail(state: &[u8]) -> [u8; 8] {
    *state.last_chunk().expect("a state has a head")
}

fn say(leader: &mut Leader, connection: ConnectionId, message: ToLeader) {
    leader.handle(Time(1), Event::Room(1 << 16));
    let event = Event::Message {
        connection,
        message,
    };
    leader.handle(Time(1), event);
    hear(leader);
}

fn hear(leader: &mut Leader) {
    while leader.poll().is_some() {}
    while let Some(connection) = leader.flushable(Time(1)) {
        let _ = leader.batch(Time(1), connection);
    }
}

/// A state with one cut and a member with these outcomes.
fn sample(members: &[(u32, u64, &[u64])]) -> Vec<u8> {
    let mut state = Vec::new();
    let mut put = |bytes: &[u8]| state.extend_from_slice(bytes);
    put(&[1, 0, 0, 0, 1, 0, 0, 0]);
    put(&STAMP.generation.0.to_le_bytes());
    put(&40u64.to_le_bytes());
    put(&(members.len() as u32).to_le_bytes());
    for (station, incarnation, outcomes) in members {
        put(&station.to_le_bytes());
        put(&incarnation.to_le_bytes());
        put(&[0; 4]);
        put(&(outcomes.len() as u64).to_le_bytes());
        put(&[0; 8]);
        put(&(outcomes.len() as u32).to_le_bytes());
        for (sequence, number) in (1u64..).zip(*outcomes) {
            put(&sequence.to_le_bytes());
            put(&number.to_le_bytes());
        }
    }
    state
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let one = (1, Incarnation::of(Term(4), 1).0, &[50u64, 60, 99][..]);
    let two = (2, Incarnation::of(Term(5), 7).0, &[][..]);
    vec![
        ("nobody", sample(&[])),
        ("one", sample(&[one])),
        ("two", sample(&[one, two])),
        ("too-many", sample(&[one, two, (3, 9, &[]), (4, 10, &[])])),
    ]
}
