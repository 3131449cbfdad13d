//! The engine of a member: its state machine, its memory and its connections, and who drives them.
//!
//! ```text
//!   worker    computes ── fault, barrier, lock ──► takes the baton, drives, looks ── ready ──► computes
//!                                                      │ too long: sleeps until somebody has driven
//!   another   waits, too ──► looks whether the one who drives has come upon something, then takes its place
//!   service   sleeps on all sockets ──► takes the baton if nobody has it, drives, wakes who sleeps
//! ```
//!
//! Whoever waits drives, as a station's program does. Those who compute are not disturbed: what others
//! ask of this station meanwhile is the service's, which sleeps on the sockets. They are behind a gate: it
//! is shut while a worker waits for an answer, for to wake the service as well would cost more than the
//! answer, and it shuts itself when it has woken the service. Whoever puts the baton down opens it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plurix_memory::View;
use plurix_protocol::team::{Command, Member};
use plurix_wire::message::peer::ToPeer;
use plurix_wire::message::recovery_line::LineState;
use plurix_wire::{CommitNumber, Rank};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFlags, eventfd};

use super::TeamError;
use super::keeper::Mailbox;
use super::mesh::Links;
use super::recovery_line::Lines;
use crate::net::{Connection, GLANCES, NetError, Spinner};

/// A worker that sleeps looks again after so long, whatever happens: for the end of the process behind a
/// connection is noticed by the service, and nothing else wakes it if that has ended.
const NAP: Duration = Duration::from_millis(100);
/// A worker that others have taken the processor from sleeps at once for no longer than this: it may be
/// the one that answers for its station.
const REST_MAX: Duration = Duration::from_millis(4);
/// Looks of a worker that another one drives for, before it offers the processor to others.
const WATCH_LOOKS: u32 = 64;
/// Looks for the baton before sleeping on it: some microseconds.
const TAKE_LOOKS: u32 = 100;
/// What the gate waits for once, when it is open.
const OPEN: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

/// What a member consists of; whoever has the baton has all of it.
pub(super) struct Core {
    pub(super) member: Member,
    /// Before the view, which goes slowly: others learn from their ends that this station is gone.
    links: Links,
    pub(super) view: View,
    /// Connections that are watched for room as well, by rank.
    full: u64,
    spinner: Spinner,
    failure: Option<TeamError>,
    /// Workers that sleep until somebody has driven.
    sleepers: usize,
    /// A worker drives while it waits, and holds the baton most of the time.
    is_driven: bool,
    pub(super) roll: Roll,
    pub(super) lines: Lines,
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
    /// Pages that came from others.
    pub pages: u64,
    /// Pages that others told to have written, at barriers, with locks and flags.
    pub notices: u64,
}

/// The engine; workers, the handler of faults and the service share it.
pub(super) struct Engine {
    core: Mutex<Core>,
    /// Somebody has driven.
    driven: Condvar,
    /// Who wants the baton now.
    wanting: AtomicUsize,
    /// Counts what workers may have waited for.
    progress: AtomicU64,
    /// How long to look before sleeping.
    spin: Duration,
    /// What is ready of the connections, by rank.
    sockets: OwnedFd,
    /// Whether any of them is, if it is open, or the bell.
    gate: OwnedFd,
    is_open: AtomicBool,
    bell: OwnedFd,
    is_over: AtomicBool,
    /// What the keeper of recovery lines shall do.
    pub(super) mailbox: Mailbox,
}

type Held<'a> = MutexGuard<'a, Core>;

impl Engine {
    pub(super) fn new(
        member: Member,
        view: View,
        links: Links,
        lines: Lines,
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
        let mailbox = lines.mailbox().clone();
        Ok(Self {
            mailbox,
            core: Mutex::new(Core {
                member,
                view,
                links,
                full: 0,
                spinner: Spinner::new(spin, Instant::now()).resting_at_most(REST_MAX),
                failure: None,
                sleepers: 0,
                is_driven: false,
                roll: Roll::default(),
                lines,
                counts: Counts::default(),
            }),
            driven: Condvar::new(),
            wanting: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
            spin,
            sockets,
            gate,
            is_open: AtomicBool::new(true),
            bell,
            is_over: AtomicBool::new(false),
        })
    }

