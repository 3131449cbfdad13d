//! Strangers: connections whose other end speaks the protocol but does not keep to it, or not even
//! speaks it. They get past the handshake, which is not simulated. The leader must refuse what they
//! say with the right words, and nobody else may suffer.
//!
//! ```text
//!   comes --> says at once what makes no sense --> refused
//!       \---> joins --> welcome --> breaks the protocol --> refused, its incarnation ended
//! ```

use std::collections::BTreeMap;

use plurix_protocol::ConnectionId;
use plurix_wire::message::{
    Commit, FETCH_PAGES_MAX, Join, PageLines, PageRun, Request, Resume, ToLeader, ToStation,
    Violation as Breach, Welcome,
};
use plurix_wire::{
    CommitNumber, CommitSequence, Generation, Incarnation, LineMask, PAGE_BYTES, PageNumber,
    StationId, WriteSet, WriteSetBuilder, frame,
};

use crate::network::{Peer, Side};
use crate::oracle::Violation;
use crate::oracle::strangers::{self, Answer};
use crate::random::Random;
use crate::trace::Class;
use crate::world::World;

/// What a stranger is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// Asks for the status, as anybody may.
    Status,
    /// Asks for a checkpoint, as anybody may, and waits for it.
    Checkpoint,
    /// Sends bytes that are no message.
    Garbage,
    /// Speaks as a member without a session.
    NoSession,
    /// Resumes a life that the leader never gave.
    UnknownLife,
    /// Wants the number of somebody who is there.
    TakenNumber,
    /// Joins, then says this.
    Member(Rudeness),
}

/// What a member may not say, or what changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rudeness {
    JoinTwice,
    FetchNothing,
    FetchTooMuch,
    FetchBeyond,
    FetchTheFuture,
    DropUnsorted,
    CommitNothing,
    CommitBeyond,
    CommitTheFuture,
    CommitUnsorted,
    CommitOld,
    OtherLife,
    OtherGeneration,
    Leave,
}

const PROBES: [Probe; 20] = [
    Probe::Status,
    Probe::Checkpoint,
    Probe::Garbage,
    Probe::NoSession,
    Probe::UnknownLife,
    Probe::TakenNumber,
    Probe::Member(Rudeness::JoinTwice),
    Probe::Member(Rudeness::FetchNothing),
    Probe::Member(Rudeness::FetchTooMuch),
    Probe::Member(Rudeness::FetchBeyond),
    Probe::Member(Rudeness::FetchTheFuture),
    Probe::Member(Rudeness::DropUnsorted),
    Probe::Member(Rudeness::CommitNothing),
    Probe::Member(Rudeness::CommitBeyond),
    Probe::Member(Rudeness::CommitTheFuture),
    Probe::Member(Rudeness::CommitUnsorted),
    Probe::Member(Rudeness::CommitOld),
    Probe::Member(Rudeness::OtherLife),
    Probe::Member(Rudeness::OtherGeneration),
    Probe::Member(Rudeness::Leave),
];

impl Rudeness {
    /// How the leader must take it.
    fn answer(self) -> Answer {
        Answer::Breach(match self {
            Self::JoinTwice => Breach::OutOfOrder,
            Self::FetchNothing
            | Self::FetchTooMuch
            | Self::DropUnsorted
            | Self::CommitNothing
            | Self::CommitUnsorted => Breach::MalformedList,
            Self::FetchBeyond | Self::CommitBeyond => Breach::PageBeyondHeap,
            Self::FetchTheFuture | Self::CommitTheFuture => Breach::SnapshotFromTheFuture,
            Self::CommitOld => Breach::SequenceOutOfWindow,
            Self::OtherLife | Self::OtherGeneration | Self::Leave => return Answer::Silence,
        })
    }

