//! Who is a member: joins, lost connections, silence, and the end of an incarnation.
//!
//! ```text
//!              join                     connection lost
//!   (nobody) --------> connected ------------------------> lost
//!                        |  ^            resume             |  |
//!                        |  +-------------------------------+  | too long, or the
//!          silent too long, leave, connection proves death     | process is known dead
//!                        v                                     v
//!                       gone: the incarnation never speaks again
//! ```

use std::collections::BTreeMap;

use plurix_wire::message::insight::StationNumbers;
use plurix_wire::message::{Member, StationStatus};
use plurix_wire::{CommitNumber, Incarnation, PageNumber, StationId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::outcomes::Outcomes;
use super::pages::Slot;
use super::pipeline::Seen;
use super::stream::Stream;
use crate::{ConnectionId, Time};

/// One living incarnation.
#[derive(Debug, Clone)]
pub(crate) struct MemberState {
    pub(crate) member: Member,
    pub(crate) link: Link,
    pub(crate) stream: Stream,
    pub(crate) outcomes: Outcomes,
    pub(crate) seen: Seen,
    pub(crate) held: FxHashSet<PageNumber>,
    /// When it was last sent a batch.
    pub(crate) said: Time,
    /// It is due a batch even if there is no news.
    pub(crate) pulse: bool,
    /// It wants to hear when everything through this commit is durable.
    pub(crate) awaits_durable: Option<CommitNumber>,
    /// It sleeps until one of its pages changes.
    pub(crate) watches: bool,
    pub(crate) turn: Turn,
    /// The newest commit whose changes are queued for it.
    pub(crate) reached: CommitNumber,
    pub(crate) commits: u64,
    pub(crate) conflicts: u64,
    pub(crate) fetches: u64,
    /// What it told of itself last.
    pub(crate) numbers: Option<Box<StationNumbers>>,
}

/// How a member can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Connected {
        connection: ConnectionId,
        heard: Time,
    },
    Lost {
        since: Time,
    },
}

/// Which of the leader's lists a member is on; the highest that applies. It leaves its turn when it
/// is asked for a batch, or has none to give; a turn that is never left would silence it for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Turn {
    #[default]
    None,
    /// There is news that nobody waits for.
    Lazy,
    /// There is something that the station waits for.
    Urgent,
}

impl MemberState {
    /// A member that has just come to life, or back to it from the log.
    pub(crate) fn new(member: Member, link: Link, now: Time, through: CommitNumber) -> Self {
        Self {
            member,
            link,
            stream: Stream::new(through, BTreeMap::new()),
            outcomes: Outcomes::default(),
            seen: Seen::default(),
            held: FxHashSet::default(),
            said: now,
            pulse: false,
            awaits_durable: None,
            watches: false,
            turn: Turn::default(),
            reached: CommitNumber(0),
            commits: 0,
            conflicts: 0,
            fetches: 0,
            numbers: None,
        }
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self.link {
            Link::Connected { connection, .. } => Some(connection),
            Link::Lost { .. } => None,
        }
    }

    pub(crate) fn status(&self) -> StationStatus {
        StationStatus {
            station: self.member.station.0,
            incarnation: self.member.incarnation.0,
            observer: self.member.observer,
            connected: self.connection().is_some(),
            commits: self.commits,
            conflicts: self.conflicts,
            pages: self.held.len() as u64,
            backlog_bytes: self.stream.backlog_bytes() as u64,
            fetches: self.fetches,
            numbers: self.numbers.clone(),
            ..StationStatus::default()
        }
    }
}

/// The table of members, found by slot, incarnation or connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    pub(super) slots: Vec<Option<MemberState>>,
    by_incarnation: BTreeMap<Incarnation, Slot>,
    by_connection: FxHashMap<ConnectionId, Slot>,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.by_incarnation.len()
    }

    /// The members, in the order of their incarnations.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &MemberState)> {
        self.by_incarnation
            .values()
            .map(|slot| (*slot, self.get(*slot)))
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.by_incarnation.values().copied().collect()
    }

    pub(crate) fn of_connection(&self, connection: ConnectionId) -> Option<Slot> {
        self.by_connection.get(&connection).copied()
    }

    pub(crate) fn of_incarnation(&self, incarnation: Incarnation) -> Option<Slot> {
        self.by_incarnation.get(&incarnation).copied()
    }

    pub(crate) fn of_station(&self, station: StationId) -> Option<Slot> {
        self.iter()
            .find(|(_, state)| state.member.station == station)
            .map(|(slot, _)| slot)
    }

    /// The smallest station number, from `least`, that nobody has.
    pub(crate) fn free_station(&self, least: u32) -> StationId {
        let mut taken: Vec<u32> = self
            .iter()
            .map(|(_, state)| state.member.station.0)
            .collect();
        taken.sort_unstable();
        let mut free = least;
        for station in taken {
            free += u32::from(station == free);
        }
        StationId(free)
    }

    pub(crate) fn is_living(&self, slot: Slot) -> bool {
        self.slots
            .get(usize::from(slot))
            .is_some_and(Option::is_some)
    }

    pub(crate) fn get(&self, slot: Slot) -> &MemberState {
        self.slots[usize::from(slot)]
            .as_ref()
            .expect("slot of a living member")
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut MemberState {
        self.slots[usize::from(slot)]
            .as_mut()
            .expect("slot of a living member")
    }

    pub(crate) fn insert(&mut self, state: MemberState) -> Slot {
        let free = self.slots.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let slot = Slot::try_from(index).expect("bounded by the limit on stations");
        let previous = self.by_incarnation.insert(state.member.incarnation, slot);
        assert!(previous.is_none(), "an incarnation joins once");
        if let Some(connection) = state.connection() {
            self.by_connection.insert(connection, slot);
        }
        self.slots[index] = Some(state);
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let state = self.slots[usize::from(slot)]
            .take()
            .expect("slot of a living member");
        self.by_incarnation.remove(&state.member.incarnation);
        if let Some(connection) = state.connection() {
            self.by_connection.remove(&connection);
        }
    }

    /// Gives the member another link; answers the connection it had.
    pub(crate) fn relink(&mut self, slot: Slot, link: Link) -> Option<ConnectionId> {
        let state = self.get_mut(slot);
        let before = state.connection();
        state.link = link;
        let after = state.connection();
        if let Some(connection) = before {
            self.by_connection.remove(&connection);
        }
        if let Some(connection) = after {
            self.by_connection.insert(connection, slot);
        }
        before
    }

    /// Nobody's silence so far counts.
    pub(crate) fn excuse(&mut self, now: Time) {
        for state in self.slots.iter_mut().flatten() {
            match &mut state.link {
                Link::Connected { heard: last, .. } | Link::Lost { since: last } => *last = now,
            }
        }
    }

    /// The member on `connection` was heard.
    pub(crate) fn heard(&mut self, slot: Slot, now: Time) {
        if let Link::Connected { heard, .. } = &mut self.get_mut(slot).link {
            *heard = now;
        }
    }
}
