//! The events of a timeline, by lane: bars that last, marks of a moment, and how many commits there
//! were when.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::moment::Moment;

/// What else is known of an event; names end in their units.
pub(crate) type Details = BTreeMap<String, Value>;

/// Rates are told for times no shorter than this: commits are counted every 20 ms.
const BUCKET_MIN: Duration = Duration::from_millis(60);

/// Whose event it is; lanes are shown in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The program as a whole, as its supervisor sees it.
    Program,
    Server,
    /// By its number; 0 if that is not known.
    Station(u32),
}

impl Lane {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Program => "program".to_owned(),
            Self::Server => "page server".to_owned(),
            Self::Station(0) => "station".to_owned(),
            Self::Station(number) => format!("station {number}"),
        }
    }
}

/// What lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpanKind {
    /// A stage of the program.
    Phase,
    /// A process from its start to its first word that it is ready.
    Start,
    /// A member, a leader.
    Life,
    /// From a death until a successor is ready.
    Recovery,
    /// What the process itself has told: replay, checkpoint. These may overlap.
    Told,
}

impl SpanKind {
    /// As a class and a category.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Start => "start",
            Self::Life => "life",
            Self::Recovery => "recovery",
            Self::Told => "told",
        }
    }
}

/// A bar.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) kind: SpanKind,
    pub(crate) name: String,
    pub(crate) begin: Moment,
    /// `None` while it lasts.
    pub(crate) end: Option<Moment>,
    pub(crate) details: Details,
}

/// What happens in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MarkKind {
    /// It was killed on purpose.
    Kill,
    /// It died.
    Death,
    /// A generation was begun, because commits were lost.
    Rollback,
    /// It had something to say.
    Notice,
}

impl MarkKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Death => "death",
            Self::Rollback => "rollback",
            Self::Notice => "notice",
        }
    }
}

/// A mark.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) kind: MarkKind,
    pub(crate) name: String,
    pub(crate) at: Moment,
    pub(crate) details: Details,
}

/// The events of one lane.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) spans: Vec<Span>,
    pub(super) marks: Vec<Mark>,
}

/// Everything that is known of a run.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(super) title: String,
    /// For the page: what else is to be said.
    pub(super) report: Option<String>,
    pub(super) begin: Moment,
    pub(super) end: Moment,
    pub(super) tracks: BTreeMap<Lane, Track>,
    /// The newest commit that was seen when, in order of time.
    commits: Vec<(Moment, u64)>,
}

impl Timeline {
    pub(crate) fn new(title: String, begin: Moment) -> Self {
        Self {
            title,
            report: None,
            begin,
            end: begin,
            tracks: BTreeMap::new(),
            commits: Vec::new(),
        }
    }

    /// Something that lasts begins.
    pub(crate) fn open(
        &mut self,
        lane: Lane,
        kind: SpanKind,
        name: String,
        at: Moment,
        details: Details,
    ) {
        self.span(
            lane,
            Span {
                kind,
                name,
                begin: at,
                end: None,
                details,
            },
        );
    }

    /// What lasts in this lane ends, if there is something.
    pub(crate) fn close(&mut self, lane: Lane, at: Moment) {
        let spans = &mut self.tracks.entry(lane).or_default().spans;
        for span in spans.iter_mut().filter(|span| span.end.is_none()) {
            span.end = Some(at.max(span.begin));
        }
    }

    /// What the lane's process has told to begin under this name ends, and more is known of it.
    pub(crate) fn end_told(&mut self, lane: Lane, name: &str, at: Moment, details: Details) {
        let spans = self.tracks.entry(lane).or_default().spans.iter_mut();
        let is_meant = |span: &&mut Span| {
            span.kind == SpanKind::Told && span.end.is_none() && span.name == name
        };
        // One whose begin was not seen has none.
        if let Some(span) = spans.rev().find(is_meant) {
            span.end = Some(at.max(span.begin));
            span.details.extend(details);
        }
    }

    pub(crate) fn span(&mut self, lane: Lane, span: Span) {
        self.tracks.entry(lane).or_default().spans.push(span);
    }

    pub(crate) fn mark(&mut self, lane: Lane, mark: Mark) {
        self.tracks.entry(lane).or_default().marks.push(mark);
    }

    /// The newest commit at this time.
    pub(crate) fn commit(&mut self, at: Moment, number: u64) {
        if self.commits.last().is_none_or(|(last, _)| *last <= at) {
            self.commits.push((at, number));
        }
    }

