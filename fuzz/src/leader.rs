//! The leader among stations that say whatever they like, honest or not.
//!
//! The harness drives it as the page server does: it carries out every command before it takes a
//! batch, reports the room of the log, and names no connection that was closed. Whatever happens,
//! the log must be a history that could have been, and nothing may be told that is not in it.

mod asked;
mod lines;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plurix_protocol::leader::{Command, Durability, Event, Leader, Settings};
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_wire::message::{
    Commit, Join, Member, PageLines, PageRun, Request, Resume, ToLeader, ToStation,
};
use plurix_wire::record::{Body, Record};
use plurix_wire::{
    CommitId, CommitNumber, CommitSequence, Generation, Incarnation, LineMask, PAGE_BYTES,
    PageNumber, StationId, Term, WriteSet,
};

use crate::input::Input;
use told::{History, Link};

const PAGES: u32 = 12;
/// Pages behind these, which recovery lines write and no station has.
const WEAK: u32 = 4;
const TERM: Term = Term(3);
const STEPS_MAX: usize = 150;
const CONNECTIONS_MAX: usize = 5;
/// A request is repeated so often at most.
const REPEAT_MAX: usize = 300;
/// More batches than this at one moment mean that the leader never comes to rest.
const BATCHES_MAX: usize = 5_000;
/// What the record of a recovery line takes in the log.
const LINE_RECORD_BYTES: u64 = plurix_wire::record::HEADER_BYTES as u64 + 8;
/// What an item costs beside its bytes.
const ITEM_BYTES: usize = 64;
/// No write set of this target is longer.
const COMMIT_BYTES_MAX: usize = 2_000;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_over() || world.stopped {
            break;
        }
        world.step(&mut input);
        world.bounds();
    }
    world.settle();
}

