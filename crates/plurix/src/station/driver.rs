//! Drives the protocol of one station: connection, clock and reconnection. Whoever holds the baton (the
//! lock around the driver) drives: the program's thread while it waits, the service thread while
//! the program computes. There is no hand-over on the way of a commit or a miss.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plurix_memory::HeapMemory;
use plurix_protocol::Time;
use plurix_protocol::station::{State, Station as Machine};
use plurix_wire::ClusterId;
use plurix_wire::message::{SessionRefusal, ToStation};
use tracing::{debug, info, warn};

use super::baton::Flag;
use super::options::{HANDSHAKE_MAX, Options};
use super::tally::Tally;
use crate::error::{ErrorKind, Result};
use crate::host::{Host, Link};
use crate::net::{ConnectError, NetError, Spinner};

/// The shortest and the longest pause between two attempts to reach the page server.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// A pause takes this part of the outage so far: so it becomes longer by no more than that for having
/// been looked at now and then only.
const PAUSE_SHARE: u32 = 8;

/// The protocol of one station and what it needs of the system.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) machine: Machine,
    pub(crate) host: Box<dyn Host>,
    connection: Option<Box<dyn Link>>,
    options: Options,
    cluster: Option<ClusterId>,
    origin: Instant,
    looked: Instant,
    /// Since when there is no connection, and when to try again.
    outage: Outage,
    spinner: Spinner,
    interrupt: Arc<Flag>,
    /// The leader's last word, if the heap went back behind what this handle has seen.
    rolled_back: Option<SessionRefusal>,
    /// It gave up a commit that may have happened.
    abandoned: bool,
    pub(crate) tally: Tally,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    retry: Instant,
    pause: Duration,
    last: Option<ConnectError>,
}

impl Outage {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            retry: now,
            pause: PAUSE_MIN,
            last: None,
        }
    }
}

