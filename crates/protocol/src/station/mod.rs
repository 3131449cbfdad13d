//! A station: its session with the leader, the pages it holds, and the one transaction it runs.
//!
//! ```text
//!            connected          Welcome                  refused for good
//!   Waiting ----------> Opening --------> Active           +--> Ended
//!      ^                   |                |              |
//!      +-- disconnected ---+----------------+--------------+
//!
//!   Active:  begin --> running --> (miss --> running)* --> commit --> answered --> settle
//!                         |                                  |
//!                         +--> abort                         +--> the connection may be lost and
//!                                                                 resumed; the same id is sent again
//! ```
//!
//! The memory that holds the pages is the caller's; it is lent to the calls that change it. Between
//! [`begin`](Station::begin) and [`settle`](Station::settle) or [`abort`](Station::abort) no page
//! that a transaction can have seen is changed.
//!
//! **Invariants**: stream sequences are dense; messages of an older term or generation change
//! nothing; a transaction is answered `Committed` or `Refused` at most once, and `Unknown` only if
//! the leader dropped this incarnation while the request was under way.

mod cache;
mod durable;
mod fetching;
mod fingerprint;
mod news;
mod outbox;
mod overlay;
mod pages;
mod pipeline;
mod session;
mod token;

use std::collections::BTreeMap;

use crate::page_set::PageSet;
use crate::{Span, Time};
use cache::Cache;
use fetching::Ahead;
use outbox::{Outbox, Submitted};
pub use pages::{Install, Pages};
use pipeline::Pipeline;
use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{
    Commit, CommitRefusal, Member, PageLines, Request, SessionRefusal, ToLeader, Welcome,
};
use plurix_wire::{
    CommitId, CommitNumber, CommitSequence, Generation, Incarnation, PageNumber, StationId,
    StreamSequence, Term, WriteSet,
};
pub use session::StreamError;
use token::Token;

/// Wishes and bounds of a station.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The number it wants, if any; it is given no other. A station without a wish asks for the
    /// number that it had last, and takes another if somebody else has that by now.
    pub station: Option<StationId>,
    /// It runs no activities.
    pub observer: bool,
    /// It says something at least this often, or four times in the silence that the leader bears if
    /// that is shorter.
    pub heartbeat: Span,
    /// A leader silent for longer is given up, and the connection with it.
    pub silence_max: Span,
    /// Bytes of changes that may wait before they are merged.
    pub queue_bytes_max: usize,
    /// Most pages fetched ahead when misses are sequential; 1 for none.
    pub read_ahead: u32,
    /// Pages that the station has between transactions, at most.
    pub cache_pages_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            station: None,
            observer: false,
            heartbeat: Span::from_millis(100),
            silence_max: Span::from_millis(2_000),
            queue_bytes_max: 8 << 20,
            read_ahead: 256,
            cache_pages_max: usize::MAX,
        }
    }
}

/// Where the session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// There is no connection.
    Waiting,
    /// The leader has been asked to begin or resume the session.
    Opening,
    /// The station is a member.
    Active,
    /// The leader wants no session with this station; the caller decides what now.
    Ended(SessionRefusal),
}

/// What became of a missing page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// It has been asked for; wait.
    Pending,
    /// It is in memory.
    Installed,
    /// The history no longer reaches back to the transaction's snapshot: run it again.
    SnapshotTooOld,
    /// The incarnation ended; the transaction must be given up.
    Lost,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is in the heap, at this number.
    Committed(CommitNumber),
    /// It is not; run it again.
    Refused(CommitRefusal),
    /// The incarnation ended before the request was sent: it is not in the heap.
    Lost,
    /// The incarnation ended while the request was under way: it may or may not be in the heap.
    Unknown,
}

/// What the leader says to a commit.
type Answer = Result<CommitNumber, CommitRefusal>;

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Ok(number) => Self::Committed(number),
            Err(why) => Self::Refused(why),
        }
    }
}

/// The state machine of one station.
#[derive(Debug, Clone)]
pub struct Station {
    settings: Settings,
    state: State,
    /// What it asks for when it joins: the number it wants, else the one that it had last.
    number: Option<StationId>,
    session: Option<Session>,
    /// Generation and commit that the last life had come to.
    seen: (Generation, CommitNumber),
    /// Size of the heap, which is the same in every life.
    heap_bytes: Option<u64>,
    cache: Cache,
    out: Outbox,
    transaction: Transaction,
    pipeline: Pipeline,
    /// Pages asked for that have not arrived.
    awaited: PageSet,
    /// What the running transaction waits for.
    missed: Option<PageNumber>,
    ahead: Ahead,
    /// Pages put into memory for the running transaction, or the last one.
    brought: usize,
    /// The newest commit known to survive a loss of power.
    durable: CommitNumber,
    /// The generation in which that was learnt.
    durable_in: Generation,
    /// The leader is asked about this one, in this session or the next.
    awaits_durable: Option<CommitNumber>,
    token: Token,
    heard: Time,
    said: Time,
    /// When it last told of itself.
    told: Time,
    /// Something is to be said this often in this session.
    heartbeat: Span,
}

