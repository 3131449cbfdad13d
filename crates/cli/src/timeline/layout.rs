//! Where things stand: rows for bars that overlap, and times at round numbers.

use std::time::Duration;

use super::model::Span;
use crate::moment::Moment;

/// Puts each bar into the first row where it overlaps none.
pub(super) fn rows<'a>(spans: &[&'a Span], end: Moment) -> Vec<Vec<&'a Span>> {
    let mut ordered: Vec<_> = spans.to_vec();
    ordered.sort_by_key(|span| span.begin);
    let mut rows: Vec<Vec<&Span>> = Vec::new();
    for span in ordered {
        let is_free = |row: &&mut Vec<&Span>| {
            let last = row.last();
            last.is_none_or(|last| last.end.unwrap_or(end) <= span.begin)
        };
        match rows.iter_mut().find(is_free) {
            Some(row) => row.push(span),
            None => rows.push(vec![span]),
        }
    }
    rows
}

/// The distance of ticks that divides `whole` into at most so many parts: 1, 2 or 5 of a power of
/// ten.
pub(super) fn tick(whole: Duration, parts_max: u32) -> Duration {
    let mut unit = Duration::from_micros(1);
    loop {
        for factor in [1, 2, 5] {
            let step = unit * factor;
            if whole <= step * parts_max.max(1) {
                return step;
            }
        }
        unit *= 10;
    }
}

/// A time at a tick, without digits that are the same at each.
pub(super) fn show_tick(at: Duration, step: Duration) -> String {
    match step {
        step if step >= Duration::from_secs(1) => format!("{} s", at.as_secs()),
        step if step >= Duration::from_millis(100) => format!("{:.1} s", at.as_secs_f64()),
        step if step >= Duration::from_millis(1) => format!("{} ms", at.as_millis()),
        _ => format!("{:.2} ms", at.as_secs_f64() * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::example;
    use super::super::model::{Lane, SpanKind};
    use super::*;

    #[test]
    fn what_overlaps_is_in_different_rows() {
        let timeline = example();
        let spans = &timeline.tracks[&Lane::Server].spans;
        let told: Vec<_> = spans.iter().filter(|s| s.kind == SpanKind::Told).collect();
        let rows = rows(&told, timeline.end);
        assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn ticks_are_round_and_not_too_many() {
        for (ms, parts, expected) in [(1000, 10, 100), (1001, 10, 200), (30_000, 12, 5000)] {
            let step = tick(Duration::from_millis(ms), parts);
            assert_eq!(step, Duration::from_millis(expected));
        }
        assert_eq!(tick(Duration::ZERO, 10), Duration::from_micros(1));
    }
}
