//! The heap and its stations as lines of text.

use std::time::Duration;

use super::heap::{HeapView, Rates, StationRow};
use super::lines::{Line, LineKind};
use crate::table;
use crate::units::{show_bytes, show_count, show_duration};

const UNKNOWN: &str = "-";
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const HEAD: [&str; 16] = [
    "station",
    "state",
    "link",
    "commits/s",
    "conflicts/s",
    "restarts/s",
    "reads/s",
    "misses/s",
    "bytes/s",
    "waits",
    "cache",
    "backlog",
    "commit p50",
    "p99",
    "max",
    "miss p50",
];

/// The lines of a heap; `commits` are those a second at the last looks, the newest last.
pub(crate) fn lines(view: &HeapView, commits: &[f64]) -> Vec<Line> {
    let mut lines = header(view, commits);
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(view.stations.iter().map(row));
    let kinds = view.stations.iter().map(|station| match station.connected {
        true => LineKind::Fine,
        false => LineKind::Missing,
    });
    let kinds = [LineKind::Head].into_iter().chain(kinds);
    let texts = table::lines(&rows);
    lines.extend(kinds.zip(texts).map(|(kind, text)| Line { kind, text }));
    lines
}

fn header(view: &HeapView, commits: &[f64]) -> Vec<Line> {
    let (heap, rates) = (&view.heap, &view.heap.recent);
    let line = |kind, text| Line { kind, text };
    let title = format!(
        "heap: {} stations; {} commits/s, {} conflicts/s, {} misses/s, {}/s  {}",
        view.stations.iter().filter(|s| !s.observer).count(),
        show_count(rates.commits),
        show_count(rates.conflicts),
        show_count(rates.misses),
        show_bytes(rates.bytes as u64),
        sparkline(commits)
    );
    let commit = heap.commit_latency;
    let latency = format!(
        "commit p50 {}, p90 {}, p99 {}, max {}; miss p50 {}, p99 {}",
        show_us(commit.p50_us),
        show_us(commit.p90_us),
        show_us(commit.p99_us),
        show_us(commit.max_us),
        show_us(heap.miss_latency.p50_us),
        show_us(heap.miss_latency.p99_us)
    );
    let checkpoint = match (heap.checkpoint, heap.checkpoint_age_ms) {
        (Some(id), Some(ms)) => {
            format!(
                "checkpoint {id}, {} ago",
                show_duration(Duration::from_millis(ms))
            )
        }
        _ => "no checkpoint".to_owned(),
    };
    let server = format!(
        "term {}, generation {}, up {}; commit {}, durable {}; log {}; {checkpoint}",
        heap.term,
        heap.generation,
        show_duration(Duration::from_millis(heap.uptime_ms)),
        heap.commit,
        heap.durable,
        show_bytes(heap.log_bytes)
    );
    vec![
        line(LineKind::Team, title.trim_end().to_owned()),
        line(LineKind::Plain, latency),
        line(LineKind::Plain, server),
    ]
}

fn row(station: &StationRow) -> Vec<String> {
    let state = match (station.connected, station.observer) {
        (false, _) => "lost",
        (true, true) => "observes",
        (true, false) => "works",
    };
    let link = match station.transport.as_str() {
        "" => UNKNOWN,
        kind => kind,
    };
    let Rates {
        commits,
        conflicts,
        restarts,
        reads,
        misses,
        bytes,
        waits,
    } = station.recent;
    let is_told = station.attempts.is_some();
    let told = |text: String| if is_told { text } else { UNKNOWN.to_owned() };
    let latency = station.commit_latency;
    vec![
        station.station.to_string(),
        state.to_owned(),
        link.to_owned(),
        show_count(commits),
        show_count(conflicts),
        told(show_count(restarts)),
        told(show_count(reads)),
        show_count(misses),
        show_bytes(bytes as u64),
        told(format!("{:.0} %", waits * 100.0)),
        station.cache_bytes.map_or(UNKNOWN.to_owned(), show_bytes),
        show_bytes(station.backlog_bytes),
        show_us(latency.p50_us),
        show_us(latency.p99_us),
        show_us(latency.max_us),
        show_us(station.miss_latency.p50_us),
    ]
}

/// `7.3 µs`, `1.2 ms`; what was not measured is unknown.
pub(crate) fn show_us(us: f64) -> String {
    match us {
        0.0 => UNKNOWN.to_owned(),
        ..1e3 => format!("{us:.1} µs"),
        ..1e6 => format!("{:.1} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// Values as bars, each against the greatest.
fn sparkline(values: &[f64]) -> String {
    let most = values.iter().copied().fold(0.0, f64::max);
    if values.len() < 2 || most <= 0.0 {
        return String::new();
    }
    let bar = |value: &f64| BARS[((value / most * 7.0).round() as usize).min(7)];
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::super::heap::tests::status;
    use super::*;

    #[test]
    fn a_heap_has_three_lines_a_head_and_a_line_for_each_station() {
        let view = HeapView::new(Some(&status(10, [0, 0], 0)), &status(12, [40, 2], 1));
        let lines = lines(&view, &[1.0, 8.0, 4.0]);
        let kinds: Vec<_> = lines.iter().map(|line| line.kind).collect();
        assert_eq!(kinds[3..], [LineKind::Head, LineKind::Fine, LineKind::Fine]);
        assert!(lines[0].text.contains("21 commits/s"), "{:?}", lines[0]);
        assert!(lines[0].text.ends_with("▂█▅"), "{:?}", lines[0]);
        let cells: Vec<_> = lines[4].text.split_whitespace().collect();
        assert_eq!(cells[..5], ["1", "works", "-", "20", "0"]);
    }

    #[test]
    fn what_is_not_known_is_no_zero() {
        let mut now = status(1, [0, 0], 0);
        now.stations[1].numbers = None;
        let lines = lines(&HeapView::new(None, &now), &[]);
        assert!(lines[5].text.contains(" - "), "{:?}", lines[5]);
        assert_eq!(sparkline(&[0.0, 0.0]), "");
    }
}
