//! A team on weak memory in one thread: the real `Member`s and the real view on its emulated back end,
//! workers that run scripts, a network that delays, and faults, all of it decided by one seed.
//!
//! ```text
//!   seed --> plan: sizes, delays, faults        scripts: free of races, but for one that is planted
//!               |                                  |
//!               v                                  v
//!   world: queue of events in virtual time --> worker: load, store, lock, count --> memory
//!     | network: FIFO connections                  |              protocol: Member
//!     | forgery: what must be refused              v
//!     |                                   races: is it free of races?
//!     v                                   oracles: values, locks, barriers, counters, copies, results
//!   a member dies --> the team ends; the next one begins from the first interval
//! ```
//!
//! The protocol sends nothing twice, and has no state that outlives a member: so a fault is the end of
//! the team, or only time. What a team computed in the end must not depend on either.

mod forgery;
mod lines;
mod memory;
mod network;
mod oracle;
mod plan;
mod races;
mod script;
mod worker;
mod world;

pub(crate) use world::World;
