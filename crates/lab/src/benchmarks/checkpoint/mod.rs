//! What checkpoints cost: those who work, the disk, and whole programs.

pub(super) mod bytes;
pub(super) mod latency;
pub(super) mod overhead;
pub(super) mod speed;

use std::path::Path;

use anyhow::{Result, ensure};
use plurix::{Options, Station};

use super::bank;
use crate::process::{CheckpointKind, Server, ServerKind};
use crate::rounds::Plan;
use crate::said::Taken;

/// Fills the heap of the measurement in `directory` and leaves it to a checkpoint.
pub(in crate::benchmarks) fn prepare(
    directory: &Path,
    plan: &Plan,
    kind: CheckpointKind,
) -> Result<Taken> {
    let checkpoints = CheckpointKind {
        every: None,
        changed_pages: None,
        ..kind
    };
    let kind = ServerKind {
        checkpoints: Some(checkpoints),
        ..ServerKind::default()
    };
    let server = Server::start(directory, kind)?;
    let mut station = Station::join(&server.address, Options::default())?;
    bank::fill(&mut station, plan.heap_pages, 1)?;
    drop(station);
    let taken = server.end()?;
    ensure!(
        taken.len() == 1,
        "a page server that ends takes a checkpoint"
    );
    Ok(taken[0])
}
