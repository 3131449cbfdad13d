//! The simulated machine beneath one station of the real library: its clock, its connection and its
//! sleep. The library's code runs on a stack of its own (a coroutine); whatever makes it wait hands
//! the processor back to the simulation, which goes on with it when virtual time has come that far.
//!
//! ```text
//!   coroutine: Station, driver, program        simulation
//!        |  Link::queue ---> doings ------------> network
//!        |  Link::wait ----> Pause  ------------> an event in virtual time
//!        |  <--------------- frames <------------ network
//! ```
//!
//! A process that was killed runs on for a moment, to the end of its stack: its connection is
//! closed, none can be made, and nothing that it does is seen by anybody.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plurix::host::{Host, Link, Service};
use plurix::net::{ConnectError, NetError};
use plurix_protocol::{Span, Time};
use plurix_wire::handshake::Rejection;
use plurix_wire::message::{ToLeader, ToStation};
use plurix_wire::{ClusterId, frame};

use super::report::Report;
use crate::world::Phase;

/// More looks than this at one moment mean that the library never comes to rest.
const LOOKS_AT_ONCE_MAX: u32 = 100_000;
/// The wait of a read that has nothing else to do.
const SHORT_WAIT: Duration = Duration::from_millis(20);

/// Why the library hands the processor back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// For input, or so long.
    Input(Span),
    /// For so long, whatever arrives.
    Sleep(Span),
}

/// Something that the process did, in order.
#[derive(Debug)]
pub(super) enum Doing {
    /// It made its connection with this number, of its own count.
    Connect(u64),
    Send(u64, ToLeader),
    Close(u64),
    /// The program says what it saw.
    Report(Report),
}

/// The machine; shared by the process and the simulation.
#[derive(Debug, Clone)]
pub(super) struct Machine(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What clocks show at virtual time zero; only differences mean anything.
    origin: Instant,
    now: Time,
    looks_at_once: u32,
    /// The process was killed.
    is_dead: bool,
    /// Whether somebody accepts connections.
    server_is_up: bool,
    phase: Phase,
    cluster: ClusterId,
    connections: u64,
    /// The connection that is open, if one is, and what has arrived on it.
    open: Option<u64>,
    input: VecDeque<Vec<u8>>,
    doings: VecDeque<Doing>,
    service: Option<Service>,
}

#[allow(
    clippy::disallowed_methods,
    reason = "an origin that virtual time is added to; what it is decides nothing"
)]
fn origin() -> Instant {
    Instant::now()
}

