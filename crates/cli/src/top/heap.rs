//! What is shown of the heap and its stations: two looks at what the page server tells, and what lies
//! between them.

use std::collections::BTreeMap;

use plurix::{Latencies, Percentiles, StationNumbers, StationStatus, Status};
use serde::Serialize;

use crate::checkpoint::age_ms;

/// A heap and its stations.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HeapView {
    pub(crate) heap: Heap,
    pub(crate) stations: Vec<StationRow>,
}

/// All stations together, and the page server.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Heap {
    pub(crate) cluster: String,
    pub(crate) term: u64,
    pub(crate) generation: u32,
    pub(crate) commit: u64,
    pub(crate) durable: u64,
    pub(crate) uptime_ms: u64,
    pub(crate) log_bytes: u64,
    pub(crate) pages: u64,
    pub(crate) cached_pages: u64,
    pub(crate) checkpoint: Option<u32>,
    pub(crate) checkpoint_commit: Option<u64>,
    pub(crate) checkpoint_age_ms: Option<u64>,
    pub(crate) recent: Rates,
    pub(crate) commit_latency: Percentiles,
    pub(crate) miss_latency: Percentiles,
}

/// One station.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StationRow {
    pub(crate) station: u32,
    pub(crate) incarnation: u64,
    pub(crate) observer: bool,
    pub(crate) connected: bool,
    pub(crate) transport: String,
    pub(crate) commits: u64,
    pub(crate) conflicts: u64,
    pub(crate) pages: u64,
    pub(crate) backlog_bytes: u64,
    /// What it told of itself; nothing before its first second is over.
    pub(crate) cache_bytes: Option<u64>,
    pub(crate) attempts: Option<u64>,
    pub(crate) restarts: Option<u64>,
    pub(crate) reads: Option<u64>,
    pub(crate) misses: Option<u64>,
    pub(crate) waited_us: Option<u64>,
    pub(crate) recent: Rates,
    pub(crate) commit_latency: Percentiles,
    pub(crate) miss_latency: Percentiles,
}

/// What was done a second between two looks; if there was no look before, since the term began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Rates {
    #[serde(rename = "commits_per_s")]
    pub(crate) commits: f64,
    #[serde(rename = "conflicts_per_s")]
    pub(crate) conflicts: f64,
    #[serde(rename = "restarts_per_s")]
    pub(crate) restarts: f64,
    #[serde(rename = "reads_per_s")]
    pub(crate) reads: f64,
    #[serde(rename = "misses_per_s")]
    pub(crate) misses: f64,
    #[serde(rename = "bytes_per_s")]
    pub(crate) bytes: f64,
    /// The share of time that a station waited; of all, the mean.
    pub(crate) waits: f64,
}

/// What stations are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sort {
    #[default]
    Number,
    Commits,
    Conflicts,
    Restarts,
    Misses,
    Bytes,
    Cache,
}

impl Sort {
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Number => Self::Commits,
            Self::Commits => Self::Conflicts,
            Self::Conflicts => Self::Restarts,
            Self::Restarts => Self::Misses,
            Self::Misses => Self::Bytes,
            Self::Bytes => Self::Cache,
            Self::Cache => Self::Number,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Commits => "commits",
            Self::Conflicts => "conflicts",
            Self::Restarts => "restarts",
            Self::Misses => "misses",
            Self::Bytes => "bytes",
            Self::Cache => "cache",
        }
    }

    /// By what a station is sorted; the greatest comes first.
    fn key(self, row: &StationRow) -> f64 {
        match self {
            Self::Number => -f64::from(row.station),
            Self::Commits => row.recent.commits,
            Self::Conflicts => row.recent.conflicts,
            Self::Restarts => row.recent.restarts,
            Self::Misses => row.recent.misses,
            Self::Bytes => row.recent.bytes,
            Self::Cache => row.cache_bytes.unwrap_or(0) as f64,
        }
    }
}

