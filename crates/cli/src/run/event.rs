//! What the supervisor hears from the threads around it.

use std::time::Instant;

use plurix::{Interrupt, Status};
use plurix_apps::{AppError, Progress, Report};

use super::plan::Who;

#[derive(Debug)]
pub(super) enum Event {
    /// Of one life of a process. What comes from an earlier life than the present one is stale.
    Process {
        who: Who,
        life: u32,
        at: Instant,
        what: ProcessEvent,
    },
    Coordinator(CoordinatorEvent),
    /// The leader was asked how it stands, and has answered.
    Probe {
        asked: Instant,
        at: Instant,
        status: Box<Status>,
    },
    /// SIGINT or SIGTERM.
    Stop,
}

#[derive(Debug)]
pub(super) enum ProcessEvent {
    /// It wrote a line.
    Line(String),
    /// It has closed its output, which it does by ending.
    Ended,
}

#[derive(Debug)]
pub(super) enum CoordinatorEvent {
    /// It is a member now, and can be interrupted.
    Joined(Interrupt),
    /// The program is set up, as of this commit.
    SetUp(u64),
    /// How far it is, as of this commit.
    Progress { progress: Progress, commit: u64 },
    /// How the leader stands.
    Status(Box<Status>),
    /// All units are done; the result is being checked.
    Worked,
    /// The end.
    Finished(Result<Report, AppError>),
}