impl Driver {
    /// Connects to the page server of `host` and asks to join. The first connection is not retried:
    /// a wrong address shall be told at once.
    pub(crate) fn open(mut host: Box<dyn Host>, options: Options) -> Result<Self> {
        let (connection, cluster) = host.connect(None).map_err(ErrorKind::from)?;
        let now = host.now();
        let spinner = Spinner::new(options.spin, now);
        let mut driver = Self {
            machine: Machine::new(options.protocol()),
            host,
            connection: Some(connection),
            options,
            cluster: Some(cluster),
            origin: now,
            looked: now,
            outage: Outage::new(now),
            spinner,
            interrupt: Arc::new(Flag::new()),
            rolled_back: None,
            abandoned: false,
            tally: Tally::default(),
        };
        driver.machine.connected(Time(0));
        Ok(driver)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The cluster that it is connected to, or was last.
    pub(crate) fn cluster(&self) -> ClusterId {
        self.cluster.unwrap_or_default()
    }

    /// Raise it to make whoever waits, now or later, stop waiting.
    pub(crate) fn interrupt(&self) -> Arc<Flag> {
        Arc::clone(&self.interrupt)
    }

    /// Whether transactions may begin.
    ///
    /// # Errors
    /// If the station was interrupted, or gave up a commit that may have happened.
    pub(crate) fn check(&self) -> Result<()> {
        if self.interrupt.is_raised() {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.abandoned {
            return Err(ErrorKind::NotRun.into());
        }
        Ok(())
    }

    /// Gives up the commit under way. Memory may lack what it changed, so that no transaction of
    /// this station may begin any more.
    pub(crate) fn abandon(&mut self, pages: &mut HeapMemory) {
        self.machine.give_up(pages);
        self.abandoned = true;
    }

    /// As [`abandon`](Self::abandon), for everything that was submitted.
    pub(crate) fn abandon_pipeline(&mut self, pages: &mut HeapMemory) {
        self.machine.give_up_pipeline(pages);
        self.abandoned = true;
    }

    /// Sends what is due and takes what has arrived, without waiting.
    ///
    /// # Errors
    /// If the station can never be a member again.
    pub(crate) fn pump(&mut self) -> Result<()> {
        if let Some(connection) = &mut self.connection {
            // A failure shows itself in the next read.
            let _ = connection.notice_end();
        }
        self.step(false)
    }

    /// Sends what is due and takes what has arrived. If something was `received` just now, nobody
    /// asks for more.
    fn step(&mut self, received: bool) -> Result<()> {
        self.looked = self.host.now();
        let now = self.now();
        // First what has arrived: after a stall of this process it tells that the leader lives.
        let was_active = matches!(self.machine.state(), State::Active);
        let exchanged = self.exchange(now, received);
        if !was_active && matches!(self.machine.state(), State::Active) {
            self.trace_session();
        }
        if self.machine.wants_numbers(now) {
            let numbers = self.tally.numbers(&self.machine);
            self.machine.tell_numbers(now, numbers);
        }
        let silent = self.machine.tick(now) && self.is_lost(now);
        let told = self.connection.as_mut().map_or(Ok(()), |connection| {
            send(&mut self.machine, &mut **connection)
        });
        let waiting = matches!(self.machine.state(), State::Waiting);
        if exchanged.and(told).is_err() || silent || waiting {
            self.disconnect();
        }
        self.judge()?;
        if self.connection.is_none() {
            self.reconnect()?;
        }
        Ok(())
    }

    /// Sends what is due, and nothing else. A failure shows itself in the next read.
    pub(crate) fn dispatch(&mut self) {
        if let Some(connection) = &mut self.connection {
            let _ = send(&mut self.machine, &mut **connection);
        }
    }

    /// [`pump`](Self::pump), unless that was done a moment ago. Without a session always: a
    /// transaction that was given up for that would else be tried again, and given up again, until
    /// that moment is over.
    pub(crate) fn freshen(&mut self) -> Result<()> {
        let is_active = matches!(self.machine.state(), State::Active);
        if !is_active || self.host.now() - self.looked >= self.options.freshness {
            self.pump()
        } else {
            Ok(())
        }
    }

    /// Drives until `done` holds or `limit` is over; answers whether it holds.
    ///
    /// # Errors
    /// If the station can never be a member again, or was interrupted.
    pub(crate) fn wait(
        &mut self,
        limit: Option<Duration>,
        mut done: impl FnMut(&Machine) -> bool,
    ) -> Result<bool> {
        let begin = self.host.now();
        let mut spin_end = self.spinner.until(begin);
        let end = limit.map(|limit| begin + limit);
        let mut received = false;
        loop {
            self.step(received)?;
            if done(&self.machine) {
                self.tally
                    .wait(self.looked.saturating_duration_since(begin));
                return Ok(true);
            }
            if self.interrupt.is_raised() {
                return Err(ErrorKind::Interrupted.into());
            }
            if end.is_some_and(|end| self.looked >= end) {
                self.tally
                    .wait(self.looked.saturating_duration_since(begin));
                return Ok(false);
            }
            received = false;
            if self.looked >= spin_end {
                if spin_end > begin {
                    self.spinner.asked_in_vain(self.looked);
                    spin_end = begin;
                }
                received = self.sleep(end);
            } else if self.ask() {
                self.spinner.found();
                received = true;
            } else if !self.spinner.offer() {
                spin_end = begin;
            }
        }
    }

    /// Waits until the next transaction will see everything that was committed before this call.
    ///
    /// # Errors
    /// If the station can never be a member again, or was interrupted.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        loop {
            self.wait(None, |machine| matches!(machine.state(), State::Active))?;
            self.machine.ask_latest();
            self.wait(None, |machine| {
                machine.has_latest() || !matches!(machine.state(), State::Active)
            })?;
            // A connection that was lost took the question with it.
            if self.machine.has_latest() {
                return Ok(());
            }
        }
    }

    /// Asks some times whether something has arrived, and nothing else: each instruction here
    /// delays what arrives in the meantime.
    fn ask(&mut self) -> bool {
        let looks = self.spinner.looks();
        self.connection
            .as_mut()
            .is_some_and(|connection| connection.look_often(looks))
    }

    /// Sleeps until something arrives, a heartbeat is due, or `end`; answers whether something was
    /// received. What fails here shows itself in the next read.
    fn sleep(&mut self, end: Option<Instant>) -> bool {
        // Who sleeps in a read of a Unix socket is woken, too, when the other side reads: no harm
        // where the processor has nothing else to do, and a waste where others need it.
        if let (Some(connection), None) = (&mut self.connection, end)
            && !connection.is_sending()
            && !self.spinner.is_resting(self.looked)
        {
            // A heartbeat may be late by the little that this sleeps at most.
            return connection.receive_waiting().unwrap_or(false);
        }
        let due = Duration::from_nanos(self.machine.next_timeout().since(self.now()).0);
        let left = end.map_or(due, |end| {
            due.min(end.saturating_duration_since(self.host.now()))
        });
        match &mut self.connection {
            Some(connection) => drop(connection.wait(left.max(Duration::from_micros(1)))),
            None => self.host.sleep(left.min(self.outage.pause)),
        }
        false
    }

