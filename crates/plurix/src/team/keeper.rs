//! Keeps a station's recovery lines: a thread with a connection of its own to the page server, which
//! hands over what has changed at a cut while workers compute, and fetches pages of the line that the
//! team went on from.
//!
//! ```text
//!   engine ── Cut, Load ──► jobs, bell ──► keeper ── Offer, Pages …, Complete ──► page server
//!          ◄── collects, a few pages at a time ──┘ ◄── Taken, Refused, Pages ────┘
//! ```
//!
//! A line that cannot be handed over is given up: the team computes on, and its next line has all pages.
//! What is asked of the line that the team went on from is asked again, on the next connection, until
//! the page server answers, or has been away for longer than stations are patient.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use plurix_wire::message::peer::{Cut, Pages};
use plurix_wire::message::recovery_line::{
    LineAnswer, LineRequest, LineState, Offer, RecoveryLine,
};
use plurix_wire::message::{PageRun, ToLeader, ToStation};
use plurix_wire::{ClusterId, CommitNumber, Generation, Incarnation, Rank, TeamId};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::TeamError;
use super::engine::Engine;
use crate::admin::exchange;
use crate::net::handshake::{Client, ConnectError, connect};
use crate::net::{Address, Connection, NetError, Secret};
use crate::station::HANDSHAKE_MAX;

/// Pages that are collected at a time: some 20 µs, for which a worker may have to wait.
const COLLECTED: usize = 64;
/// Between two attempts to reach the page server.
const PAUSE: Duration = Duration::from_millis(5);
/// What the engine wants of the keeper.
#[derive(Debug)]
pub(super) enum Job {
    /// Pages of the line that the team went on from.
    Load { line: CommitNumber, run: PageRun },
    /// Hand over this station's part of a line, with what the coordinator says of it.
    HandOver {
        /// As the page server has named it.
        formation: u64,
        cut: Cut,
        state: LineState,
    },
}

/// Where the engine leaves jobs.
#[derive(Debug, Clone)]
pub(super) struct Mailbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    jobs: Mutex<VecDeque<Job>>,
    bell: OwnedFd,
    is_over: AtomicBool,
}

impl Mailbox {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            jobs: Mutex::default(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            is_over: AtomicBool::new(false),
        })))
    }

    pub(super) fn leave(&self, job: Job) {
        let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.push_back(job);
        drop(jobs);
        self.ring();
    }

    /// Nothing will be left any more.
    pub(super) fn end(&self) {
        self.0.is_over.store(true, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        // Only a full counter is refused, which wakes as well.
        let _ = rustix::io::write(&self.0.bell, &1_u64.to_ne_bytes());
    }

    fn take(&self) -> VecDeque<Job> {
        let mut count = [0; 8];
        // Nothing is there to be read if nobody has rung.
        let _ = rustix::io::read(&self.0.bell, &mut count);
        std::mem::take(&mut self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Acquire)
    }
}

/// Who keeps lines, and for whom.
#[derive(Debug, Clone)]
pub(super) struct Keeping {
    pub(super) address: Address,
    pub(super) cluster: ClusterId,
    pub(super) secret: Option<Secret>,
    /// How long the page server may be away.
    pub(super) patience: Duration,
    pub(super) incarnation: Incarnation,
    pub(super) generation: Generation,
    pub(super) team: TeamId,
    pub(super) rank: Rank,
    pub(super) size: u16,
    /// A line counts when it is on disk.
    pub(super) is_blocking: bool,
}

impl Keeping {
    fn connect(&self) -> Result<Connection, ConnectError> {
        let client = Client {
            secret: self.secret.as_ref(),
            cluster: Some(self.cluster),
            // The keeper sleeps on its bell and its connection at once.
            shares_memory: false,
            timeout: HANDSHAKE_MAX,
        };
        Ok(connect(&self.address, &client)?.0)
    }

    fn request(&self, request: LineRequest) -> ToLeader {
        ToLeader::RecoveryLine {
            incarnation: self.incarnation,
            generation: self.generation,
            request,
        }
    }

    /// What the page server calls the team that begins, and its newest line.
    ///
    /// # Errors
    /// [`TeamError`] if the page server cannot be asked.
    pub(super) fn ask(&self) -> Result<(u64, Option<RecoveryLine>), TeamError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let answer = self.connect().and_then(|mut connection| {
                let question = self.request(LineRequest::Ask(self.team));
                let address = self.address.clone();
                exchange(&mut connection, &question, deadline)
                    .map_err(|source| ConnectError::Broken { address, source })
            });
            match answer {
                Ok(Some(ToStation::RecoveryLine(LineAnswer::Newest { formation, line }))) => {
                    return Ok((formation, line));
                }
                Ok(Some(ToStation::RecoveryLine(LineAnswer::Lost(why)))) => {
                    return Err(TeamError::LineLost(why));
                }
                Err(error) if error.is_passing() && Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(TeamError::Connect(Arc::new(error))),
                Ok(_) => {
                    let error = ConnectError::Silent(self.address.clone());
                    return Err(TeamError::Connect(Arc::new(error)));
                }
            }
        }
    }
}

