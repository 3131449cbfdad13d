//! The engine of a member: its state machine, its memory and its connections, which whoever has the baton
//! drives.
//!
//! ```text
//!   worker    computes ── fault, barrier, lock ──► waits, and drives meanwhile ── ready ──► computes
//!   service   sleeps at the gate ── something comes while nobody waits ──► drives
//! ```
//!
//! Whoever waits drives, as a station's program does. Those who compute are not disturbed: what others
//! ask of this station meanwhile is the service's, which sleeps on the sockets. They are behind a gate: it
//! is shut while a worker waits for an answer, for to wake the service as well would cost more than the
//! answer, and it shuts itself when it has woken the service. Whoever puts the baton down opens it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plurix_memory::View;
use plurix_protocol::team::{Command, Member};
use plurix_wire::message::peer::{Cut, ToPeer};
use plurix_wire::message::recovery_line::LineState;
use plurix_wire::{CommitNumber, PageNumber, Rank};
use rustix::event::PollFlags;

use super::TeamError;
use super::baton::{Baton, Drive};
use super::gate::Sockets;
use super::keeper::Mailbox;
use super::mesh::Links;
use super::recovery_line::Lines;
use crate::net::{Connection, GLANCES, NetError, Spinner};

/// A worker that others have taken the processor from sleeps at once for no longer than this: it may be
/// the one that answers for its station.
const REST_MAX: Duration = Duration::from_millis(4);

/// What a member consists of; whoever has the baton has all of it.
pub(super) struct Core {
    pub(super) member: Member,
    /// Before the view, which goes slowly: others learn from their ends that this station is gone.
    links: Links,
    pub(super) view: View,
    /// Connections that are watched for room as well, by rank.
    full: u64,
    spinner: Spinner,
    /// Whose connection the last look was at.
    looked: usize,
    /// What a worker has just asked for, and nobody has prepared for.
    pub(super) expected: Option<PageNumber>,
    /// A barrier has opened, which others may wait for, and they were not told.
    has_opened: bool,
    failure: Option<TeamError>,
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
    baton: Baton<Core>,
    /// What the keeper of recovery lines shall do.
    pub(super) mailbox: Mailbox,
}