    fn message(self, welcome: &Welcome) -> ToLeader {
        let mut incarnation = welcome.incarnation;
        let mut generation = welcome.generation;
        let beyond = PageNumber((welcome.heap_bytes / PAGE_BYTES as u64) as u32);
        let future = CommitNumber(1 << 60);
        let through = welcome.through;
        let fetch = |first, count, snapshot| Request::Fetch {
            run: PageRun { first, count },
            snapshot,
        };
        let page = PageNumber(0);
        let request = match self {
            Self::JoinTwice => return ToLeader::Join(Join::default()),
            Self::FetchNothing => fetch(page, 0, through),
            Self::FetchTooMuch => fetch(page, FETCH_PAGES_MAX + 1, through),
            Self::FetchBeyond => fetch(beyond, 1, through),
            Self::FetchTheFuture => fetch(page, 1, future),
            Self::DropUnsorted => Request::Drop {
                pages: [1, 0].map(|first| run(PageNumber(first))).to_vec(),
            },
            Self::CommitNothing => commit(1, through, &[], WriteSet::default()),
            Self::CommitBeyond => commit(1, through, &[], write(beyond)),
            Self::CommitTheFuture => commit(1, future, &[], write(page)),
            Self::CommitUnsorted => commit(1, through, &[1, 0], write(page)),
            Self::CommitOld => commit(0, through, &[], write(page)),
            Self::OtherLife => {
                incarnation = Incarnation(incarnation.0 ^ 1);
                Request::Leave
            }
            Self::OtherGeneration => {
                generation = Generation(generation.0.wrapping_add(1));
                Request::Leave
            }
            Self::Leave => Request::Leave,
        };
        ToLeader::Request {
            incarnation,
            generation,
            request,
        }
    }
}

fn run(first: PageNumber) -> PageRun {
    PageRun { first, count: 1 }
}

fn write(page: PageNumber) -> WriteSet {
    let mut builder = WriteSetBuilder::new();
    builder.push(page, 0, &[0xee]);
    builder.finish()
}

fn commit(sequence: u64, snapshot: CommitNumber, reads: &[u32], writes: WriteSet) -> Request {
    let lines = LineMask(1);
    let reads = reads.iter().map(|page| PageLines {
        page: PageNumber(*page),
        lines,
    });
    Request::Commit(Commit {
        sequence: CommitSequence(sequence),
        acknowledged: CommitSequence(0),
        snapshot,
        follows: None,
        reads: reads.collect(),
        writes,
    })
}

/// One stranger's connection.
#[derive(Debug)]
struct Stranger {
    probe: Probe,
    life: Option<Incarnation>,
    /// What the leader said to it last.
    told: Option<Answer>,
    /// The newest commit when it asked for a checkpoint.
    asked_at: Option<CommitNumber>,
}

/// The strangers that are there.
#[derive(Debug)]
pub(crate) struct Strangers {
    random: Random,
    present: BTreeMap<ConnectionId, Stranger>,
}

impl Strangers {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            present: BTreeMap::new(),
        }
    }

    /// The leader says something; noted for those to strangers.
    pub(crate) fn told(&mut self, connection: ConnectionId, message: &ToStation) {
        if let Some(stranger) = self.present.get_mut(&connection) {
            if let ToStation::Welcome(welcome) = message {
                stranger.life = Some(welcome.incarnation);
            }
            stranger.told = strangers::answer(message);
        }
    }

    /// The newest commit when a stranger on this connection asked for a checkpoint.
    pub(crate) fn asked_at(&self, connection: ConnectionId) -> Option<CommitNumber> {
        self.present.get(&connection)?.asked_at
    }

    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.present.remove(&connection);
    }
}