    /// Drives until `ready` answers something, or lets another worker drive who waits as well.
    ///
    /// # Errors
    /// Those of `ready`; [`TeamError`] if the team cannot go on.
    pub(super) fn wait<R>(
        &self,
        mut ready: impl FnMut(&mut Core) -> Result<Option<R>, TeamError>,
    ) -> Result<R, TeamError> {
        let mut core = self.take();
        let mut spin_end = core.spinner.until(Instant::now());
        let mut drives = false;
        loop {
            let answer = core.attempt(&mut ready);
            let flushed = core.flush();
            if let (Ok(true), Ok(None)) = (&flushed, &answer) {
                continue;
            }
            let outcome = match flushed.and(answer) {
                Ok(None) => None,
                Ok(Some(answer)) => Some(Ok(answer)),
                Err(error) => {
                    core.fail(error.clone());
                    Some(Err(error))
                }
            };
            if let Some(outcome) = outcome {
                core.is_driven &= !drives;
                self.announce(&core);
                self.put(core);
                return outcome;
            }
            if core.is_driven && !drives {
                core = self.watch(core);
                continue;
            }
            if !drives {
                (drives, core.is_driven) = (true, true);
                self.shut(&core);
            }
            if core.look_often() {
                core.spinner.found();
                let pumped = core.pump();
                core.note(pumped);
                self.announce(&core);
            } else if self.wanting.load(Ordering::Relaxed) > 0 {
                core = self.lend(core);
            } else if Instant::now() >= spin_end || !core.spinner.offer() {
                (drives, core.is_driven) = (false, false);
                self.announce(&core);
                core = self.sleep(core);
                // Where something has come, more may follow.
                spin_end = core.spinner.until(Instant::now());
            }
        }
    }

    /// Tells other workers that what they wait for may be there, or that nobody drives any more.
    fn announce(&self, core: &Core) {
        self.progress.fetch_add(1, Ordering::Release);
        if core.sleepers > 0 {
            self.driven.notify_all();
        }
    }

    /// Lets those have the baton for a moment who want it, while this worker drives.
    fn lend<'a>(&'a self, core: Held<'a>) -> Held<'a> {
        drop(core);
        // Were it taken again at once, who sleeps on it would hardly ever get it.
        while self.wanting.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        self.take()
    }

