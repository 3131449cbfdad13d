//! A leader and stations joined by channels that keep order, with every interleaving and every
//! crash that the bytes ask for: a simulator without time or chance, for a fuzzer that is led by
//! coverage.
//!
//! ```text
//!   step: deliver one message | a program goes on | a clock ticks | a connection breaks |
//!         a station crashes | the leader's process dies, its log whole or cut | ...
//!   then: everything is delivered and repaired; all are members, nothing is under way, and what
//!         anybody has in memory is what the leader has
//! ```
//!
//! What the leader appended to its log is the truth; a program sees it at one commit.

mod log;
mod member;

use std::collections::VecDeque;

use plurix_protocol::leader::{Command, Durability, Event, Leader, Settings};
use plurix_protocol::station::State;
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_wire::message::{SessionRefusal, ToLeader, ToStation};
use plurix_wire::{CommitNumber, PAGE_BYTES};

use crate::input::Input;
use log::Log;
use member::{At, Member};

const PAGES: u32 = 6;
const MEMBERS: usize = 3;
const STEPS_MAX: usize = 400;
/// So many rounds of everything bring every cluster to rest; a round takes 50 ms.
const ROUNDS_MAX: usize = 300;
/// More batches than this at one moment mean that the leader never comes to rest.
const BATCHES_MAX: usize = 5_000;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_over() {
            break;
        }
        world.step(&mut input);
    }
    world.settle();
}

/// A connection between a station and the leader, both ways in order.
#[derive(Debug)]
struct Channel {
    id: ConnectionId,
    member: usize,
    up: VecDeque<ToLeader>,
    down: VecDeque<ToStation>,
    /// Each side may have closed its end; what it sent before still arrives.
    leader_open: bool,
    member_open: bool,
    /// Its end proves that the station's process is dead.
    died: bool,
}

