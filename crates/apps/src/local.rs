//! Runs an application inside one process, for examples and tests: the same stations and the same
//! protocol as with processes and machines, but each station is a thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use plurix::{Cluster, Options, Station};

use crate::app::{App, AppError, Progress, Report};

/// The coordinator looks this often how far the program is.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// Runs `app` on a new cluster of `stations` workers, to its end.
///
/// # Errors
/// What the application or the cluster answers.
pub fn run_local(app: &mut dyn App, stations: usize) -> Result<Report, AppError> {
    let mut cluster = Cluster::local(stations)?;
    let mut options = Options::default();
    options.observer = true;
    let mut coordinator = Station::join(cluster.address(), options)?;
    app.setup(&mut coordinator)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = cluster
            .stations()
            .iter_mut()
            .map(|station| {
                app.register(station);
                scope.spawn(|| station.serve(|_| Ok(done.load(Ordering::Relaxed))))
            })
            .collect();
        let watched = loop {
            match app.progress(&mut coordinator) {
                Ok(progress) if !progress.is_finished() => {}
                ended => break ended,
            }
            // Without workers there is no progress; why they ended is told below.
            if workers.iter().all(|worker| worker.is_finished()) {
                break Ok(Progress::default());
            }
            thread::sleep(LOOK_PERIOD);
        };
        done.store(true, Ordering::Relaxed);
        for worker in workers {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        watched.map(drop)
    })?;
    app.finish(&mut coordinator)
}
