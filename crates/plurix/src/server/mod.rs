//! The page server: one thread that orders commits, serves pages and keeps the log.
//!
//! ```text
//!        +--> read what has arrived --> Leader --> append to the log ---+
//!        |                                                              |
//!   wait (spin, then sleep)      durable: one fsync for all of it  <----+
//!        |                                                              |
//!        +------- send to whom it concerns <----------------------------+
//! ```
//!
//! One turn of the loop handles everything that has arrived. With durable commits the fsync in the
//! middle is the group commit: while it runs, further requests gather in the sockets. There is no
//! second thread, because waking one would cost more than most of what it could do.

mod notice;
mod options;
mod peers;
mod turn;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plurix_memory::HeapMemory;
use plurix_protocol::Time;
use plurix_protocol::leader::{Leader, ReplayError as HistoryError, Settings};
use plurix_store::{AppendError, OpenError, RealDisk, ReplayError, Store, boot_id};
use plurix_wire::{ClusterId, CommitNumber, Generation, Term};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use crate::net::{Address, ListenError, Spinner};
pub use notice::Notice;
use notice::Notices;
pub use options::{Durability, ServerOptions};
use peers::Peers;

/// The heap's size unless another is asked for: address space, not memory.
const HEAP_BYTES: u64 = 1 << 40;

/// Why a page server cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The log cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The heap's size is no whole number of pages, or beyond the limit.
    #[error("a heap of {0} bytes cannot be; give a multiple of 4096 from 1 MiB to 16 TiB")]
    HeapBytes(u64),
    /// The system refuses something else.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn system(doing: &'static str) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::System { doing, source }
}

/// What a page server found when it started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// The cluster.
    pub cluster: ClusterId,
    /// The leadership that begins.
    pub term: Term,
    /// The generation of the heap.
    pub generation: Generation,
    /// The newest commit.
    pub commit: CommitNumber,
    /// Size of the heap, in bytes.
    pub heap_bytes: u64,
    /// The system forbids to reserve the size that is usual.
    pub heap_is_smaller: bool,
    /// Records replayed.
    pub records: u64,
    /// How long reading the log took.
    pub replay: Duration,
    /// What a power cut left unfinished and was cut off.
    pub torn: Option<String>,
    /// Answered commits may be missing: everybody starts afresh in a new generation.
    pub rolled_back: bool,
}

/// A page server that is ready to [`run`](Self::run).
pub struct PageServer {
    leader: Leader,
    store: Store<RealDisk>,
    peers: Peers,
    started: Started,
    spinner: Spinner,
    log: PathBuf,
    notices: Notices,
    stop: Arc<Stop>,
    origin: Instant,
}

/// Ends a running page server in order, from another thread.
#[derive(Debug)]
pub struct Stop {
    /// The server's loop watches it as it does its sockets. The kernel orders what both do.
    wake: OwnedFd,
}

impl Stop {
    /// Asks the server to end: it marks its log clean, says so to its stations, and returns.
    pub fn stop(&self) {
        // The counter of an eventfd cannot overflow here; the server wakes either way.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl PageServer {
    /// Opens the directory, replays the log, begins a term and listens.
    ///
    /// # Errors
    /// [`ServerError`]; what was on disk is as it was.
    pub fn open(options: ServerOptions) -> Result<Self, ServerError> {
        if let Some(address) = options.listen.iter().find(|address| !address.is_local())
            && options.secret.is_none()
        {
            return Err(ListenError::SecretNeeded(address.clone()).into());
        }
        let (mut store, heap_bytes, heap_is_smaller) = open_store(&options)?;
        let mut leader = Leader::new(settings(&options, heap_bytes));
        let begin = Instant::now();
        let recovered = store.replay::<HistoryError>(|record| leader.replay(record))?;
        let replay = begin.elapsed();
        let term = store.begin_term()?;
        let rolled_back = recovered.new_generation.is_some();
        leader.start(Time(0), term, recovered.new_generation);
        let started = Started {
            cluster: store.cluster(),
            term,
            generation: leader.generation(),
            commit: leader.number(),
            heap_bytes,
            heap_is_smaller,
            records: recovered.records,
            replay,
            torn: recovered.torn.map(|torn| torn.to_string()),
            rolled_back,
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| system("cannot make an eventfd")(error.into()))?;
        let stop = Arc::new(Stop { wake });
        let peers = Peers::listen(&options, store.cluster(), &stop.wake)?;
        let log = options.dir.join("log");
        let origin = Instant::now();
        let mut server = Self {
            leader,
            store,
            peers,
            started,
            spinner: Spinner::new(options.spin, origin),
            log,
            notices: Notices::default(),
            stop,
            origin,
        };
        server.carry_out(Time(0))?;
        Ok(server)
    }

    /// What was found at the start.
    #[must_use]
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Where it listens; a port that was left to the system is known now.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.peers.addresses()
    }

