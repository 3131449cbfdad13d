//! The engine of a member: its state machine, its memory and its connections, and who drives them.
//!
//! ```text
//!   worker    computes ── fault, barrier, lock ──► takes the baton, drives, looks ── ready ──► computes
//!                                                      │ too long: sleeps until somebody has driven
//!   service   sleeps on all sockets ──► takes the baton if nobody has it, drives, wakes who sleeps
//! ```
//!
//! Whoever waits drives, as a station's program does. Those who compute are not disturbed: what others
//! ask of this station meanwhile is the service's, which sleeps on the sockets. They are behind a gate: it
//! is shut while a worker waits for an answer, for to wake the service as well would cost more than the
//! answer, and it shuts itself when it has woken the service. Whoever puts the baton down opens it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use plurix_memory::View;
use plurix_protocol::team::{Command, Member};
use plurix_wire::Rank;
use plurix_wire::message::peer::ToPeer;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFlags, eventfd};

use super::TeamError;
use super::mesh::Links;
use crate::net::{Connection, GLANCES, NetError, Spinner};

/// A worker that sleeps looks again after so long, whatever happens: for the end of the process behind a
/// connection is noticed by the service, and nothing else wakes it if that has ended.
const NAP: Duration = Duration::from_millis(100);
/// A worker that others have taken the processor from sleeps at once for no longer than this: it may be
/// the one that answers for its station.
const REST_MAX: Duration = Duration::from_millis(4);
/// What the gate waits for once, when it is open.
const OPEN: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

/// What a member consists of; whoever has the baton has all of it.
pub(super) struct Core {
    pub(super) member: Member,
    pub(super) view: View,
    links: Links,
    /// Connections that are watched for room as well, by rank.
    full: u64,
    spinner: Spinner,
    failure: Option<TeamError>,
    /// Workers that sleep until somebody has driven.
    sleepers: usize,
    pub(super) roll: Roll,
    pub(super) counts: Counts,
}

/// The workers of this station at a barrier.
#[derive(Debug, Default)]
pub(super) struct Roll {
    pub(super) arrived: u16,
    /// What each brings.
    pub(super) brings: Vec<u8>,
}

/// What a member has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Accesses that the protocol was asked for.
    pub faults: u64,
    /// Messages sent to others.
    pub messages: u64,
    /// Bytes of pages and of changes that were sent.
    pub bytes: u64,
    /// Runs of pages that were asked of others.
    pub fetches: u64,
    /// Messages with changed bytes that were sent.
    pub changes: u64,
}

/// The engine; workers, the handler of faults and the service share it.
pub(super) struct Engine {
    core: Mutex<Core>,
    /// Somebody has driven.
    driven: Condvar,
    /// Who wants the baton now.
    wanting: AtomicUsize,
    /// What is ready of the connections, by rank.
    sockets: OwnedFd,
    /// Whether any of them is, if it is open, or the bell.
    gate: OwnedFd,
    is_open: AtomicBool,
    bell: OwnedFd,
    is_over: AtomicBool,
}

type Held<'a> = MutexGuard<'a, Core>;

