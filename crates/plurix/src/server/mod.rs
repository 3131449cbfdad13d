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
//!
//! Without durable commits somebody may still want to know one durable. Then the store syncs in the
//! background, and wakes the loop when it has.

mod checkpoints;
mod monitor;
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
use plurix_protocol::leader::{
    CheckpointSettings, Event, Leader, ReplayError as HistoryError, Settings,
};
use plurix_store::{
    AppendError, OpenError, RealDisk, ReplayError, RestoreError, Store, UnreadablePage, boot_id,
};
pub use plurix_store::{Checkpoint, Compression, PassedOver};
pub use plurix_wire::CheckpointId;
use plurix_wire::{ClusterId, CommitNumber, Generation, PageNumber, Term};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use crate::net::{Address, ListenError, Listener, Spinner};
use crate::recovery::{self, CheckpointedPages};
pub use checkpoints::{CheckpointOptions, CheckpointStrategy};
pub use monitor::Monitor;
pub use notice::Notice;
use notice::Notices;
pub use options::{Durability, RestorePoint, ServerOptions};
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
    /// The heap cannot go back to a checkpoint; it is as it was.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The log cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The log cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A page of a checkpoint is not what was written.
    #[error("{0}; started again, the page server goes on from an older checkpoint and the log")]
    Unreadable(#[from] UnreadablePage),
    /// The checkpoint to start from cannot be used.
    #[error(transparent)]
    Base(#[from] HistoryError),
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
#[derive(Debug, Clone)]
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
    /// The checkpoint it started from.
    pub checkpoint: Option<Checkpoint>,
    /// Newer checkpoints that could not be used, and why.
    pub passed_over: Vec<PassedOver>,
    /// How long it took to read where the checkpoint's pages are.
    pub loaded: Duration,
    /// Records replayed.
    pub records: u64,
    /// How long reading the log took.
    pub replay: Duration,
    /// What a power cut left unfinished and was cut off.
    pub torn: Option<String>,
    /// Answered commits are or may be missing: everybody starts afresh in a new generation.
    pub rolled_back: bool,
    /// The heap went back to a checkpoint, as it was told to.
    pub restored: bool,
}

/// A page server that is ready to [`run`](Self::run).
pub struct PageServer {
    leader: Leader,
    store: Store<RealDisk>,
    images: Arc<CheckpointedPages>,
    /// Everybody waits for the running checkpoint.
    blocks: bool,
    /// There are pages to be collected at once.
    collects_more: bool,
    /// Pages from here on are loaded whenever there is nothing else to do.
    preloads: Option<PageNumber>,
    peers: Peers,
    started: Started,
    spinner: Spinner,
    log: PathBuf,
    notices: Notices,
    monitor: Monitor,
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
        wake(&self.wake);
    }
}

fn wake(eventfd: &OwnedFd) {
    // Its counter cannot overflow here; who waits for it wakes either way.
    let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
}

/// What wakes the server's loop from other threads.
struct Wakes {
    stop: OwnedFd,
    /// A sync in the background has ended.
    synced: Arc<OwnedFd>,
    /// Somebody asks how the server stands.
    asked: Arc<OwnedFd>,
}

impl Wakes {
    fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            stop: eventfd(0, flags)?,
            synced: Arc::new(eventfd(0, flags)?),
            asked: Arc::new(eventfd(0, flags)?),
        })
    }
}

