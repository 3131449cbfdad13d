//! Teams: one program on all stations at once, which computes on weakly consistent memory by plain
//! loads and stores, from barrier to barrier.
//!
//! A [`Program`] leaves its data in the heap: [`Setup`] allocates [`Region`]s, once, by a transaction. Then
//! all workers of all stations run phase after phase; what one writes in a phase, all others see in the
//! next. The memory is that of each worker's own process: a page is fetched when it is first touched, and
//! what no other station has a copy of is read and written at the machine's own speed.
//!
//! ```
//! use plurix::team::{Program, Region, Setup, TeamOptions, Turn, Worker};
//! use plurix::{Cluster, Result};
//!
//! /// Sums the numbers below `len`.
//! struct Sum {
//!     len: usize,
//! }
//!
//! impl Program for Sum {
//!     type Data = Region<u64>;
//!     type Output = u64;
//!
//!     fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Region<u64>> {
//!         setup.region(self.len)
//!     }
//!
//!     fn phase(&self, worker: &mut Worker<'_>, numbers: &Region<u64>, phase: u64) -> Result<Turn<u64>> {
//!         let part = worker.part(self.len);
//!         if phase == 0 {
//!             let mut mine = worker.write(*numbers, part.clone())?;
//!             mine.iter_mut().zip(part).for_each(|(number, at)| *number = at as u64);
//!             return Ok(Turn::Next);
//!         }
//!         // Each looks at what its neighbour has written.
//!         let other = worker.part(self.len);
//!         let sum = worker.read(*numbers, other)?.iter().sum();
//!         Ok(Turn::Done(worker.reduce(sum, |a: u64, b| a + b)?))
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let cluster = Cluster::local(0)?;
//! let options = TeamOptions::new("sum").workers(2);
//! let done = plurix::team::run(cluster.address(), Default::default(), &options, &Sum { len: 10_000 })?;
//! assert_eq!(done.outputs, [49_995_000, 49_995_000]);
//! # Ok(())
//! # }
//! ```
//!
//! Between two barriers, two workers must not touch the same byte if one of them writes it, unless a lock
//! orders them: then it is not defined what is read. Within one station that is checked.

mod baton;
mod engine;
mod form;
mod gate;
mod keeper;
mod mesh;
mod record;
mod recovery_line;
mod region;
mod run;
mod statistics;
mod tell;
mod waits;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use plurix_memory::Mechanism;
use plurix_protocol::team::{Error as ProtocolError, Settings};
use plurix_wire::message::peer::TEAM_MAX;
use plurix_wire::message::recovery_line::LineRefusal;
use plurix_wire::{CommitNumber, PAGE_BYTES, Rank};

use crate::error::{ErrorKind, Result};
use crate::net::{Address, ConnectError, NetError};
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;
pub use engine::Counts;
use record::REGIONS_MAX;
pub use recovery_line::LineOptions;
use region::RegionRecord;
pub use region::{Consistency, Placement, Region, RegionOptions};
pub use run::{Report, run};
pub use statistics::{StationStatistics, TeamStatistics, Told, names, statistics};
pub use worker::{Locked, Worker};

/// An SPMD program: all of its state that outlives a phase is in the heap.
pub trait Program: Sync {
    /// What setup leaves in the heap for the workers: regions, pointers, sizes.
    type Data: Plain;
    /// What each worker answers at the end.
    type Output: Send;

    /// Allocates what the program needs; runs once for a team, and maybe several times before it
    /// happens, as any transaction.
    ///
    /// # Errors
    /// Those of the library; they end the team.
    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Self::Data>;

    /// What one worker does between two barriers. All workers must come to the same barriers, and to
    /// the end in the same phase.
    ///
    /// # Errors
    /// Those of the library, or the program's own; they end the team.
    fn phase(
        &self,
        worker: &mut Worker<'_>,
        data: &Self::Data,
        phase: u64,
    ) -> Result<Turn<Self::Output>>;
}

/// What follows a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<T> {
    /// The next one.
    Next,
    /// Nothing: this is the result.
    Done(T),
}

/// The transaction by which a program lays out its data.
pub struct Setup<'a, 's> {
    tx: &'a mut Transaction<'s>,
    regions: Vec<RegionRecord>,
}

impl<'s> Setup<'_, 's> {
    /// A region of `len` zeros.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`], [`TeamError::TooManyRegions`].
    pub fn region<T: Plain>(&mut self, len: usize) -> Result<Region<T>> {
        self.region_with(len, &RegionOptions::default())
    }

    /// A region of `len` zeros that behaves as the options say.
    ///
    /// # Errors
    /// As [`region`](Self::region); [`TeamError::BadRegion`] for options that make no sense.
    pub fn region_with<T: Plain>(
        &mut self,
        len: usize,
        options: &RegionOptions,
    ) -> Result<Region<T>> {
        if !options.is_sound() {
            return Err(TeamError::BadRegion.into());
        }
        if self.regions.len() == REGIONS_MAX {
            return Err(TeamError::TooManyRegions.into());
        }
        let bytes = (len as u64).checked_mul(size_of::<T>() as u64);
        let bytes = bytes.ok_or(ErrorKind::OutOfMemory { bytes: u64::MAX })?;
        // Two pages at least, so that it is a run of pages and no part of one.
        let pages = bytes.div_ceil(PAGE_BYTES as u64).max(2);
        let block = self.tx.alloc_slice::<[u8; PAGE_BYTES]>(pages as usize)?;
        let offset = block.offset();
        self.regions.push(RegionRecord::new(offset, pages, options));
        Ok(Region::at(offset, len))
    }

    /// The transaction, for whatever else shall lie in the heap.
    pub fn transaction(&mut self) -> &mut Transaction<'s> {
        self.tx
    }
}