impl World {
    /// A stranger connects and says the first that it has to say.
    pub(crate) fn stranger_comes(&mut self) -> Result<(), Violation> {
        let Some(status) = self.status() else {
            return Ok(());
        };
        let probe = self.strangers.random.pick(&PROBES);
        let connection = self.network.connect(Peer::Stranger);
        self.note(format_args!(
            "a stranger comes as {connection:?}: {probe:?}"
        ));
        let stranger = Stranger {
            probe,
            life: None,
            told: None,
            asked_at: None,
        };
        self.strangers.present.insert(connection, stranger);
        let lives = |at: usize| status.stations.get(at).map(|s| Incarnation(s.incarnation));
        let message = match probe {
            Probe::Status => ToLeader::Status,
            Probe::Checkpoint => ToLeader::Checkpoint,
            Probe::Garbage => {
                let length = self.strangers.random.within(1..64);
                let random = &mut self.strangers.random;
                let bytes = (0..length).map(|_| random.below(256) as u8).collect();
                self.send_garbage(connection, bytes);
                return Ok(());
            }
            Probe::NoSession => ToLeader::Request {
                incarnation: lives(0).unwrap_or_default(),
                generation: Generation(status.generation),
                request: Request::Leave,
            },
            Probe::UnknownLife => ToLeader::Resume(Resume {
                incarnation: Incarnation(u64::MAX),
                generation: Generation(status.generation),
                through: CommitNumber(0),
                pages: Vec::new(),
            }),
            Probe::TakenNumber => ToLeader::Join(Join {
                station: status.stations.first().map(|s| StationId(s.station)),
                ..Join::default()
            }),
            Probe::Member(_) => ToLeader::Join(Join::default()),
        };
        self.send(connection, Side::Leader, &message);
        Ok(())
    }

    fn send_garbage(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        let text = format_args!("{} bytes that are no message", bytes.len());
        self.send_frame(
            connection,
            Side::Leader,
            bytes.clone(),
            Class::Session,
            text,
        );
    }

    /// What a stranger said reaches the leader; its oracle watches what it does.
    pub(crate) fn leader_hears_stranger(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let Some(before) = self.status() else {
            return Ok(());
        };
        let Some(stranger) = self.strangers.present.get_mut(&connection) else {
            return Ok(());
        };
        let message = match frame::decode::<ToLeader>(bytes) {
            Ok(message) => message,
            Err(error) => {
                // The driver closes such a connection without asking the leader.
                self.note(format_args!("{connection:?} is no station: {error}"));
                self.tally.strangers_refused += 1;
                self.close(connection, Side::Leader, false);
                return Ok(());
            }
        };
        stranger.told = None;
        let (probe, life, process) = (stranger.probe, stranger.life, self.server.life);
        let is_member = before
            .stations
            .iter()
            .any(|station| Some(station.incarnation) == life.map(|life| life.0));
        let mut replaced = None;
        let expected = match (probe, &message) {
            (Probe::Member(rudeness), _) if is_member => rudeness.answer(),
            (_, ToLeader::Join(join)) => {
                let stations_max = self.plan.leader.stations_max;
                let (answer, ended) = strangers::joins(&before, join, stations_max);
                replaced = ended;
                answer
            }
            (_, ToLeader::Status) => Answer::Status,
            (_, ToLeader::Checkpoint) => {
                stranger.asked_at = Some(CommitNumber(before.commit));
                Answer::Silence
            }
            (_, ToLeader::Resume(_)) => Answer::UnknownLife,
            _ => Answer::Breach(Breach::OutOfOrder),
        };
        self.leader_receives(connection, bytes)?;
        let (Some(after), true) = (self.status(), self.server.life == process) else {
            return Ok(()); // It died of something else.
        };
        let own = self.strangers.present.get(&connection);
        let told = own.and_then(|stranger| stranger.told);
        let own = own.and_then(|stranger| stranger.life);
        self.tally.strangers_refused += u64::from(matches!(told, Some(Answer::Breach(_))));
        strangers::judge(expected, told.unwrap_or(Answer::Silence))?;
        strangers::unharmed(&before, &after, [own, replaced])
    }

    /// What the leader said reaches a stranger, who goes on if it was welcome.
    pub(crate) fn stranger_receives(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let message: ToStation = frame::decode(bytes).map_err(|error| Violation {
            oracle: strangers::ORACLE,
            what: error.to_string(),
        })?;
        let probe = self.strangers.present.get(&connection).map(|s| s.probe);
        match (probe, &message) {
            (Some(Probe::Member(rudeness)), ToStation::Welcome(welcome)) => {
                self.send(connection, Side::Leader, &rudeness.message(welcome));
            }
            (_, ToStation::Batch(_)) => {}
            _ => {
                self.strangers.forget(connection);
                self.close(connection, Side::Station, false);
            }
        }
        Ok(())
    }
}
