//! A status in Prometheus' text format (exposition format 0.0.4).

use std::fmt::{Display, Write};

use plurix::{Latencies, StationNumbers, StationStatus, Status};

/// The ends of the buckets that are told of a histogram: 1, 2, 5 and so on.
const BUCKETS_US: [u64; 19] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
    200_000, 500_000, 1_000_000,
];
const PAGE_BYTES: u64 = 4096;

/// What kind of number it is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// The metrics of a page server and its stations.
pub(super) fn of(status: &Status) -> String {
    let mut text = Text(String::new());
    text.server(status);
    text.stations(&status.stations);
    text.latency(
        status,
        (
            "plurix_station_commit_seconds",
            "Time from a commit's request to its answer.",
        ),
        |numbers| &numbers.commit_latency,
    );
    text.latency(
        status,
        (
            "plurix_station_miss_seconds",
            "Time until a missing page is there.",
        ),
        |numbers| &numbers.miss_latency,
    );
    text.0
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind.name(), help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn server(&mut self, status: &Status) {
        use Kind::{Counter, Gauge};
        let seconds = |ms: u64| ms as f64 / 1e3;
        self.family(
            "plurix_info",
            "gauge",
            "The cluster, and what commits promise.",
        );
        let (cluster, durability) = (&status.cluster, &status.durability);
        let _ = writeln!(
            self.0,
            "plurix_info{{cluster=\"{cluster}\",durability=\"{durability}\"}} 1"
        );
        let uptime = seconds(status.uptime_ms);
        self.one(
            "plurix_uptime_seconds",
            Gauge,
            "Time since this term began.",
            uptime,
        );
        self.one("plurix_term", Gauge, "The leadership.", status.term);
        self.one(
            "plurix_generation",
            Gauge,
            "How often commits were lost.",
            status.generation,
        );
        self.one(
            "plurix_commit_number",
            Gauge,
            "The newest commit.",
            status.commit,
        );
        self.one(
            "plurix_durable_commit_number",
            Gauge,
            "The newest commit that a loss of power cannot take back.",
            status.durable,
        );
        self.one(
            "plurix_commits_total",
            Counter,
            "Commits ordered in this term.",
            status.commits,
        );
        self.one(
            "plurix_conflicts_total",
            Counter,
            "Transactions refused for a conflict in this term.",
            status.conflicts,
        );
        self.one(
            "plurix_log_full_total",
            Counter,
            "Transactions refused for a full log in this term.",
            status.log_full,
        );
        self.one(
            "plurix_pages_served_total",
            Counter,
            "Pages served in this term.",
            status.fetches,
        );
        self.one(
            "plurix_heap_bytes",
            Gauge,
            "Size of the heap.",
            status.heap_bytes,
        );
        self.one(
            "plurix_heap_written_bytes",
            Gauge,
            "Pages that were ever written.",
            status.pages.saturating_mul(PAGE_BYTES),
        );
        self.one(
            "plurix_cache_bytes",
            Gauge,
            "Pages that the page server has in memory.",
            status.cached_pages.saturating_mul(PAGE_BYTES),
        );
        self.one(
            "plurix_log_bytes",
            Gauge,
            "What the log takes on disk.",
            status.log_bytes,
        );
        self.one(
            "plurix_lost_commits",
            Gauge,
            "Commits known to be lost since the heap went back.",
            status.lost,
        );
        if let Some(newest) = &status.checkpoint {
            self.one(
                "plurix_checkpoint_id",
                Gauge,
                "The newest checkpoint.",
                newest.id,
            );
            self.one(
                "plurix_checkpoint_commit_number",
                Gauge,
                "The newest commit in it.",
                newest.commit,
            );
            self.one(
                "plurix_checkpoint_timestamp_seconds",
                Gauge,
                "When it was complete.",
                seconds(newest.taken_at_ms),
            );
            self.one(
                "plurix_checkpoint_duration_seconds",
                Gauge,
                "How long it took.",
                newest.took_us as f64 / 1e6,
            );
            self.one(
                "plurix_checkpoint_bytes",
                Gauge,
                "Length of its image.",
                newest.bytes,
            );
        }
    }

    fn stations(&mut self, stations: &[StationStatus]) {
        use Kind::{Counter, Gauge};
        type Of = fn(&StationStatus) -> u64;
        let families: [(&str, Kind, &str, Of); 8] = [
            (
                "plurix_station_connected",
                Gauge,
                "Whether the station has a connection.",
                |s| s.connected.into(),
            ),
            (
                "plurix_station_commits_total",
                Counter,
                "Commits of the station in this term.",
                |s| s.commits,
            ),
            (
                "plurix_station_conflicts_total",
                Counter,
                "Its transactions refused for a conflict.",
                |s| s.conflicts,
            ),
            (
                "plurix_station_pages_served_total",
                Counter,
                "Pages served to it.",
                |s| s.fetches,
            ),
            (
                "plurix_station_received_bytes_total",
                Counter,
                "Bytes received from it over the present connection.",
                |s| s.bytes_in,
            ),
            (
                "plurix_station_sent_bytes_total",
                Counter,
                "Bytes sent to it over the present connection.",
                |s| s.bytes_out,
            ),
            (
                "plurix_station_backlog_bytes",
                Gauge,
                "Bytes waiting for it.",
                |s| s.backlog_bytes,
            ),
            ("plurix_station_held_pages", Gauge, "Pages it holds.", |s| {
                s.pages
            }),
        ];
        for (name, kind, help, of) in families {
            self.family(name, kind.name(), help);
            for station in stations {
                let _ = writeln!(self.0, "{name}{{{}}} {}", labels(station), of(station));
            }
        }
        type OfNumbers = fn(&StationNumbers) -> f64;
        let families: [(&str, Kind, &str, OfNumbers); 7] = [
            (
                "plurix_station_attempts_total",
                Counter,
                "Transactions begun, repetitions among them.",
                |n| n.attempts as f64,
            ),
            (
                "plurix_station_restarts_total",
                Counter,
                "Attempts that had to run again.",
                |n| n.restarts as f64,
            ),
            (
                "plurix_station_reads_total",
                Counter,
                "Transactions that only read.",
                |n| n.reads as f64,
            ),
            (
                "plurix_station_misses_total",
                Counter,
                "Pages waited for.",
                |n| n.misses as f64,
            ),
            (
                "plurix_station_reconnects_total",
                Counter,
                "Connections made again.",
                |n| n.reconnects as f64,
            ),
            (
                "plurix_station_waited_seconds_total",
                Counter,
                "Time spent waiting.",
                |n| n.waited_us as f64 / 1e6,
            ),
            (
                "plurix_station_cache_bytes",
                Gauge,
                "Pages in the station's memory.",
                |n| n.cache_bytes as f64,
            ),
        ];
        for (name, kind, help, of) in families {
            self.family(name, kind.name(), help);
            for station in stations {
                if let Some(numbers) = &station.numbers {
                    let _ = writeln!(self.0, "{name}{{{}}} {}", labels(station), of(numbers));
                }
            }
        }
    }

    fn latency(
        &mut self,
        status: &Status,
        (name, help): (&str, &str),
        of: fn(&StationNumbers) -> &Latencies,
    ) {
        self.family(name, "histogram", help);
        for station in &status.stations {
            let Some(numbers) = &station.numbers else {
                continue;
            };
            let (latencies, labels) = (of(numbers), labels(station));
            for end in BUCKETS_US {
                let within = latencies.within(end * 1000);
                let le = end as f64 / 1e6;
                let _ = writeln!(self.0, "{name}_bucket{{{labels},le=\"{le}\"}} {within}");
            }
            let (count, sum) = (latencies.count(), latencies.sum_ns() as f64 / 1e9);
            let _ = writeln!(self.0, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(self.0, "{name}_sum{{{labels}}} {sum}");
            let _ = writeln!(self.0, "{name}_count{{{labels}}} {count}");
        }
    }
}

fn labels(station: &StationStatus) -> String {
    let (number, life) = (station.station, station.incarnation);
    format!("station=\"{number}\",incarnation=\"{life}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_belongs_to_a_family_and_histograms_ascend() {
        let mut numbers = StationNumbers::default();
        for us in [1, 3, 30, 3_000_000] {
            numbers.commit_latency.record(us * 1000);
        }
        let station = StationStatus {
            station: 4,
            numbers: Some(Box::new(numbers)),
            ..StationStatus::default()
        };
        let status = Status {
            checkpoint: Some(Default::default()),
            stations: vec![station],
            ..Status::default()
        };
        let text = of(&status);
        let (mut family, mut buckets) = (String::new(), Vec::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap().to_owned();
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                continue;
            }
            assert!(line.starts_with(&family), "{line} in {family}");
            let (name, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            if name.starts_with("plurix_station_commit_seconds_bucket") {
                buckets.push(value);
            }
        }
        assert!(
            buckets.is_sorted() && buckets.last() == Some(&4.0),
            "{buckets:?}"
        );
        assert!(text.contains("plurix_station_commits_total{station=\"4\","));
    }
}
