//! Connections between stations and the leader: ordered each on its own, slow, late, and lost at
//! any moment together with what was under way.
//!
//! ```text
//!   station                                leader
//!     | ---- frames, in order ------------> |     arrival = departure + delay, never overtaking
//!     | <--- frames, a bounded window ----- |     departure waits for the link's speed
//!     X      cut: frames under way vanish   X     each end learns it after a time of its own
//!     # ==== partition: frames are held ==== #     and arrive when it ends, as TCP sends them again
//!     ( )    black hole: accepts, never gives     only silence tells
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use plurix_protocol::{ConnectionId, Span, Time};

use crate::random::{Purpose, Random};

/// The longest that a frame travels in a squall, in microseconds.
const SQUALL_US_MAX: u64 = 20_000;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Leader,
    Station,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Leader => Self::Station,
            Self::Station => Self::Leader,
        }
    }
}

/// Who is at the other end of a connection to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Member(usize),
    /// No member, and not honest.
    Stranger,
}

/// What connections are like.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// Time that a frame travels, in microseconds.
    pub(crate) delay_us: Range<u64>,
    /// Time that a slow link takes for a byte, in nanoseconds.
    pub(crate) slow_ns: u64,
    /// How many of a hundred links are slow.
    pub(crate) slow_percent: u64,
    /// Bytes under way after which the leader must wait.
    pub(crate) window_bytes: usize,
    /// Time until an end notices that a connection was cut, in microseconds.
    pub(crate) notice_us: Range<u64>,
}

#[derive(Debug, Default)]
struct Pipe {
    /// Each with the number by which the trace knows it.
    frames: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
    /// The last frame's departure and arrival.
    departed: Time,
    arrived: Time,
}

#[derive(Debug)]
struct Link {
    peer: Peer,
    /// Frames towards the leader, and towards the station.
    pipes: [Pipe; 2],
    /// Whether the leader's and the station's end believe in it.
    open: [bool; 2],
    severed: bool,
    /// The station's process ended, and the leader's kernel knows.
    died: bool,
    byte_ns: u64,
    /// Whether frames towards the leader's and the station's end vanish without a word.
    swallows: [bool; 2],
}