/// The thread's own.
pub(super) struct Keeper<'e> {
    engine: &'e Engine,
    keeping: &'e Keeping,
    mailbox: Mailbox,
    /// The line that the team went on from.
    line: CommitNumber,
    /// What the page server calls the team.
    formation: u64,
    connection: Option<Connection>,
    /// Since when there is none.
    away: Instant,
    /// What was asked for and has not come, in order.
    loads: VecDeque<PageRun>,
    /// The part that is being handed over.
    part: Option<Part>,
    /// Offers that have not been answered on this connection, in order.
    offered: VecDeque<Cut>,
    /// The last cut, if this station's part is of no line. A page server that has started since does not
    /// know, and would have the others wait.
    withdrawn: Option<Cut>,
}

struct Part {
    cut: Cut,
    /// Until all pages are on their way.
    state: Option<LineState>,
    /// Some of its pages were collected.
    is_begun: bool,
    /// It is in the heap, and shall be on disk.
    is_taken: Option<CommitNumber>,
}

impl<'e> Keeper<'e> {
    pub(super) fn new(engine: &'e Engine, keeping: &'e Keeping) -> Self {
        Self {
            engine,
            keeping,
            mailbox: engine.mailbox.clone(),
            line: CommitNumber(0),
            formation: 0,
            connection: None,
            away: Instant::now(),
            loads: VecDeque::new(),
            part: None,
            offered: VecDeque::new(),
            withdrawn: None,
        }
    }

    /// Does what the engine wants until that has ended.
    pub(super) fn run(mut self) {
        while !self.mailbox.is_over() {
            for job in self.mailbox.take() {
                self.begin(job);
            }
            if self.is_idle() {
                self.sleep(None);
                continue;
            }
            if self.connection.is_none() && !self.reconnect() {
                self.sleep(Some(PAUSE));
                continue;
            }
            match self.exchange() {
                Ok(true) => {}
                Ok(false) => self.sleep(None),
                Err(_) => self.disconnect(),
            }
        }
    }

    fn is_idle(&self) -> bool {
        let wants = !self.loads.is_empty() || self.part.is_some() || self.withdrawn.is_some();
        !wants && self.connection.is_none()
    }

    fn begin(&mut self, job: Job) {
        match job {
            Job::Load { line, run } => {
                self.line = line;
                self.loads.push_back(run);
                self.say_load(run);
            }
            Job::HandOver {
                formation,
                cut,
                state,
            } => {
                self.formation = formation;
                self.withdrawn = None;
                self.part = Some(Part {
                    cut,
                    state: Some(state),
                    is_begun: false,
                    is_taken: None,
                });
                self.say_offer();
            }
        }
    }

    /// What cannot be queued breaks the connection when it is used next.
    fn say(&mut self, request: LineRequest) {
        let message = self.keeping.request(request);
        if let Some(connection) = &mut self.connection
            && connection.queue(&message).is_err()
        {
            self.disconnect();
        }
    }

    fn say_load(&mut self, run: PageRun) {
        let (team, line) = (self.keeping.team, self.line);
        self.say(LineRequest::Load { team, line, run });
    }

    fn say_offer(&mut self) {
        if let (Some(part), true) = (&self.part, self.connection.is_some()) {
            let cut = part.cut;
            self.offered.push_back(cut);
            self.say(LineRequest::Offer(self.offer(cut)));
        }
    }

    fn offer(&self, cut: Cut) -> Offer {
        let Keeping {
            team, rank, size, ..
        } = *self.keeping;
        Offer {
            team,
            formation: self.formation,
            cut: cut.ordinal,
            basis: cut.basis,
            rank,
            size,
        }
    }