impl HeapView {
    /// What is to be shown `now`, if what was known `before` is this.
    pub(crate) fn new(before: Option<&Status>, now: &Status) -> Self {
        // Another term counts anew.
        let before = before.filter(|before| before.term == now.term);
        let lives = before.iter().flat_map(|status| &status.stations);
        let lives: BTreeMap<u64, &StationStatus> = lives
            .map(|station| (station.incarnation, station))
            .collect();
        let passed_ms = now.uptime_ms - before.map_or(0, |b| b.uptime_ms.min(now.uptime_ms));
        let seconds = passed_ms.max(1) as f64 / 1e3;
        let row = |station: &StationStatus| {
            StationRow::new(lives.get(&station.incarnation).copied(), station, seconds)
        };
        let stations: Vec<_> = now.stations.iter().map(row).collect();
        let all = |of: fn(&StationNumbers) -> &Latencies| {
            let mut sum = Latencies::default();
            for station in &now.stations {
                let before = lives.get(&station.incarnation).copied();
                if let Some(now) = &station.numbers {
                    sum.add(&recent_latencies(before, now, of));
                }
            }
            sum.percentiles()
        };
        let (commit_latency, miss_latency) = (all(|n| &n.commit_latency), all(|n| &n.miss_latency));
        let heap = Heap {
            commit_latency,
            miss_latency,
            recent: Rates::together(before, now, &stations, seconds),
            ..Heap::of(now)
        };
        Self { heap, stations }
    }

    /// Brings the stations into this order.
    pub(crate) fn sort(&mut self, by: Sort) {
        let order = |a: &StationRow, b: &StationRow| by.key(b).total_cmp(&by.key(a));
        self.stations.sort_by(order);
    }
}

impl Heap {
    fn of(status: &Status) -> Self {
        let newest = status.checkpoint.as_ref();
        Self {
            cluster: status.cluster.clone(),
            term: status.term,
            generation: status.generation,
            commit: status.commit,
            durable: status.durable,
            uptime_ms: status.uptime_ms,
            log_bytes: status.log_bytes,
            pages: status.pages,
            cached_pages: status.cached_pages,
            checkpoint: newest.map(|checkpoint| checkpoint.id),
            checkpoint_commit: newest.map(|checkpoint| checkpoint.commit),
            checkpoint_age_ms: newest.map(age_ms),
            ..Self::default()
        }
    }
}

impl StationRow {
    fn new(before: Option<&StationStatus>, now: &StationStatus, seconds: f64) -> Self {
        let told = now.numbers.as_deref();
        let told = |of: fn(&StationNumbers) -> u64| told.map(of);
        let latency = |of: fn(&StationNumbers) -> &Latencies| {
            let numbers = now.numbers.as_deref();
            numbers.map_or_else(Percentiles::default, |numbers| {
                recent_latencies(before, numbers, of).percentiles()
            })
        };
        Self {
            station: now.station,
            incarnation: now.incarnation,
            observer: now.observer,
            connected: now.connected,
            transport: now.transport.clone(),
            commits: now.commits,
            conflicts: now.conflicts,
            pages: now.pages,
            backlog_bytes: now.backlog_bytes,
            cache_bytes: told(|n| n.cache_bytes),
            attempts: told(|n| n.attempts),
            restarts: told(|n| n.restarts),
            reads: told(|n| n.reads),
            misses: told(|n| n.misses),
            waited_us: told(|n| n.waited_us),
            recent: Rates::of(before, now, seconds),
            commit_latency: latency(|n| &n.commit_latency),
            miss_latency: latency(|n| &n.miss_latency),
        }
    }
}

/// What was measured since `before`; all that was, if nothing was told since.
fn recent_latencies(
    before: Option<&StationStatus>,
    now: &StationNumbers,
    of: fn(&StationNumbers) -> &Latencies,
) -> Latencies {
    let before = before.and_then(|before| before.numbers.as_deref());
    let recent = before.map(|before| of(now).since(of(before)));
    let recent = recent.filter(|recent| recent.count() > 0);
    recent.unwrap_or_else(|| of(now).clone())
}