/// Stations that are cut off from the leader for a while.
#[derive(Debug)]
struct Wall {
    members: Vec<usize>,
    /// The ends that hear nothing.
    sides: Vec<Side>,
    until: Time,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Network {
    weather: Weather,
    links: BTreeMap<ConnectionId, Link>,
    connections: u64,
    walls: Vec<Wall>,
    /// Until then frames take any time of a wide range, each its own.
    squall_until: Time,
    seed: u64,
    /// For strangers; each station's links draw from a stream of their own.
    random: Random,
    randoms: BTreeMap<usize, Random>,
    frames: u64,
    /// Frames that were under way when their connection broke.
    vanished: Vec<u64>,
}

impl Network {
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            links: BTreeMap::new(),
            connections: 0,
            walls: Vec::new(),
            squall_until: Time(0),
            seed,
            random: Random::new(seed, Purpose::Network),
            randoms: BTreeMap::new(),
            frames: 0,
            vanished: Vec::new(),
        }
    }

    /// Faults are over: links are quick, and connections that swallow frames are cut, as somebody
    /// would in the end; answers which.
    pub(crate) fn calm(&mut self) -> Vec<ConnectionId> {
        self.weather.slow_percent = 0;
        self.weather.delay_us = 20..200;
        self.links.values_mut().for_each(|link| link.byte_ns = 0);
        self.walls.clear();
        self.squall_until = Time(0);
        let holes = self
            .links
            .iter()
            .filter(|(_, link)| link.swallows != [false; 2]);
        holes.map(|(id, _)| *id).collect()
    }

    fn random(&mut self, peer: Peer) -> &mut Random {
        let seed = self.seed;
        match peer {
            Peer::Member(member) => {
                let fresh = || Random::new(seed, Purpose::Links(member));
                self.randoms.entry(member).or_insert_with(fresh)
            }
            Peer::Stranger => &mut self.random,
        }
    }

    fn delay(&mut self, now: Time, id: ConnectionId) -> Option<Span> {
        let range = self.weather.delay_us.clone();
        let is_squall = now < self.squall_until;
        let peer = self.peer(id)?;
        let random = self.random(peer);
        Some(match is_squall {
            true => Span::from_micros(random.log_within(1..SQUALL_US_MAX)),
            false => random.micros(range),
        })
    }

    /// Until when a station cannot reach the leader, if a wall is between them.
    pub(crate) fn walled_until(&self, now: Time, member: usize) -> Option<Time> {
        let walls = self.walls.iter().filter(|wall| wall.until > now);
        let own = walls.filter(|wall| wall.members.contains(&member));
        own.map(|wall| wall.until).max()
    }

    /// Until when a frame that is due at this end is held by a wall.
    pub(crate) fn held_until(&self, now: Time, id: ConnectionId, at: Side) -> Option<Time> {
        let Peer::Member(member) = self.peer(id)? else {
            return None;
        };
        let walls = self.walls.iter().filter(|wall| wall.until > now);
        let own = walls.filter(|w| w.members.contains(&member) && w.sides.contains(&at));
        own.map(|wall| wall.until).max()
    }

    pub(crate) fn connect(&mut self, peer: Peer) -> ConnectionId {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let percent = self.weather.slow_percent;
        let slow = self.random(peer).chance(percent);
        let link = Link {
            peer,
            pipes: Default::default(),
            open: [true; 2],
            severed: false,
            died: false,
            byte_ns: if slow { self.weather.slow_ns } else { 0 },
            swallows: [false; 2],
        };
        self.links.insert(id, link);
        id
    }

    /// Puts a frame under way, whatever is in it; answers its number, and when it will arrive, if
    /// ever.
    pub(crate) fn send(
        &mut self,
        now: Time,
        id: ConnectionId,
        to: Side,
        bytes: Vec<u8>,
    ) -> Option<(u64, Option<Time>)> {
        let delay = self.delay(now, id)?;
        let link = self.links.get_mut(&id)?;
        if link.severed || !link.open[to as usize] {
            return None;
        }
        let pipe = &mut link.pipes[to as usize];
        pipe.departed = now.max(pipe.departed) + Span(link.byte_ns * bytes.len() as u64);
        pipe.arrived = pipe.arrived.max(pipe.departed + delay);
        pipe.bytes += bytes.len();
        self.frames += 1;
        pipe.frames.push_back((self.frames, bytes));
        let arrival = (!link.swallows[to as usize]).then_some(pipe.arrived);
        Some((self.frames, arrival))
    }

    /// The frame that has arrived, unless it was lost, and its number.
    pub(crate) fn receive(&mut self, id: ConnectionId, at: Side) -> Option<(u64, Vec<u8>)> {
        let link = self.links.get_mut(&id)?;
        let pipe = &mut link.pipes[at as usize];
        let (frame, bytes) = pipe.frames.pop_front()?;
        pipe.bytes -= bytes.len();
        if !link.open[at as usize] {
            self.vanished.push(frame);
            return None;
        }
        Some((frame, bytes))
    }

    /// The frames that vanished since this was last asked.
    pub(crate) fn take_vanished(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.vanished)
    }

    /// Whether the leader may put another batch on its way.
    pub(crate) fn has_room(&self, id: ConnectionId) -> bool {
        self.links
            .get(&id)
            .is_none_or(|link| link.pipes[Side::Station as usize].bytes < self.weather.window_bytes)
    }

    pub(crate) fn peer(&self, id: ConnectionId) -> Option<Peer> {
        self.links.get(&id).map(|link| link.peer)
    }

    /// This end closes. Answers when the other one will know; what it had sent arrives before, unless
    /// `lossy`.
    pub(crate) fn close(
        &mut self,
        now: Time,
        id: ConnectionId,
        side: Side,
        lossy: bool,
    ) -> Option<Time> {
        let delay = self.delay(now, id)?;
        let link = self.links.get_mut(&id)?;
        link.open[side as usize] = false;
        if lossy {
            self.vanished.extend(sever(link));
        }
        let other = side.other() as usize;
        let is_told = link.open[other] && !link.swallows[other];
        let when = is_told.then(|| link.pipes[other].arrived.max(now) + delay);
        self.sweep(id);
        when
    }

    /// The station's process ended and its kernel says so.
    pub(crate) fn prove_death(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.died = true;
        }
    }

    /// The connection breaks; answers when the leader's and the station's end will know.
    pub(crate) fn cut(&mut self, now: Time, id: ConnectionId) -> Option<[Time; 2]> {
        let notice = self.weather.notice_us.clone();
        let peer = self.peer(id)?;
        let random = self.random(peer);
        let spans = [random.micros(notice.clone()), random.micros(notice)];
        let link = self.links.get_mut(&id)?;
        self.vanished.extend(sever(link));
        Some(spans.map(|span| now + span))
    }

    /// Frames in these directions are held until `until`, and the stations cannot connect.
    pub(crate) fn part(&mut self, now: Time, members: Vec<usize>, sides: &[Side], until: Time) {
        self.walls.retain(|wall| wall.until > now);
        for link in self.links.values_mut() {
            if matches!(link.peer, Peer::Member(member) if members.contains(&member)) {
                for side in sides {
                    let pipe = &mut link.pipes[*side as usize];
                    pipe.arrived = pipe.arrived.max(until);
                }
            }
        }
        let sides = sides.to_vec();
        self.walls.push(Wall {
            members,
            sides,
            until,
        });
    }

    /// From now on what is sent towards this end vanishes, and so does the news of a close.
    pub(crate) fn swallow(&mut self, id: ConnectionId, to: Side) {
        if let Some(link) = self.links.get_mut(&id) {
            link.swallows[to as usize] = true;
        }
    }

    /// Until `until` links overtake each other.
    pub(crate) fn squall(&mut self, until: Time) {
        self.squall_until = until;
    }

    /// Nothing arrives at this end before `until`.
    pub(crate) fn stall(&mut self, id: ConnectionId, at: Side, until: Time) {
        if let Some(link) = self.links.get_mut(&id) {
            let pipe = &mut link.pipes[at as usize];
            pipe.arrived = pipe.arrived.max(until);
        }
    }

    /// This end learns of the close; answers whether it did not know, and the station died.
    pub(crate) fn closed(&mut self, id: ConnectionId, side: Side) -> Option<bool> {
        let link = self.links.get_mut(&id)?;
        let died = link.died;
        let news = std::mem::take(&mut link.open[side as usize]);
        self.sweep(id);
        news.then_some(died)
    }

    /// The connections that this end believes in.
    pub(crate) fn open(&self, side: Side) -> Vec<ConnectionId> {
        let open = self
            .links
            .iter()
            .filter(|(_, link)| link.open[side as usize]);
        open.map(|(id, _)| *id).collect()
    }

    fn sweep(&mut self, id: ConnectionId) {
        if self
            .links
            .get(&id)
            .is_some_and(|link| link.open == [false; 2])
        {
            self.links.remove(&id);
        }
    }
}

/// Breaks the link; answers the frames that were under way.
fn sever(link: &mut Link) -> Vec<u64> {
    link.severed = true;
    let mut vanished = Vec::new();
    for pipe in &mut link.pipes {
        vanished.extend(pipe.frames.drain(..).map(|(frame, _)| frame));
        pipe.bytes = 0;
    }
    vanished
}
