//! The protocol of Plurix, as state machines that know no socket, file, clock, thread or
//! randomness.
//!
//! ```text
//!   station process                                page server process
//!  +----------------------------+   ToLeader      +------------------------------+
//!  | transaction                | --------------> | leader::Leader               |
//!  |    | begin, settle         |                 |   sequencer   members        |
//!  | station::Station           |   ToStation     |   pages       history        |
//!  |   session   cache          | <-------------- |   streams     outcomes       |
//!  +----------------------------+                 +------------------------------+
//!        | Pages                                          | Command::Append
//!        v                                                v
//!     memory                                            store
//! ```
//!
//! The stations of a [`team`] speak with each other as well, each by a `team::Member`, about weak pages; by a
//! `team::Keeper` each hands its part of a recovery line to the page server.
//!
//! A driver feeds events in and carries commands out; time is an argument. The same code runs in
//! the library, in the page server, in the deterministic simulator and in the model checker, and
//! nothing in it may tell them apart.

pub mod leader;
mod page_set;
pub mod station;
pub mod team;

use std::ops::Add;

pub use plurix_wire as wire;

/// Nanoseconds since an origin that the driver chooses; only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

/// A span of [`Time`], in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub u64);

impl Span {
    /// A span of `ms` milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// A span of `us` microseconds.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us * 1_000)
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl Time {
    /// The span from `earlier` to here; nothing if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Time {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// Names a connection for as long as the driver lives; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ConnectionId(pub u64);
