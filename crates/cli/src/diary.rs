//! A member's own timeline, for one that nobody supervises: when it was a member or led, and what it
//! had to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::moment::Moment;
use crate::ready::Ready;
use crate::timeline::{Lane, Mark, MarkKind, SpanKind, Timeline, TimelineFile, details};
use crate::told::MemberEvent;

/// Puts it into a timeline that a process has become a member, or a leader.
pub(crate) fn record_ready(
    timeline: &mut Timeline,
    lane: Lane,
    pid: Option<u32>,
    ready: &Ready,
    at: Moment,
) {
    let mut known = match ready {
        Ready::PageServer(server) => details([
            ("term", server.term.into()),
            ("generation", server.generation.into()),
            ("commit", server.commit.into()),
            ("records_replayed", server.records.into()),
            ("replay_ms", server.replay_ms.into()),
        ]),
        Ready::Station(station) => details([("incarnation", station.incarnation.into())]),
    };
    known.extend(pid.map(|pid| ("pid".to_owned(), pid.into())));
    let name = match ready {
        Ready::PageServer(server) => format!("term {}", server.term),
        // The number by which the report of kills names it, too.
        Ready::Station(_) => pid.map_or_else(String::new, |pid| format!("pid {pid}")),
    };
    if let Ready::PageServer(server) = ready
        && server.rolled_back
    {
        let mark = Mark {
            kind: MarkKind::Rollback,
            name: format!("rolled back to commit {}", server.commit),
            at,
            details: known.clone(),
        };
        timeline.mark(lane, mark);
    }
    timeline.close(lane, at);
    timeline.open(lane, SpanKind::Life, name, at, known);
}

/// A timeline with one lane. Clones write the same one.
#[derive(Debug, Clone)]
pub(crate) struct Diary {
    lane: Lane,
    file: TimelineFile,
    timeline: Arc<Mutex<Timeline>>,
}

impl Diary {
    /// Begins with the start of this process.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn begin(lane: Lane, file: TimelineFile) -> anyhow::Result<Self> {
        file.check()?;
        let now = Moment::of(Instant::now());
        let mut timeline = Timeline::new(String::new(), now);
        let known = details([("pid", std::process::id().into())]);
        timeline.open(lane, SpanKind::Start, "start".to_owned(), now, known);
        let timeline = Arc::new(Mutex::new(timeline));
        Ok(Self {
            lane,
            file,
            timeline,
        })
    }

    fn timeline(&self) -> MutexGuard<'_, Timeline> {
        // Whatever a thread that panicked has left of it, it is a list of events.
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ready(&self, ready: &Ready) {
        let pid = Some(std::process::id());
        record_ready(&mut self.timeline(), self.lane, pid, ready, Moment::now());
    }

    /// The session is over; another one may come.
    pub(crate) fn lost(&self) {
        let now = Moment::now();
        let mut timeline = self.timeline();
        timeline.close(self.lane, now);
        let known = details([("pid", std::process::id().into())]);
        let kind = SpanKind::Recovery;
        timeline.open(self.lane, kind, "joins anew".to_owned(), now, known);
    }

    pub(crate) fn event(&self, event: &MemberEvent) {
        event.record(&mut self.timeline(), self.lane);
    }

    /// Writes the file.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        let mut timeline = self.timeline();
        let title = format!("plurix {}: pid {}", self.lane.name(), std::process::id());
        timeline.finish(Moment::now(), title, None);
        self.file.write(&timeline)
    }
}