impl Engine {
    pub(super) fn new(
        member: Member,
        view: View,
        links: Links,
        spin: Duration,
    ) -> std::io::Result<Self> {
        let sockets = epoll::create(CreateFlags::CLOEXEC)?;
        for (rank, link) in links.iter().enumerate() {
            if let Some(link) = link {
                let data = EventData::new_u64(rank as u64);
                epoll::add(&sockets, link, data, EventFlags::IN)?;
                // Both sides begin awake.
                link.rouse();
            }
        }
        let gate = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&gate, &bell, EventData::new_u64(0), EventFlags::IN)?;
        epoll::add(&gate, &sockets, EventData::new_u64(1), OPEN)?;
        Ok(Self {
            core: Mutex::new(Core {
                member,
                view,
                links,
                full: 0,
                spinner: Spinner::new(spin, Instant::now()).resting_at_most(REST_MAX),
                failure: None,
                sleepers: 0,
                roll: Roll::default(),
                counts: Counts::default(),
            }),
            driven: Condvar::new(),
            wanting: AtomicUsize::new(0),
            sockets,
            gate,
            is_open: AtomicBool::new(true),
            bell,
            is_over: AtomicBool::new(false),
        })
    }

    /// Drives until `ready` answers something.
    ///
    /// # Errors
    /// Those of `ready`; [`TeamError`] if the team cannot go on.
    pub(super) fn wait<R>(
        &self,
        mut ready: impl FnMut(&mut Core) -> Result<Option<R>, TeamError>,
    ) -> Result<R, TeamError> {
        let mut core = self.take();
        let now = Instant::now();
        let mut spin_end = core.spinner.until(now);
        loop {
            let answer = core.attempt(&mut ready);
            let flushed = core.flush();
            match (answer, flushed) {
                (Ok(None), Ok(())) => self.shut(&core),
                (Err(error), _) | (Ok(_), Err(error)) => {
                    core.fail(error.clone());
                    self.driven.notify_all();
                    self.put(core);
                    return Err(error);
                }
                (Ok(Some(answer)), Ok(())) => {
                    self.put(core);
                    return Ok(answer);
                }
            }
            if core.look_often() {
                core.spinner.found();
                let pumped = core.pump();
                core.note(pumped);
                if core.sleepers > 0 {
                    self.driven.notify_all();
                }
            } else if self.wanting.load(Ordering::Relaxed) > 0 {
                drop(core);
                std::thread::yield_now();
                core = self.take();
            } else if Instant::now() >= spin_end || !core.spinner.offer() {
                core = self.sleep(core);
                // Where something has come, more may follow.
                let now = Instant::now();
                spin_end = core.spinner.until(now);
            }
        }
    }

    /// What the service does: sleeps on the sockets and drives when something comes and nobody else does.
    pub(super) fn serve(&self) {
        let mut events = Vec::with_capacity(2);
        while !self.is_over.load(Ordering::Acquire) {
            events.clear();
            let buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.gate, buffer, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            self.is_open.store(false, Ordering::Relaxed);
            // Whoever has the baton opens the gate when it puts it down; here it was seen shut before it
            // was looked whether somebody has it.
            fence(Ordering::SeqCst);
            let core = match self.core.try_lock() {
                Ok(core) => core,
                Err(TryLockError::Poisoned(core)) => core.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            self.attend(core);
        }
    }

    fn attend(&self, mut core: Held<'_>) {
        core.rouse();
        for link in core.links.iter_mut().flatten() {
            // A failure shows itself in the next read.
            let _ = link.notice_end();
        }
        let pumped = core.pump().and_then(|()| core.flush());
        core.note(pumped);
        if core.sleepers > 0 {
            self.driven.notify_all();
        }
        self.put(core);
    }

    /// Gives the team up, unless it has failed already.
    pub(super) fn give_up(&self, why: TeamError) {
        let mut core = self.take();
        if core.failure.is_none() {
            core.member.give_up();
            // Others find out by the end of the connection, if not by this.
            let _ = core.flush();
            core.fail(why);
        }
        self.driven.notify_all();
    }

    /// Leaves the team without a word, unless it has failed already: the others find this member lost, and
    /// wait for whoever takes its place.
    pub(super) fn abandon(&self) {
        self.take().fail(TeamError::WorkerFailed);
        self.driven.notify_all();
    }

    /// Ends the service.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        // Only a full counter is refused, which wakes as well.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Takes the baton.
    pub(super) fn take(&self) -> Held<'_> {
        self.wanting.fetch_add(1, Ordering::Relaxed);
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanting.fetch_sub(1, Ordering::Relaxed);
        core.rouse();
        core
    }

    /// Puts the baton down, and sees to it that the service wakes when something comes.
    fn put(&self, mut core: Held<'_>) {
        while !core.doze() {
            core.rouse();
            let pumped = core.pump().and_then(|()| core.flush());
            core.note(pumped);
            if core.failure.is_some() {
                break;
            }
        }
        self.open(&mut core);
        drop(core);
        // The gate may have woken the service while the baton was held, which has gone to sleep again.
        fence(Ordering::SeqCst);
        if !self.is_open.load(Ordering::Relaxed)
            && let Ok(mut core) = self.core.try_lock()
        {
            self.open(&mut core);
        }
    }

    /// Lets the service be woken.
    fn open(&self, core: &mut Core) {
        if core.failure.is_some() {
            return;
        }
        core.watch(&self.sockets);
        if !self.is_open.swap(true, Ordering::Relaxed) {
            // It was added when the engine was made.
            let _ = epoll::modify(&self.gate, &self.sockets, EventData::new_u64(1), OPEN);
        }
    }

    /// Lets the service sleep, while somebody waits for an answer. Through shared memory nothing comes
    /// that could wake it.
    fn shut(&self, core: &Core) {
        let mut links = core.links.iter().flatten();
        if !links.all(Connection::shares_memory) && self.is_open.swap(false, Ordering::Relaxed) {
            let none = EventFlags::empty();
            let _ = epoll::modify(&self.gate, &self.sockets, EventData::new_u64(1), none);
        }
    }

    /// Sleeps until somebody has driven.
    fn sleep<'a>(&'a self, mut core: Held<'a>) -> Held<'a> {
        if !core.doze() {
            core.rouse();
            let pumped = core.pump().and_then(|()| core.flush());
            core.note(pumped);
            return core;
        }
        self.open(&mut core);
        core.sleepers += 1;
        let woken = self.driven.wait_timeout(core, NAP);
        let (mut core, _) = woken.unwrap_or_else(PoisonError::into_inner);
        core.sleepers -= 1;
        core.rouse();
        core
    }
}

