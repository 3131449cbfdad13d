//! Plurix.

pub mod activity;
pub mod error;
mod heap;
pub mod net;
pub mod plain;
mod ptr;
mod station;
mod transaction;

pub use error::{Error, ErrorKind, Result};
pub use plain::{Layout, Plain};
pub use ptr::{Pointee, Ptr};
pub use station::{Interrupt, Options, Station, Statistics};
pub use transaction::Transaction;
pub use zerocopy;
