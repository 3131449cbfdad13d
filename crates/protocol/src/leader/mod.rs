//! The leader: orders commits, serves pages, and tells every station what changed.
//!
//! ```text
//!              Event                                       Command
//!  Message --+                                        +--> Append(record)  in order, before any
//!  Closed  --+--> session --> commit: admit, reserve, |                    later batch is taken
//!  Logged  --+               validate, number, apply  +--> Send(welcome, refusal, ...)
//!  Room    --+            \-> fetch, drop, heartbeat  +--> Close
//!  Durable --+            \-> durable                 +--> Sync
//!  Tick    --+
//!                     flushable() --> batch(connection)    pulled by the driver as it can send
//! ```
//!
//! The driver carries out all commands before it takes batches; an [`Command::Append`] has then
//! reached the log's buffer, which survives a kill of the process. With [`Durability::Durable`] the
//! driver also reports [`Event::Logged`] once the disk has it, and nothing that reveals a commit
//! leaves before.
//!
//! **Invariants**: commit numbers are dense; a number is taken only after the log has room for its
//! record; batches reveal nothing above `logged`; a member is told of joins and ends in the order
//! of the log.

mod changes;
mod checkpoint;
mod commit;
mod conflicts;
mod durable;
mod fingerprint;
mod history;
mod images;
mod insight;
mod line_writers;
mod lost_line;
mod members;
mod outcomes;
mod pages;
mod pipeline;
mod recovery_line;
mod replay;
mod session;
mod settings;
mod spare_images;
mod stale;
mod state;
mod stream;
mod token;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Member, SessionRefusal, Status, ToLeader, ToStation, Violation};
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{CommitNumber, Generation, PageNumber, Term};

use crate::{ConnectionId, Span, Time};
use checkpoint::Checkpointing;
pub use checkpoint::{CheckpointSettings, CollectedPage, Strategy};
use conflicts::ConflictCounts;
use history::History;
pub use images::{Images, NoImages};
pub use lost_line::LostLine;
use lost_line::LostLines;
use members::{Members, Turn};
use pages::{PageTable, Slot};
use recovery_line::RecoveryLines;
pub use replay::ReplayError;
pub use settings::{Durability, FROZEN_BYTES_MIN, Settings};
use spare_images::SpareImages;
use stale::Heap;
pub use state::StateError;
use stream::Sender;
use token::Token;

/// What happens to a leader.
#[derive(Debug)]
pub enum Event {
    /// A message arrived.
    Message {
        /// On this connection.
        connection: ConnectionId,
        /// The message.
        message: ToLeader,
    },
    /// A connection ended.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// Whether that proves the end of the process behind it.
        died: bool,
    },
    /// The log is on disk through this commit.
    Logged(CommitNumber),
    /// A loss of power cannot take back anything through this commit: a [`Command::Sync`] has
    /// ended, or it was known otherwise. With [`Durability::Durable`] it is not needed.
    Durable(CommitNumber),
    /// The log can surely take one record of this many bytes.
    Room(u64),
    /// Time has passed; due whenever [`Leader::next_timeout`] says.
    Tick,
    /// The running checkpoint is on disk.
    Checkpointed,
    /// The running checkpoint could not be written.
    CheckpointFailed {
        /// Why, for whoever asked for it.
        why: String,
    },
}

/// What a leader wants done, in order.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum Command {
    /// Append this to the log, then report the [`Event::Room`] left.
    Append(Record),
    /// Begin to bring on disk what has been appended, while serving everybody; report
    /// [`Event::Durable`] when it is there. Not said again before that.
    Sync,
    /// Begin a checkpoint of all that was appended before; its pages come from
    /// [`Leader::collect`]. Then report [`Event::Checkpointed`] or [`Event::CheckpointFailed`].
    BeginCheckpoint {
        /// The stamp of the last record before the cut.
        cut: Stamp,
        /// What goes into the checkpoint beside the pages, for [`Leader::start_from`].
        state: Vec<u8>,
        /// How the pages are to be had.
        strategy: Strategy,
    },
    /// Send this.
    Send {
        /// To whom.
        connection: ConnectionId,
        /// What.
        message: ToStation,
    },
    /// Answer with [`Leader::status`], completed by what only the driver knows.
    SendStatus {
        /// To whom.
        connection: ConnectionId,
    },
    /// Answer with the newest checkpoint, which the driver knows.
    SendCheckpoint {
        /// To whom.
        connection: ConnectionId,
    },
    /// Send what was queued, then close; no event of this connection is wanted any more.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// End in order: mark the log clean, answer on this connection, exit.
    Shutdown {
        /// Who asked.
        connection: ConnectionId,
    },
}