    /// Waits until the worker that drives has come upon something.
    fn watch<'a>(&'a self, core: Held<'a>) -> Held<'a> {
        let seen = self.progress.load(Ordering::Acquire);
        drop(core);
        let begin = Instant::now();
        let is_new = || self.progress.load(Ordering::Acquire) != seen;
        while begin.elapsed() < self.spin {
            let looks = |_| {
                std::hint::spin_loop();
                is_new()
            };
            if (0..WATCH_LOOKS).any(looks) {
                return self.take();
            }
            std::thread::yield_now();
        }
        let core = self.take();
        if is_new() { core } else { self.sleep(core) }
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
            // Whoever has the baton may be about to sleep, and have taken the gate for open. So it is waited
            // for: who drives gives it away when it is wanted.
            self.attend(self.take());
        }
    }

    fn attend(&self, mut core: Held<'_>) {
        for link in core.links.iter_mut().flatten() {
            // A failure shows itself in the next read.
            let _ = link.notice_end();
        }
        let pumped = core.pump().and_then(|()| core.flush());
        core.note(pumped.map(drop));
        self.announce(&core);
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
        self.announce(&core);
    }

    /// Leaves the team without a word, unless it has failed already: the others find this member lost, and
    /// wait for whoever takes its place.
    pub(super) fn abandon(&self) {
        let mut core = self.take();
        core.fail(TeamError::WorkerFailed);
        self.announce(&core);
    }

    /// The team cannot go on as it is, but another one can be formed.
    pub(super) fn lose(&self, why: TeamError) {
        let mut core = self.take();
        core.fail(why);
        self.announce(&core);
    }

    /// The recovery line under way is in the heap as this commit; or nowhere.
    pub(super) fn end_line(&self, number: Option<CommitNumber>) {
        // If the team cannot go on, nobody wants to know.
        let _ = self.wait(|core| {
            core.lines.end(number);
            Ok(Some(()))
        });
    }

    /// Ends the service and the keeper.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.mailbox.end();
        // Only a full counter is refused, which wakes as well.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Takes the baton for a moment.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.take();
        let answer = look(&mut core);
        self.put(core);
        answer
    }

    /// Takes the baton.
    pub(super) fn take(&self) -> Held<'_> {
        self.wanting.fetch_add(1, Ordering::Relaxed);
        // Whoever drives gives it away when it sees that: that is sooner than a wake-up.
        let quick = (0..TAKE_LOOKS).find_map(|_| {
            std::hint::spin_loop();
            self.core.try_lock().ok()
        });
        let core = match quick {
            Some(core) => core,
            None => self.core.lock().unwrap_or_else(PoisonError::into_inner),
        };
        self.wanting.fetch_sub(1, Ordering::Relaxed);
        core.rouse();
        core
    }

    /// Puts the baton down, and sees to it that the service wakes when something comes.
    fn put(&self, mut core: Held<'_>) {
        if core.is_driven {
            return;
        }
        while !core.doze() {
            core.rouse();
            let pumped = core.pump().and_then(|()| core.flush());
            core.note(pumped.map(drop));
            if core.failure.is_some() {
                break;
            }
        }
        self.open(&mut core);
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
        if !core.is_driven && !core.doze() {
            core.rouse();
            let pumped = core.pump().and_then(|()| core.flush());
            core.note(pumped.map(drop));
            return core;
        }
        if !core.is_driven {
            self.open(&mut core);
        }
        core.sleepers += 1;
        let woken = self.driven.wait_timeout(core, NAP);
        let (mut core, _) = woken.unwrap_or_else(PoisonError::into_inner);
        core.sleepers -= 1;
        core.rouse();
        core
    }
}

impl Core {
    /// Takes the recovery line that the first rank has brought to the barrier before, if there is one;
    /// answers the phase that follows it.
    pub(super) fn go_on_from_line(&mut self) -> Result<u64, TeamError> {
        let brought = self.member.brought().first().and_then(Option::as_ref);
        let Some((formation, line)) = brought.and_then(|bytes| bytes.split_first_chunk()) else {
            return Ok(0);
        };
        self.lines.begin_formation(u64::from_le_bytes(*formation));
        let Some((number, state)) = line.split_first_chunk() else {
            return Ok(0);
        };
        let number = CommitNumber(u64::from_le_bytes(*number));
        let state = LineState::from_bytes(state).map_err(|_| TeamError::BadLine(number))?;
        self.lines.go_on_from(number);
        self.member.go_on_from(state.marks);
        Ok(state.phase)
    }

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

    /// What the member has done so far.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            pages: self.member.fetched(),
            notices: self.member.notices(),
            ..self.counts
        }
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

    /// Sends what is due, as far as the connections take it; answers whether a barrier has opened by that.
    fn flush(&mut self) -> Result<bool, TeamError> {
        let mut has_opened = false;
        while let Some(command) = self.member.poll() {
            match command {
                Command::Tell(rank, message) => {
                    self.count(&message);
                    if let Some(link) = &mut self.links[usize::from(rank.0)] {
                        link.send(&message)
                            .map_err(|source| TeamError::lost(rank, &source))?;
                    }
                }
                Command::Open => {
                    self.member.open_barrier(&mut self.view)?;
                    has_opened = true;
                }
                Command::Load(run) => self.lines.load(run),
                Command::Cut { cut, pages, marks } => self.lines.begin(cut, pages, marks),
            }
        }
        for (rank, link) in self.links.iter_mut().enumerate() {
            if let Some(link) = link.as_mut().filter(|link| link.is_sending()) {
                link.flush()
                    .map_err(|source| TeamError::lost(Rank(rank as u16), &source))?;
            }
        }
        Ok(has_opened)
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
