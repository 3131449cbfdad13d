//! What a station needs of the machine that it runs on: a clock, connections to its page server, and
//! somebody who looks after the session while the program computes.
//!
//! ```text
//!   Station, Transaction, activities
//!      |
//!   driver: retries, waits, reconnects
//!      |  asks
//!   Host -- connect --> Link
//!      \__ the system: sockets, shared memory, a thread      (Station::join)
//!      \__ the simulator: virtual time, links that break     (Station::join_on)
//! ```
//!
//! Programs use [`Station::join`](crate::Station::join) and need nothing of this. The deterministic
//! simulator brings a host of its own, so that the driver, the allocator and the activities run
//! under its faults as they are.

use std::fmt;
use std::sync::Weak;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plurix_wire::ClusterId;
use plurix_wire::message::{ToLeader, ToStation};

use crate::net::handshake::{Client, ConnectError, connect};
use crate::net::{Address, Connection, GLANCES, NetError};
use crate::station::{Options, Shared, baton};

/// The service looks after the session this often while the program computes.
pub const SERVICE_PERIOD: Duration = Duration::from_millis(20);

/// The machine beneath one station.
pub trait Host: fmt::Debug + Send {
    /// What time it is; never earlier than before.
    fn now(&self) -> Instant;

    /// Makes a connection to the page server, which must be of `cluster` if one is given. Answers
    /// after the handshake, with the cluster found.
    ///
    /// # Errors
    /// [`ConnectError`], which says whether to try again.
    fn connect(
        &mut self,
        cluster: Option<ClusterId>,
    ) -> Result<(Box<dyn Link>, ClusterId), ConnectError>;

    /// Sleeps, for want of a connection to sleep on.
    fn sleep(&mut self, span: Duration);

    /// Sees to it that `service` is asked each [`SERVICE_PERIOD`], from a thread of its own if need
    /// be: until it answers false, or the handle's thread is unparked.
    ///
    /// # Errors
    /// If the system gives no thread.
    fn look_after(&mut self, service: Service) -> std::io::Result<Option<JoinHandle<()>>>;
}

/// One connection to a page server: messages in both directions, in order, until it breaks.
pub trait Link: fmt::Debug + Send {
    /// Puts a message behind those to be sent.
    ///
    /// # Errors
    /// If it cannot be encoded.
    fn queue(&mut self, message: &ToLeader) -> Result<(), NetError>;

    /// Sends what is queued as far as that can be done now; answers whether that was all.
    ///
    /// # Errors
    /// If the connection is broken.
    fn flush(&mut self) -> Result<bool, NetError>;

    /// Whether something waits to be sent.
    fn is_sending(&self) -> bool;

    /// Takes what has arrived, without waiting; answers whether there was anything. It need not
    /// notice the end before [`notice_end`](Self::notice_end) was called.
    ///
    /// # Errors
    /// If the connection is broken.
    fn look(&mut self) -> Result<bool, NetError>;

    /// Looks so many times, until something has arrived.
    fn look_often(&mut self, times: u32) -> bool;

    /// The next message that has arrived.
    ///
    /// # Errors
    /// If it cannot be decoded.
    fn next(&mut self) -> Result<Option<ToStation>, NetError>;

    /// Sees to it that [`look`](Self::look) tells, from here on, that the peer has closed.
    ///
    /// # Errors
    /// If the connection is broken.
    fn notice_end(&mut self) -> Result<(), NetError>;

    /// Sleeps until something arrives, what is queued can be sent, or `limit` is over.
    ///
    /// # Errors
    /// If the connection is broken.
    fn wait(&mut self, limit: Duration) -> Result<(), NetError>;

    /// Sleeps until something arrives, but not for long, and takes it; answers whether there was
    /// anything.
    ///
    /// # Errors
    /// If the connection is broken.
    fn receive_waiting(&mut self) -> Result<bool, NetError>;

    /// Whether its end proves the end of the peer's process, as on one host.
    fn end_proves_death(&self) -> bool;
}

/// Looks after a station's session while its program computes: answers heartbeats and queues what
/// arrives. It touches no page.
#[derive(Debug)]
pub struct Service(pub(crate) Weak<Shared>);

impl Service {
    /// Does what is due, unless the program itself is at it; answers whether to ask again.
    #[must_use]
    pub fn attend(&self) -> bool {
        self.0.upgrade().is_some_and(|shared| shared.attend())
    }
}

/// The real machine.
#[derive(Debug)]
pub(crate) struct System {
    address: Address,
    options: Options,
}

impl System {
    pub(crate) fn new(address: Address, options: Options) -> Self {
        Self { address, options }
    }
}

impl Host for System {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn connect(
        &mut self,
        cluster: Option<ClusterId>,
    ) -> Result<(Box<dyn Link>, ClusterId), ConnectError> {
        let client = Client {
            credentials: &self.options.credentials(),
            cluster,
            shares_memory: self.options.shared_memory,
            timeout: crate::station::HANDSHAKE_MAX,
        };
        let (connection, cluster) = connect(&self.address, &client)?;
        Ok((Box::new(connection), cluster))
    }

    fn sleep(&mut self, span: Duration) {
        std::thread::sleep(span);
    }

    fn look_after(&mut self, service: Service) -> std::io::Result<Option<JoinHandle<()>>> {
        std::thread::Builder::new()
            .name("plurix-service".to_owned())
            .spawn(move || {
                let pause = || std::thread::park_timeout(SERVICE_PERIOD);
                baton::serve(pause, || service.attend());
            })
            .map(Some)
    }
}

impl Link for Connection {
    fn queue(&mut self, message: &ToLeader) -> Result<(), NetError> {
        Self::queue(self, message)
    }

    fn flush(&mut self) -> Result<bool, NetError> {
        Self::flush(self)
    }

    fn is_sending(&self) -> bool {
        Self::is_sending(self)
    }

    fn look(&mut self) -> Result<bool, NetError> {
        Self::look(self)
    }

    fn look_often(&mut self, times: u32) -> bool {
        let glances = if self.shares_memory() { GLANCES } else { 1 };
        // A failing read shows itself in the next one.
        (0..times * glances).any(|_| Self::look(self).unwrap_or(false))
    }

    fn next(&mut self) -> Result<Option<ToStation>, NetError> {
        Self::next(self)
    }

    fn notice_end(&mut self) -> Result<(), NetError> {
        Self::notice_end(self)
    }

    fn wait(&mut self, limit: Duration) -> Result<(), NetError> {
        Self::wait(self, limit)
    }

    fn receive_waiting(&mut self) -> Result<bool, NetError> {
        Self::receive_waiting(self)
    }

    fn end_proves_death(&self) -> bool {
        Self::end_proves_death(self)
    }
}
