//! The end of a run: the coordinator leaves, then the stations, then the page server, which marks
//! its log clean. Who does not end in time is killed; that does no harm either.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::event::{CoordinatorEvent, Event, ProcessEvent};
use super::plan::Who;
use super::probe::Probe;
use super::supervisor::Supervisor;
use crate::told::Told;

/// The coordinator may be in the middle of a computation.
const COORDINATOR_GRACE: Duration = Duration::from_millis(500);
/// A station may be in the middle of an activity.
const STATION_GRACE: Duration = Duration::from_secs(1);
/// A page server may have to wait for its disk.
const SERVER_GRACE: Duration = Duration::from_secs(10);

impl Supervisor {
    pub(super) fn end(&mut self) {
        self.probe.iter().for_each(Probe::end);
        if self.is_coordinated {
            if let Some(interrupt) = &self.interrupt {
                interrupt.interrupt();
            }
            self.wait(COORDINATOR_GRACE, |run| !run.is_coordinated);
        }
        self.end_those(STATION_GRACE, |who| who != Who::Server);
        self.end_those(SERVER_GRACE, |who| who == Who::Server);
    }

    fn end_those(&mut self, grace: Duration, is_meant: fn(Who) -> bool) {
        // A stopped process hears no other signal before it goes on.
        self.signal(is_meant, &[Signal::TERM, Signal::CONT]);
        if !self.wait(grace, |run| run.living(is_meant) == 0) {
            self.signal(is_meant, &[Signal::KILL]);
            self.wait(Duration::MAX, |run| run.living(is_meant) == 0);
        }
    }

    fn living(&self, is_meant: fn(Who) -> bool) -> usize {
        let meant = self.slots.iter().filter(|(who, _)| is_meant(**who));
        meant.filter(|(_, slot)| slot.process.is_some()).count()
    }

    fn signal(&self, is_meant: fn(Who) -> bool, signals: &[Signal]) {
        for (_, slot) in self.slots.iter().filter(|(who, _)| is_meant(**who)) {
            for signal in signals {
                slot.process
                    .iter()
                    .for_each(|process| process.signal(*signal));
            }
        }
    }

    /// Takes events until `done`; answers whether it came to that within `limit`. A user who asks a
    /// second time has no more patience.
    fn wait(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let begin = Instant::now();
        while !done(self) {
            let left = limit.saturating_sub(begin.elapsed());
            match self.inbox.recv_timeout(left) {
                Err(_) => return false,
                Ok(Event::Stop) if limit < Duration::MAX => return false,
                Ok(Event::Stop) => {}
                Ok(Event::Coordinator(CoordinatorEvent::Finished(_))) => {
                    self.is_coordinated = false;
                }
                Ok(Event::Coordinator(_) | Event::Probe { .. }) => {}
                Ok(Event::Process {
                    who,
                    life,
                    what: ProcessEvent::Ended,
                    ..
                }) => self.bury(who, life),
                Ok(Event::Process {
                    who,
                    what: ProcessEvent::Line(line),
                    ..
                }) => {
                    if let Ok(Told::Event(event)) = serde_json::from_str(&line) {
                        self.record.told(who, &event);
                        self.tally.checkpoints.told(&event);
                    }
                }
            }
        }
        true
    }

    fn bury(&mut self, who: Who, life: u32) {
        let Some(slot) = self.slots.get_mut(&who) else {
            return;
        };
        let Some(process) = slot.process.take_if(|process| process.life == life) else {
            return;
        };
        self.record.ended(who);
        if let Err(error) = process.wait() {
            self.view
                .line(format_args!("cannot wait for the end of {who}: {error}"));
        }
    }
}