struct World {
    now: Time,
    settings: Settings,
    leader: Leader,
    log: Log,
    members: Vec<Member>,
    channels: Vec<Channel>,
    connections: u64,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let durable = input.byte() % 2 == 1;
        let durability = [Durability::Memory, Durability::Durable][usize::from(durable)];
        let settings = Settings {
            stations_max: 8,
            recent_pages: [64, 1][input.below(2)],
            history_bytes_max: [1 << 16, 0, 2048][input.below(3)],
            backlog_bytes_max: [1 << 16, 0, 400][input.below(3)],
            batch_bytes: [1 << 16, 1, 600][input.below(3)],
            ..Settings::new(u64::from(PAGES) * PAGE_BYTES as u64, durability)
        };
        let mut world = Self {
            now: Time(1),
            leader: Leader::new(settings.clone()),
            settings,
            log: Log::default(),
            members: Vec::new(),
            channels: Vec::new(),
            connections: 0,
        };
        world.start_leader(false);
        for index in 0..MEMBERS {
            world.members.push(Member::new(input));
            world.connect(index);
        }
        world
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let index = input.below(MEMBERS);
        match input.below(16) {
            0..=2 => self.deliver_up(index),
            3..=5 => self.deliver_down(index),
            6..=10 => self.members[index].act(Some(input), &mut self.log),
            11 => self.flush(),
            12 => self.sync(),
            13 => self.tick(Span::from_millis([1, 60, 900, 2_500][input.below(4)])),
            14 => self.break_off(input, index),
            _ => self.disaster(input, index),
        }
        self.drive(index);
    }

    /// A connection ends; each side hears of it when it comes to read so far.
    fn break_off(&mut self, input: &mut Input<'_>, index: usize) {
        if self.channel(index).is_none() {
            return self.connect(index);
        }
        let is_lossy = input.byte() % 2 == 1;
        self.hang_up(index, is_lossy);
    }

    fn disaster(&mut self, input: &mut Input<'_>, index: usize) {
        match input.below(4) {
            0..=1 => {
                let proves = input.byte() % 2 == 1;
                if let Some(channel) = self.channel(index) {
                    channel.died = proves;
                }
                self.hang_up(index, input.byte() % 2 == 1);
                self.members[index] = Member::new(input);
            }
            kind => {
                if kind == 3 {
                    self.log.cut(input.byte(), self.settings.durability);
                }
                self.start_leader(kind == 3);
                for channel in &mut self.channels {
                    channel.leader_open = false;
                }
            }
        }
    }

    /// The leader's next process, on the log that is there.
    fn start_leader(&mut self, is_cut: bool) {
        self.leader = Leader::new(self.settings.clone());
        for record in self.log.records() {
            self.leader.replay(record).expect("the log is its own");
        }
        let is_due = is_cut && self.settings.durability == Durability::Memory;
        let generation = is_due.then(|| self.log.next_generation());
        let term = self.log.next_term();
        self.leader.start(self.now, term, generation);
        self.carry_out();
        self.sync();
    }

    /// The connection that a member's end of which is open.
    fn channel(&mut self, index: usize) -> Option<&mut Channel> {
        let mut channels = self.channels.iter_mut();
        channels.find(|channel| channel.member == index && channel.member_open)
    }

    fn connect(&mut self, index: usize) {
        if !matches!(self.members[index].station.state(), State::Waiting) {
            return;
        }
        self.connections += 1;
        self.channels.push(Channel {
            id: ConnectionId(self.connections),
            member: index,
            up: VecDeque::new(),
            down: VecDeque::new(),
            leader_open: true,
            member_open: true,
            died: false,
        });
        self.members[index].station.connected(self.now);
        self.drive(index);
    }

    /// The station closes its end.
    fn hang_up(&mut self, index: usize, is_lossy: bool) {
        let Some(channel) = self.channel(index) else {
            return;
        };
        channel.member_open = false;
        channel.down.clear();
        if is_lossy {
            channel.up.clear();
        }
        self.members[index].station.disconnected();
    }

    /// One message of a member, on its oldest connection, or the end of that, reaches the leader.
    fn deliver_up(&mut self, index: usize) {
        let mut channels = self.channels.iter_mut();
        let Some(channel) = channels.find(|c| c.member == index && c.leader_open) else {
            return;
        };
        let connection = channel.id;
        let event = match channel.up.pop_front() {
            Some(message) => Event::Message {
                connection,
                message,
            },
            None if channel.member_open => return,
            None => {
                channel.leader_open = false;
                let died = channel.died;
                Event::Closed { connection, died }
            }
        };
        self.tell(event);
    }

    /// One message for a member, or the end of its connection, arrives there.
    fn deliver_down(&mut self, index: usize) {
        let now = self.now;
        let Some(channel) = self.channel(index) else {
            return;
        };
        match channel.down.pop_front() {
            Some(message) => {
                let heard = self.members[index].station.handle(now, message);
                heard.expect("an honest leader makes sense");
            }
            None if channel.leader_open => {}
            None => self.hang_up(index, true),
        }
    }

    /// What the library does after anything happened to a station.
    fn drive(&mut self, index: usize) {
        let member = &mut self.members[index];
        let mut channels = self.channels.iter_mut();
        if let Some(channel) = channels.find(|c| c.member == index && c.member_open) {
            while let Some(message) = member.station.poll() {
                let message = message.clone();
                member.said(&message);
                channel.up.push_back(message);
            }
        }
        member.look_around();
        match member.station.state() {
            State::Waiting => self.hang_up(index, false),
            State::Ended(refusal) => {
                let passing = matches!(refusal, SessionRefusal::Full(_));
                assert!(passing, "an honest station is refused: {refusal}");
                self.hang_up(index, false);
                self.members[index].station.retry();
            }
            State::Opening | State::Active => {}
        }
        self.channels.retain(|c| c.leader_open || c.member_open);
    }

    fn tick(&mut self, span: Span) {
        self.now = self.now + span;
        for index in 0..MEMBERS {
            if self.members[index].station.tick(self.now) {
                self.hang_up(index, false);
            }
            self.drive(index);
        }
        if self.now >= self.leader.next_timeout() {
            self.tell(Event::Tick);
        }
    }

    fn tell(&mut self, event: Event) {
        self.leader.handle(self.now, Event::Room(1 << 20));
        self.leader.handle(self.now, event);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.leader.poll() {
            match command {
                Command::Append(record) => self.log.append(record),
                Command::Send {
                    connection,
                    message,
                } => self.send(connection, message),
                Command::Close { connection } => {
                    let mut channels = self.channels.iter_mut();
                    if let Some(channel) = channels.find(|c| c.id == connection) {
                        channel.leader_open = false;
                    }
                }
                Command::Sync
                | Command::BeginCheckpoint { .. }
                | Command::SendStatus { .. }
                | Command::SendCheckpoint { .. }
                | Command::Shutdown { .. } => {}
            }
        }
    }

    fn send(&mut self, connection: ConnectionId, message: ToStation) {
        let mut channels = self.channels.iter_mut();
        let channel = channels.find(|c| c.id == connection && c.leader_open && c.member_open);
        if let Some(channel) = channel {
            channel.down.push_back(message);
        }
    }

    fn flush(&mut self) {
        for _ in 0..BATCHES_MAX {
            let Some(connection) = self.leader.flushable(self.now) else {
                return;
            };
            if let Some(batch) = self.leader.batch(self.now, connection) {
                self.send(connection, batch);
            }
        }
        panic!("the leader has ever more to send at one moment");
    }

    /// The log is brought to disk.
    fn sync(&mut self) {
        let through = self.log.sync();
        if self.settings.durability == Durability::Durable {
            self.tell(Event::Logged(through));
        }
    }

    /// Everything is delivered and repaired until the cluster is at rest; then all agree.
    fn settle(&mut self) {
        let mut rounds = 0;
        while !self.is_at_rest() {
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "the cluster does not come to rest");
            for index in 0..MEMBERS {
                if self.channel(index).is_none() {
                    self.connect(index);
                }
                while self.channels.iter().any(|c| {
                    c.member == index && c.leader_open && (!c.up.is_empty() || !c.member_open)
                }) {
                    self.deliver_up(index);
                }
            }
            self.sync();
            self.flush();
            for index in 0..MEMBERS {
                while self
                    .channel(index)
                    .is_some_and(|c| !c.down.is_empty() || !c.leader_open)
                {
                    self.deliver_down(index);
                }
                self.members[index].act(None, &mut self.log);
                self.drive(index);
            }
            self.tick(Span::from_millis(50));
        }
        for member in &mut self.members {
            member.compare(&self.leader);
        }
    }

    fn is_at_rest(&self) -> bool {
        let newest = CommitNumber(self.log.newest());
        self.members.iter().all(|member| {
            member.at == At::Idle
                && member.station.state() == State::Active
                && member.station.generation() == Some(self.log.generation)
                && member.newest() >= newest
                && !member.station.has_news()
        })
    }
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let settings = |durable: u8| vec![durable, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let busy = |durable: u8, disaster: u8| {
        let mut bytes = settings(durable);
        for n in 0..20u8 {
            let member = n % 3;
            bytes.extend([member, 0, member, 11, member, 3, member, 6, n, 0, 1, n]);
            bytes.extend([member, 7, n, 1, member, 8, member, 12, member, disaster]);
        }
        bytes
    };
    vec![
        ("quiet", settings(0)),
        ("busy", busy(0, 4)),
        ("durable", busy(1, 13)),
        ("disasters", busy(0, 15)),
    ]
}
