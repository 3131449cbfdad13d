//! The machine that is measured on: what it is, how busy it is, and which processor runs what.

use std::fmt;
use std::fs::read_to_string;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// How long the machine is watched before anything is measured.
const WATCH: Duration = Duration::from_millis(500);

/// What a reader must know to judge the figures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    memory_gib: f64,
    kernel: String,
    /// How busy the processors were before anything was measured, 0 to 1.
    busy: f64,
}

impl Machine {
    pub(crate) fn look() -> Result<Self> {
        let kernel = read_to_string("/proc/sys/kernel/osrelease");
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name")?,
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: field("/proc/meminfo", "MemTotal")?
                .trim_end_matches(" kB")
                .parse::<f64>()?
                / f64::from(1 << 20),
            kernel: kernel
                .context("cannot ask for the kernel's version")?
                .trim()
                .to_owned(),
            busy: watch()?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} × {}, {:.0} GiB, Linux {}; {:.0} % busy before the start",
            self.processors,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.busy * 100.0
        )?;
        if self.busy > 0.05 {
            write!(f, " (figures will be noisy)")?;
        }
        Ok(())
    }
}

/// The value of the first line `name: value` of a file.
fn field(path: &str, name: &str) -> Result<String> {
    let text = read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    Ok(value.map_or_else(
        || "unknown".to_owned(),
        |(_, value)| value.trim().to_owned(),
    ))
}

/// The share of processor time that somebody used, over a moment in which this process sleeps.
fn watch() -> Result<f64> {
    let (busy_before, before) = processor_time()?;
    std::thread::sleep(WATCH);
    let (busy, total) = processor_time()?;
    Ok((busy - busy_before) as f64 / (total - before).max(1) as f64)
}

/// Ticks used and ticks altogether, of all processors.
fn processor_time() -> Result<(u64, u64)> {
    let text = read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    let total = ticks.iter().take(8).sum();
    // Idle, and idle while waiting for a disk.
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok((total - idle, total))
}

/// Touches `bytes` of memory and gives them back: memory that a virtual machine never used before
/// costs ten times as much at its first touch.
pub(crate) fn touch_memory(bytes: usize) {
    black_box(vec![1u8; bytes]);
}

/// The processors that this program may use.
static USABLE: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let all = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| all.is_set(*cpu))
        .collect()
});

/// The system's number of processor `index` of those this program may use, counted round.
pub(crate) fn processor(index: usize) -> Option<usize> {
    let usable = &*USABLE;
    usable.get(index.checked_rem(usable.len())?).copied()
}

/// Ties this thread, and those that it starts, to the processor with the system's number `cpu`.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one).with_context(|| format!("cannot run on processor {cpu}"))
}

/// Ties this thread, and those that it starts, to one processor until it is dropped.
#[derive(Debug)]
pub(crate) struct Pinned(CpuSet);

impl Pinned {
    /// To processor `index` of those this program may use.
    pub(crate) fn to(index: usize) -> Result<Self> {
        let cpu = processor(index).context("this process may use no processor")?;
        let before = sched_getaffinity(None).context("cannot ask for the processors")?;
        pin(cpu)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A thread that stays tied measures less well, and no worse than that.
        let _ = sched_setaffinity(None, &self.0);
    }
}
