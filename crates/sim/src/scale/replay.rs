//! Measures the leader alone: gives a second one everything that the first one took, at the same
//! times, in pieces that are long against a look at the clock.
//!
//! ```text
//!   frames --decode--> events --handle, poll, batch--> messages --encode--> frames
//!           codec_ns           leader_ns                         codec_ns
//! ```

use std::time::Duration;

use plurix_protocol::leader::{self, Command, Leader};
use plurix_protocol::{ConnectionId, Time};
use plurix_wire::Term;
use plurix_wire::frame;
use plurix_wire::message::{ToLeader, ToStation};

use super::Clock;

/// Room in a log that is never full.
const ROOM: u64 = 1 << 40;
/// Inputs measured at a time.
const PIECE: usize = 2048;

/// What a leader takes.
#[derive(Debug)]
pub(super) enum Input {
    /// A frame on a connection.
    Frame(ConnectionId, Vec<u8>),
    Tick,
}

/// A message from the leader, and to whom.
pub(super) type Said = Vec<(ConnectionId, ToStation)>;

/// A leader that has just begun, of an empty heap.
pub(super) fn begin(settings: leader::Settings) -> Leader {
    let mut leader = Leader::new(settings);
    leader.start(Time(0), Term(1), None);
    leader.handle(Time(0), leader::Event::Room(ROOM));
    leader
}

/// The event that an input is.
pub(super) fn event(input: &Input) -> leader::Event {
    match input {
        Input::Frame(connection, bytes) => leader::Event::Message {
            connection: *connection,
            message: frame::decode::<ToLeader>(bytes).expect("a frame of ours"),
        },
        Input::Tick => leader::Event::Tick,
    }
}

/// The leader takes an event and says everything that it has to say.
pub(super) fn take(leader: &mut Leader, now: Time, event: leader::Event, said: &mut Said) {
    leader.handle(now, event);
    while let Some(command) = leader.poll() {
        match command {
            Command::Append(_) => leader.handle(now, leader::Event::Room(ROOM)),
            Command::Send {
                connection,
                message,
            } => said.push((connection, message)),
            other => panic!("without faults, the leader does not say {other:?}"),
        }
    }
    while let Some(connection) = leader.flushable(now) {
        let batch = leader.batch(now, connection);
        said.extend(batch.map(|message| (connection, message)));
    }
}

/// The frame of a message.
pub(super) fn encode(message: &ToStation) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes).expect("the protocol bounds its messages");
    bytes
}

/// What the replay counted.
#[derive(Debug, Default)]
pub(super) struct Cost {
    pub(super) leader: Duration,
    pub(super) codec: Duration,
    /// Messages that the leader said.
    pub(super) messages: u64,
}

/// Replays `inputs`; the first `skip` of them only bring the leader to where the measurement began.
pub(super) fn replay(
    settings: leader::Settings,
    inputs: &[(Time, Input)],
    skip: usize,
    clock: Clock<'_>,
) -> Cost {
    let mut leader = begin(settings);
    let (before, measured) = inputs.split_at(skip);
    for (now, input) in before {
        take(&mut leader, *now, event(input), &mut Vec::new());
    }
    let mut cost = Cost::default();
    for piece in measured.chunks(PIECE) {
        let begun = clock();
        let events: Vec<_> = piece
            .iter()
            .map(|(now, input)| (*now, event(input)))
            .collect();
        let decoded = clock();
        let mut said = Vec::new();
        for (now, event) in events {
            take(&mut leader, now, event, &mut said);
        }
        let handled = clock();
        let frames: Vec<Vec<u8>> = said.iter().map(|(_, message)| encode(message)).collect();
        let encoded = clock();
        cost.leader += handled.saturating_sub(decoded);
        cost.codec += decoded.saturating_sub(begun) + encoded.saturating_sub(handled);
        cost.messages += frames.len() as u64;
    }
    cost
}
