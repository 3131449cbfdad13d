//! A station and a leader that says whatever it likes. The harness drives the station as the
//! library does: what the station finds wrong ends the connection, and must have changed nothing.

mod leader;

use std::collections::VecDeque;

use plurix_memory::{AccessError, HeapMemory};
use plurix_protocol::station::{Miss, Outcome, Settings, State, Station};
use plurix_protocol::{Span, Time};
use plurix_wire::message::{Request, SessionRefusal, ToLeader};
use plurix_wire::{CommitSequence, Incarnation, PAGE_BYTES, PageNumber};

use crate::input::Input;
use leader::Hostile;

const PAGES: u32 = 12;
/// A larger heap is one that this process cannot map; the library then gives up.
const HEAP_BYTES_MAX: u64 = 1 << 20;
const STEPS_MAX: usize = 200;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_over() || world.is_over {
            break;
        }
        world.step(&mut input);
        world.drive();
    }
}

/// Where the program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Idle,
    Running,
    Missing(PageNumber),
    Committing,
}

struct World {
    now: Time,
    station: Station,
    /// Made when the leader has told the heap's size.
    memory: Option<HeapMemory>,
    is_connected: bool,
    at: At,
    /// What was submitted and has not been settled; the oldest first.
    submitted: VecDeque<CommitSequence>,
    leader: Hostile,
    is_over: bool,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let settings = Settings {
            queue_bytes_max: [8 << 20, 0, 3000][input.below(3)],
            read_ahead: [1, 4][input.below(2)],
            ..Settings::default()
        };
        Self {
            now: Time(1),
            station: Station::new(settings),
            memory: None,
            is_connected: false,
            at: At::Idle,
            submitted: VecDeque::new(),
            leader: Hostile::default(),
            is_over: false,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0..=6 => self.hear(input),
            7..=8 if self.at == At::Idle => self.begin(input),
            7..=11 => self.act(input),
            12 => self.between(input),
            13 => {
                self.now = self.now + Span::from_millis([1, 150, 5_000][input.below(3)]);
                if self.is_connected && self.station.tick(self.now) {
                    self.disconnect();
                }
            }
            14 if self.is_connected => self.disconnect(),
            14 => self.connect(),
            _ => self.station.ask_latest(),
        }
    }

    fn connect(&mut self) {
        self.station.connected(self.now);
        self.is_connected = true;
        self.leader.begin_connection();
    }

    fn disconnect(&mut self) {
        self.station.disconnected();
        self.is_connected = false;
    }

    /// The leader says something; what is refused has changed nothing.
    fn hear(&mut self, input: &mut Input<'_>) {
        if !self.is_connected {
            return self.connect();
        }
        let before = self.sight();
        let message = self.leader.message(input, &self.station);
        if let Err(error) = self.station.handle(self.now, message) {
            assert_eq!(self.sight(), before, "{error}");
            self.disconnect();
        }
    }

    /// What can be seen of the station.
    fn sight(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let station = &self.station;
        (
            (station.state(), station.incarnation(), station.generation()),
            (
                station.snapshot(),
                station.pages_held(),
                station.heap_bytes(),
            ),
            (
                station.has_news(),
                station.is_answered(),
                station.has_latest(),
                (station.in_flight(), station.is_clashed()),
            ),
            station.members().clone(),
        )
    }

    /// What the library does after anything happened.
    fn drive(&mut self) {
        while let Some(message) = self.station.poll() {
            if let ToLeader::Request {
                request: Request::Fetch { run, .. },
                ..
            } = message
            {
                self.leader.asked.extend(run.pages());
            }
        }
        match self.station.state() {
            State::Waiting if self.is_connected => self.disconnect(),
            State::Ended(SessionRefusal::StationTaken(_)) => {
                self.station.retry();
                self.is_connected = false;
            }
            State::Ended(_) => self.is_over = true,
            _ => {}
        }
        if let (None, Some(bytes)) = (&self.memory, self.station.heap_bytes()) {
            if bytes > HEAP_BYTES_MAX {
                self.is_over = true;
            } else {
                let memory = HeapMemory::emulated(bytes);
                self.memory = Some(memory.expect("a small heap can be allocated"));
            }
        }
    }

    fn begin(&mut self, input: &mut Input<'_>) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        if input.rarely(4) {
            let first = PageNumber(input.below(PAGES as usize) as u32);
            let count = input.below(PAGES as usize) as u32;
            self.station.prefetch(first, count);
        }
        self.station.absorb(memory);
        self.hear_settled();
        let memory = self.memory.as_mut().expect("seen above");
        if self.station.may_submit() && self.station.begin(memory).is_some() {
            self.at = At::Running;
        }
        self.hear_settled();
    }

    /// Takes what was settled of the submitted, as the library does.
    fn hear_settled(&mut self) {
        while let Some((sequence, outcome)) = self.station.next_settled() {
            let oldest = self.submitted.pop_front();
            assert_eq!(oldest, Some(sequence), "in the order of submission");
            if matches!(outcome, Outcome::Refused(_) | Outcome::Lost) {
                self.submitted.clear();
            }
        }
        assert!(self.station.in_flight() <= self.submitted.len());
    }

    /// The program goes on.
    fn act(&mut self, input: &mut Input<'_>) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        match self.at {
            At::Idle => {}
            At::Running => self.run(input),
            At::Missing(page) => match self.station.miss(page, memory) {
                Miss::Pending => assert!(!self.station.has_arrived(page)),
                Miss::Installed => {
                    assert!(memory.is_present(page));
                    self.at = At::Running;
                }
                Miss::SnapshotTooOld | Miss::Lost => {
                    self.station.abort(memory);
                    self.at = At::Idle;
                }
            },
            At::Committing if self.station.is_answered() => {
                self.station.settle(memory);
                assert!(memory.is_idle(), "a settled transaction leaves no trace");
                self.at = At::Idle;
            }
            At::Committing => {}
        }
    }

    /// One access, or the end of the transaction.
    fn run(&mut self, input: &mut Input<'_>) {
        let memory = self.memory.as_mut().expect("a transaction has memory");
        let offset =
            input.below(PAGES as usize) as u64 * PAGE_BYTES as u64 + 8 * input.below(16) as u64;
        let accessed = match input.below(6) {
            0 => memory.read::<[u8; 8]>(offset).map(drop),
            1 => memory.open::<[u8; 8]>(offset).map(|cell| cell[0] ^= 1),
            2 => memory.overwrite(offset, &[input.byte(); 8]),
            3 => {
                self.station.abort(memory);
                self.at = At::Idle;
                return;
            }
            4 => return self.commit(),
            _ => return self.submit(),
        };
        if let Err(AccessError::Missing { page }) = accessed {
            self.at = At::Missing(page);
        }
    }

    /// Asks for the running transaction alone, if it changes anything and nothing is in flight.
    fn commit(&mut self) {
        let memory = self.memory.as_mut().expect("a transaction has memory");
        let writes = memory.write_set();
        if self.submitted.is_empty() && !writes.is_empty() {
            self.station.commit(memory.read_set(), writes);
            self.at = At::Committing;
        }
    }

    /// Asks for the running transaction and does not wait. One that changes nothing is asked for only if
    /// something is in flight.
    fn submit(&mut self) {
        let memory = self.memory.as_mut().expect("a transaction has memory");
        let (reads, writes) = (memory.read_set(), memory.write_set());
        if writes.is_empty() {
            if self.submitted.is_empty() {
                return;
            }
            memory.rollback();
        }
        if let Some(sequence) = self.station.submit(reads, writes, memory) {
            self.submitted.push_back(sequence);
        }
        self.at = At::Idle;
    }

    /// Gives up pages between transactions, or the session.
    fn between(&mut self, input: &mut Input<'_>) {
        if let (At::Idle, Some(memory)) = (self.at, &mut self.memory) {
            let chosen = input.byte();
            let present: Vec<PageNumber> = memory.present_pages().collect();
            let victims = present
                .into_iter()
                .filter(|page| chosen >> (page.0 % 8) & 1 == 1);
            self.station.evict(victims, memory);
        }
        if input.rarely(32) {
            self.station.leave();
        }
    }
}

/// The only life that the leader gives, mostly.
const LIFE: Incarnation = Incarnation(1 << 32 | 1);

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut bytes = vec![0, 0, 0, 0, 0];
    (0..16u8).for_each(|n| bytes.extend([8 + n % 4, 2, n, 0, 1, n, 0, 0, 3, n, 0]));
    let mut pipeline = vec![0, 0, 0, 0, 0];
    (0..16u8).for_each(|n| pipeline.extend([0, 0, n, 8, 1, n, 0, 9, 2, n, 0, n, 10, 0, 0, 5, n]));
    vec![("session", bytes), ("pipeline", pipeline)]
}
