//! Plurix.

extern crate self as plurix;

pub mod activity;
mod cluster;
pub mod error;
mod heap;
pub mod net;
pub mod plain;
mod ptr;
mod server;
mod station;
mod transaction;

pub use cluster::{Cluster, ClusterOptions};
pub use error::{Error, ErrorKind, Result};
pub use heap::{HeapReport, Root, Usage};
pub use plain::{Layout, Plain};
pub use plurix_derive::plain;
pub use ptr::{Pointee, Ptr};
pub use server::{Durability, PageServer, ServerError, ServerOptions, Started, Stop};
pub use station::{Interrupt, Options, Station, Statistics};
pub use transaction::Transaction;
pub use zerocopy;
