//! Keeps a station's recovery lines: a thread with a connection of its own to the page server, which
//! drives the protocol's [`Keeper`].
//!
//! ```text
//!   engine ── jobs, bell ──────────────────► Keeper ── Offer, Pages …, Complete ──► page server
//!          ◄── collects, a few pages at a time ──┘ ◄── Taken, Refused, Pages ─────┘
//! ```
//!
//! What the protocol does not decide is here: that connections are tried again until the page server has
//! been away for longer than stations are patient, and how much is collected at a time.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use plurix_protocol::team::{Job, Keeper, KeeperCommand, KeeperSettings};
use plurix_wire::message::recovery_line::{LineAnswer, LineRequest, RecoveryLine};
use plurix_wire::message::{ToLeader, ToStation};
use plurix_wire::{ClusterId, Generation, Incarnation};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::TeamError;
use super::engine::Engine;
use crate::admin::exchange;
use crate::net::handshake::{Client, ConnectError, connect};
use crate::net::{Address, Connection, Credentials, NetError};
use crate::station::HANDSHAKE_MAX;

/// Pages that are collected at a time: some 20 µs, for which a worker may have to wait.
const COLLECTED: usize = 64;
/// Between two attempts to reach the page server.
const PAUSE: Duration = Duration::from_millis(5);

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
    pub(super) credentials: Credentials,
    /// How long the page server may be away.
    pub(super) patience: Duration,
    pub(super) incarnation: Incarnation,
    pub(super) generation: Generation,
    pub(super) settings: KeeperSettings,
}

impl Keeping {
    fn connect(&self) -> Result<Connection, ConnectError> {
        let client = Client {
            credentials: &self.credentials,
            cluster: Some(self.cluster),
            shares_memory: true,
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
                let question = self.request(LineRequest::Ask(self.settings.team));
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
pub(super) struct Driver<'e> {
    engine: &'e Engine,
    keeping: &'e Keeping,
    keeper: Keeper,
    connection: Option<Connection>,
    /// Since when there is none.
    away: Instant,
}

impl<'e> Driver<'e> {
    pub(super) fn new(engine: &'e Engine, keeping: &'e Keeping) -> Self {
        Self {
            engine,
            keeping,
            keeper: Keeper::new(keeping.settings),
            connection: None,
            away: Instant::now(),
        }
    }

    /// Does what the engine wants until that has ended.
    pub(super) fn run(mut self) {
        while !self.mailbox().is_over() {
            for job in self.mailbox().take() {
                self.keeper.begin(job);
                self.carry_out();
            }
            if self.keeper.is_idle() {
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

    fn mailbox(&self) -> &'e Mailbox {
        &self.engine.mailbox
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
            if self.keeper.hear(answer).is_err() {
                self.disconnect();
            }
            self.carry_out();
        }
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        let is_sent = connection.flush()?;
        Ok(received || (is_sent && self.collect()))
    }

    /// Takes some more pages of the part; answers whether any were wanted.
    fn collect(&mut self) -> bool {
        let Some(cut) = self.keeper.wants_pages() else {
            return false;
        };
        let collected = self.engine.wait(|core| {
            let collected = core.member.collect(cut, COLLECTED, &core.view);
            Ok(Some(collected))
        });
        // If the team has ended, there is no part either.
        self.keeper.collected(collected.unwrap_or_default());
        self.carry_out();
        true
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.keeper.poll() {
            match command {
                KeeperCommand::Say(request) => self.say(&self.keeping.request(request)),
                KeeperCommand::AskCheckpoint => self.say(&ToLeader::Checkpoint),
                KeeperCommand::Loaded(pages) => {
                    // If the team cannot go on, its workers know.
                    let _ = self.engine.wait(|core| {
                        core.member.loaded(&pages, &mut core.view)?;
                        Ok(Some(()))
                    });
                }
                KeeperCommand::Ended { cut, number } => self.engine.end_line(cut, number),
                KeeperCommand::Lost(why) => self.give_up(TeamError::LineLost(why)),
            }
        }
    }

    /// Sends pages without copying them, as far as the socket takes them; queues what is short.
    fn say(&mut self, message: &ToLeader) {
        let is_long = matches!(
            message,
            ToLeader::RecoveryLine {
                request: LineRequest::Pages(_),
                ..
            }
        );
        let Some(connection) = &mut self.connection else {
            return;
        };
        let said = match is_long {
            true => connection.send(message).map(drop),
            false => connection.queue(message),
        };
        if said.is_err() {
            self.disconnect();
        }
    }

    fn give_up(&self, why: TeamError) {
        self.engine.lose(why);
        self.mailbox().end();
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.away = Instant::now();
        self.keeper.disconnected();
    }

    /// Tries to reach the page server.
    fn reconnect(&mut self) -> bool {
        match self.keeping.connect() {
            Ok(connection) => {
                self.connection = Some(connection);
                self.keeper.connected();
                self.carry_out();
                true
            }
            Err(error) => {
                if !error.is_passing() || self.away.elapsed() > self.keeping.patience {
                    self.give_up(TeamError::Connect(Arc::new(error)));
                }
                false
            }
        }
    }

    /// Sleeps until there is a job, the connection has something, or `limit` is over.
    fn sleep(&self, limit: Option<Duration>) {
        let bell = PollFd::new(&self.mailbox().0.bell, PollFlags::IN);
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut both = Vec::with_capacity(2);
        both.push(bell);
        if let Some(connection) = &self.connection {
            both.push(PollFd::from_borrowed_fd(
                connection.as_fd(),
                connection.interest(),
            ));
        }
        if self.connection.as_ref().is_none_or(Connection::doze) {
            // Whatever comes of it, everything is looked at again.
            let _ = poll(&mut both, limit.as_ref());
        }
        self.connection.iter().for_each(Connection::rouse);
    }
}
