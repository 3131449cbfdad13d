//! Parallel programs for Plurix, each of which reads like its algorithm.
//!
//! An application has two halves. One is *pure*: plain functions on slices of plain old data, with
//! no idea where those slices live. The other, the file `app.rs` of each module, hands in slices
//! that live in the shared heap, and decides who computes what: it implements [`App`], and its
//! units of work are activities. Because the heap holds all state and the pure half holds none, a
//! station may be killed in the middle of any of these functions: another one calls it again with
//! the same arguments and gets the same bytes.
//!
//! - [`raytrace`]: a recursive ray tracer. The scene is read by everybody and written by nobody;
//!   tiles of the image are independent work. It shows how far a read-mostly program scales.
//! - [`wordcount`]: counts words, chunk by chunk, and merges the counts. It shows reductions, and
//!   its output can be compared with a shell pipeline byte for byte.
//! - [`bank`]: tellers move money between accounts. It shows conflicts, and any lost or doubled
//!   commit changes the sum of all balances, so it doubles as a test.
//!
//! [`AppCommand`] names them for a command line; [`run_local`] runs one inside this process.
//!
//! Five more programs are for teams, whose workers share plain memory and meet at barriers. Their file
//! `team.rs` is the algorithm, a [`Program`](plurix::team::Program) that calls the same pure half; and
//! beside it there is the reference that it is compared with, the same by the threads of one process.
//! As an application, each station runs one activity, which is one station of the team: if it dies,
//! another one takes the activity, and the team goes back to its newest recovery line.
//!
//! - [`jacobi`] and [`sor`]: a hot plate, by two classical iterations. Workers read what their
//!   neighbours wrote in the phase before: they show what sharing at the edges costs.
//! - [`matmul`]: a product of matrices, where one factor is read by everybody.
//! - [`tsp`]: the shortest round trip. Its queue is under one lock: it shows what locks cost.
//! - [`sort`]: sorts the numbers of a file. Everybody sends something to everybody once.
//!
//! [`team`] holds what they share.
//!
//! Same input, same output, bit for bit, on every machine: that is a rule for this crate, because
//! work that is repeated after a crash must not be distinguishable from work that was not. Hence
//! there is no randomness here but seeded generators, and no function of the platform's
//! mathematical library but the square root, which IEEE 754 defines exactly.

pub mod app;
pub mod bank;
mod command;
pub mod jacobi;
mod local;
pub mod matmul;
mod output;
pub mod plate;
pub mod raytrace;
mod run;
pub mod sor;
pub mod sort;
pub mod team;
pub mod tsp;
pub mod wordcount;

pub use app::{App, AppError, Progress, Report};
pub use command::{AppCommand, register_all};
pub use local::run_local;
