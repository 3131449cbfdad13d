//! The run's own member: an observer that sets the program up, looks how far it is, and finishes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use plurix::net::Address;
use plurix_apps::{App, AppError, Report};

use super::event::{CoordinatorEvent, Event};
use crate::join::{is_lost_session, is_shutdown, join};

/// It looks this often how far the program is.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// It asks the leader this often how it stands.
const STATUS_PERIOD: Duration = Duration::from_secs(1);
/// So many lives it has at most; each ends with a session that was lost.
const LIVES_MAX: u32 = 100;

/// What the thread needs.
pub(super) struct Coordinator {
    pub(super) app: Box<dyn App>,
    pub(super) address: Address,
    pub(super) options: plurix::Options,
    pub(super) events: Sender<Event>,
}

impl Coordinator {
    /// Does everything, on a thread of its own, and ends with [`CoordinatorEvent::Finished`].
    pub(super) fn spawn(mut self) -> std::io::Result<()> {
        std::thread::Builder::new()
            .name("plurix-coordinator".to_owned())
            .spawn(move || {
                let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
                let result = worked.unwrap_or_else(|_| {
                    Err(AppError::Input(
                        "the program panicked; this is a bug".to_owned(),
                    ))
                });
                self.tell(CoordinatorEvent::Finished(result));
            })
            .map(drop)
    }

    /// Goes on after a lost session: what was done is in the heap, and each step can be repeated.
    fn work(&mut self) -> Result<Report, AppError> {
        for _ in 1..LIVES_MAX {
            match self.live() {
                Err(AppError::Heap(error)) if is_lost_session(&error) || is_shutdown(&error) => {}
                result => return result,
            }
        }
        self.live()
    }

    /// One membership; it is over when this answers.
    fn live(&mut self) -> Result<Report, AppError> {
        let mut station = join(&self.address, &self.options, |_| {})?;
        self.tell(CoordinatorEvent::Joined(station.interrupt_handle()));
        self.app.register(&mut station);
        self.app.setup(&mut station)?;
        self.tell(CoordinatorEvent::SetUp(station.snapshot().0));
        let mut asked = Instant::now();
        loop {
            let progress = self.app.progress(&mut station)?;
            let commit = station.snapshot().0;
            self.tell(CoordinatorEvent::Progress { progress, commit });
            if progress.is_finished() {
                break;
            }
            if asked.elapsed() >= STATUS_PERIOD {
                asked = Instant::now();
                self.ask_status();
            }
            // News alone would wake it for every commit, at the workers' cost.
            std::thread::sleep(LOOK_PERIOD);
        }
        self.tell(CoordinatorEvent::Worked);
        self.ask_status();
        station.latest()?;
        self.app.finish(&mut station)
    }

    fn ask_status(&self) {
        // A leader that is away just now is asked again later.
        if let Ok(status) = plurix::status(&self.address, self.options.credentials()) {
            self.tell(CoordinatorEvent::Status(Box::new(status)));
        }
    }

    fn tell(&self, event: CoordinatorEvent) {
        // Without a supervisor there is nobody to tell.
        let _ = self.events.send(Event::Coordinator(event));
    }
}
