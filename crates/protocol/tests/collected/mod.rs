//! A leader whose checkpoints are collected by hand, beside a plain map of the pages that they must hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use plurix_protocol::leader::{
    CheckpointSettings, Command, Durability, Event, Images, Leader, Settings, Strategy,
};
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_wire::message::{Commit, Item, Join, Request, Resume, ToLeader, ToStation};
use plurix_wire::record::{Record, Stamp};
use plurix_wire::{
    CommitNumber, CommitSequence, Generation, Incarnation, PAGE_BYTES, PageBytes, PageNumber, Term,
    WriteSetBuilder,
};

/// More than a chunk of the leader's table.
pub(crate) const PAGES: u32 = 1100;
pub(crate) const RESIDENT_MAX: usize = 40;
pub(crate) const ZERO: PageBytes = [0; PAGE_BYTES];

pub(crate) type Heap = BTreeMap<u32, PageBytes>;

/// The pages of the newest checkpoint, in memory.
#[derive(Debug, Default)]
pub(crate) struct Stored(pub(crate) Mutex<Heap>);

impl Images for Stored {
    fn load(&self, page: PageNumber) -> Arc<PageBytes> {
        let stored = self.0.lock().expect("nothing panics while it is held");
        let bytes = stored.get(&page.0);
        Arc::new(*bytes.expect("only what a checkpoint holds is asked for"))
    }
}

/// A checkpoint that is being taken.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) cut: Stamp,
    pub(crate) state: Vec<u8>,
    pub(crate) strategy: Strategy,
    /// The heap at the cut, and the log up to it.
    pub(crate) heap: Heap,
    pub(crate) records: usize,
    pub(crate) collected: Heap,
    pub(crate) is_complete: bool,
}

/// A session, and the last commit that its station sent.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: ConnectionId,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: Generation,
    pub(crate) sequence: CommitSequence,
    pub(crate) acknowledged: CommitSequence,
    pub(crate) last: Option<(Commit, CommitNumber)>,
}

/// A leader, and what its driver would have on disk.
pub(crate) struct Cluster {
    pub(crate) now: Time,
    pub(crate) leader: Leader,
    pub(crate) stored: Arc<Stored>,
    /// The newest checkpoint on disk: its cut, its state, and how much of the log comes before it.
    pub(crate) durable: Option<(Stamp, Vec<u8>, usize)>,
    pub(crate) log: Vec<Record>,
    pub(crate) heap: Heap,
    pub(crate) running: Option<Running>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) connections: u64,
}

pub(crate) fn settings(strategy: Strategy) -> Settings {
    let heap_bytes = u64::from(PAGES) * PAGE_BYTES as u64;
    let mut settings = Settings::new(heap_bytes, Durability::Memory);
    settings.resident_pages_max = RESIDENT_MAX;
    settings.recent_pages = 16;
    settings.checkpoint = Some(CheckpointSettings {
        strategy,
        every: Span::from_millis(50),
        changed_bytes: 200 * PAGE_BYTES as u64,
    });
    settings
}

impl Cluster {
    pub(crate) fn new(strategy: Strategy) -> Self {
        Self::with(settings(strategy))
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let stored = Arc::<Stored>::default();
        let mut leader = Leader::with_images(settings, stored.clone());
        leader.start(Time(0), Term(1), None);
        let mut cluster = Self {
            now: Time(1),
            leader,
            stored,
            durable: None,
            log: Vec::new(),
            heap: Heap::new(),
            running: None,
            sessions: Vec::new(),
            connections: 0,
        };
        cluster.join();
        cluster
    }

    pub(crate) fn handle(&mut self, event: Event) {
        self.leader.handle(self.now, event);
        self.carry_out();
    }

    /// Does what a driver does; answers what was sent.
    pub(crate) fn carry_out(&mut self) -> Vec<(ConnectionId, ToStation)> {
        let mut sent = Vec::new();
        while let Some(command) = self.leader.poll() {
            match command {
                Command::Append(record) => self.log.push(record),
                Command::BeginCheckpoint {
                    cut,
                    state,
                    strategy,
                } => {
                    assert!(self.running.is_none(), "one checkpoint at a time");
                    let newest = self.log.last().map(|record| record.stamp);
                    assert_eq!(newest, Some(cut), "the cut is the end of the log");
                    self.running = Some(Running {
                        cut,
                        state,
                        strategy,
                        heap: self.heap.clone(),
                        records: self.log.len(),
                        collected: BTreeMap::new(),
                        is_complete: false,
                    });
                }
                Command::Send {
                    connection,
                    message,
                } => sent.push((connection, message)),
                _ => {}
            }
        }
        sent
    }

