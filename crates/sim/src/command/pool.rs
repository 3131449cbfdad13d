//! Runs seeds on several threads, each run on one of them; what comes out does not depend on how
//! many there are, because reports are handed on in the order of the seeds.
//!
//! ```text
//!   next seed --> worker --+
//!             --> worker --+--> reports, as they come --> in order --> caller: go on, or stop
//!             --> worker --+
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use plurix_sim::Report;

/// So often the caller is asked even if no seed is done.
const TURN: Duration = Duration::from_millis(100);

/// Runs `seeds` with `run` on `jobs` threads. Calls `turn` with each report in order, and with
/// none now and then; after it has answered `Break`, seeds already begun are still finished and
/// reported, unless a report was what it broke at.
#[allow(
    clippy::disallowed_methods,
    reason = "each run stays on one thread, and knows of no other"
)]
pub(super) fn run(
    seeds: std::ops::Range<u64>,
    jobs: usize,
    run: impl Fn(u64) -> Report + Sync,
    mut turn: impl FnMut(Option<Report>) -> ControlFlow<()>,
) {
    let next = AtomicU64::new(seeds.start);
    let stopped = AtomicBool::new(false);
    let (sender, reports) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, next, stopped, run) = (sender.clone(), &next, &stopped, &run);
            let end = seeds.end;
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send(run(seed)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = seeds.start;
        loop {
            match reports.recv_timeout(TURN) {
                Ok(report) => {
                    early.insert(report.seed, report);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            if turn(None).is_break() {
                stopped.store(true, Ordering::Relaxed);
            }
            while let Some(report) = early.remove(&due) {
                due += 1;
                if turn(Some(report)).is_break() {
                    stopped.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
    });
}