impl Core {
    /// Asks whether a wait is over, unless the team has failed.
    fn attempt<R>(
        &mut self,
        ready: &mut impl FnMut(&mut Self) -> Result<Option<R>, TeamError>,
    ) -> Result<Option<R>, TeamError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let answer = ready(self)?;
        self.check_memory()?;
        Ok(answer)
    }

    /// Whether the kernel has done all that the protocol asked of the memory.
    fn check_memory(&mut self) -> Result<(), TeamError> {
        match self.view.take_failure() {
            Some(error) => Err(TeamError::Memory(Arc::new(error))),
            None => Ok(()),
        }
    }

    /// Why the team cannot go on, if it cannot.
    pub(super) fn failure(&self) -> Option<&TeamError> {
        self.failure.as_ref()
    }

    /// Looks some times whether anything has come.
    fn look_often(&mut self) -> bool {
        let looks = self.spinner.looks();
        for _ in 0..looks {
            for link in self.links.iter_mut().flatten() {
                let glances = if link.shares_memory() { GLANCES } else { 1 };
                // What fails shows itself when it is pumped.
                if (0..glances).any(|_| link.look().unwrap_or(true)) {
                    return true;
                }
            }
        }
        false
    }

    /// Takes what has come.
    fn pump(&mut self) -> Result<(), TeamError> {
        for rank in 0..self.links.len() {
            let Some(link) = &mut self.links[rank] else {
                continue;
            };
            let from = Rank(rank as u16);
            let lost = |source: NetError| TeamError::lost(from, &source);
            let looked = link.look();
            while let Some(message) = link.next::<ToPeer>().map_err(lost)? {
                self.member.handle(from, message, &mut self.view)?;
            }
            self.check_memory()?;
            match looked {
                Ok(_) => {}
                Err(_) if self.member.has_left(from) => self.links[rank] = None,
                Err(source) => return Err(lost(source)),
            }
        }
        Ok(())
    }

    /// Sends what is due, as far as the connections take it.
    fn flush(&mut self) -> Result<(), TeamError> {
        while let Some(Command::Tell(rank, message)) = self.member.poll() {
            self.count(&message);
            if let Some(link) = &mut self.links[usize::from(rank.0)] {
                link.send(&message)
                    .map_err(|source| TeamError::lost(rank, &source))?;
            }
        }
        for (rank, link) in self.links.iter_mut().enumerate() {
            if let Some(link) = link.as_mut().filter(|link| link.is_sending()) {
                link.flush()
                    .map_err(|source| TeamError::lost(Rank(rank as u16), &source))?;
            }
        }
        Ok(())
    }

    fn count(&mut self, message: &ToPeer) {
        self.counts.messages += 1;
        match message {
            ToPeer::Fetch { .. } => self.counts.fetches += 1,
            ToPeer::Pages(pages) => self.counts.bytes += pages.bytes.len() as u64,
            ToPeer::Changes(changes) => {
                self.counts.changes += 1;
                self.counts.bytes += changes.diffs.as_bytes().len() as u64;
            }
            _ => {}
        }
    }

    fn note(&mut self, outcome: Result<(), TeamError>) {
        if let Err(error) = outcome {
            self.fail(error);
        }
    }

    /// The team cannot go on: programs run on with whatever is in memory until they ask the library.
    fn fail(&mut self, error: TeamError) {
        if self.failure.is_none() {
            self.failure = Some(error);
            // What cannot be opened faults again, and is told the same.
            let _ = self.view.abandon();
        }
    }

    /// Watches those connections for room that want some.
    fn watch(&mut self, sockets: &OwnedFd) {
        for (rank, link) in self.links.iter().enumerate() {
            let Some(link) = link else { continue };
            let is_full = link.interest().contains(PollFlags::OUT);
            if is_full != (self.full >> rank & 1 == 1) {
                let mut flags = EventFlags::IN;
                flags.set(EventFlags::OUT, is_full);
                let data = EventData::new_u64(rank as u64);
                // It was added when the engine was made, and is there as long as the link.
                let _ = epoll::modify(sockets, link, data, flags);
                self.full ^= 1 << rank;
            }
        }
    }

    fn rouse(&self) {
        self.links.iter().flatten().for_each(Connection::rouse);
    }

    /// Says that nobody looks from here on; answers whether nothing has come meanwhile.
    fn doze(&self) -> bool {
        self.links.iter().flatten().all(Connection::doze)
    }
}
