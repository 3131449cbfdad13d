//! What a member says to the supervisor that has started it: lines of JSON on its standard output.
//!
//! ```text
//!   plurix page-server ──{"ready":"page_server",…}──────────────────────► plurix run
//!                      ──{"event":"span","name":"replay","begin_ns":…}──►
//!                      ──{"event":"begin","name":"checkpoint",…}────────►
//!                      ──{"event":"end","name":"checkpoint",…}──────────►
//!                      ──{"event":"notice","at_ns":…,"text":…}──────────►
//! ```
//!
//! Times are of the clock that all processes of a host share. A line that is neither is for people,
//! and so is what a member says that nobody supervises.

use std::fmt::Display;

use plurix::Notice;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diary::Diary;
use crate::moment::Moment;
use crate::output;
use crate::ready::Ready;
use crate::timeline::{Details, Lane, Mark, MarkKind, Span, SpanKind, Timeline, details};

/// A line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Told {
    Ready(Ready),
    Event(MemberEvent),
}

/// What has happened in a member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub(crate) enum MemberEvent {
    /// A person should know.
    Notice {
        #[serde(rename = "at_ns")]
        at: Moment,
        text: String,
    },
    /// Something that took its time is over.
    Span {
        name: String,
        #[serde(rename = "begin_ns")]
        begin: Moment,
        #[serde(rename = "end_ns")]
        end: Moment,
        /// Names end in their units.
        #[serde(default)]
        details: Details,
    },
    /// Something begins that takes its time. Told in two events, it is seen even if the process
    /// dies in the middle of it.
    Begin {
        name: String,
        #[serde(rename = "at_ns")]
        at: Moment,
        #[serde(default)]
        details: Details,
    },
    /// What has begun last under this name ends.
    End {
        name: String,
        #[serde(rename = "at_ns")]
        at: Moment,
        /// What is known now, too.
        #[serde(default)]
        details: Details,
    },
}

/// What a checkpoint took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CheckpointTaken {
    pub(crate) pages_written: u64,
    pub(crate) bytes: u64,
    pub(crate) took_ms: f64,
}

/// As a checkpoint is called in events.
const CHECKPOINT: &str = "checkpoint";

impl MemberEvent {
    pub(crate) fn notice(text: impl Display) -> Self {
        Self::Notice {
            at: Moment::now(),
            text: text.to_string(),
        }
    }

    /// What a step of a checkpoint is, which a page server has noticed just now; `None` for what is
    /// no such step.
    fn checkpoint(notice: &Notice) -> Option<Self> {
        let (name, at) = (CHECKPOINT.to_owned(), Moment::now());
        Some(match notice {
            Notice::CheckpointBegun { id, commit } => Self::Begin {
                name,
                at,
                details: details([("checkpoint", id.0.into()), ("commit", commit.0.into())]),
            },
            Notice::CheckpointTaken(taken) => Self::End {
                name,
                at,
                details: details([
                    ("pages", taken.pages.into()),
                    ("pages_written", (taken.changed + taken.carried).into()),
                    ("bytes", taken.bytes.into()),
                    ("took_ms", (taken.took_us as f64 / 1e3).into()),
                ]),
            },
            Notice::CheckpointFailed { why, .. } => Self::End {
                name,
                at,
                details: details([("failed", why.to_string().into())]),
            },
            _ => return None,
        })
    }

    /// If a checkpoint ends here: what it took, or nothing if it failed.
    pub(crate) fn checkpoint_end(&self) -> Option<Option<CheckpointTaken>> {
        let Self::End { name, details, .. } = self else {
            return None;
        };
        let count = |key: &str| details.get(key).and_then(Value::as_u64);
        let taken = || {
            Some(CheckpointTaken {
                pages_written: count("pages_written")?,
                bytes: count("bytes")?,
                took_ms: details.get("took_ms")?.as_f64()?,
            })
        };
        (name == CHECKPOINT).then(taken)
    }

    /// Puts it into a lane.
    pub(crate) fn record(&self, timeline: &mut Timeline, lane: Lane) {
        match self.clone() {
            Self::Notice { at, text } => {
                let (kind, details) = (MarkKind::Notice, Details::new());
                timeline.mark(
                    lane,
                    Mark {
                        kind,
                        name: text,
                        at,
                        details,
                    },
                );
            }
            Self::Span {
                name,
                begin,
                end,
                details,
            } => {
                let (kind, end) = (SpanKind::Told, Some(end));
                timeline.span(
                    lane,
                    Span {
                        kind,
                        name,
                        begin,
                        end,
                        details,
                    },
                );
            }
            Self::Begin { name, at, details } => {
                timeline.open(lane, SpanKind::Told, name, at, details);
            }
            Self::End { name, at, details } => timeline.end_told(lane, &name, at, details),
        }
    }
}

/// How a member speaks.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    /// Whoever listens reads JSON.
    is_supervised: bool,
    diary: Option<Diary>,
}

impl Voice {
    pub(crate) fn new(is_supervised: bool, diary: Option<Diary>) -> Self {
        Self {
            is_supervised,
            diary,
        }
    }

    /// Says that it is ready, in the first line of all.
    pub(crate) fn ready(&self, ready: &Ready, json: bool) {
        self.diary.iter().for_each(|diary| diary.ready(ready));
        if json {
            let json = serde_json::to_string(ready);
            output::line(json.expect("strings and numbers are JSON"));
        } else {
            output::line(ready);
        }
    }

    /// Says what has happened. People are not told how long everything took.
    pub(crate) fn say(&self, event: MemberEvent) {
        self.diary.iter().for_each(|diary| diary.event(&event));
        match event {
            event if self.is_supervised => {
                let json = serde_json::to_string(&Told::Event(event));
                output::line(json.expect("strings and numbers are JSON"));
            }
            MemberEvent::Notice { text, .. } => output::note(text),
            MemberEvent::Span { .. } | MemberEvent::Begin { .. } | MemberEvent::End { .. } => {}
        }
    }

    /// Says what a page server has noticed just now.
    pub(crate) fn notice(&self, notice: &Notice) {
        if let Some(step) = MemberEvent::checkpoint(notice) {
            self.say(step);
        }
        if notice.is_unusual() {
            self.say(MemberEvent::notice(notice));
        }
    }

    /// The session is over, and another one shall begin.
    pub(crate) fn lost(&self, error: impl Display) {
        self.diary.iter().for_each(Diary::lost);
        self.say(MemberEvent::notice(format_args!("joining anew: {error}")));
    }

    /// Writes the timeline, if there is one.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        self.diary.as_ref().map_or(Ok(()), Diary::end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::StationReady;

    #[test]
    fn what_is_told_is_understood() {
        let now = Moment::now();
        let (station, incarnation) = (1, 2);
        for told in [
            Told::Event(MemberEvent::notice("no room")),
            Told::Event(MemberEvent::Span {
                name: "checkpoint".to_owned(),
                begin: now,
                end: now,
                details: details([("pages", 7.into())]),
            }),
            Told::Event(MemberEvent::End {
                name: "checkpoint".to_owned(),
                at: now,
                details: Details::new(),
            }),
            Told::Ready(Ready::Station(StationReady {
                station,
                incarnation,
            })),
        ] {
            let line = serde_json::to_string(&told).unwrap();
            let read: Told = serde_json::from_str(&line).unwrap();
            assert_eq!(read, told, "{line}");
        }
        for line in ["warning: no room", "7", "{}", r#"{"event":"party"}"#] {
            assert!(serde_json::from_str::<Told>(line).is_err(), "{line}");
        }
    }
}