    /// Calls `tell` with what a person should know, on the thread that [`run`](Self::run)s.
    pub fn on_notice(&mut self, tell: impl FnMut(Notice) + Send + 'static) {
        self.notices.set(tell);
    }

    /// A handle that ends it.
    #[must_use]
    pub fn stop_handle(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }
}

impl std::fmt::Debug for PageServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageServer")
            .field("started", &self.started)
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}

fn settings(options: &ServerOptions, heap_bytes: u64) -> Settings {
    let durability = match options.durability {
        Durability::Memory => plurix_protocol::leader::Durability::Memory,
        Durability::Durable => plurix_protocol::leader::Durability::Durable,
    };
    let mut settings = Settings::new(heap_bytes, durability);
    settings.history_bytes_max = options.history_bytes;
    settings.backlog_bytes_max = options.backlog_bytes;
    settings.stations_max = options.stations_max;
    settings.silence_max = options.silence_max.into_span();
    settings.resume_max = options.silence_max.into_span();
    settings.stream_delay = options.stream_delay.into_span();
    settings
}

trait IntoSpan {
    fn into_span(self) -> plurix_protocol::Span;
}

impl IntoSpan for Duration {
    fn into_span(self) -> plurix_protocol::Span {
        plurix_protocol::Span(self.as_nanos() as u64)
    }
}

/// Opens the store; a heap whose size is not asked for has that on disk, or the usual one.
fn open_store(options: &ServerOptions) -> Result<(Store<RealDisk>, u64, bool), ServerError> {
    if let Some(bytes) = options.heap_bytes
        && (!bytes.is_multiple_of(plurix_wire::PAGE_BYTES as u64)
            || !(1 << 20..=plurix_wire::HEAP_BYTES_MAX).contains(&bytes))
    {
        return Err(ServerError::HeapBytes(bytes));
    }
    let mut cluster = [0; 16];
    getrandom::fill(&mut cluster)
        .map_err(|error| system("cannot draw a cluster id")(io::Error::other(error)))?;
    let boot = boot_id().map_err(system("cannot read the boot id"))?;
    let open = |heap_bytes| {
        let mut wished = plurix_store::Options::new(heap_bytes, ClusterId(cluster), boot);
        wished.segment_bytes = options.segment_bytes;
        wished.durability = match options.durability {
            Durability::Memory => plurix_store::Durability::Memory,
            Durability::Durable => plurix_store::Durability::Durable,
        };
        Store::create_or_open(RealDisk::new(&options.dir), wished)
    };
    if let Some(bytes) = options.heap_bytes {
        return Ok((open(bytes)?, bytes, false));
    }
    // Stations must map the heap, so it is no larger than what can be mapped here.
    let bytes = HeapMemory::reserve(HEAP_BYTES).map_or(HEAP_BYTES, |memory| memory.len());
    match open(bytes) {
        Err(OpenError::HeapBytes { existing, .. }) => Ok((open(existing)?, existing, false)),
        opened => Ok((opened?, bytes, bytes < HEAP_BYTES)),
    }
}