impl Engine {
    pub(super) fn new(
        member: Member,
        view: View,
        links: Links,
        lines: Lines,
        spin: Duration,
    ) -> std::io::Result<Self> {
        let gate = Sockets::new(&links)?;
        let mailbox = lines.mailbox().clone();
        let core = Core {
            member,
            view,
            links,
            full: 0,
            spinner: Spinner::new(spin, Instant::now()).resting_at_most(REST_MAX),
            looked: 0,
            expected: None,
            has_opened: false,
            failure: None,
            roll: Roll::default(),
            lines,
            counts: Counts::default(),
        };
        // Both sides begin awake.
        core.rouse();
        Ok(Self {
            baton: Baton::new(core, gate, spin),
            mailbox,
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
        self.baton.wait(|core| {
            let outcome = core.ask(&mut ready);
            if let Err(error) = &outcome {
                core.fail(error.clone());
            }
            outcome.transpose()
        })
    }

    /// What the service does: drives when something comes and nobody else does, until the end.
    pub(super) fn serve(&self) {
        self.baton.serve();
    }

    /// Takes the baton for a moment.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Core) -> R) -> R {
        self.baton.with(look)
    }

    /// Gives the team up, unless it has failed already.
    pub(super) fn give_up(&self, why: TeamError) {
        self.baton.fail(|core| {
            if core.failure.is_none() {
                core.member.give_up();
                // Others find out by the end of the connection, if not by this.
                let _ = core.flush();
                core.fail(why);
            }
        });
    }

    /// Leaves the team without a word, unless it has failed already: the others find this member lost, and
    /// wait for whoever takes its place.
    pub(super) fn abandon(&self) {
        self.lose(TeamError::WorkerFailed);
    }

    /// The team cannot go on as it is, but another one can be formed.
    pub(super) fn lose(&self, why: TeamError) {
        self.baton.fail(|core| core.fail(why));
    }

    /// The recovery line of this cut is in the heap as this commit; or nowhere.
    pub(super) fn end_line(&self, cut: Cut, number: Option<CommitNumber>) {
        // If the team cannot go on, nobody wants to know.
        let _ = self.wait(|core| {
            core.lines.end(cut, number);
            Ok(Some(()))
        });
    }

    /// Ends the service and the keeper.
    pub(super) fn end(&self) {
        self.mailbox.end();
        self.baton.end();
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

    /// Asks whether a wait is over, and sends what that has led to.
    fn ask<R>(
        &mut self,
        ready: &mut impl FnMut(&mut Self) -> Result<Option<R>, TeamError>,
    ) -> Result<Option<R>, TeamError> {
        let mut has_opened = false;
        loop {
            let answer = self.attempt(ready);
            let opens = self.flush()?;
            if let Some(page) = self.expected.take() {
                self.view.expect(page);
            }
            let goes_on = matches!(answer, Ok(None));
            if !opens || !goes_on {
                // Who has an answer tells the others anyway.
                self.has_opened = has_opened && goes_on;
                return answer;
            }
            has_opened = true;
        }
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

    /// Takes what has come.
    fn receive(&mut self) -> Result<(), TeamError> {
        for rank in 0..self.links.len() {
            let Some(link) = &mut self.links[rank] else {
                continue;
            };
            let looked = link.look();
            self.handle(rank)?;
            let from = Rank(rank as u16);
            match looked {
                Ok(_) => {}
                Err(_) if self.member.has_left(from) => self.links[rank] = None,
                Err(source) => return Err(TeamError::lost(from, &source)),
            }
        }
        Ok(())
    }

    /// Takes those messages of a member that were read; answers whether there was one.
    fn handle(&mut self, rank: usize) -> Result<bool, TeamError> {
        let Some(link) = &mut self.links[rank] else {
            return Ok(false);
        };
        let from = Rank(rank as u16);
        let mut has_come = false;
        let lost = |source: NetError| TeamError::lost(from, &source);
        while let Some(message) = link.next::<ToPeer>().map_err(lost)? {
            self.member.handle(from, message, &mut self.view)?;
            has_come = true;
        }
        self.check_memory()?;
        Ok(has_come)
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
}

impl Drive for Core {
    type Gate = Sockets;
    /// Until when.
    type Patience = Instant;

    fn patience(&self) -> Instant {
        self.spinner.until(Instant::now())
    }

    fn is_patient(&mut self, until: &mut Instant) -> bool {
        Instant::now() < *until && self.spinner.offer()
    }

    fn has_come(&mut self) -> bool {
        let looks = self.spinner.looks();
        for _ in 0..looks {
            for _ in 0..self.links.len() {
                // Behind the last one, so that nobody who says much keeps others from being heard.
                self.looked = (self.looked + 1) % self.links.len();
                let Some(link) = &mut self.links[self.looked] else {
                    continue;
                };
                let glances = if link.shares_memory() { GLANCES } else { 1 };
                // What fails shows itself when it is pumped.
                if (0..glances).any(|_| link.look().unwrap_or(true)) {
                    self.spinner.found();
                    return true;
                }
            }
        }
        false
    }

    /// What the last look has read. To look once more would cost a system call in which most often
    /// nothing is found.
    fn pump(&mut self) {
        let received = match self.handle(self.looked) {
            // A part of a message, or the end of a connection.
            Ok(false) => self.receive(),
            handled => handled.map(drop),
        };
        self.note(received);
    }

    fn answer(&mut self) {
        let answered = self.receive().and_then(|()| self.flush().map(drop));
        self.note(answered);
    }

    fn attend(&mut self) {
        for link in self.links.iter_mut().flatten() {
            // A failure shows itself in the next read.
            let _ = link.notice_end();
        }
        self.answer();
    }

    fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_opened)
    }

    fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Through shared memory nothing comes that could wake the service.
    fn may_wake(&self) -> bool {
        let mut links = self.links.iter().flatten();
        !links.all(Connection::shares_memory)
    }

    /// Watches those connections for room that want some.
    fn want(&mut self, gate: &Sockets) {
        for (rank, link) in self.links.iter().enumerate() {
            let Some(link) = link else { continue };
            let is_full = link.interest().contains(PollFlags::OUT);
            if is_full != (self.full >> rank & 1 == 1) {
                gate.want_room(Rank(rank as u16), link, is_full);
                self.full ^= 1 << rank;
            }
        }
    }

    fn doze(&self) -> bool {
        self.links.iter().flatten().all(Connection::doze)
    }

    fn rouse(&self) {
        self.links.iter().flatten().for_each(Connection::rouse);
    }
}
