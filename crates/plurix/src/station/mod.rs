//! A station: one member of the cluster, its memory, and the transactions it runs.

mod driver;
mod options;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use plurix_memory::HeapMemory;
use plurix_protocol::station::State;
use plurix_wire::{CommitNumber, Incarnation};

use crate::activity::Registry;
use crate::error::{ErrorKind, Result};
use crate::net::Address;
use driver::Driver;
pub use options::Options;

/// The service thread looks after the session this often while the program computes.
const SERVICE_PERIOD: Duration = Duration::from_millis(20);

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
    pub(crate) statistics: Statistics,
    /// State of the back-off's random numbers.
    pub(crate) dice: u64,
}

/// What a station has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Transactions that changed the heap.
    pub commits: u64,
    /// Transactions that only read.
    pub reads: u64,
    /// Attempts that had to run again.
    pub restarts: u64,
    /// Pages fetched.
    pub misses: u64,
}

/// What the program's thread and the service thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The baton.
    driver: Mutex<Driver>,
    stop: AtomicBool,
}

impl Shared {
    /// Takes the baton.
    pub(crate) fn driver(&self) -> MutexGuard<'_, Driver> {
        // A panic while driving leaves no half-done protocol step that a lock could hide: the
        // machines assert their own invariants.
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a station that waits stop waiting, from another thread or a signal handler's thread.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// What the station does now, and everything it is asked later, answers
    /// [`ErrorKind::Interrupted`].
    pub fn interrupt(&self) {
        self.0.store(true, Ordering::Release);
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
        let emulated = options.emulated_memory;
        let mut driver = Driver::open(address.clone(), options)?;
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
        let shared = Arc::new(Shared {
            driver: Mutex::new(driver),
            stop: AtomicBool::new(false),
        });
        let service = serve(Arc::clone(&shared))?;
        let mut station = Self {
            pages: memory,
            shared,
            service: Some(service),
            registry: Registry::default(),
            statistics: Statistics::default(),
            dice,
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
        let mut driver = self.shared.driver();
        loop {
            driver.wait(None, |machine| matches!(machine.state(), State::Active))?;
            driver.machine.ask_latest();
            driver.wait(None, |machine| {
                machine.has_latest() || !matches!(machine.state(), State::Active)
            })?;
            // A connection that was lost took the question with it.
            if driver.machine.has_latest() {
                return Ok(());
            }
        }
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
        self.shared.stop.store(true, Ordering::Release);
        self.shared.driver().leave();
        if let Some(service) = self.service.take() {
            service.thread().unpark();
            // A panic there has been printed; there is nothing to add.
            let _ = service.join();
        }
    }
}

/// Starts the thread that keeps the session alive while the program computes: it answers
/// heartbeats and queues what arrives, and touches no page.
fn serve(shared: Arc<Shared>) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("plurix-service".to_owned())
        .spawn(move || {
            loop {
                std::thread::park_timeout(SERVICE_PERIOD);
                if shared.stop.load(Ordering::Acquire) {
                    break;
                }
                // Whoever holds the baton drives; then there is nothing to do here.
                if let Ok(mut driver) = shared.driver.try_lock()
                    && driver.pump().is_err()
                {
                    // The program learns it from its next transaction.
                    if matches!(driver.machine.state(), State::Ended(_)) {
                        break;
                    }
                }
            }
        })
        .map_err(|error| ErrorKind::System(Box::new(error)).into())
}
