//! A station: one member of the cluster, its memory, and the transactions it runs.

pub(crate) mod baton;
pub(crate) mod driver;
mod durable;
mod options;
mod tally;

use std::fmt;
use std::ops::DerefMut;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use plurix_memory::HeapMemory;
use plurix_protocol::station::State;
use plurix_wire::{ClusterId, CommitNumber, Generation, Incarnation};

use crate::activity::{Claim, Registry};
use crate::error::{ErrorKind, Result};
use crate::host::{Host, Service, System};
use crate::net::Address;
use crate::pipeline::Pipeline;
use baton::{Baton, Flag};
pub(crate) use driver::Driver;
pub(crate) use options::HANDSHAKE_MAX;
pub use options::Options;

/// A member of a cluster that runs one transaction at a time. More parallelism is more stations,
/// as threads or as processes.
///
/// Dropping it leaves the cluster. Killing its process does no harm: what it committed is in the
/// heap, and what it had not never happened.
#[derive(Debug)]
pub struct Station {
    pub(crate) pages: HeapMemory,
    pub(crate) shared: Arc<Shared>,
    service: Option<JoinHandle<()>>,
    pub(crate) registry: Registry,
    /// An activity that this station has claimed, and neither brought to an end nor given back.
    pub(crate) claim: Option<Claim>,
    pub(crate) pipeline: Pipeline,
    pub(crate) statistics: Statistics,
    /// State of the back-off's random numbers.
    pub(crate) dice: u64,
    /// Where it found the page server; not known on a simulated host.
    pub(crate) reached: Option<Address>,
}

/// What a station has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Transactions that changed the heap.
    pub commits: u64,
    /// The number of the last of them.
    pub last_commit: CommitNumber,
    /// Transactions that only read.
    pub reads: u64,
    /// Attempts that had to run again.
    pub restarts: u64,
    /// Attempts that waited for a change of what they had read.
    pub waits: u64,
    /// Pages fetched.
    pub misses: u64,
}

/// What the program's thread and the service thread share.
#[derive(Debug)]
pub(crate) struct Shared(Baton<Driver>);

impl Shared {
    /// Takes the baton.
    pub(crate) fn driver(&self) -> impl DerefMut<Target = Driver> {
        self.0.take()
    }

    /// Looks after the session; answers whether it is worth while to do so again.
    pub(crate) fn attend(&self) -> bool {
        // What fails here the program learns from its next transaction.
        self.0.attend(|driver| {
            driver.pump().is_ok() || !matches!(driver.machine.state(), State::Ended(_))
        })
    }
}

/// Makes a station that waits stop waiting, from another thread or a signal handler's thread.
#[derive(Clone)]
pub struct Interrupt(Arc<Flag>);

impl Interrupt {
    /// What the station does now, and everything it is asked later, answers
    /// [`ErrorKind::Interrupted`].
    pub fn interrupt(&self) {
        self.0.raise();
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

impl Station {
    /// Joins the cluster whose page server is at `address`.
    ///
    /// # Errors
    /// [`ErrorKind::Connect`] if there is none, [`ErrorKind::Refused`] if it does not want this
    /// station, [`ErrorKind::Reservation`] if this process cannot map the heap.
    pub fn join(address: &Address, options: Options) -> Result<Self> {
        let system = System::new(address.clone(), options.clone());
        let mut station = Self::join_on(Box::new(system), options)?;
        station.reached = Some(address.clone());
        Ok(station)
    }

    /// Joins the cluster whose page server `host` connects to. For simulators; programs
    /// [`join`](Self::join).
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_on(host: Box<dyn Host>, options: Options) -> Result<Self> {
        let emulated = options.emulated_memory;
        let mut driver = Driver::open(host, options)?;
        driver.wait(None, |machine| machine.heap_bytes().is_some())?;
        let bytes = driver.machine.heap_bytes().expect("waited for above");
        let memory = if emulated {
            HeapMemory::emulated(bytes)
        } else {
            HeapMemory::reserve(bytes)
        };
        let memory = memory.map_err(|error| ErrorKind::System(Box::new(error)))?;
        if memory.len() < bytes {
            let available = memory.len();
            return Err(ErrorKind::Reservation {
                available,
                needed: bytes,
            }
            .into());
        }
        let dice = driver
            .machine
            .incarnation()
            .map_or(1, |incarnation| incarnation.0)
            | 1;
        let shared = Arc::new(Shared(Baton::new(driver)));
        let service = Service(Arc::downgrade(&shared));
        let service = shared.driver().host.look_after(service);
        let mut station = Self {
            pages: memory,
            service: service.map_err(|error| ErrorKind::System(Box::new(error)))?,
            shared,
            registry: Registry::default(),
            claim: None,
            pipeline: Pipeline::default(),
            statistics: Statistics::default(),
            dice,
            reached: None,
        };
        station.open_heap()?;
        Ok(station)
    }

    /// The station's number: small, stable, taken over by its successor after a crash. One that
    /// asked for no number in its [`Options`] has another if it was taken for dead, and its number
    /// given away, before it came back.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.shared
            .driver()
            .machine
            .station()
            .map_or(0, |station| station.0)
    }

    /// This life of the station.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.shared
            .driver()
            .machine
            .incarnation()
            .unwrap_or_default()
    }

    /// The commit at which the next transaction sees the heap, at least.
    #[must_use]
    pub fn snapshot(&self) -> CommitNumber {
        self.shared.driver().machine.snapshot()
    }

    /// The cluster that it has joined.
    pub(crate) fn cluster(&self) -> ClusterId {
        self.shared.driver().cluster()
    }

    /// Size of the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.pages.len()
    }

    /// The generation of the heap that its commit numbers belong to: raised when answered commits
    /// were lost with the page server's machine.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.shared
            .driver()
            .machine
            .generation()
            .unwrap_or_default()
    }

    /// What the station has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// A handle that makes the station stop waiting.
    #[must_use]
    pub fn interrupt_handle(&self) -> Interrupt {
        Interrupt(self.shared.driver().interrupt())
    }

    /// How many stations are alive, as of the snapshot; observers are not counted.
    #[must_use]
    pub fn members(&self) -> usize {
        let driver = self.shared.driver();
        driver
            .machine
            .members()
            .values()
            .filter(|member| !member.observer)
            .count()
    }

    /// Catches up with the cluster, for one round trip: the next transaction sees everything that
    /// was committed by anybody before this call. Without it, a transaction that only reads sees a
    /// snapshot that may be a little old, though never older than this station's own commits.
    ///
    /// # Errors
    /// If the station can never be a member again, or was interrupted.
    pub fn latest(&mut self) -> Result<()> {
        self.shared.driver().catch_up()
    }

    /// Waits until something in the heap that this station holds may have changed, or `limit` is
    /// over; answers whether something has.
    ///
    /// # Errors
    /// If the station can never be a member again, or was interrupted.
    pub fn wait_for_news(&mut self, limit: Duration) -> Result<bool> {
        self.shared
            .driver()
            .wait(Some(limit), plurix_protocol::station::Station::has_news)
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let service = self.service.take();
        self.shared.0.end(Driver::leave, || {
            if let Some(service) = &service {
                service.thread().unpark();
            }
        });
        if let Some(service) = service {
            // A panic there has been printed; there is nothing to add.
            let _ = service.join();
        }
    }
}