/// Who makes up a team, and how its members work.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TeamOptions {
    /// Its name in the heap.
    pub name: String,
    /// How many stations it has.
    pub stations: u16,
    /// Workers at each station.
    pub workers: u16,
    /// Where this station listens for the others; chosen by itself if `None`.
    pub listen: Option<Address>,
    /// How page faults are noticed; the best way that works here if `None`.
    pub mechanism: Option<Mechanism>,
    /// Whoever waits asks its connections for so long before it sleeps.
    pub spin: Duration,
    /// The team must be complete after so long.
    pub patience: Duration,
    /// On one host, members speak through memory that both map, rather than over sockets.
    pub shared_memory: bool,
    /// Most pages that are asked for ahead when they are touched one after the other.
    pub read_ahead: u32,
    /// When recovery lines are taken, from which the team goes on if it loses a station; with none it
    /// begins again.
    pub lines: Option<LineOptions>,
    /// When a station is lost, the others take its workers over and go on at once. Else they wait until
    /// another one has taken its place.
    pub spread: bool,
    /// Where the heap shall say, now and then, how many phases the team has run, for whoever watches it.
    /// A team that goes back to a recovery line counts from there again.
    pub progress: Option<Ptr<u64>>,
}

impl TeamOptions {
    /// A team of one station with one worker.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            stations: 1,
            workers: 1,
            listen: None,
            mechanism: None,
            spin: Duration::from_millis(2),
            patience: Duration::from_secs(30),
            shared_memory: true,
            read_ahead: Settings::default().read_ahead,
            lines: None,
            spread: false,
            progress: None,
        }
    }

    /// With so many stations.
    #[must_use]
    pub fn stations(mut self, stations: u16) -> Self {
        self.stations = stations;
        self
    }

    /// With so many workers at each of them.
    #[must_use]
    pub fn workers(mut self, workers: u16) -> Self {
        self.workers = workers;
        self
    }
}

/// Why a team cannot begin or go on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TeamError {
    /// A team has 1 to 64 stations with one worker at least.
    #[error("a team has 1 to {TEAM_MAX} stations, with 1 worker at least")]
    Size,
    /// Others have made it of another size.
    #[error("the team has {found} stations, not {wanted}; choose another name for another team")]
    OtherSize {
        /// As it is in the heap.
        found: u16,
        /// As it was asked for.
        wanted: u16,
    },
    /// All its places are taken by stations that live.
    #[error("all {0} stations of the team are there already")]
    Full(u16),
    /// Its stations have come to the end of the program.
    #[error("the team has come to its end; choose another name for another team")]
    Over,
    /// Somebody did not come.
    #[error("{0} of the team has not come; are all its stations started?")]
    Absent(Rank),
    /// This station cannot be reached.
    #[error("cannot listen for the others of the team: {0}")]
    Listen(Arc<dyn std::error::Error + Send + Sync>),
    /// The address is longer than the heap has room for.
    #[error("the address {0} is too long; choose a shorter one (listen)")]
    LongAddress(String),
    /// Another member cannot be reached.
    #[error("cannot reach another station of the team: {0}")]
    Connect(Arc<ConnectError>),
    /// The connection to another member broke.
    #[error("{rank} of the team is lost: {why}")]
    Lost {
        /// Who.
        rank: Rank,
        /// What happened.
        why: Arc<str>,
    },
    /// The recovery line that the team went on from is gone, or this station is none of the living.
    #[error("the team's recovery line: {0}")]
    LineLost(LineRefusal),
    /// Very many teams have had recovery lines since this one.
    #[error(
        "the page server has forgotten how the team goes on from its recovery line {0}, since very many \
         other teams have had lines after it; choose another name, and it begins anew"
    )]
    LineForgotten(CommitNumber),
    /// What the recovery line holds beside its pages cannot be read.
    #[error("the team's recovery line {0} was left by another version; use that, or another name")]
    BadLine(CommitNumber),
    /// The kernel refuses to open or close memory.
    #[error("weak memory: {0}")]
    Memory(Arc<plurix_memory::Error>),
    /// Another member gave up, or broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The options of a region make no sense.
    #[error("a region's unit is 4 KiB to 64 KiB, a power of two, and a turn is not empty")]
    BadRegion,
    /// There are more regions than a team can have.
    #[error("a team has {REGIONS_MAX} regions at most; put several arrays into one")]
    TooManyRegions,
    /// Workers did not do the same.
    #[error("the workers brought different things to a barrier; all must come to the same ones")]
    Disagreement,
    /// A worker of this station failed.
    #[error("another worker of this station has failed")]
    WorkerFailed,
    /// The program gave itself up with [`Worker::abort`].
    #[error("{0}")]
    Aborted(Arc<dyn std::error::Error + Send + Sync>),
}

impl TeamError {
    fn lost(rank: Rank, source: &NetError) -> Self {
        let why = source.to_string().into();
        Self::Lost { rank, why }
    }
}

impl From<io::Error> for TeamError {
    fn from(error: io::Error) -> Self {
        Self::Listen(Arc::new(error))
    }
}