struct World {
    now: Time,
    settings: Settings,
    leader: Leader,
    /// The open connections.
    links: BTreeMap<ConnectionId, Link>,
    connections: u64,
    history: History,
    generation: Generation,
    /// What the log can surely take.
    room: u64,
    living: BTreeMap<Incarnation, Member>,
    /// Who has ended, and at which commit: at an older snapshot they still live.
    ended: Vec<(u64, Member)>,
    /// Every life there ever was.
    lives: Vec<Incarnation>,
    /// How the leader has named a team last.
    formation: u64,
    /// What the sync under way covers.
    syncing: Option<CommitNumber>,
    /// What the leader was told to be on disk.
    durable: CommitNumber,
    stopped: bool,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let durable = input.byte() % 2 == 1;
        let durability = [Durability::Memory, Durability::Durable][usize::from(durable)];
        let settings = Settings {
            stations_max: 3,
            recent_pages: 1 + input.below(4),
            history_bytes_max: [1 << 16, 0, 2048][input.below(3)],
            backlog_bytes_max: [1 << 16, 0, 600][input.below(3)],
            answer_bytes_max: [1 << 14, 1024][input.below(2)],
            batch_bytes: [1 << 16, 1, 600][input.below(3)],
            outcomes_max: 1 + input.below(3),
            ..Settings::new(u64::from(PAGES + WEAK) * PAGE_BYTES as u64, durability)
        };
        let mut leader = Leader::new(settings.clone());
        leader.start(Time(0), TERM, None);
        let mut world = Self {
            now: Time(1),
            settings,
            leader,
            links: BTreeMap::new(),
            connections: 0,
            history: History::default(),
            generation: Generation(0),
            room: 1 << 16,
            living: BTreeMap::new(),
            ended: Vec::new(),
            lives: Vec::new(),
            formation: 0,
            syncing: None,
            durable: CommitNumber(0),
            stopped: false,
        };
        world.carry_out();
        world
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(17) {
            0 => {
                self.connections += 1;
                let id = ConnectionId(self.connections);
                if self.links.len() < CONNECTIONS_MAX {
                    self.links.insert(id, Link::default());
                }
            }
            1 => self.say(input, Self::join),
            2 => self.say(input, Self::resume),
            3..=8 => self.say(input, Self::request),
            9 => {
                if let Some(connection) = self.any_link(input) {
                    self.links.remove(&connection);
                    let died = input.byte() % 2 == 1;
                    self.tell(Event::Closed { connection, died });
                }
            }
            10 => {
                self.now = match input.below(4) {
                    0 => self.leader.next_timeout().max(self.now),
                    1 => self.now + Span::from_micros(200),
                    2 => self.now + Span::from_millis(60),
                    _ => self.now + Span::from_millis(3_000),
                };
                self.tell(Event::Tick);
            }
            11 => self.log(input),
            12 => {
                if let Some(connection) = self.any_link(input) {
                    let link = self.links.get_mut(&connection).expect("an open connection");
                    link.is_slow = !link.is_slow;
                    if !link.is_slow {
                        self.leader.writable(connection);
                    }
                }
            }
            13 => self.ask_status(input),
            _ => self.say(input, Self::line),
        }
        if !input.rarely(4) {
            self.flush();
        }
    }

    fn any_link(&self, input: &mut Input<'_>) -> Option<ConnectionId> {
        let open: Vec<ConnectionId> = self.links.keys().copied().collect();
        input.pick(&open)
    }

    /// Progress of the log: room, or commits that have reached the disk.
    fn log(&mut self, input: &mut Input<'_>) {
        match input.below(3) {
            0 => self.room = u64::from(input.byte()) << 6,
            _ if self.settings.durability == Durability::Durable => {
                let unlogged = self.history.newest() - self.history.logged;
                self.history.logged += input.below(unlogged as usize + 1) as u64;
                self.tell(Event::Logged(CommitNumber(self.history.logged)));
            }
            _ => {
                if let Some(through) = self.syncing.take() {
                    self.durable = through;
                    self.tell(Event::Durable(through));
                }
            }
        }
    }

    fn ask_status(&mut self, input: &mut Input<'_>) {
        let connection = ConnectionId(u64::MAX);
        let shuts_down = input.byte() == u8::MAX;
        let message = if shuts_down {
            ToLeader::Shutdown
        } else {
            ToLeader::Status
        };
        self.tell(Event::Message {
            connection,
            message,
        });
    }

    /// Says something on some connection, perhaps again and again.
    fn say(&mut self, input: &mut Input<'_>, what: fn(&Self, &mut Input<'_>, &Link) -> ToLeader) {
        let Some(connection) = self.any_link(input) else {
            return;
        };
        let message = what(self, input, &self.links[&connection]);
        if let ToLeader::Request {
            incarnation,
            request: Request::Commit(commit),
            ..
        } = &message
        {
            let (incarnation, sequence) = (*incarnation, commit.sequence);
            let id = CommitId {
                incarnation,
                sequence,
            };
            self.history.asked.note(id, commit);
            let link = self.links.get_mut(&connection).expect("an open connection");
            // After a number from nowhere an honest one comes next.
            if Some(sequence.0) == link.sequence.checked_add(1) {
                link.sequence = sequence.0;
            }
        }
        let times = if input.rarely(8) { REPEAT_MAX } else { 1 };
        for _ in 0..times {
            if self.links.contains_key(&connection) {
                let message = message.clone();
                self.tell(Event::Message {
                    connection,
                    message,
                });
            }
        }
    }

    fn join(&self, input: &mut Input<'_>, _: &Link) -> ToLeader {
        let wishes = input.byte() % 2 == 1;
        ToLeader::Join(Join {
            station: wishes.then(|| StationId(input.near(1) as u32)),
            observer: input.rarely(4),
            generation: Generation(input.near(u64::from(self.generation.0)) as u32),
            seen: CommitNumber(input.near(self.history.logged)),
        })
    }

    fn life(&self, input: &mut Input<'_>, link: &Link) -> Incarnation {
        let own = link.member.filter(|_| !input.rarely(8));
        own.or_else(|| input.pick(&self.lives))
            .unwrap_or(Incarnation(input.word()))
    }

    fn resume(&self, input: &mut Input<'_>, _: &Link) -> ToLeader {
        let life = input.pick(&self.lives);
        ToLeader::Resume(Resume {
            incarnation: life.unwrap_or(Incarnation(input.word())),
            generation: Generation(input.near(u64::from(self.generation.0)) as u32),
            through: CommitNumber(input.near(self.history.logged)),
            pages: self.runs(input),
        })
    }

    fn runs(&self, input: &mut Input<'_>) -> Vec<PageRun> {
        let mut first = 0;
        let runs = (0..input.below(4)).map(|_| {
            first += input.below(4) as u32;
            let count = input.below(4) as u32;
            let run = PageRun {
                first: PageNumber(input.near(u64::from(first)) as u32),
                count: input.near(u64::from(count)) as u32,
            };
            first += count;
            strong(run)
        });
        runs.collect()
    }

    fn request(&self, input: &mut Input<'_>, link: &Link) -> ToLeader {
        let request = match input.below(10) {
            0..=3 => Request::Commit(self.commit(input, link)),
            4..=6 => Request::Fetch {
                run: strong(PageRun {
                    first: PageNumber(input.below(PAGES as usize) as u32),
                    count: input.near(1) as u32,
                }),
                snapshot: CommitNumber(input.near(self.history.logged)),
            },
            7 => Request::Drop {
                pages: self.runs(input),
            },
            8 if input.rarely(4) => Request::Durable {
                through: CommitNumber(input.near(self.history.logged)),
            },
            8 if input.rarely(4) => Request::Watch,
            8 if input.rarely(4) => Request::Token {
                attempt_us: input.below(2_000_000) as u32,
            },
            8 if input.rarely(4) => Request::ReturnToken,
            8 => Request::Latest,
            _ if input.rarely(8) => Request::Leave,
            _ if input.rarely(8) => Request::Numbers(Box::default()),
            _ => Request::Heartbeat,
        };
        ToLeader::Request {
            incarnation: self.life(input, link),
            generation: Generation(input.near(u64::from(self.generation.0)) as u32),
            request,
        }
    }

    fn commit(&self, input: &mut Input<'_>, link: &Link) -> Commit {
        let mut page = 0;
        let reads = (0..input.below(4)).map(|_| {
            page += input.below(4) as u32;
            let line = input.below(4);
            PageLines {
                page: PageNumber(page),
                lines: LineMask(input.near(1 << line)),
            }
        });
        let reads = reads.collect();
        let sequence = input.near(link.sequence.saturating_add(1));
        let pages = if input.rarely(16) {
            PAGES + WEAK + 1
        } else {
            PAGES
        };
        let unsettled = 1 + input.below(4) as u64;
        let follows = match input.below(4) {
            0 => None,
            1 => Some(0),
            _ => Some(input.near(sequence.saturating_sub(1))),
        };
        let writes = match follows {
            Some(_) if input.rarely(4) => WriteSet::default(),
            _ => input.writes(pages),
        };
        Commit {
            sequence: CommitSequence(sequence),
            acknowledged: CommitSequence(input.near(sequence.saturating_sub(unsettled))),
            snapshot: CommitNumber(input.near(self.history.logged)),
            follows: follows.map(CommitSequence),
            reads,
            writes,
        }
    }

    fn tell(&mut self, event: Event) {
        self.leader.handle(self.now, Event::Room(self.room));
        self.leader.handle(self.now, event);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.leader.poll() {
            match command {
                Command::Append(record) => self.append(record),
                Command::Send {
                    connection,
                    message,
                } => self.hear(connection, &message),
                Command::Sync => {
                    assert_eq!(self.settings.durability, Durability::Memory);
                    let newest = CommitNumber(self.history.newest());
                    let before = self.syncing.replace(newest);
                    assert_eq!(before, None, "one sync is under way at a time");
                }
                Command::BeginCheckpoint { .. }
                | Command::SendStatus { .. }
                | Command::SendCheckpoint { .. } => {}
                Command::Close { connection } => drop(self.links.remove(&connection)),
                Command::Shutdown { .. } => self.stopped = true,
            }
        }
        assert_eq!(self.leader.number().0, self.history.newest());
        assert_eq!(self.leader.generation(), self.generation);
    }

    fn append(&mut self, record: Record) {
        let stamp = record.stamp;
        assert_eq!(stamp.term, TERM);
        match record.body {
            Body::Commit { id, writes, .. } => {
                assert_eq!(stamp.generation, self.generation);
                let bytes = Record::commit_bytes(&writes) as u64;
                assert!(
                    bytes <= self.room,
                    "a number is taken only if the log has room"
                );
                self.room -= bytes;
                self.history.commit(stamp.number, id, &writes);
                if self.settings.durability == Durability::Memory {
                    self.history.logged = stamp.number.0;
                }
                let links = self.links.values_mut();
                for link in links.filter(|link| link.member == Some(id.incarnation)) {
                    link.sequence = link.sequence.max(id.sequence.0);
                }
            }
            Body::Joined(member) => {
                let stations: BTreeSet<StationId> =
                    self.living.values().map(|member| member.station).collect();
                assert!(
                    !stations.contains(&member.station),
                    "a number has one owner"
                );
                assert!(
                    !self.lives.contains(&member.incarnation),
                    "a life is lived once"
                );
                self.lives.push(member.incarnation);
                self.living.insert(member.incarnation, member);
                assert!(self.living.len() <= self.settings.stations_max as usize);
            }
            Body::Left(incarnation) => {
                let left = self.living.remove(&incarnation);
                let left = left.expect("only the living leave");
                self.ended.push((stamp.number.0, left));
            }
            Body::Generation => {
                assert_eq!(stamp.generation, self.generation.next());
                self.generation = stamp.generation;
            }
            Body::RecoveryLine(_) => {
                assert!(self.room >= LINE_RECORD_BYTES, "nor a line without room");
                self.room -= LINE_RECORD_BYTES;
                self.history.line(stamp.number);
                if self.settings.durability == Durability::Memory {
                    self.history.logged = stamp.number.0;
                }
            }
            Body::Term | Body::Clean => {}
        }
        assert!(record.stamp.number.0 == self.history.newest());
    }

    fn hear(&mut self, connection: ConnectionId, message: &ToStation) {
        let durable = self.durable();
        let Some(link) = self.links.get_mut(&connection) else {
            return;
        };
        match message {
            ToStation::Welcome(welcome) => {
                assert!(
                    welcome.through.0 <= self.history.logged,
                    "nothing above the log"
                );
                let logged = self.history.logged;
                let ended = self.ended.iter().filter(|(number, _)| *number > logged);
                let living = self.living.values().chain(ended.map(|(_, member)| member));
                let members: Vec<Member> = living.copied().collect();
                assert_eq!(welcome.members, members);
                let other = link.member.filter(|life| *life != welcome.incarnation);
                assert!(
                    other.is_none_or(|other| !self.living.contains_key(&other)),
                    "a connection has one member"
                );
                link.welcome(welcome);
            }
            ToStation::Batch(batch) => {
                assert_eq!((batch.term, batch.generation), (TERM, self.generation));
                assert!(batch.durable <= durable, "durable before it is on disk");
                self.history.check(link, batch);
            }
            ToStation::Refused(_)
            | ToStation::Status(_)
            | ToStation::Stopping
            | ToStation::Checkpointed(_)
            | ToStation::Insight(_) => {}
            ToStation::RecoveryLine(answer) => self.hear_of_line(answer),
        }
    }

    /// What no loss of power takes back.
    fn durable(&self) -> CommitNumber {
        match self.settings.durability {
            Durability::Memory => self.durable,
            Durability::Durable => CommitNumber(self.history.logged),
        }
    }

    /// Takes batches as the connections can take them.
    fn flush(&mut self) {
        for _ in 0..BATCHES_MAX {
            let Some(connection) = self.leader.flushable(self.now) else {
                return;
            };
            if self.links.get(&connection).is_some_and(|link| link.is_slow) {
                continue;
            }
            if let Some(batch) = self.leader.batch(self.now, connection) {
                self.hear(connection, &batch);
            }
        }
        panic!("the leader has ever more to send at one moment");
    }

    /// What the leader keeps for a station stays within its settings, but for one item that takes a
    /// queue beyond its bound, and for who came and went.
    fn bounds(&self) {
        let settings = &self.settings;
        let page = PAGE_BYTES + 3 * settings.history_bytes_max.max(2 * COMMIT_BYTES_MAX);
        let stale = 2 * PAGES as usize * ITEM_BYTES;
        let most = settings.backlog_bytes_max
            + settings.answer_bytes_max
            + page
            + stale
            + 2 * self.lives.len() * ITEM_BYTES;
        for station in self.leader.status(self.now).stations {
            assert!(station.pages <= u64::from(PAGES));
            let waiting = station.backlog_bytes;
            assert!(
                waiting <= most as u64,
                "{waiting} bytes wait, {most} are allowed"
            );
        }
    }

    /// Everybody can take everything: the leader comes to rest, with the heap that its log says.
    fn settle(&mut self) {
        self.history.logged = self.history.newest();
        self.tell(Event::Logged(CommitNumber(self.history.logged)));
        for (connection, link) in &mut self.links {
            link.is_slow = false;
            self.leader.writable(*connection);
        }
        self.flush();
        assert!(!self.leader.awaits_log());
        for page in (0..PAGES).map(PageNumber) {
            let expected = self.history.image(page, self.history.newest());
            let found = self
                .leader
                .page(page)
                .unwrap_or_else(|| Arc::new([0; PAGE_BYTES]));
            assert_eq!(*found, *expected);
        }
    }
}