    /// What still lasts ends here.
    pub(crate) fn finish(&mut self, at: Moment, title: String, report: Option<String>) {
        (self.end, self.title, self.report) = (at, title, report);
        let lanes: Vec<_> = self.tracks.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.close(lane, at));
    }

    pub(super) fn duration(&self) -> Duration {
        self.end.since(self.begin)
    }

    /// Commits a second, in at most so many pieces of the same length: when each begins, and the
    /// rate in it.
    pub(super) fn rates(&self, pieces_max: u32) -> (Duration, Vec<(Moment, f64)>) {
        let length = (self.duration() / pieces_max.max(1)).max(BUCKET_MIN);
        let (Some((first, _)), Some((last, _))) = (self.commits.first(), self.commits.last())
        else {
            return (length, Vec::new());
        };
        let (mut rates, mut at, mut samples) = (Vec::new(), *first, self.commits.iter().peekable());
        let mut before = self.commits[0].1;
        while at < *last {
            let end = at.after(length);
            let mut newest = before;
            while let Some((_, number)) = samples.next_if(|(when, _)| *when < end) {
                newest = *number;
            }
            // After a rollback numbers begin anew from a smaller one.
            let count = newest.saturating_sub(before);
            rates.push((at, count as f64 / length.as_secs_f64()));
            (at, before) = (end, newest);
        }
        (length, rates)
    }
}

/// Details from pairs.
pub(crate) fn details<const N: usize>(pairs: [(&str, Value); N]) -> Details {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run of a second: a station dies in the middle of it, and its page server tells something.
    pub(in crate::timeline) fn example() -> Timeline {
        let begin = Moment::now();
        let at = |ms| begin.after(Duration::from_millis(ms));
        let mut timeline = Timeline::new("begun".to_owned(), begin);
        let (server, station) = (Lane::Server, Lane::Station(1));
        let open = |timeline: &mut Timeline, lane, kind, name: &str, ms| {
            timeline.close(lane, at(ms));
            timeline.open(lane, kind, name.to_owned(), at(ms), Details::new());
        };
        open(&mut timeline, Lane::Program, SpanKind::Phase, "work", 0);
        open(&mut timeline, server, SpanKind::Life, "term 1", 0);
        open(&mut timeline, station, SpanKind::Life, "i1", 100);
        open(&mut timeline, station, SpanKind::Recovery, "recovery", 500);
        open(&mut timeline, station, SpanKind::Life, "i2", 510);
        for (name, from, to) in [("checkpoint", 200, 400), ("collect", 250, 300)] {
            timeline.span(
                server,
                Span {
                    kind: SpanKind::Told,
                    name: name.to_owned(),
                    begin: at(from),
                    end: Some(at(to)),
                    details: details([("pages", 7.into())]),
                },
            );
        }
        timeline.mark(
            station,
            Mark {
                kind: MarkKind::Kill,
                name: "kill <1>".to_owned(),
                at: at(500),
                details: details([("pid", 77.into())]),
            },
        );
        (0..=50).for_each(|n| timeline.commit(at(n * 20), n * 2));
        timeline.finish(at(1000), "a & b".to_owned(), Some("x < y".to_owned()));
        timeline
    }

    #[test]
    fn rates_count_every_commit_once() {
        let (length, rates) = example().rates(10);
        assert_eq!((length, rates.len()), (Duration::from_millis(100), 10));
        let all: f64 = rates.iter().map(|(_, rate)| rate * 0.1).sum();
        // Each piece ends before the sample at its end, and so does the last.
        assert!((all - 98.0).abs() < 1e-6, "{all}");
    }

    #[test]
    fn what_was_told_to_begin_ends_by_its_name_or_with_its_process() {
        let begin = Moment::now();
        let at = |ms| begin.after(Duration::from_millis(ms));
        let (mut timeline, lane) = (Timeline::new(String::new(), begin), Lane::Server);
        let mut ends = |ended: Option<&str>| {
            let name = "checkpoint".to_owned();
            timeline.open(lane, SpanKind::Told, name, at(1), Details::new());
            if let Some(name) = ended {
                timeline.end_told(lane, name, at(2), details([("pages", 7.into())]));
            }
            timeline.close(lane, at(3));
            let span = timeline.tracks[&lane].spans.last().unwrap();
            (span.end.unwrap(), span.details.len())
        };
        assert_eq!(ends(Some("checkpoint")), (at(2), 1));
        assert_eq!(ends(Some("other")), (at(3), 0));
        assert_eq!(ends(None), (at(3), 0));
    }

    #[test]
    fn what_still_lasts_ends_with_the_run() {
        let timeline = example();
        let mut spans = timeline.tracks.values().flat_map(|track| &track.spans);
        assert!(spans.clone().all(|span| span.end.is_some()));
        let last = spans.find(|span| span.name == "i2").unwrap();
        assert_eq!(last.end, Some(timeline.end));
    }
}
