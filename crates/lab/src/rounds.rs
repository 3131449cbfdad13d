//! How often and how long to measure, and the clock.

use std::time::{Duration, Instant};

use plurix_wire::PAGE_BYTES;

use crate::figure::percentile;

/// A round of round trips ends by then, even on a machine that is busy with something else: a
/// server that is stopped meanwhile must not be taken for dead.
const ROUND_MAX: Duration = Duration::from_millis(500);

/// How much to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) extent: Extent,
    /// Rounds in which value and floor alternate.
    pub(crate) rounds: usize,
    /// Round trips of one round.
    pub(crate) round_trips: usize,
    /// Operations of one round that only compute.
    pub(crate) operations: u64,
    /// How long one round of a throughput benchmark takes.
    pub(crate) throughput_round: Duration,
    /// Rounds of a throughput benchmark.
    pub(crate) throughput_rounds: usize,
    /// Processes started to measure the start of one.
    pub(crate) starts: usize,
    /// Commits in the log that is replayed.
    pub(crate) log_commits: u64,
    /// Memory touched before anything is measured.
    pub(crate) touch_bytes: usize,
    /// Pages of the heap whose checkpoints are measured.
    pub(crate) heap_pages: u64,
    /// Pairs of what is measured with checkpoints and what it is compared with.
    pub(crate) pairs: usize,
    /// The same, of whole programs.
    pub(crate) program_pairs: usize,
    /// How much the programs of teams have to do.
    pub(crate) programs: ProgramSizes,
}

/// See [`Plan::programs`].
#[derive(Debug, Clone)]
pub(crate) struct ProgramSizes {
    /// Points along a side of a plate.
    pub(crate) grid: u64,
    /// How often each point is computed.
    pub(crate) iterations: u64,
    /// Rows and columns of a matrix.
    pub(crate) matrix: u64,
    /// Numbers to sort.
    pub(crate) keys: u64,
}

/// How much of what takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// To see that it works.
    Quick,
    /// As one benchmark of many.
    Short,
    /// By its name.
    Full,
}

impl Plan {
    pub(crate) fn new(extent: Extent) -> Self {
        let (heap_mib, pairs, program_pairs) = match extent {
            Extent::Quick => (16, 2, 1),
            Extent::Short => (128, 6, 3),
            Extent::Full => (1024, 21, 21),
        };
        let heap_pages = (heap_mib << 20) / PAGE_BYTES as u64;
        if extent == Extent::Quick {
            Self {
                extent,
                rounds: 3,
                round_trips: 300,
                operations: 1 << 16,
                throughput_round: Duration::from_millis(200),
                throughput_rounds: 2,
                starts: 5,
                log_commits: 100_000,
                touch_bytes: 64 << 20,
                heap_pages,
                pairs,
                program_pairs,
                programs: ProgramSizes {
                    grid: 256,
                    iterations: 20,
                    matrix: 256,
                    keys: 1 << 17,
                },
            }
        } else {
            Self {
                extent,
                rounds: 21,
                round_trips: 2_000,
                operations: 1 << 20,
                throughput_round: Duration::from_secs(1),
                throughput_rounds: 7,
                starts: 101,
                log_commits: 2_000_000,
                touch_bytes: 1 << 30,
                heap_pages,
                pairs,
                program_pairs,
                programs: ProgramSizes {
                    grid: 2048,
                    iterations: 200,
                    matrix: 2048,
                    keys: 16 << 20,
                },
            }
        }
    }

    /// The size of that heap, for a reader.
    pub(crate) fn heap(&self) -> String {
        format!("{} MiB", (self.heap_pages * PAGE_BYTES as u64) >> 20)
    }

    /// The first operations of a round, which are not counted.
    pub(crate) fn warm_up(&self) -> usize {
        self.round_trips / 10
    }
}

/// Processor time of this thread, for what only computes: other processes on a busy machine take
/// time from it, but are not counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Computing(Duration);

impl Computing {
    pub(crate) fn begin() -> Self {
        Self(Self::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().saturating_sub(self.0)
    }

    fn now() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// Nanoseconds that one of `operations`, which only compute, took.
pub(crate) fn nanoseconds_each<E>(
    operations: u64,
    run: impl FnOnce() -> Result<(), E>,
) -> Result<f64, E> {
    let begun = Computing::begin();
    run()?;
    Ok(begun.elapsed().as_nanos() as f64 / operations as f64)
}

/// Latencies of one round, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    /// Takes the time of each of `count` operations, after `warm_up` that are not counted; of fewer
    /// if they take too long.
    pub(crate) fn take<E>(
        warm_up: usize,
        count: usize,
        mut operation: impl FnMut() -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut samples = Vec::with_capacity(warm_up + count);
        let begun = Instant::now();
        let mut before = begun;
        while samples.len() < warm_up + count && before.duration_since(begun) < ROUND_MAX {
            operation()?;
            let after = Instant::now();
            samples.push(after.duration_since(before).as_nanos() as f64 / 1e3);
            before = after;
        }
        samples.drain(..warm_up.min(samples.len() / 2));
        samples.sort_by(f64::total_cmp);
        Ok(Self(samples))
    }

    pub(crate) fn p50(&self) -> f64 {
        percentile(&self.0, 50)
    }

    pub(crate) fn p99(&self) -> f64 {
        percentile(&self.0, 99)
    }
}

/// Nanoseconds of the clock that all processes of this machine share.
pub(crate) fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Random numbers that need no quality (splitmix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}
