//! The run by a team of stations, on weak memory, through which all keys pass to who sorts them. Each
//! worker reads its block of the file, and writes its part of the sorted keys to where they belong in
//! the output.

use plurix::team::{Program, Region, Setup, Turn, Worker};
use plurix::{Result, plain};

use super::kernel::{self, SAMPLES};
use super::{Digest, TeamSort};

/// What the team found.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Of all keys that were read.
    pub input: Digest,
    /// Of all keys that were sorted.
    pub output: Digest,
    /// 1 if no key is larger than the next.
    pub is_sorted: u64,
}

impl Found {
    /// Of the sorted keys.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        self.output.checksum()
    }

    /// Whether the keys are those that were read, in their order.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.is_sorted == 1 && self.output == self.input
    }
}

/// What workers show to each other.
#[plain]
pub struct Desks {
    /// The blocks after [`kernel::partition`], at their places in the file.
    parted: Region<u64>,
    /// Where the keys for each worker begin in each block, and its end: a row for each block.
    starts: Region<u64>,
}

/// The samples of a block.
#[plain]
struct Samples {
    keys: [u64; SAMPLES],
    count: u64,
    /// Of the whole block.
    digest: Digest,
}

/// A part of the sorted keys.
#[plain]
struct Part {
    digest: Digest,
    is_sorted: u64,
    least: u64,
    largest: u64,
}

impl Program for TeamSort {
    type Data = Desks;
    type Output = Found;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Desks> {
        Ok(Desks {
            parted: setup.region(self.sort.keys())?,
            starts: setup.region(self.workers * (self.workers + 1))?,
        })
    }

    fn phase(&self, worker: &mut Worker<'_>, desks: &Desks, _: u64) -> Result<Turn<Found>> {
        let input = self.partition(worker, desks)?;
        worker.barrier()?;
        let (place, keys) = self.gather(worker, desks)?;
        let written = self.write(place, &keys);
        written.map_err(|error| worker.abort(error))?;
        let parts = worker.gather(Part::of(&keys))?;
        Ok(Turn::Done(Found {
            input,
            output: parts
                .iter()
                .fold(Digest::default(), |all, part| all.and(part.digest)),
            is_sorted: are_sorted(&parts).into(),
        }))
    }
}

impl TeamSort {
    /// Reads the worker's block, and puts the keys for each worker together; answers the digest of all
    /// blocks.
    fn partition(&self, worker: &mut Worker<'_>, desks: &Desks) -> Result<Digest> {
        let share = worker.part(self.sort.keys());
        let mut block = vec![0; share.len()];
        let read = self.sort.read(share.start, &mut block, |_| ());
        read.map_err(|error| worker.abort(error))?;
        let mut samples = Samples {
            keys: [0; SAMPLES],
            count: 0,
            digest: Digest::of(&block),
        };
        samples.count = kernel::sample(&block, &mut samples.keys) as u64;
        let all = worker.gather(samples)?;
        let keys = all.iter().flat_map(|s| &s.keys[..s.count as usize]);
        let cuts = kernel::cuts(&mut keys.copied().collect::<Vec<_>>(), worker.count());

        let mut parted = worker.write(desks.parted, share)?;
        let mut starts = worker.write(desks.starts, self.row(worker.index()))?;
        kernel::partition(&block, &cuts, &mut parted, &mut starts);
        Ok(all
            .iter()
            .fold(Digest::default(), |all, samples| all.and(samples.digest)))
    }

    /// The keys for the worker, sorted, and how many there are before them.
    fn gather(&self, worker: &Worker<'_>, desks: &Desks) -> Result<(usize, Vec<u64>)> {
        let parted = worker.read(desks.parted, 0..desks.parted.len())?;
        let starts = worker.read(desks.starts, 0..desks.starts.len())?;
        let blocks = || (0..worker.count()).map(|block| &starts[self.row(block)]);
        let mut place = 0;
        let mut buckets = Vec::new();
        let mut begin = 0;
        for starts in blocks() {
            let bucket = kernel::bucket(starts, worker.index());
            place += bucket.start;
            buckets.push(&parted[begin + bucket.start..begin + bucket.end]);
            begin += starts[worker.count()] as usize;
        }
        let mut keys = vec![0; buckets.iter().map(|bucket| bucket.len()).sum()];
        kernel::gather(buckets, &mut keys);
        Ok((place, keys))
    }

    /// Where the starts of a block are.
    fn row(&self, block: usize) -> std::ops::Range<usize> {
        let width = self.workers + 1;
        block * width..(block + 1) * width
    }
}

impl Part {
    fn of(keys: &[u64]) -> Self {
        Self {
            digest: Digest::of(keys),
            is_sorted: keys.is_sorted().into(),
            least: keys.first().copied().unwrap_or(0),
            largest: keys.last().copied().unwrap_or(0),
        }
    }
}

/// Whether the keys of all parts are in order, one after the other.
fn are_sorted(parts: &[Part]) -> bool {
    let ends = parts
        .iter()
        .filter(|part| part.digest.keys > 0)
        .flat_map(|part| [part.least, part.largest]);
    parts.iter().all(|part| part.is_sorted == 1) && ends.is_sorted()
}
