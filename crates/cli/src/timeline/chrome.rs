//! A timeline in the Trace Event Format, which <https://ui.perfetto.dev> and `chrome://tracing` open.
//!
//! Each lane is a process to them, whose name and place are metadata events (`M`). Bars are complete
//! events (`X`), marks are instants (`i`), and commits a second are a counter (`C`). Times are in
//! microseconds since the timeline begins. Bars of one thread must nest, so what overlaps stands in
//! threads of its own.
//!
//! The format: *Trace Event Format*, Google, 2016.

use serde_json::{Value, json};

use super::layout::rows;
use super::model::{Lane, SpanKind, Timeline};
use crate::moment::Moment;

/// Pieces of the counter; a viewer zooms, so these are many.
const PIECES_MAX: u32 = 20_000;
/// Marks and bars of the process itself.
const OWN_THREAD: usize = 1;

/// The trace as JSON.
pub(super) fn trace(timeline: &Timeline) -> String {
    let mut events = Vec::new();
    let us = |at: Moment| at.since(timeline.begin).as_nanos() as f64 / 1e3;
    for (lane, track) in &timeline.tracks {
        let pid = pid(*lane);
        events.push(meta("process_name", pid, 0, json!({"name": lane.name()})));
        events.push(meta(
            "process_sort_index",
            pid,
            0,
            json!({"sort_index": pid}),
        ));
        let own = json!({"name": "process"});
        events.push(meta("thread_name", pid, OWN_THREAD, own));
        let (told, own): (Vec<_>, Vec<_>) =
            track.spans.iter().partition(|s| s.kind == SpanKind::Told);
        let told = rows(&told, timeline.end);
        let told = (OWN_THREAD + 1..).zip(told);
        for (tid, row) in std::iter::once((OWN_THREAD, own)).chain(told) {
            if tid > OWN_THREAD {
                events.push(meta("thread_name", pid, tid, json!({"name": "told"})));
            }
            events.extend(row.iter().map(|span| {
                let end = span.end.unwrap_or(timeline.end);
                json!({
                    "ph": "X", "name": span.name, "cat": span.kind.name(), "pid": pid, "tid": tid,
                    "ts": us(span.begin), "dur": end.since(span.begin).as_nanos() as f64 / 1e3,
                    "args": span.details,
                })
            }));
        }
        events.extend(track.marks.iter().map(|mark| {
            json!({
                "ph": "i", "s": "p", "name": mark.name, "cat": mark.kind.name(), "pid": pid,
                "tid": OWN_THREAD, "ts": us(mark.at), "args": mark.details,
            })
        }));
    }
    let pid = pid(Lane::Program);
    events.extend(timeline.rates(PIECES_MAX).1.into_iter().map(|(at, rate)| {
        json!({
            "ph": "C", "name": "commits/s", "pid": pid, "tid": 0, "ts": us(at),
            "args": {"commits/s": rate},
        })
    }));
    json!({
        "displayTimeUnit": "ms",
        "otherData": {"title": timeline.title},
        "traceEvents": events,
    })
    .to_string()
}

/// A lane is no process of the system: many processes take its place one after the other.
fn pid(lane: Lane) -> u32 {
    match lane {
        Lane::Program => 1,
        Lane::Server => 2,
        Lane::Station(number) => number.saturating_add(2),
    }
}

fn meta(name: &str, pid: u32, tid: usize, args: Value) -> Value {
    json!({"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args})
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::example;
    use super::*;

    #[test]
    fn every_event_has_what_its_phase_needs() {
        let trace: Value = serde_json::from_str(&trace(&example())).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let mut phases = std::collections::BTreeMap::new();
        for event in events {
            let phase = event["ph"].as_str().unwrap();
            *phases.entry(phase).or_insert(0) += 1;
            assert!(event["name"].is_string() && event["pid"].is_u64() && event["tid"].is_u64());
            if phase != "M" {
                assert!(event["ts"].as_f64().unwrap() >= 0.0, "{event}");
            }
            if phase == "X" {
                assert!(event["dur"].as_f64().unwrap() >= 0.0, "{event}");
            }
        }
        // Seven bars, one mark, and metadata of three processes and their threads.
        assert_eq!((phases["X"], phases["i"]), (7, 1), "{phases:?}");
        assert!(phases["M"] >= 9 && phases["C"] > 5);
    }

    #[test]
    fn bars_of_one_thread_do_not_overlap() {
        let trace: Value = serde_json::from_str(&trace(&example())).unwrap();
        let bars = trace["traceEvents"].as_array().unwrap().iter();
        let bars: Vec<_> = bars.filter(|event| event["ph"] == "X").collect();
        for (index, one) in bars.iter().enumerate() {
            for other in &bars[index + 1..] {
                let is_same = one["pid"] == other["pid"] && one["tid"] == other["tid"];
                let [from, other_from] = [one, other].map(|bar| bar["ts"].as_f64().unwrap());
                let [to, other_to] =
                    [one, other].map(|b| b["ts"].as_f64().unwrap() + b["dur"].as_f64().unwrap());
                let apart = to <= other_from + 0.01 || other_to <= from + 0.01;
                assert!(!is_same || apart, "{one} {other}");
            }
        }
    }
}
