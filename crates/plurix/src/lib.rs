//! Fault-tolerant distributed shared memory: restartable transactions on one heap that survives any
//! machine.
//!
//! A program's whole state lives in a heap that all its stations share. A [`Station`] runs
//! [transactions](Station::transaction) on it: closures that see one snapshot and happen as a whole
//! or not at all. What must be done once, whoever dies, is an [`activity`]. Kill a station
//! and nothing is lost; kill the page server and it comes back from its log.
//!
//! ```
//! use plurix::{Cluster, Result};
//!
//! #[plurix::plain]
//! struct Account {
//!     balance: u64,
//! }
//!
//! fn main() -> Result<()> {
//!     let mut cluster = Cluster::local(1)?; // or Station::join, in a process of its own
//!     let station = &mut cluster.stations()[0];
//!     let accounts = station.transaction(|tx| {
//!         let accounts = tx.alloc_slice_from(&[Account { balance: 100 }, Account { balance: 0 }])?;
//!         tx.set_root("accounts", accounts)?;
//!         Ok(accounts)
//!     })?;
//!     station.transaction(|tx| {
//!         let accounts = tx.get_mut(accounts)?;
//!         accounts[0].balance -= 30;
//!         accounts[1].balance += 30;
//!         Ok(())
//!     })?;
//!     let sum = station.transaction(|tx| {
//!         let accounts = tx.root::<[Account]>("accounts")?;
//!         Ok(tx.get(accounts)?.iter().map(|account| account.balance).sum::<u64>())
//!     })?;
//!     assert_eq!(sum, 100);
//!     Ok(())
//! }
//! ```
//!
//! - [`Cluster`]: a page server and stations inside one process, the embedded default.
//! - [`Station`]: a member; [`Transaction`]: what a closure works with; [`Ptr`]: a pointer into the
//!   heap; [`plain`](macro@plain): what may live there.
//! - [`activity`]: tasks in the heap, run exactly once.
//! - [`collections`]: maps, strings, counters and more, in the heap.
//! - [`team`]: SPMD programs, which compute on weakly consistent memory by plain loads and stores.
//! - [`outbox`]: what is told to the world outside, in order, and only when it is durable.
//! - [`PageServer`]: orders commits and keeps them.
//!
//! Safe code that uses this crate cannot cause undefined behaviour, whatever other stations do; the
//! argument is in `docs/safety.md`, with one exception: programs of [`team`]s that have data races between
//! stations.

extern crate self as plurix;

pub mod activity;
mod admin;
pub mod checkpoints;
mod cluster;
pub mod collections;
pub mod error;
#[cfg(doctest)]
mod guide;
mod heap;
pub mod host;
pub mod net;
pub mod outbox;
mod pipeline;
pub mod plain;
mod ptr;
pub mod recovery;
mod server;
mod station;
pub mod team;
mod transaction;

pub use admin::{
    CheckpointStatus, Conflicts, Latencies, LineConflicts, LineStation, Percentiles, RunInsight,
    StationNumbers, StationStatus, Status, checkpoint, conflicts, page_holders, shutdown, status,
};
pub use cluster::{Cluster, ClusterOptions};
pub use collections::HeapCell;
pub use error::{Error, ErrorKind, Result};
pub use heap::{HeapReport, PageBlock, PageUse, Place, Root, Usage};
pub use pipeline::Commit;
pub use plain::{Layout, Plain};
pub use plurix_derive::plain;
pub use plurix_memory::simd;
pub use plurix_wire::Incarnation;
pub use ptr::{Pointee, Ptr};
pub use server::{
    Checkpoint, CheckpointId, CheckpointOptions, CheckpointStrategy, Compression, Durability,
    Monitor, Notice, PageServer, PassedOver, RestorePoint, ServerError, ServerOptions, Started,
    Stop,
};
pub use station::{Interrupt, Options, Station, Statistics};
pub use transaction::Transaction;
pub use zerocopy;
