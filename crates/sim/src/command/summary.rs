//! What many seeds did together: a line while they run, and a table at the end.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use plurix_sim::{Mark, Report, Stage, Tally};
use serde::Serialize;

use super::now;

/// How often the line is renewed on a terminal, and printed anew elsewhere.
const LINE_EVERY: Duration = Duration::from_millis(500);
const PRINT_EVERY: Duration = Duration::from_secs(20);

/// The sum of all runs so far.
#[derive(Debug)]
pub(super) struct Sum {
    seeds: Range<u64>,
    jobs: usize,
    started: Instant,
    printed: Instant,
    done: u64,
    virtual_ns: u64,
    tally: Tally,
    stage: Stage,
}

#[derive(Serialize)]
struct Summary<'a> {
    seeds: u64,
    first_seed: u64,
    passed: bool,
    jobs: usize,
    seconds: f64,
    events_per_second: f64,
    virtual_hours: f64,
    virtual_hours_per_minute: f64,
    tally: &'a Tally,
}

impl Sum {
    pub(super) fn new(seeds: Range<u64>, jobs: usize, stage: Stage) -> Self {
        let started = now();
        Self {
            stage,
            seeds,
            jobs,
            started,
            printed: started,
            done: 0,
            virtual_ns: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        now() - self.started
    }

    pub(super) fn add(&mut self, report: &Report) {
        self.done += 1;
        self.virtual_ns += report.virtual_ns;
        self.tally += &report.tally;
    }

    fn summary(&self, failed: bool) -> Summary<'_> {
        let seconds = self.elapsed().as_secs_f64().max(1e-9);
        let hours = self.virtual_ns as f64 / 3.6e12;
        Summary {
            seeds: self.done,
            first_seed: self.seeds.start,
            passed: !failed,
            jobs: self.jobs,
            seconds,
            events_per_second: self.tally.events as f64 / seconds,
            virtual_hours: hours,
            virtual_hours_per_minute: hours * 60.0 / seconds,
            tally: &self.tally,
        }
    }

    /// Prints what all of them did.
    pub(super) fn print(&self, failed: bool, json: bool) -> anyhow::Result<()> {
        clear_line();
        let summary = self.summary(failed);
        if json {
            println!("{}", serde_json::json!({ "summary": summary }));
            return Ok(());
        }
        let end = if failed {
            "the last one failed"
        } else {
            "all passed"
        };
        let (seeds, from, tally) = (summary.seeds, summary.first_seed, summary.tally);
        println!(
            "{seeds} seeds from {from} in {:.1} s, {} at a time: {end}",
            summary.seconds, summary.jobs
        );
        println!(
            "  {} events, {:.0} a second; {:.3} virtual hours, {:.2} in a real minute",
            tally.events,
            summary.events_per_second,
            summary.virtual_hours,
            summary.virtual_hours_per_minute
        );
        if failed {
            return Ok(());
        }
        match self.stage {
            Stage::Cluster => print_transactions(tally),
            Stage::Team => println!("  {} misses, {} bytes sent", tally.misses, tally.bytes),
        }
        println!("  {} faults: {}", tally.faults, listed(&tally.struck));
        println!("  scripts: {}", listed(&tally.scripts));
        println!("  edges reached, in all:");
        let marks: &[Mark] = match self.stage {
            Stage::Cluster => &Mark::ALL,
            Stage::Team => &Mark::TEAM,
        };
        for pair in marks.chunks(2) {
            let cells = pair.iter().map(|mark| {
                let count = tally.marks.get(mark).copied().unwrap_or_default();
                let count = if count == 0 {
                    "never".to_owned()
                } else {
                    count.to_string()
                };
                format!("{:<30} {count:>9}", mark.name())
            });
            println!("    {}", cells.collect::<Vec<_>>().join("    ").trim_end());
        }
        Ok(())
    }
}

fn listed(counts: &BTreeMap<&'static str, u64>) -> String {
    let kinds = counts.iter();
    let kinds: Vec<String> = kinds
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    kinds.join(", ")
}

fn print_transactions(tally: &Tally) {
    println!(
        "  {} transactions: {} commits, {} conflicts, {} only read, {} aborted, {} lost, \
             {} of unknown fate; {} misses; {} entries of outboxes delivered; {} operations on \
             collections",
        tally.attempts,
        tally.commits,
        tally.conflicts,
        tally.read_only,
        tally.aborts,
        tally.lost,
        tally.unknown,
        tally.misses,
        tally.delivered,
        tally.operations
    );
    println!(
        "  histories judged by what programs saw alone: {} explained, {} undecided, {} went back",
        tally.explained, tally.undecided, tally.went_back
    );
}

/// Shows now and then how far it is.
pub(super) fn progress_line(sum: &mut Sum, json: bool) {
    let terminal = std::io::stderr().is_terminal();
    let every = if terminal { LINE_EVERY } else { PRINT_EVERY };
    if json || now() - sum.printed < every {
        return;
    }
    sum.printed = now();
    let of = match sum.seeds.end {
        u64::MAX => String::new(),
        end => format!("/{}", end - sum.seeds.start),
    };
    let summary = sum.summary(false);
    let line = format!(
        "{}{of} seeds: {:.0} events/s, {:.2} virtual hours a minute, {} commits, {} faults",
        sum.done,
        summary.events_per_second,
        summary.virtual_hours_per_minute,
        sum.tally.commits,
        sum.tally.faults
    );
    if terminal {
        eprint!("\r\x1b[K{line}");
    } else {
        eprintln!("{line}");
    }
}

fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