/// The state machine of one leadership.
#[derive(Debug, Clone)]
pub struct Leader {
    settings: Settings,
    term: Term,
    generation: Generation,
    /// Where each generation after the first began.
    cuts: Vec<(Generation, CommitNumber)>,
    /// The newest commit.
    number: CommitNumber,
    /// The newest commit that may be revealed.
    logged: CommitNumber,
    /// The newest commit that was reported to be on disk by [`Event::Durable`].
    synced: CommitNumber,
    /// What the sync under way covers.
    syncing: Option<CommitNumber>,
    /// Bytes of the record that the log can surely take.
    room: u64,
    incarnations: u32,
    pages: PageTable,
    history: History,
    /// What the commit being applied replaces; kept for its memory.
    undo: Vec<u8>,
    members: Members,
    commands: VecDeque<Command>,
    /// Members with something that they wait for.
    urgent: Vec<Slot>,
    /// Members with something that may wait until `lazy_due`.
    lazy: Vec<Slot>,
    lazy_due: Option<Time>,
    /// Members that were dropped at a commit that is not logged yet: at any snapshot that may be
    /// told they still live.
    leaving: Vec<(CommitNumber, Member)>,
    /// Members whose answers wait for the log.
    unlogged: Vec<Slot>,
    checkpointing: Checkpointing,
    recovery_lines: RecoveryLines,
    spare_images: SpareImages,
    lost_lines: LostLines,
    token: Token,
    next_tick: Time,
    started: Time,
    counters: Counters,
    conflict_counts: ConflictCounts,
    stopping: bool,
}

#[derive(Debug, Clone, Default)]
struct Counters {
    commits: u64,
    conflicts: u64,
    log_full: u64,
    fetches: u64,
    /// The most commits that a station had seen and the heap has not.
    lost: u64,
}

