//! Puts what happens in a run into a timeline, if the user wants one.

use std::time::Instant;

use super::kills::Kill;
use super::plan::Who;
use crate::diary::record_ready;
use crate::moment::Moment;
use crate::output;
use crate::ready::Ready;
use crate::timeline::{Details, Lane, Mark, MarkKind, SpanKind, Timeline, TimelineFile, details};
use crate::told::MemberEvent;

/// The timeline, and where it goes. Nothing is kept if it goes nowhere.
#[derive(Debug)]
pub(super) struct Record {
    file: Option<TimelineFile>,
    timeline: Timeline,
}

fn lane(who: Who) -> Lane {
    match who {
        Who::Server => Lane::Server,
        Who::Station(number) => Lane::Station(number),
    }
}

impl Record {
    /// Begins with the set-up of the program.
    pub(super) fn new(file: Option<TimelineFile>) -> Self {
        let now = Moment::now();
        let mut record = Self {
            file,
            timeline: Timeline::new(String::new(), now),
        };
        record.phase("set up", Instant::now());
        record
    }

    /// The timeline, if it is wanted.
    fn wanted(&mut self) -> Option<&mut Timeline> {
        self.file.as_ref().map(|_| &mut self.timeline)
    }

    fn next(&mut self, lane: Lane, kind: SpanKind, name: &str, at: Instant, details: Details) {
        if let Some(timeline) = self.wanted() {
            let at = Moment::of(at);
            timeline.close(lane, at);
            timeline.open(lane, kind, name.to_owned(), at, details);
        }
    }

    /// The program's next stage begins.
    pub(super) fn phase(&mut self, name: &str, at: Instant) {
        self.next(Lane::Program, SpanKind::Phase, name, at, Details::new());
    }

    /// The first process of a place was started.
    pub(super) fn started(&mut self, who: Who, pid: i32, at: Instant) {
        let details = details([("pid", pid.into())]);
        self.next(lane(who), SpanKind::Start, "start", at, details);
    }

    pub(super) fn ready(&mut self, who: Who, pid: Option<i32>, ready: &Ready, at: Instant) {
        if let Some(timeline) = self.wanted() {
            let pid = pid.map(i32::unsigned_abs);
            record_ready(timeline, lane(who), pid, ready, Moment::of(at));
        }
    }

    /// A process has ended, and a successor is wanted.
    pub(super) fn died(&mut self, who: Who, pid: i32, cause: &str, is_killed: bool, at: Instant) {
        let known = details([("pid", pid.into()), ("cause", cause.into())]);
        if !is_killed && let Some(timeline) = self.wanted() {
            let mark = Mark {
                kind: MarkKind::Death,
                name: format!("died, {cause}"),
                at: Moment::of(at),
                details: known.clone(),
            };
            timeline.mark(lane(who), mark);
        }
        self.next(lane(who), SpanKind::Recovery, "recovery", at, known);
    }

    pub(super) fn killed(&mut self, at: Instant, kill: &Kill) {
        let doing = serde_json::to_value(kill.doing).unwrap_or_default();
        if let Some(timeline) = self.wanted() {
            let mark = Mark {
                kind: MarkKind::Kill,
                name: format!("kill -9 ({})", kill.kind.name()),
                at: Moment::of(at),
                details: details([("pid", kill.pid.into()), ("doing", doing)]),
            };
            timeline.mark(lane(kill.who), mark);
        }
    }

    /// A member has told something of itself.
    pub(super) fn told(&mut self, who: Who, event: &MemberEvent) {
        if let Some(timeline) = self.wanted() {
            event.record(timeline, lane(who));
        }
    }

    /// A process has ended, as it should.
    pub(super) fn ended(&mut self, who: Who) {
        if let Some(timeline) = self.wanted() {
            timeline.close(lane(who), Moment::now());
        }
    }

    /// The newest commit at this time.
    pub(super) fn commit(&mut self, at: Instant, number: u64) {
        if let Some(timeline) = self.wanted() {
            timeline.commit(Moment::of(at), number);
        }
    }

    /// Writes the file, also of a run that has failed.
    pub(super) fn write(&mut self, title: String, report: Option<String>) {
        let Some(file) = &self.file else {
            return;
        };
        self.timeline.finish(Moment::now(), title, report);
        // What the program has come to stands without it.
        if let Err(error) = file.write(&self.timeline) {
            output::note(format_args!("warning: {error}"));
        }
    }
}