impl Machine {
    pub(super) fn new(cluster: ClusterId) -> Self {
        Self(Arc::new(Mutex::new(State {
            origin: origin(),
            now: Time(0),
            looks_at_once: 0,
            is_dead: false,
            server_is_up: false,
            phase: Phase::Chaos,
            cluster,
            connections: 0,
            open: None,
            input: VecDeque::new(),
            doings: VecDeque::new(),
            service: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The simulation tells the process how things are.
    pub(super) fn tell(&self, now: Time, server_is_up: bool, phase: Phase) {
        let mut state = self.state();
        if now > state.now {
            state.looks_at_once = 0;
        }
        (state.now, state.server_is_up, state.phase) = (now, server_is_up, phase);
    }

    pub(super) fn kill(&self) {
        let mut state = self.state();
        state.is_dead = true;
        state.open = None;
        state.input.clear();
        state.doings.clear();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// A frame has arrived on a connection.
    pub(super) fn receive(&self, connection: u64, frame: Vec<u8>) {
        let mut state = self.state();
        if state.open == Some(connection) {
            state.input.push_back(frame);
        }
    }

    /// The peer has closed a connection; what it said before is still there.
    pub(super) fn closed(&self, connection: u64) {
        let mut state = self.state();
        if state.open == Some(connection) {
            state.open = None;
        }
    }

    pub(super) fn next_doing(&self) -> Option<Doing> {
        self.state().doings.pop_front()
    }

    /// Whoever looks after the session, once the station has one.
    pub(super) fn take_service(&self) -> Option<Service> {
        self.state().service.take()
    }

    pub(super) fn put_service(&self, service: Service) {
        self.state().service = Some(service);
    }

    pub(super) fn report(&self, report: Report) {
        self.does(Doing::Report(report));
    }

    fn does(&self, doing: Doing) {
        let mut state = self.state();
        if !state.is_dead {
            state.doings.push_back(doing);
        }
    }

    /// Lets virtual time pass; the process is frozen meanwhile.
    pub(super) fn pause(&self, pause: Pause) {
        let mut state = self.state();
        if state.is_dead {
            // Who is dead waits for nothing; but to whom it ran out, time must run on.
            let (Pause::Input(span) | Pause::Sleep(span)) = pause;
            state.now = state.now + span;
            return;
        }
        drop(state);
        hand_back(pause);
    }
}

/// Lets virtual time pass for a program that computes.
pub(super) fn compute(span: Span) {
    hand_back(Pause::Sleep(span));
}

#[expect(
    deprecated,
    reason = "what the crate offers instead is lent to the body of the coroutine, and cannot be \
              had by who waits deep inside the library"
)]
fn hand_back(pause: Pause) {
    generator::yield_with(pause);
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

impl Host for Machine {
    fn now(&self) -> Instant {
        let state = self.state();
        state.origin + Duration::from_nanos(state.now.0)
    }

    fn connect(
        &mut self,
        cluster: Option<ClusterId>,
    ) -> Result<(Box<dyn Link>, ClusterId), ConnectError> {
        let mut state = self.state();
        let address = "127.0.0.1:1".parse().expect("an address");
        if state.is_dead {
            // An error that nobody tries to get over.
            let why = Rejection::NotPlurix;
            return Err(ConnectError::Rejected { address, why });
        }
        if !state.server_is_up {
            let source = io::ErrorKind::ConnectionRefused.into();
            return Err(ConnectError::Unreachable { address, source });
        }
        assert!(cluster.is_none_or(|cluster| cluster == state.cluster));
        state.connections += 1;
        let connection = state.connections;
        state.open = Some(connection);
        state.input.clear();
        state.doings.push_back(Doing::Connect(connection));
        let cluster = state.cluster;
        drop(state);
        let machine = self.clone();
        Ok((
            Box::new(Wire {
                machine,
                connection,
                received: VecDeque::new(),
            }),
            cluster,
        ))
    }

    fn sleep(&mut self, duration: Duration) {
        self.pause(Pause::Sleep(span(duration)));
    }

    fn look_after(&mut self, service: Service) -> io::Result<Option<JoinHandle<()>>> {
        self.put_service(service);
        Ok(None)
    }
}

/// One connection, as the process sees it.
#[derive(Debug)]
struct Wire {
    machine: Machine,
    connection: u64,
    received: VecDeque<Vec<u8>>,
}

impl Link for Wire {
    fn queue(&mut self, message: &ToLeader) -> Result<(), NetError> {
        let doing = Doing::Send(self.connection, message.clone());
        self.machine.does(doing);
        Ok(())
    }

    fn flush(&mut self) -> Result<bool, NetError> {
        Ok(true)
    }

    fn is_sending(&self) -> bool {
        false
    }

    fn look(&mut self) -> Result<bool, NetError> {
        let mut state = self.machine.state();
        state.looks_at_once += 1;
        assert!(
            state.looks_at_once < LOOKS_AT_ONCE_MAX,
            "the library looks at its connection again and again, and never waits"
        );
        if state.connections != self.connection {
            return Err(NetError::Closed);
        }
        if state.input.is_empty() && state.open.is_none() {
            return Err(NetError::Closed);
        }
        let news = !state.input.is_empty();
        self.received.append(&mut state.input);
        Ok(news)
    }

    fn look_often(&mut self, _times: u32) -> bool {
        self.look().unwrap_or(false)
    }

    fn next(&mut self) -> Result<Option<ToStation>, NetError> {
        let Some(bytes) = self.received.pop_front() else {
            return Ok(None);
        };
        Ok(Some(frame::decode(&bytes)?))
    }

    fn notice_end(&mut self) -> Result<(), NetError> {
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<(), NetError> {
        let state = self.machine.state();
        let is_awake = !state.input.is_empty() || state.open != Some(self.connection);
        drop(state);
        if !is_awake {
            self.machine.pause(Pause::Input(span(limit)));
        }
        Ok(())
    }

    fn receive_waiting(&mut self) -> Result<bool, NetError> {
        self.wait(SHORT_WAIT)?;
        self.look()
    }

    fn end_proves_death(&self) -> bool {
        false
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = self.machine.state();
        if state.open == Some(self.connection) {
            state.open = None;
        }
        drop(state);
        self.machine.does(Doing::Close(self.connection));
    }
}