impl PageServer {
    /// Opens the directory, replays the log, begins a term and listens.
    ///
    /// # Errors
    /// [`ServerError`]; what was on disk is as it was.
    pub fn open(options: ServerOptions) -> Result<Self, ServerError> {
        let credentials = options.credentials();
        for address in &options.listen {
            Listener::check(address, &credentials)?;
        }
        let wakes = Wakes::new().map_err(system("cannot make an eventfd"))?;
        let (mut store, heap_bytes, heap_is_smaller) = open_store(&options, &wakes.synced)?;
        if let Some(point) = options.restore {
            store.go_back(point.id())?;
        }
        let begin = Instant::now();
        let settings = settings(&options, heap_bytes);
        let (mut leader, images) = recovery::start_leader(&mut store, settings)?;
        let base = store.base().clone();
        let loaded = begin.elapsed();
        let recovered = store.replay::<HistoryError>(|record| leader.replay(record))?;
        let replay = begin.elapsed();
        // An imported heap has a generation of its own, though none of its commits is missing.
        let rolled_back = recovered.new_generation.is_some() && store.was_led();
        let term = store.begin_term()?;
        leader.start(Time(0), term, recovered.new_generation);
        let preloads = options.preload && base.checkpoint.is_some();
        let started = Started {
            cluster: store.cluster(),
            term,
            generation: leader.generation(),
            commit: leader.number(),
            heap_bytes,
            heap_is_smaller,
            checkpoint: base.checkpoint,
            passed_over: base.passed_over,
            loaded,
            records: recovered.records,
            replay: replay.saturating_sub(loaded),
            torn: recovered.torn.map(|torn| torn.to_string()),
            rolled_back,
            restored: options.restore.is_some(),
        };
        leader.handle(Time(0), Event::Durable(store.synced()));
        let peers = Peers::listen(&options, store.cluster(), &wakes)?;
        let stop = Arc::new(Stop { wake: wakes.stop });
        let log = options.dir.join("log");
        let origin = Instant::now();
        let mut server = Self {
            leader,
            store,
            images,
            blocks: false,
            collects_more: false,
            preloads: preloads.then_some(PageNumber(0)),
            peers,
            started,
            spinner: Spinner::new(options.spin, origin),
            log,
            notices: Notices::default(),
            monitor: Monitor::new(wakes.asked),
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

    /// A handle by which other threads ask how it stands.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
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
    settings.token_max = options.token_max.into_span();
    settings.backlog_bytes_max = options.backlog_bytes;
    settings.stations_max = options.stations_max;
    settings.silence_max = options.silence_max.into_span();
    settings.resume_max = options.silence_max.into_span();
    settings.stream_delay = options.stream_delay.into_span();
    settings.checkpoint = options.checkpoint.map(|checkpoint| CheckpointSettings {
        strategy: checkpoint.strategy,
        every: checkpoint.every.into_span(),
        changed_bytes: checkpoint.changed_bytes,
    });
    let pages = options.cache_bytes / plurix_wire::PAGE_BYTES as u64;
    settings.resident_pages_max = usize::try_from(pages).unwrap_or(usize::MAX);
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
/// Whoever listens to `synced` is woken when a sync in the background has ended.
fn open_store(
    options: &ServerOptions,
    synced: &Arc<OwnedFd>,
) -> Result<(Store<RealDisk>, u64, bool), ServerError> {
    if let Some(bytes) = options.heap_bytes
        && (!bytes.is_multiple_of(plurix_wire::PAGE_BYTES as u64)
            || !(1 << 20..=plurix_wire::HEAP_BYTES_MAX).contains(&bytes))
    {
        return Err(ServerError::HeapBytes(bytes));
    }
    let cluster = crate::checkpoints::draw().map_err(system("cannot draw a cluster id"))?;
    let boot = boot_id().map_err(system("cannot read the boot id"))?;
    let open = |heap_bytes| {
        let mut wished = plurix_store::Options::new(heap_bytes, cluster, boot);
        wished.segment_bytes = options.segment_bytes;
        wished.checkpoints_kept = options.checkpoints_kept;
        wished.compression = options.compression;
        wished.durability = match options.durability {
            Durability::Memory => plurix_store::Durability::Memory,
            Durability::Durable => plurix_store::Durability::Durable,
        };
        let synced = Arc::clone(synced);
        let disk = RealDisk::new(&options.dir).on_done(move || wake(&synced));
        Store::create_or_open(disk, wished)
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
