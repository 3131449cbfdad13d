//! What will happen, in the order of virtual time; of two things at one time, the one that was
//! scheduled first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use plurix_protocol::{ConnectionId, Time};

use crate::nemesis::Fault;
use crate::network::Side;

/// One thing that will happen. Events of a process name its life: a dead one's change nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// The next frame of a connection reaches this end.
    Deliver(ConnectionId, Side),
    /// An end of a connection learns that it is closed.
    Closed(ConnectionId, Side),
    /// A station tries to connect.
    Connect { member: usize, life: u64 },
    /// A station's program goes on.
    Wake {
        member: usize,
        life: u64,
        token: u64,
    },
    /// A station's protocol wants to look at the time.
    MemberTick { member: usize, life: u64 },
    /// The library's service looks after a session.
    Service { member: usize, life: u64 },
    /// The leader wants to look at the time.
    LeaderTick { life: u64 },
    /// The log's sync returns.
    Synced { life: u64 },
    /// The sync that the leader asked for, while it serves everybody, has ended.
    SyncedAside { life: u64 },
    /// The disk has done a piece of the leader's background work.
    LeaderJob { life: u64 },
    /// A station's process is killed, whichever it is.
    Crash { member: usize },
    /// A station is started again.
    StartMember { member: usize },
    /// The leader is started again.
    StartLeader,
    /// There is room on the disk again.
    DiskFree,
    /// Something breaks.
    Fault(Fault),
    /// Nothing breaks any more.
    Heal,
}

#[derive(Debug)]
struct Entry<E> {
    time: Time,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

/// The events to come.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    order: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            order: 0,
        }
    }
}

impl<E> Queue<E> {
    pub(crate) fn push(&mut self, time: Time, event: E) {
        self.order += 1;
        self.heap.push(Reverse(Entry {
            time,
            order: self.order,
            event,
        }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, E)> {
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.time, entry.event))
    }
}
