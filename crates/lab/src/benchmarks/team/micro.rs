//! What two workers of two stations do to be measured: one of them takes the times, the other is the
//! one that is asked.

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use plurix::team::{Program, Region, RegionOptions, Setup, Turn, Worker};
use plurix_wire::PAGE_BYTES;

/// One page in so many is fetched, in an order in which nothing is asked for ahead.
const STRIDE: usize = 7;
/// Changed pages under each lock.
const LOCKED: usize = 1;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The first load from a page that the other one has, which waits at a barrier.
    Fault,
    /// The same while the other one computes.
    FaultBusy,
    /// A barrier between which nobody writes.
    Barrier,
    /// A barrier before which both change a byte of each page.
    ChangedOne,
    /// A barrier before which both change half of the bytes of each page, every second one.
    ChangedHalf,
    /// To take a lock that was last held here, and give it back.
    LockHere,
    /// To take a lock that was last held by the other one.
    LockThere,
}

/// See the module's text.
pub(crate) struct Micro {
    pub(crate) kind: Kind,
    /// How often.
    pub(crate) count: usize,
    /// Whether this station takes the times.
    pub(crate) measures: bool,
}

impl Micro {
    fn pages(&self) -> usize {
        match self.kind {
            Kind::Fault | Kind::FaultBusy => self.count * STRIDE,
            Kind::ChangedOne => 1024,
            Kind::ChangedHalf => 256,
            Kind::Barrier | Kind::LockHere | Kind::LockThere => LOCKED,
        }
    }
}

/// Microseconds of each operation; nothing at the one that is asked.
type Times = Vec<f64>;

impl Program for Micro {
    type Data = Region<u8>;
    type Output = Times;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> plurix::Result<Region<u8>> {
        setup.region_with(self.pages() * PAGE_BYTES, &RegionOptions::default())
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        region: &Region<u8>,
        phase: u64,
    ) -> plurix::Result<Turn<Times>> {
        // At first the memory of both is touched, so that no time is that of the kernel to find some.
        if phase < 3 {
            let all = 0..self.pages() * PAGE_BYTES;
            if !self.measures && phase != 1 {
                worker.write(*region, all)?.fill(phase as u8 + 1);
            } else if self.measures && phase == 1 {
                let bytes = worker.read(*region, all)?;
                black_box(
                    bytes
                        .iter()
                        .step_by(PAGE_BYTES)
                        .fold(0, |sum, byte| sum ^ byte),
                );
            }
            return Ok(Turn::Next);
        }
        let times = match self.kind {
            Kind::Fault | Kind::FaultBusy => self.fault(worker, *region)?,
            Kind::Barrier => self.times(|| worker.barrier())?,
            Kind::ChangedOne | Kind::ChangedHalf => self.change(worker, *region)?,
            Kind::LockHere => self.lock_here(worker)?,
            Kind::LockThere => self.lock_there(worker, *region)?,
        };
        worker.barrier()?;
        Ok(Turn::Done(if self.measures { times } else { Times::new() }))
    }
}

impl Micro {
    fn times(&self, mut operation: impl FnMut() -> plurix::Result<()>) -> plurix::Result<Times> {
        let time = |_| {
            let begin = Instant::now();
            operation()?;
            Ok(micros(begin.elapsed()))
        };
        (0..self.count).map(time).collect()
    }

    fn fault(&self, worker: &Worker<'_>, region: Region<u8>) -> plurix::Result<Times> {
        if !self.measures {
            if self.kind == Kind::FaultBusy {
                // For as long as the other one may need.
                let end = Instant::now() + Duration::from_micros(100) * self.count as u32;
                let mut value = 1_u64;
                while Instant::now() < end {
                    for _ in 0..1000 {
                        value = black_box(value.wrapping_mul(3));
                    }
                }
            }
            return Ok(Times::new());
        }
        let words = worker.read(region, 0..self.pages() * PAGE_BYTES)?;
        let mut page = 0;
        self.times(|| {
            // Back and forth by strides: no page follows the one before.
            let at = if page % 2 == 0 {
                page
            } else {
                self.count - page
            };
            page += 1;
            black_box(words[at.min(self.count - 1) * STRIDE * PAGE_BYTES]);
            Ok(())
        })
    }

    fn change(&self, worker: &mut Worker<'_>, region: Region<u8>) -> plurix::Result<Times> {
        let mut times = Times::new();
        let shift = usize::from(!self.measures);
        for round in 0..self.count {
            for page in 0..self.pages() {
                let at = page * PAGE_BYTES;
                let mut bytes = worker.write(region, at..at + PAGE_BYTES)?;
                match self.kind {
                    Kind::ChangedHalf => bytes[shift..]
                        .iter_mut()
                        .step_by(2)
                        .for_each(|byte| *byte = round as u8),
                    _ => bytes[64 + shift] = round as u8,
                }
            }
            let begin = Instant::now();
            worker.barrier()?;
            // Who comes last waits for nothing but the barrier.
            let waits = worker.gather(micros(begin.elapsed()))?;
            let least = waits.into_iter().fold(f64::INFINITY, f64::min);
            times.push(least / self.pages() as f64);
        }
        Ok(times)
    }

    fn lock_here(&self, worker: &mut Worker<'_>) -> plurix::Result<Times> {
        let (mut times, batch) = (Times::new(), 1000);
        if self.measures {
            drop(worker.lock(1)?);
            for _ in 0..self.count {
                let begin = Instant::now();
                for _ in 0..batch {
                    drop(worker.lock(1)?);
                }
                times.push(micros(begin.elapsed()) / f64::from(batch));
            }
        }
        Ok(times)
    }

    fn lock_there(&self, worker: &mut Worker<'_>, region: Region<u8>) -> plurix::Result<Times> {
        let mut times = Times::new();
        for round in 0..self.count {
            if !self.measures {
                let locked = worker.lock(1)?;
                locked.write(region, 0..1)?[0] = round as u8;
            }
            worker.barrier()?;
            if self.measures {
                let begin = Instant::now();
                drop(worker.lock(1)?);
                times.push(micros(begin.elapsed()));
            }
            worker.barrier()?;
        }
        Ok(times)
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
