//! The connections of a team: what is sent on one arrives in the order in which it was sent, some time
//! later; between two of them there is no order.

use std::collections::{BTreeMap, VecDeque};

use plurix_protocol::{Span, Time};

use super::plan::Weather;
use crate::random::{Purpose, Random};

/// A direction of a connection: from one station to another.
pub(super) type Link = (usize, usize);

#[derive(Debug, Default)]
struct Wire {
    frames: VecDeque<(u64, Vec<u8>)>,
    /// When the last one arrives.
    busy_until: Time,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Network {
    weather: Weather,
    wires: BTreeMap<Link, Wire>,
    /// By connection, how many times longer everything takes.
    slowness: BTreeMap<Link, u64>,
    random: Random,
    frames: u64,
}

impl Network {
    /// Connections whose delays are drawn for `purpose`.
    pub(super) fn new(seed: u64, purpose: Purpose, weather: Weather) -> Self {
        Self {
            weather,
            wires: BTreeMap::new(),
            slowness: BTreeMap::new(),
            random: Random::new(seed, purpose),
            frames: 0,
        }
    }

    /// Sends a frame; answers its number, and when it arrives.
    pub(super) fn send(&mut self, now: Time, link: Link, bytes: Vec<u8>) -> (u64, Time) {
        let Self {
            weather, random, ..
        } = self;
        let factor = self.slowness.entry(link).or_insert_with(|| {
            let is_slow = random.chance(weather.slow_percent);
            if is_slow { 10 } else { 1 }
        });
        let range = match random.chance(weather.late_percent) {
            true => weather.late_us.clone(),
            false => weather.delay_us.clone(),
        };
        let delay = Span(random.micros(range).0 * *factor);
        let wire = self.wires.entry(link).or_default();
        self.frames += 1;
        wire.frames.push_back((self.frames, bytes));
        wire.busy_until = wire.busy_until.max(now + delay);
        (self.frames, wire.busy_until)
    }

    /// The oldest frame under way on a connection.
    pub(super) fn take(&mut self, link: Link) -> Option<(u64, Vec<u8>)> {
        self.wires.get_mut(&link)?.frames.pop_front()
    }

    /// When all that is under way on a connection will have arrived.
    pub(super) fn busy_until(&self, link: Link) -> Time {
        self.wires
            .get(&link)
            .map_or(Time(0), |wire| wire.busy_until)
    }

    /// Loses what is under way on a connection.
    pub(super) fn lose(&mut self, link: Link) {
        self.wires.remove(&link);
    }

    /// Whether anything is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.wires.values().any(|wire| !wire.frames.is_empty())
    }

    /// Loses everything that is under way.
    pub(super) fn clear(&mut self) {
        self.wires.clear();
    }
}