    /// Whether a silent leader is to be given up. On a Unix socket only for good: were it dead, the
    /// socket would be closed; it is stalled, and to hang up would look like this station's death.
    fn is_lost(&self, now: Time) -> bool {
        let silence = Duration::from_nanos(self.machine.silence(now).0);
        let stalled = self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.end_proves_death());
        !stalled || silence > self.options.patience
    }

    fn now(&self) -> Time {
        Time(self.looked.duration_since(self.origin).as_nanos() as u64)
    }

    /// Sends what the protocol says, and tells it what has arrived.
    fn exchange(&mut self, now: Time, received: bool) -> Result<(), NetError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        // The leader's last word may be there although it takes no more.
        let sent = send(&mut self.machine, &mut **connection);
        let received = if received {
            Ok(true)
        } else {
            connection.look()
        };
        while let Some(message) = connection.next()? {
            if let ToStation::Refused(refusal @ SessionRefusal::RolledBack { .. }) = message {
                self.rolled_back = Some(refusal);
            }
            if self.machine.handle(now, message).is_err() {
                return Err(NetError::Closed);
            }
        }
        sent.and(received).map(drop)
    }

    /// Transactions can begin, for the first time or again.
    fn trace_session(&self) {
        info!(
            target: "plurix::session",
            station = self.machine.station().map(|station| station.0),
            snapshot = self.machine.snapshot().0,
            "the session is open"
        );
    }

    fn disconnect(&mut self) {
        if self.connection.take().is_some() {
            self.machine.disconnected();
            warn!(target: "plurix::session", "the connection to the page server is lost");
            self.outage = Outage::new(self.host.now());
        }
    }

    /// Whether the leader's last word leaves any hope.
    fn judge(&mut self) -> Result<()> {
        if let Some(SessionRefusal::RolledBack { generation, cut }) = self.rolled_back {
            return Err(ErrorKind::RolledBack { generation, cut }.into());
        }
        match self.machine.state() {
            // The predecessor's connection may not have been noticed to be gone; ask again.
            State::Ended(SessionRefusal::StationTaken(_))
                if self.host.now() - self.outage.since
                    < self.options.patience.min(HANDSHAKE_MAX * 2) =>
            {
                self.machine.retry();
                self.connection = None;
                self.outage.retry = self.host.now() + PAUSE_MIN;
                Ok(())
            }
            State::Ended(refusal) => Err(ErrorKind::Refused(refusal).into()),
            State::Waiting | State::Opening | State::Active => Ok(()),
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        let now = self.host.now();
        if now < self.outage.retry {
            return Ok(());
        }
        match self.host.connect(self.cluster) {
            Ok((connection, _)) => {
                self.machine.connected(self.now());
                self.tally.reconnected();
                let after = now.duration_since(self.outage.since);
                info!(target: "plurix::session", ?after, "connected again");
                let connection = self.connection.insert(connection);
                // Whoever waits, sleeps until the answer. A failure shows itself in the next read.
                let _ = send(&mut self.machine, &mut **connection);
                Ok(())
            }
            Err(error) if !error.is_passing() && !error.may_be_forged() => {
                Err(ErrorKind::from(error).into())
            }
            Err(error) => {
                debug!(target: "plurix::session", %error, "the page server cannot be reached");
                let gone = now.duration_since(self.outage.since);
                if gone > self.options.patience {
                    let seconds = gone.as_secs();
                    return Err(ErrorKind::Gone {
                        seconds,
                        last: Box::new(error),
                    }
                    .into());
                }
                self.outage.last = Some(error);
                self.outage.pause = (gone / PAUSE_SHARE).clamp(PAUSE_MIN, PAUSE_MAX);
                self.outage.retry = now + self.outage.pause;
                Ok(())
            }
        }
    }

    /// Ends the session in order, as far as that can be done now.
    pub(crate) fn leave(&mut self) {
        self.machine.leave();
        if let Some(connection) = &mut self.connection {
            // If the leader does not hear it, it notices the closed connection.
            let _ = send(&mut self.machine, &mut **connection);
        }
        self.connection = None;
    }
}

fn send(machine: &mut Machine, connection: &mut dyn Link) -> Result<(), NetError> {
    while let Some(message) = machine.poll() {
        connection.queue(message)?;
    }
    if connection.is_sending() {
        connection.flush()?;
    }
    Ok(())
}
