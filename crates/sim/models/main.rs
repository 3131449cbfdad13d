//! The protocol checked exhaustively for small bounds: every order of every event, instead of the
//! many orders that seeds draw. The machines are those that run in production; around them stand a
//! network, a log, clocks and programs that are small enough to be enumerated.
//!
//! ```text
//!   cluster ---- process      a station with its memory and its program
//!      |    ---- page_server  the leader, its log, its restarts
//!      |    ---- rules        what no reachable state may break
//!      v
//!   membership  snapshot  claims      the models: programs, bounds, what must be seen to happen
//! ```
//!
//! [`team`] stands for itself: members of a team, a page, and what they say to each other.
//!
//! `cargo xtask model` checks all bounds; `cargo test` the smaller ones.

mod check;
mod claims;
mod cluster;
mod log;
mod membership;
mod memory;
mod page_server;
mod process;
mod rules;
mod shared;
mod snapshot;
mod team;
mod wire;