/// A run without weak pages: those that would have some begin beyond the heap, or end before them.
fn strong(run: PageRun) -> PageRun {
    let end = u64::from(run.first.0) + u64::from(run.count);
    match run.first.0 {
        _ if end <= u64::from(PAGES) || end > u64::from(PAGES + WEAK) => run,
        first if first >= PAGES => PageRun::new(PageNumber(first + WEAK), run.count),
        first => PageRun::new(run.first, PAGES - first),
    }
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    // Settings, then steps: connect, join, and requests.
    let begin = |settings: u8| vec![settings, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1];
    let busy = |settings: u8| {
        let mut bytes = begin(settings);
        (0..8u8).for_each(|n| bytes.extend([3, 0, n % 10, 0, 1, 0, n, 1, 0, 2, n, 9, 0, 0, 1]));
        bytes
    };
    // A team of one, whose lines are whole as soon as its part is.
    let lines = |settings: u8| {
        let mut bytes = begin(settings);
        (0..40u8).for_each(|n| bytes.extend([14, 0, 0, 0, n % 8, 0, 0, n % 5, 0, 0, 0, 0]));
        bytes
    };
    // Requests that follow each other, faster than they are answered; each third one reads only.
    let pipeline = |settings: u8| {
        let mut bytes = begin(settings);
        for n in 0..24u8 {
            let looks = if n % 3 == 2 { 3 } else { 0 };
            bytes.extend([3, 0, 1, n % 4, n % 4, 0, 0, 0, 2, 2, 0, looks]);
            if looks == 0 {
                bytes.extend([n % 4, 0, n % 4 * 64, 0, 0, 1, n, 0]);
            }
            bytes.extend([0, 0, 0, 0, 0, 3 * (n % 2)]);
        }
        bytes
    };
    vec![
        ("memory", busy(0)),
        ("durable", busy(1)),
        ("lines", lines(0)),
        ("lines-durable", lines(1)),
        ("pipeline", pipeline(0)),
        ("pipeline-durable", pipeline(1)),
    ]
}