/// What the leader told of the current incarnation.
#[derive(Debug, Clone, Hash)]
struct Session {
    station: StationId,
    incarnation: Incarnation,
    term: Term,
    generation: Generation,
    stream: StreamSequence,
    /// The stream has told of everything up to here.
    through: CommitNumber,
    /// The newest request.
    sequence: CommitSequence,
    /// No outcome is needed up to here.
    settled: CommitSequence,
    /// So many outcomes the leader remembers.
    in_flight_max: u32,
}

/// The one transaction of a station.
#[derive(Debug, Clone, Hash)]
enum Transaction {
    None,
    Running,
    /// The incarnation under it ended.
    Doomed,
    Committing(Submitted),
    /// The incarnation ended with the request under way; this is known of it.
    Decided(Outcome),
}

impl Station {
    /// A station that has no connection yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let queue_bytes_max = settings.queue_bytes_max;
        Self {
            number: settings.station,
            heartbeat: settings.heartbeat,
            settings,
            state: State::Waiting,
            session: None,
            seen: Default::default(),
            heap_bytes: None,
            cache: Cache::new(CommitNumber(0), &[], Vec::new(), queue_bytes_max),
            out: Outbox::default(),
            transaction: Transaction::None,
            pipeline: Pipeline::default(),
            awaited: PageSet::default(),
            missed: None,
            ahead: Ahead::default(),
            brought: 0,
            durable: CommitNumber(0),
            durable_in: Generation(0),
            awaits_durable: None,
            token: Token::default(),
            heard: Time(0),
            said: Time(0),
            told: Time(0),
        }
    }

    /// Where the session stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The next message for the leader, lent to be encoded: a commit stays here until it is
    /// answered.
    pub fn poll(&mut self) -> Option<&ToLeader> {
        let (transaction, pipeline) = (&self.transaction, &self.pipeline);
        self.out.pop(|sequence| match transaction {
            Transaction::Committing(submitted) => {
                Some(submitted).filter(|submitted| submitted.commit().sequence == sequence)
            }
            _ => pipeline.get(sequence),
        })
    }

    /// This life, once the leader has given it.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.session.as_ref().map(|session| session.incarnation)
    }

    /// This station's number, once the leader has given it.
    #[must_use]
    pub fn station(&self) -> Option<StationId> {
        self.session.as_ref().map(|session| session.station)
    }

    /// Size of the heap in bytes, once the leader has told it.
    #[must_use]
    pub fn heap_bytes(&self) -> Option<u64> {
        self.heap_bytes
    }

    /// The generation this incarnation lives in, once the leader has told it.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.session.as_ref().map(|session| session.generation)
    }

    /// The commit at which the station sees the heap.
    #[must_use]
    pub fn snapshot(&self) -> CommitNumber {
        self.cache.snapshot()
    }

    /// The id under which the next transaction that changes something asks to commit, once the
    /// leader has given this life.
    #[must_use]
    pub fn next_commit(&self) -> Option<CommitId> {
        self.session.as_ref().map(|session| CommitId {
            incarnation: session.incarnation,
            sequence: session.sequence.next(),
        })
    }

    /// Who lives as of the snapshot.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<Incarnation, Member> {
        self.cache.members()
    }

    /// How many pages the station holds.
    #[must_use]
    pub fn pages_held(&self) -> usize {
        self.cache.held()
    }

    /// Bytes of changes and pages that wait to be applied. For oracles.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.cache.queued_bytes()
    }

    /// How many pages have been served and wait for their place in the stream. For oracles.
    #[must_use]
    pub fn pages_arrived(&self) -> usize {
        self.cache.pages_arrived()
    }

    /// Begins a transaction: brings memory to the newest snapshot that has arrived, with the changes
    /// of what is in flight on top. `None` while the station is no member, or what is in flight
    /// [clashes](Self::is_clashed) with that.
    ///
    /// # Panics
    /// If a transaction is running.
    pub fn begin(&mut self, memory: &mut impl Pages) -> Option<CommitNumber> {
        assert!(
            matches!(self.transaction, Transaction::None),
            "one transaction at a time"
        );
        self.session.as_ref()?;
        self.cache.unwatch();
        self.absorb(memory);
        if self.is_clashed() {
            return None;
        }
        self.trim(memory);
        self.brought = 0;
        self.transaction = Transaction::Running;
        Some(self.cache.snapshot())
    }

    /// Asks the leader to commit the running transaction, with nothing else in flight.
    pub fn commit(&mut self, reads: Vec<PageLines>, writes: WriteSet) {
        match self.transaction {
            Transaction::Doomed => {}
            Transaction::Running => {
                self.token.spent();
                let mut snapshot = self.cache.snapshot();
                if canary::strikes(Canary::EarlySnapshot) {
                    snapshot = self.cache.through();
                }
                let session = self
                    .session
                    .as_mut()
                    .expect("a transaction runs in a session");
                assert!(self.pipeline.is_empty(), "it would have to follow");
                session.sequence = session.sequence.next();
                let (sequence, acknowledged) = (session.sequence, session.settled);
                let commit = Commit {
                    sequence,
                    acknowledged,
                    snapshot,
                    follows: None,
                    reads,
                    writes,
                };
                self.transaction = Transaction::Committing(Submitted::new(
                    session.incarnation,
                    session.generation,
                    commit,
                ));
                self.send(sequence);
            }
            _ => panic!("no transaction is running"),
        }
    }

    /// Whether [`settle`](Self::settle) will answer.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        match &self.transaction {
            Transaction::Committing(submitted) => {
                self.cache.answer(submitted.commit().sequence).is_some()
            }
            Transaction::Doomed | Transaction::Decided(_) => true,
            Transaction::None | Transaction::Running => false,
        }
    }

    /// Ends the transaction that was asked to commit; memory is then as of the new snapshot.
    ///
    /// # Panics
    /// If there is no answer yet.
    pub fn settle(&mut self, memory: &mut impl Pages) -> Outcome {
        let outcome = match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::Doomed => {
                memory.rollback();
                Outcome::Lost
            }
            Transaction::Decided(outcome) => {
                memory.rollback();
                outcome
            }
            Transaction::Committing(submitted) => {
                self.settle_commit(submitted.commit(), memory).into()
            }
            Transaction::None | Transaction::Running => panic!("nothing was asked to commit"),
        };
        self.trim(memory);
        outcome
    }

    fn settle_commit(&mut self, commit: &Commit, memory: &mut impl Pages) -> Answer {
        let session = self
            .session
            .as_mut()
            .expect("a commit is answered in its session");
        session.settled = commit.sequence;
        match self.cache.answer_alone() {
            Some(answer) => {
                match answer {
                    Ok(_) => memory.finish(),
                    Err(_) => memory.rollback(),
                }
                answer
            }
            None => {
                memory.rollback();
                let answer = self.cache.apply(memory, Some(commit));
                answer.expect("settled before the answer came")
            }
        }
    }

    /// Ends the running transaction without a trace; also one that has only read.
    pub fn abort(&mut self, memory: &mut impl Pages) {
        debug_assert!(matches!(
            self.transaction,
            Transaction::Running | Transaction::Doomed
        ));
        memory.rollback();
        self.transaction = Transaction::None;
        self.missed = None;
        self.trim(memory);
    }

    /// Gives up the transaction, even while it commits: what becomes of it is never learnt, so the
    /// station must not begin another.
    pub fn give_up(&mut self, memory: &mut impl Pages) {
        memory.rollback();
        self.transaction = Transaction::None;
    }

    /// Says something within the session; what is said without one is said again after a resume.
    fn request(&mut self, request: Request) {
        if let (State::Active, Some(session)) = (self.state, &self.session) {
            self.out.push(ToLeader::Request {
                incarnation: session.incarnation,
                generation: session.generation,
                request,
            });
        }
    }

    /// Sends a commit under way, for the first time or again.
    fn send(&mut self, sequence: CommitSequence) {
        if matches!(self.state, State::Active) {
            self.out.push_commit(sequence);
        }
    }
}

impl Session {
    fn new(welcome: &Welcome) -> Self {
        Self {
            station: welcome.station,
            incarnation: welcome.incarnation,
            term: welcome.term,
            generation: welcome.generation,
            stream: StreamSequence(0),
            through: welcome.through,
            sequence: CommitSequence(0),
            settled: CommitSequence(0),
            in_flight_max: welcome.in_flight_max.max(1),
        }
    }
}
