//! Measures what a commit costs with few and with many stations, and prints it as a table.

use std::process::ExitCode;
use std::time::Duration;

use plurix_sim::{Figures, scale};

use rustix::time::{ClockId, clock_gettime};

/// A name, and what stands in its row.
type Row = (&'static str, fn(&Figures) -> f64);

/// Bytes a second that a link of 10 Gbit/s carries.
const LINK_BYTES: f64 = 1.25e9;

#[derive(Debug, clap::Args)]
pub(crate) struct ScaleOptions {
    /// So many stations; each number is measured for itself.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "10,100,1000"
    )]
    stations: Vec<u16>,
    /// Measure so many commits.
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    commits: u64,
    /// Take the median of so many measurements, by the leader's work.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Print JSON, an object for each number of stations.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &ScaleOptions) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !options.stations.contains(&0) && options.rounds > 0 && options.commits > 0,
        "stations, rounds and commits are counted from 1"
    );
    let mut all = Vec::new();
    for stations in &options.stations {
        let round = |_| scale(usize::from(*stations), options.commits, &processor_time);
        let mut rounds: Vec<Figures> = (0..options.rounds).map(round).collect();
        rounds.sort_by_key(|figures| figures.leader_ns + figures.codec_ns);
        let median = rounds.swap_remove(options.rounds / 2);
        if options.json {
            println!("{}", serde_json::to_string(&median)?);
        }
        all.push(median);
    }
    if !options.json {
        print(&all);
    }
    Ok(ExitCode::SUCCESS)
}

/// What this thread has computed so far; whoever else uses the machine does not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

fn print(all: &[Figures]) {
    println!(
        "| for each commit | {} |",
        cells(all, |f| format!("{} stations", f.stations))
    );
    println!("|---|{}", "---|".repeat(all.len()));
    let rows: [Row; 9] = [
        ("messages to the leader", |f| {
            f.per_commit(f.to_leader.messages)
        }),
        ("bytes to the leader", |f| f.per_commit(f.to_leader.bytes)),
        ("messages to stations", |f| {
            f.per_commit(f.to_stations.messages)
        }),
        ("bytes to stations", |f| f.per_commit(f.to_stations.bytes)),
        ("deltas: holders reached", |f| f.per_commit(f.deltas)),
        ("batches", |f| f.per_commit(f.batches)),
        ("leader's state machine, µs", |f| {
            f.per_commit(f.leader_ns) / 1e3
        }),
        ("leader's codec, µs", |f| f.per_commit(f.codec_ns) / 1e3),
        ("conflicts, %", |f| 100.0 * f.per_commit(f.conflicts)),
    ];
    for (name, figure) in rows {
        println!(
            "| {name} | {} |",
            cells(all, |f| format!("{:.2}", figure(f)))
        );
    }
    println!(
        "| commits/s, virtual time | {} |",
        cells(all, |f| format!(
            "{:.0}",
            f.commits as f64 * 1e9 / f.virtual_ns as f64
        ))
    );
    println!(
        "| one core ends at, commits/s | {} |",
        cells(all, |f| format!("{:.0}", core(f)))
    );
    println!(
        "| 10 Gbit/s end at, commits/s | {} |",
        cells(all, |f| format!("{:.0}", link(f)))
    );
}

fn cells(all: &[Figures], cell: impl Fn(&Figures) -> String) -> String {
    all.iter().map(cell).collect::<Vec<_>>().join(" | ")
}

/// What one core could order if it did nothing else.
fn core(figures: &Figures) -> f64 {
    1e9 / figures.per_commit(figures.leader_ns + figures.codec_ns)
}

/// What the leader's link could carry.
fn link(figures: &Figures) -> f64 {
    LINK_BYTES / figures.per_commit(figures.to_stations.bytes.max(figures.to_leader.bytes))
}