impl Rates {
    fn of(before: Option<&StationStatus>, now: &StationStatus, seconds: f64) -> Self {
        let none = StationStatus::default();
        let before = before.unwrap_or(&none);
        let rate = |of: &dyn Fn(&StationStatus) -> u64| {
            of(now).saturating_sub(of(before)) as f64 / seconds
        };
        let told = |of: fn(&StationNumbers) -> u64| {
            rate(&|status| status.numbers.as_deref().map_or(0, of))
        };
        Self {
            commits: rate(&|status| status.commits),
            conflicts: rate(&|status| status.conflicts),
            restarts: told(|n| n.restarts),
            reads: told(|n| n.reads),
            misses: rate(&|status| status.fetches),
            bytes: rate(&|status| status.bytes_in.saturating_add(status.bytes_out)),
            waits: (told(|n| n.waited_us) / 1e6).min(1.0),
        }
    }

    fn together(before: Option<&Status>, now: &Status, rows: &[StationRow], seconds: f64) -> Self {
        let none = Status::default();
        let before = before.unwrap_or(&none);
        let rate = |of: fn(&Status) -> u64| of(now).saturating_sub(of(before)) as f64 / seconds;
        let sum = |of: fn(&Self) -> f64| rows.iter().map(|row| of(&row.recent)).sum::<f64>();
        let workers = rows.iter().filter(|row| !row.observer);
        let waits: Vec<f64> = workers.map(|row| row.recent.waits).collect();
        Self {
            // Those of stations that have left since are among them.
            commits: rate(|status| status.commits),
            conflicts: rate(|status| status.conflicts),
            misses: rate(|status| status.fetches),
            restarts: sum(|rates| rates.restarts),
            reads: sum(|rates| rates.reads),
            bytes: sum(|rates| rates.bytes),
            waits: waits.iter().sum::<f64>() / waits.len().max(1) as f64,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {

    use super::*;

    /// What a page server tells of two stations after so many seconds.
    pub(crate) fn status(seconds: u64, commits: [u64; 2], conflicts: u64) -> Status {
        let station = |(at, commits): (usize, u64)| {
            let mut numbers = StationNumbers {
                restarts: conflicts,
                waited_us: seconds * 500_000,
                ..StationNumbers::default()
            };
            (0..commits).for_each(|_| numbers.commit_latency.record(9_000));
            StationStatus {
                station: at as u32 + 1,
                incarnation: at as u64 + 10,
                connected: true,
                commits,
                numbers: Some(Box::new(numbers)),
                ..StationStatus::default()
            }
        };
        Status {
            term: 3,
            uptime_ms: seconds * 1000,
            commits: commits.iter().sum(),
            conflicts,
            stations: commits.into_iter().enumerate().map(station).collect(),
            ..Status::default()
        }
    }

    #[test]
    fn what_lies_between_two_looks_is_told_by_second() {
        let (before, now) = (status(10, [100, 0], 4), status(12, [300, 50], 8));
        let view = HeapView::new(Some(&before), &now);
        let all = view.heap.recent;
        assert_eq!((all.commits, all.conflicts, all.waits), (125.0, 2.0, 0.5));
        let rates: Vec<_> = view.stations.iter().map(|row| row.recent.commits).collect();
        assert_eq!(rates, [100.0, 25.0]);
        assert_eq!(view.heap.commit_latency.count, 250);
        assert_eq!(view.stations[0].commit_latency.count, 200);
        assert!((9.0..12.0).contains(&view.heap.commit_latency.p99_us));
    }

    #[test]
    fn another_term_and_another_life_count_anew() {
        let (mut before, now) = (status(10, [100, 0], 4), status(20, [300, 50], 8));
        before.stations[0].incarnation = 99;
        let view = HeapView::new(Some(&before), &now);
        assert_eq!(view.stations[0].recent.commits, 30.0);
        before.term = 2;
        let view = HeapView::new(Some(&before), &now);
        assert_eq!(view.heap.recent.commits, 17.5);
    }

    #[test]
    fn stations_are_sorted_by_what_is_asked_for() {
        let mut view = HeapView::new(None, &status(1, [1, 5], 0));
        let numbers = |view: &HeapView| view.stations.iter().map(|s| s.station).collect::<Vec<_>>();
        view.sort(Sort::Commits);
        assert_eq!(numbers(&view), [2, 1]);
        view.sort(Sort::Number);
        assert_eq!(numbers(&view), [1, 2]);
        let mut sort = Sort::default();
        for _ in 0..7 {
            sort = sort.next();
        }
        assert_eq!(sort, Sort::default());
    }
}