    /// Sends, collects and takes what has come; answers whether there may be more to do at once.
    fn exchange(&mut self) -> Result<bool, NetError> {
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        let received = connection.receive()?;
        while let Some(answer) = match &mut self.connection {
            Some(connection) => connection.next::<ToStation>()?,
            None => None,
        } {
            self.hear(answer);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        let is_sent = connection.flush()?;
        Ok(received || (is_sent && self.collect()))
    }

    /// Takes some more pages of the part; answers whether there were any.
    fn collect(&mut self) -> bool {
        let Some(part) = self.part.as_mut().filter(|part| part.state.is_some()) else {
            return false;
        };
        let cut = part.cut;
        part.is_begun = true;
        let collected = self.engine.wait(|core| {
            let collected = core.member.collect(cut, COLLECTED, &core.view);
            Ok(Some(collected))
        });
        let Ok(Some((pages, is_last))) = collected else {
            // There has been another cut, or the end of the team.
            self.part = None;
            return true;
        };
        let state = part.state.take_if(|_| is_last);
        for pages in pages {
            self.hand_over(pages);
        }
        if let Some(state) = state {
            let state = match self.keeping.rank {
                Rank(0) => state.to_bytes(),
                _ => Vec::new(),
            };
            self.say(LineRequest::Complete { state });
        }
        true
    }

    /// Sends pages without copying them, as far as the socket takes them.
    fn hand_over(&mut self, pages: Pages) {
        let message = self.keeping.request(LineRequest::Pages(pages));
        if let Some(connection) = &mut self.connection
            && connection.send(&message).is_err()
        {
            self.disconnect();
        }
    }

    fn hear(&mut self, answer: ToStation) {
        match answer {
            ToStation::RecoveryLine(LineAnswer::Pages(pages)) => {
                self.arrived(pages.run.count);
                // If the team cannot go on, its workers know.
                let _ = self.engine.wait(|core| {
                    core.member.loaded(&pages, &mut core.view)?;
                    Ok(Some(()))
                });
            }
            ToStation::RecoveryLine(LineAnswer::Taken(number)) => self.taken(number),
            ToStation::RecoveryLine(LineAnswer::Refused(_)) => {
                let refused = self.offered.pop_front();
                if self.part.as_ref().map(|part| part.cut) == refused {
                    self.fail();
                }
            }
            ToStation::RecoveryLine(LineAnswer::Lost(why)) => {
                self.engine.lose(TeamError::LineLost(why));
                self.mailbox.end();
            }
            ToStation::Checkpointed(outcome) => {
                let part = self.part.take_if(|part| part.is_taken.is_some());
                if let Some(number) = part.and_then(|part| part.is_taken) {
                    let number = outcome.is_ok().then_some(number);
                    self.engine.end_line(number);
                }
            }
            // Nobody has asked for anything else; the page server may be ending.
            _ => self.disconnect(),
        }
    }

    /// So many pages have come of those that were asked for first.
    fn arrived(&mut self, count: u32) {
        if let Some(first) = self.loads.front_mut() {
            first.first.0 = first.first.0.wrapping_add(count);
            first.count = first.count.saturating_sub(count);
            if first.count == 0 {
                self.loads.pop_front();
            }
        }
    }

    fn taken(&mut self, number: CommitNumber) {
        let taken = self.offered.pop_front();
        let Some(part) = self.part.as_mut().filter(|part| Some(part.cut) == taken) else {
            return;
        };
        part.is_taken = Some(number);
        if !self.keeping.is_blocking {
            self.part = None;
            self.engine.end_line(Some(number));
        } else if let Some(connection) = &mut self.connection
            && connection.queue(&ToLeader::Checkpoint).is_err()
        {
            self.disconnect();
        }
    }

    /// The part is of no line.
    fn fail(&mut self) {
        if let Some(part) = self.part.take() {
            self.withdrawn = Some(part.cut);
            self.engine.end_line(None);
        }
    }

    /// The connection is broken, and with it what was handed over.
    fn disconnect(&mut self) {
        self.connection = None;
        self.away = Instant::now();
        self.offered.clear();
    }

    /// Tries to reach the page server, and asks again for what has not come.
    fn reconnect(&mut self) -> bool {
        match self.keeping.connect() {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                if !error.is_passing() || self.away.elapsed() > self.keeping.patience {
                    self.engine.lose(TeamError::Connect(Arc::new(error)));
                    self.mailbox.end();
                }
                return false;
            }
        }
        for run in self.loads.clone() {
            self.say_load(run);
        }
        if self.part.as_ref().is_some_and(|part| part.is_begun) {
            // Some pages may have been lost with the connection: nobody shall wait for this part.
            self.fail();
        }
        if let Some(cut) = self.withdrawn {
            let offer = self.offer(cut);
            self.say(LineRequest::Withdraw(offer));
        }
        self.say_offer();
        true
    }

    /// Sleeps until there is a job, the connection has something, or `limit` is over.
    fn sleep(&self, limit: Option<Duration>) {
        let bell = PollFd::new(&self.mailbox.0.bell, PollFlags::IN);
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut both = Vec::with_capacity(2);
        both.push(bell);
        if let Some(connection) = &self.connection {
            both.push(PollFd::from_borrowed_fd(
                connection.as_fd(),
                connection.interest(),
            ));
        }
        // Whatever comes of it, everything is looked at again.
        let _ = poll(&mut both, limit.as_ref());
    }
}