    pub(crate) fn say(&mut self, connection: ConnectionId, message: ToLeader) -> Vec<ToStation> {
        self.leader.handle(
            self.now,
            Event::Message {
                connection,
                message,
            },
        );
        let sent = self.carry_out().into_iter();
        sent.filter(|(to, _)| *to == connection)
            .map(|(_, message)| message)
            .collect()
    }

    pub(crate) fn request(&mut self, session: usize, request: Request) {
        let Session {
            connection,
            incarnation,
            generation,
            ..
        } = self.sessions[session];
        let message = ToLeader::Request {
            incarnation,
            generation,
            request,
        };
        self.say(connection, message);
    }

    /// What the leader tells all stations, by connection.
    pub(crate) fn batches(&mut self) -> Vec<(ConnectionId, Item)> {
        let mut items = Vec::new();
        while let Some(connection) = self.leader.flushable(self.now) {
            if let Some(ToStation::Batch(batch)) = self.leader.batch(self.now, connection) {
                items.extend(batch.items.into_iter().map(|item| (connection, item)));
            }
        }
        items
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        self.connections += 1;
        ConnectionId(self.connections)
    }

    pub(crate) fn join(&mut self) {
        let connection = self.connect();
        let join = Join {
            generation: self.leader.generation(),
            ..Join::default()
        };
        let said = self.say(connection, ToLeader::Join(join));
        let Some(ToStation::Welcome(welcome)) = said.first() else {
            panic!("{said:?}");
        };
        self.sessions.push(Session {
            connection,
            incarnation: welcome.incarnation,
            generation: welcome.generation,
            sequence: CommitSequence(0),
            acknowledged: CommitSequence(0),
            last: None,
        });
    }

    pub(crate) fn commit(&mut self, session: usize, page: u32, at: usize, bytes: &[u8]) {
        self.handle(Event::Room(1 << 20));
        let mut builder = WriteSetBuilder::new();
        builder.push(PageNumber(page), at, bytes);
        let number = self.leader.number();
        let station = &mut self.sessions[session];
        station.sequence.0 += 1;
        if station.sequence.0.is_multiple_of(3) {
            station.acknowledged.0 = station.sequence.0 - 3;
        }
        let commit = Commit {
            sequence: station.sequence,
            acknowledged: station.acknowledged,
            snapshot: number,
            follows: None,
            reads: Vec::new(),
            writes: builder.finish(),
        };
        station.last = Some((commit.clone(), number.next()));
        // The request may make a checkpoint due, whose cut is then behind the commit.
        let image = self.heap.entry(page).or_insert(ZERO);
        image[at..at + bytes.len()].copy_from_slice(bytes);
        self.request(session, Request::Commit(commit));
        assert_eq!(self.leader.number(), number.next());
    }

    /// Sends the last commit of a session again, which must be answered as the first time.
    pub(crate) fn retry(&mut self, session: usize) {
        let Some((commit, number)) = self.sessions[session].last.clone() else {
            return;
        };
        let (connection, sequence) = (self.sessions[session].connection, commit.sequence);
        let newest = self.leader.number();
        self.batches();
        self.request(session, Request::Commit(commit));
        assert_eq!(self.leader.number(), newest, "no commit happens twice");
        let expected = (connection, Item::Committed { sequence, number });
        assert!(self.batches().contains(&expected), "{expected:?}");
    }

    pub(crate) fn collect(&mut self, room: usize) {
        let Some((pages, is_last)) = self.leader.collect(self.now, room) else {
            return;
        };
        assert!(pages.len() <= room);
        let running = self.running.as_mut().expect("a checkpoint is collected");
        for (page, bytes) in pages {
            let at_cut = running.heap.get(&page.0);
            assert!(at_cut == Some(&*bytes), "page {} is not of the cut", page.0);
            let twice = running.collected.insert(page.0, *bytes);
            assert!(twice.is_none(), "page {} comes twice", page.0);
        }
        running.is_complete = is_last;
        if is_last {
            self.check_complete();
        }
    }

