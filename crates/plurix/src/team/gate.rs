//! Where the service of a member sleeps: on all its connections at once, behind a gate.
//!
//! ```text
//!   connections ──► sockets ──► gate ──► service
//!                     (once, if armed)    ▲
//!   bell ─────────────────────────────────┘
//! ```
//!
//! Both are epoll instances, one in the other: so one system call opens and shuts the gate, however many
//! connections there are, and the gate shuts itself when it has woken the service.

use std::os::fd::OwnedFd;

use plurix_wire::Rank;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};

use super::baton::Gate;
use super::mesh::Links;
use crate::net::Connection;

/// What an armed gate waits for, once.
const OPEN: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

/// The gate before the connections of a member.
pub(super) struct Sockets {
    /// What is ready of the connections, by rank.
    sockets: OwnedFd,
    /// Whether any of them is, if it is armed, or the bell.
    gate: OwnedFd,
    bell: OwnedFd,
}

impl Sockets {
    /// An armed gate before `links`.
    pub(super) fn new(links: &Links) -> std::io::Result<Self> {
        let sockets = epoll::create(CreateFlags::CLOEXEC)?;
        for (rank, link) in links.iter().enumerate() {
            if let Some(link) = link {
                let data = EventData::new_u64(rank as u64);
                epoll::add(&sockets, link, data, EventFlags::IN)?;
            }
        }
        let gate = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&gate, &bell, EventData::new_u64(0), EventFlags::IN)?;
        epoll::add(&gate, &sockets, EventData::new_u64(1), OPEN)?;
        Ok(Self {
            sockets,
            gate,
            bell,
        })
    }

    /// Waits for room in the connection to `rank` as well, or no longer.
    pub(super) fn want_room(&self, rank: Rank, link: &Connection, wants: bool) {
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, wants);
        let data = EventData::new_u64(u64::from(rank.0));
        // It was added when this was made, and is there as long as the link.
        let _ = epoll::modify(&self.sockets, link, data, flags);
    }

    fn wait_for(&self, flags: EventFlags) {
        // It was added when this was made.
        let _ = epoll::modify(&self.gate, &self.sockets, EventData::new_u64(1), flags);
    }
}

impl Gate for Sockets {
    fn arm(&self) {
        self.wait_for(OPEN);
    }

    fn disarm(&self) {
        self.wait_for(EventFlags::empty());
    }

    fn sleep(&self) -> bool {
        let mut events = [const { std::mem::MaybeUninit::uninit() }; 2];
        let woken = epoll::wait(&self.gate, &mut events, None);
        matches!(woken, Ok(_) | Err(rustix::io::Errno::INTR))
    }

    fn ring(&self) {
        // Only a full counter is refused, which wakes as well.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}