impl Leader {
    /// A leader of an empty heap; [`replay`](Self::replay) the log, then [`start`](Self::start).
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_images(settings, Arc::new(NoImages))
    }

    /// A leader whose checkpoints hold what `images` answers; [`start_from`](Self::start_from) one of
    /// them, if there is any.
    #[must_use]
    pub fn with_images(settings: Settings, images: Arc<dyn Images>) -> Self {
        assert!(
            settings.stations_max <= u32::from(Slot::MAX),
            "too many stations"
        );
        Self {
            term: Term(0),
            generation: Generation(0),
            cuts: Vec::new(),
            number: CommitNumber(0),
            logged: CommitNumber(0),
            synced: CommitNumber(0),
            syncing: None,
            room: 0,
            incarnations: 0,
            pages: PageTable::new(&settings, images),
            history: History::new(CommitNumber(1), settings.history_bytes_max),
            undo: Vec::new(),
            members: Members::default(),
            commands: VecDeque::new(),
            urgent: Vec::new(),
            lazy: Vec::new(),
            lazy_due: None,
            leaving: Vec::new(),
            unlogged: Vec::new(),
            checkpointing: Checkpointing::new(),
            recovery_lines: RecoveryLines::default(),
            spare_images: SpareImages::default(),
            lost_lines: LostLines::default(),
            token: Token::default(),
            next_tick: Time(0),
            started: Time(0),
            counters: Counters::default(),
            conflict_counts: ConflictCounts::default(),
            stopping: false,
            settings,
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, now: Time, event: Event) {
        if self.token.expire(now) {
            // What waited came before this event.
            self.pass_token(now);
        }
        match event {
            Event::Message {
                connection,
                message,
            } => self.message(now, connection, message),
            Event::Closed { connection, died } => self.closed(now, connection, died),
            Event::Logged(through) => self.logged(through),
            Event::Durable(through) => self.durable_through(through),
            Event::Room(bytes) => self.room = bytes,
            Event::Tick => self.tick(now),
            Event::Checkpointed => self.checkpointed(now),
            Event::CheckpointFailed { why } => self.checkpoint_failed(now, &why),
        }
        self.pass_token(now);
        self.relieve(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Event::Tick`] is due, or [`flushable`](Self::flushable) should be asked again.
    #[must_use]
    pub fn next_timeout(&self) -> Time {
        let due = [self.lazy_due, self.checkpoint_due(), self.token.due()];
        due.into_iter().flatten().fold(self.next_tick, Time::min)
    }

    /// The newest commit.
    #[must_use]
    pub fn number(&self) -> CommitNumber {
        self.number
    }

    /// The generation of the heap.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// This leadership.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether commits wait for [`Event::Logged`].
    #[must_use]
    pub fn awaits_log(&self) -> bool {
        self.logged < self.number
    }

    /// Loads up to `most` of the pages that a checkpoint holds before they are asked for, from page
    /// `first` on; answers where to go on, unless all are in memory or as many as there should be.
    pub fn preload(&mut self, first: PageNumber, most: usize) -> Option<PageNumber> {
        self.pages.preload(first, most)
    }

    /// How many pages are in memory.
    #[must_use]
    pub fn pages_in_memory(&self) -> usize {
        self.pages.resident()
    }

    /// The newest bytes of a page, or `None` while it is all zero. For oracles.
    #[must_use]
    pub fn page(&self, page: PageNumber) -> Option<Arc<plurix_wire::PageBytes>> {
        self.pages.image(page)
    }

    /// Bytes that the history takes. For oracles.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.history.bytes()
    }

    /// The most outcomes that are kept for one station. For oracles.
    #[must_use]
    pub fn outcomes_kept(&self) -> usize {
        let kept = self.members.iter().map(|(_, state)| state.outcomes.kept());
        kept.max().unwrap_or(0)
    }

    /// The most commits that any station is known to have seen and the heap, since it went back, has
    /// not. Only what stations that come back say of it can be known.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counters.lost
    }

    /// A line that a team has gone on from and that is lost, so that the team has no further lines for now.
    /// Each is answered once for a formation of the team.
    pub fn lost_line(&mut self) -> Option<LostLine> {
        self.lost_lines.next()
    }

    /// Where the present generation began.
    #[must_use]
    pub fn cut(&self) -> CommitNumber {
        self.cuts.last().map_or(CommitNumber(0), |(_, cut)| *cut)
    }

    /// A connection for which [`batch`](Self::batch) has something to say now. Each is named once
    /// until it has been asked or [`writable`](Self::writable) names it again.
    pub fn flushable(&mut self, now: Time) -> Option<ConnectionId> {
        if self.lazy_due.is_some_and(|due| due <= now) {
            self.lazy_due = None;
            for slot in std::mem::take(&mut self.lazy) {
                self.make_urgent(slot);
            }
        }
        while let Some(slot) = self.urgent.pop() {
            if !self.members.is_living(slot) {
                continue;
            }
            let sender = self.sender();
            let state = self.members.get_mut(slot);
            match state.connection() {
                // It stays on its turn until it is asked.
                Some(connection) if state.stream.has_news(sender) || state.pulse => {
                    return Some(connection);
                }
                Some(_) => self.await_log(slot),
                None => state.turn = Turn::None,
            }
        }
        None
    }

    /// The next batch for a connection, if there is one to send.
    pub fn batch(&mut self, now: Time, connection: ConnectionId) -> Option<ToStation> {
        let slot = self.members.of_connection(connection)?;
        let sender = self.sender();
        let state = self.members.get_mut(slot);
        state.turn = Turn::None;
        let heap = Heap {
            pages: &self.pages,
            history: &self.history,
            number: self.number,
        };
        let Some(batch) = state.stream.batch(sender, heap) else {
            self.await_log(slot);
            return None;
        };
        state.said = now;
        state.pulse = false;
        state.watches &= batch.items.is_empty();
        self.revisit(slot);
        Some(ToStation::Batch(batch))
    }

    /// A connection can take more than it could when its batch was refused by the driver.
    pub fn writable(&mut self, connection: ConnectionId) {
        if let Some(slot) = self.members.of_connection(connection) {
            self.members.get_mut(slot).turn = Turn::None;
            self.make_urgent(slot);
        }
    }

    /// Sees to what a stream still holds: now if it may leave, else when the log has it.
    fn revisit(&mut self, slot: Slot) {
        let sender = self.sender();
        let stream = &self.members.get(slot).stream;
        if stream.has_news(sender) {
            self.make_urgent(slot);
        } else if stream.backlog_bytes() > 0 {
            self.await_log(slot);
        }
    }

    /// What the stream holds may leave only once more is logged.
    fn await_log(&mut self, slot: Slot) {
        self.members.get_mut(slot).turn = Turn::None;
        if !self.unlogged.contains(&slot) {
            self.unlogged.push(slot);
        }
    }

    fn make_urgent(&mut self, slot: Slot) {
        if !self.members.is_living(slot) {
            return;
        }
        let state = self.members.get_mut(slot);
        if state.turn != Turn::Urgent {
            state.turn = Turn::Urgent;
            self.urgent.push(slot);
        }
    }

    fn make_lazy(&mut self, slot: Slot) {
        let state = self.members.get_mut(slot);
        if state.turn == Turn::None {
            state.turn = Turn::Lazy;
            self.lazy.push(slot);
        }
    }

    /// What this leader knows of itself and its members; the driver adds the cluster, the size
    /// of the log and the newest checkpoint.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        Status {
            term: self.term.0,
            generation: self.generation.0,
            commit: self.number.0,
            durable: self.durable().0,
            durability: match self.settings.durability {
                Durability::Memory => "memory".to_owned(),
                Durability::Durable => "durable".to_owned(),
            },
            heap_bytes: self.settings.heap_bytes,
            pages: self.pages.written(),
            commits: self.counters.commits,
            conflicts: self.counters.conflicts,
            log_full: self.counters.log_full,
            fetches: self.counters.fetches,
            cut: self.cuts.last().map_or(0, |(_, cut)| cut.0),
            lost: self.counters.lost,
            cached_pages: self.pages.resident() as u64,
            uptime_ms: now.since(self.started).as_millis(),
            stations: self
                .members
                .iter()
                .map(|(_, state)| state.status())
                .collect(),
            ..Status::default()
        }
    }

    fn sender(&self) -> Sender {
        Sender {
            term: self.term,
            generation: self.generation,
            logged: self.logged,
            durable: match canary::strikes(Canary::EarlyDurable) {
                true => self.number,
                false => self.durable(),
            },
            batch_bytes: self.settings.batch_bytes,
            frozen_bytes_max: self.settings.backlog_bytes_max.max(FROZEN_BYTES_MIN),
        }
    }

    fn logged(&mut self, through: CommitNumber) {
        assert!(
            through <= self.number,
            "the log cannot hold a commit that was not made"
        );
        self.logged = self.logged.max(through);
        self.leaving.retain(|(number, _)| *number > through);
        for slot in std::mem::take(&mut self.unlogged) {
            self.make_urgent(slot);
        }
    }

    fn tick(&mut self, now: Time) {
        if now.since(self.next_tick) > Span(self.settings.silence_max.0 / 2) {
            // It is this leader that was stalled: what the members said has not been read yet.
            self.members.excuse(now);
        }
        self.next_tick = now + Span(self.settings.heartbeat.0 / 2);
        self.expire(now);
        self.checkpoint_if_due(now);
        for slot in self.members.slots() {
            let state = self.members.get_mut(slot);
            if state.connection().is_some() && now.since(state.said) >= self.settings.heartbeat {
                state.pulse = true;
                self.make_urgent(slot);
            }
        }
    }

    /// Appends to the log what is not a commit.
    fn append(&mut self, body: Body) {
        let stamp = Stamp {
            generation: self.generation,
            term: self.term,
            number: self.number,
        };
        self.commands
            .push_back(Command::Append(Record { stamp, body }));
    }

    fn send(&mut self, connection: ConnectionId, message: ToStation) {
        self.commands.push_back(Command::Send {
            connection,
            message,
        });
    }

    fn refuse(&mut self, connection: ConnectionId, refusal: SessionRefusal) {
        self.send(connection, ToStation::Refused(refusal));
        self.commands.push_back(Command::Close { connection });
    }

    /// Ends the session of a member that broke the protocol; it may not resume.
    fn violation(&mut self, slot: Slot, violation: Violation) {
        let connection = self.members.get(slot).connection();
        self.drop_member(slot);
        if let Some(connection) = connection {
            self.refuse(connection, SessionRefusal::Violation(violation));
        }
    }
}