    /// What was collected, with the checkpoint before, is the heap at the cut.
    pub(crate) fn check_complete(&mut self) {
        let stored = self.stored.0.lock().expect("nothing panics here");
        let running = self.running.as_mut().expect("a checkpoint is collected");
        if running.strategy == Strategy::Log {
            assert!(running.collected.is_empty(), "the store makes the pages");
            let pages = running.heap.iter();
            let changed = pages.filter(|(page, bytes)| stored.get(page) != Some(bytes));
            running.collected = changed.map(|(page, bytes)| (*page, *bytes)).collect();
        }
        for (page, bytes) in &running.heap {
            let found = running.collected.get(page).or_else(|| stored.get(page));
            assert!(found == Some(bytes), "page {page} is missing");
        }
    }

    /// The image is on disk, or not; answers whether one was being written.
    pub(crate) fn finish(&mut self, succeeds: bool) -> bool {
        let is_complete = self
            .running
            .as_ref()
            .is_some_and(|running| running.is_complete);
        if succeeds && !is_complete {
            return false;
        }
        let Some(running) = self.running.take() else {
            return false;
        };
        if succeeds {
            let mut stored = self.stored.0.lock().expect("nothing panics here");
            stored.extend(running.collected);
            drop(stored);
            self.durable = Some((running.cut, running.state, running.records));
            self.handle(Event::Checkpointed);
        } else {
            self.handle(Event::CheckpointFailed {
                why: "it was meant to".to_owned(),
            });
        }
        true
    }

    /// A new leader from the newest checkpoint on disk and the log behind it.
    pub(crate) fn recovered(&self) -> Leader {
        let mut leader = Leader::with_images(settings(Strategy::NonBlocking), self.stored.clone());
        let mut from = 0;
        if let Some((cut, state, records)) = &self.durable {
            let stored = self.stored.0.lock().expect("nothing panics here");
            let pages = stored.keys().map(|page| PageNumber(*page));
            leader.start_from(*cut, state, pages).expect("it is whole");
            from = *records;
        }
        replay(&mut leader, &self.log[from..]);
        leader
    }

    /// The page server dies, and the next one must be as if it had read all of the log.
    pub(crate) fn restart(&mut self, rolls_back: bool) {
        self.running = None;
        let mut whole = Leader::new(settings(Strategy::NonBlocking));
        replay(&mut whole, &self.log);
        let term = Term(self.leader.term().0 + 1);
        let next = rolls_back.then(|| self.leader.generation().next());
        let mut recovered = self.recovered();
        let states = [&mut whole, &mut recovered].map(|leader| {
            leader.start(self.now, term, next);
            (leader.generation(), leader.number(), leader.encode_state())
        });
        assert_eq!(states[0], states[1], "members, outcomes and generations");
        self.leader = self.recovered();
        self.leader.start(self.now, term, next);
        self.carry_out();
        if rolls_back {
            self.sessions.clear();
            self.join();
            return;
        }
        for session in 0..self.sessions.len() {
            let connection = self.connect();
            let station = &mut self.sessions[session];
            station.connection = connection;
            let resume = ToLeader::Resume(Resume {
                incarnation: station.incarnation,
                generation: station.generation,
                through: CommitNumber(0),
                pages: Vec::new(),
            });
            let said = self.say(connection, resume);
            assert!(
                matches!(said.first(), Some(ToStation::Welcome(_))),
                "{said:?}"
            );
            self.retry(session);
        }
    }

    pub(crate) fn check_page(&self, page: u32) {
        let expected = self.heap.get(&page).unwrap_or(&ZERO);
        let found = self.leader.page(PageNumber(page));
        assert!(found.as_deref().unwrap_or(&ZERO) == expected, "page {page}");
    }
}

pub(crate) fn replay(leader: &mut Leader, records: &[Record]) {
    for record in records {
        leader.replay(record).expect("the log is in order");
    }
}

/// Somebody asks for a checkpoint, and does not stay for the answer.
pub(crate) fn wanted() -> Event {
    Event::Message {
        connection: ConnectionId(u64::MAX),
        message: ToLeader::Checkpoint,
    }
}
