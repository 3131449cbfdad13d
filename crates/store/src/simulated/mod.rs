//! A disk in memory that crashes, fills up, fails and decays on demand, for tests and for the
//! deterministic simulator.
//!
//! A [`Machine`] outlives the processes on it; each [`SimulatedDisk`] is one process's view. Every
//! file has its bytes as processes see them and as they are on disk. [`Machine::kill`] ends the
//! processes and loses nothing; [`Machine::power_cut`] loses what the caller decides of everything
//! that was not synced. Where a decision is random, it is the caller's.

mod disk;
mod files;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub use disk::{SimulatedDisk, SimulatedSegment};

/// What a power cut keeps or loses in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// Blocks of 4 KiB.
    Block,
    /// Words of 8 bytes.
    Word,
}

impl Granularity {
    fn bytes(self) -> usize {
        match self {
            Self::Block => 4096,
            Self::Word => 8,
        }
    }
}

/// The hardware and the kernel: what survives processes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Machine(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Contents>,
    /// Processes with a smaller number are dead.
    oldest_alive: u64,
    next_process: u64,
    lock: Option<u64>,
    /// Steps until every process dies.
    steps_left: Option<u64>,
    steps: u64,
    free_bytes: Option<u64>,
    fail_syncs: bool,
    fail_writes: bool,
    create_polls: u32,
    job_polls: u32,
    now: Duration,
    sync_polls: u32,
}

#[derive(Debug, Default)]
struct Contents {
    seen: Vec<u8>,
    on_disk: Vec<u8>,
    /// The bytes that may differ.
    dirty: Range<usize>,
}

impl Contents {
    fn synced(bytes: Vec<u8>) -> Self {
        Self {
            on_disk: bytes.clone(),
            seen: bytes,
            dirty: 0..0,
        }
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.seen[at..at + bytes.len()].copy_from_slice(bytes);
        let stored = at..at + bytes.len();
        self.dirty = match self.dirty.is_empty() {
            true => stored,
            false => self.dirty.start.min(stored.start)..self.dirty.end.max(stored.end),
        };
    }

    /// Makes the file longer by `bytes`.
    fn append(&mut self, bytes: &[u8]) {
        let at = self.seen.len();
        self.seen.resize(at + bytes.len(), 0);
        self.on_disk.resize(at + bytes.len(), 0);
        self.store(at, bytes);
    }

    fn sync(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        self.on_disk[dirty.clone()].copy_from_slice(&self.seen[dirty]);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: self.dirty.start,
            bytes: self.seen[self.dirty.clone()].to_vec(),
        }
    }

    /// Ends a sync that began when the file was as in `snapshot`. What was stored since is not on
    /// disk for that, and what has reached the disk since stays there.
    fn sync_snapshot(&mut self, Snapshot { at, bytes }: &Snapshot) {
        for (at, &byte) in (*at..).zip(bytes) {
            if self.seen[at] == byte {
                self.on_disk[at] = byte;
            }
        }
        let mut dirty = self.dirty.clone();
        let differs = |at: &usize| self.seen[*at] != self.on_disk[*at];
        self.dirty = match (dirty.clone().find(differs), dirty.rfind(differs)) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..0,
        };
    }
}

/// The bytes of a file that a sync in the background brings on disk.
#[derive(Debug)]
struct Snapshot {
    at: usize,
    bytes: Vec<u8>,
}

impl State {
    /// Counts one thing that a process does; `false` if it is dead and does it no more.
    fn step(&mut self, process: u64) -> bool {
        if self.check_alive(process).is_err() {
            return false;
        }
        self.steps += 1;
        self.steps_left = self.steps_left.map(|left| left - 1);
        true
    }

    fn operation(&mut self, process: u64) -> io::Result<()> {
        if self.step(process) {
            Ok(())
        } else {
            Err(io::Error::other("the process was killed"))
        }
    }

    /// Whether the process lives; to ask is nothing that it does.
    fn check_alive(&self, process: u64) -> io::Result<()> {
        match process < self.oldest_alive || self.steps_left == Some(0) {
            true => Err(io::Error::other("the process was killed")),
            false => Ok(()),
        }
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let mut entries: Vec<String> = Vec::new();
        for name in self.files.keys() {
            let inside = match directory {
                "" => Some(name.as_str()),
                _ => name
                    .strip_prefix(directory)
                    .and_then(|rest| rest.strip_prefix('/')),
            };
            if let Some(entry) = inside.and_then(|inside| inside.split('/').next()) {
                entries.push(entry.into());
            }
        }
        entries.dedup();
        entries
    }

    fn replace(&mut self, process: u64, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.operation(process)?;
        // The new file lies beside the old one until it takes its place.
        self.take(bytes.len() as u64)?;
        let old = self
            .files
            .insert(name.into(), Contents::synced(bytes.to_vec()));
        self.give_back(old.map_or(0, |old| old.seen.len() as u64));
        Ok(())
    }

    fn remove(&mut self, process: u64, name: &str) -> io::Result<()> {
        self.operation(process)?;
        let bytes = self.file(name)?.seen.len() as u64;
        self.files.remove(name);
        self.give_back(bytes);
        Ok(())
    }

    fn file(&mut self, name: &str) -> io::Result<&mut Contents> {
        self.files
            .get_mut(name)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&mut self, process: u64, name: &str) -> io::Result<()> {
        self.check_sync(process)?;
        self.file(name)?.sync();
        Ok(())
    }

    fn check_sync(&mut self, process: u64) -> io::Result<()> {
        self.operation(process)?;
        if self.fail_syncs {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> io::Result<()> {
        if self.fail_writes {
            return Err(io::Error::other("simulated failure of a write"));
        }
        match &mut self.free_bytes {
            Some(free) if *free < bytes => return Err(io::ErrorKind::StorageFull.into()),
            Some(free) => *free -= bytes,
            None => {}
        }
        Ok(())
    }

    fn give_back(&mut self, bytes: u64) {
        if let Some(free) = &mut self.free_bytes {
            *free += bytes;
        }
    }
}

impl Machine {
    /// A machine with an empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The directory as a new process sees it.
    #[must_use]
    pub fn disk(&self) -> SimulatedDisk {
        let mut state = self.state();
        let process = state.next_process;
        state.next_process += 1;
        SimulatedDisk::new(self.clone(), process)
    }

    /// Ends every process at once; nothing they stored is lost.
    pub fn kill(&self) {
        let mut state = self.state();
        state.oldest_alive = state.next_process;
        state.lock = None;
        state.steps_left = None;
    }

    /// Lets every process do `steps` more things (store a word, sync, create, …) and no other; the
    /// caller then drops them and calls [`kill`](Self::kill) or [`power_cut`](Self::power_cut).
    pub fn kill_after(&self, steps: u64) {
        self.state().steps_left = Some(steps);
    }

    /// Takes [`kill_after`](Self::kill_after) back.
    pub fn live_on(&self) {
        self.state().steps_left = None;
    }

    /// Whether the steps granted by [`kill_after`](Self::kill_after) are used up.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().steps_left == Some(0)
    }

    /// How many things processes have done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Ends every process and loses what was not synced, piece by piece: `keep` is asked with the
    /// file's name and the piece's offset whether it had reached the disk.
    pub fn power_cut(&self, granularity: Granularity, mut keep: impl FnMut(&str, u64) -> bool) {
        self.kill();
        let piece = granularity.bytes();
        for (name, contents) in &mut self.state().files {
            let dirty = std::mem::take(&mut contents.dirty);
            let mut at = dirty.start - dirty.start % piece;
            while at < dirty.end {
                let range = at..(at + piece).min(contents.seen.len());
                let differs = contents.seen[range.clone()] != contents.on_disk[range.clone()];
                if differs && keep(name, at as u64) {
                    contents.on_disk[range.clone()].copy_from_slice(&contents.seen[range]);
                } else if differs {
                    contents.seen[range.clone()].copy_from_slice(&contents.on_disk[range]);
                }
                at += piece;
            }
        }
    }

    /// Limits the space for new files; `None` for no limit.
    pub fn set_free_bytes(&self, bytes: Option<u64>) {
        self.state().free_bytes = bytes;
    }

    /// Makes every sync of a file fail, or none.
    pub fn fail_syncs(&self, fail: bool) {
        self.state().fail_syncs = fail;
    }

    /// Makes every creation or replacement of a file fail, or none.
    pub fn fail_writes(&self, fail: bool) {
        self.state().fail_writes = fail;
    }

    /// How often a segment that is created in the background is asked for in vain.
    pub fn set_create_polls(&self, polls: u32) {
        self.state().create_polls = polls;
    }

    /// How often the outcome of a sync in the background is asked for in vain.
    pub fn set_sync_polls(&self, polls: u32) {
        self.state().sync_polls = polls;
    }

    /// How often background work is let go on in vain before each job.
    pub fn set_job_polls(&self, polls: u32) {
        self.state().job_polls = polls;
    }

    /// Sets the clock of the machine, since 1970.
    pub fn set_now(&self, now: Duration) {
        self.state().now = now;
    }

    fn now(&self) -> Duration {
        self.state().now
    }

    /// The files there are.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }

    /// A file's bytes as processes see them, or `None` if there is none.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.state()
            .files
            .get(name)
            .map(|contents| contents.seen.clone())
    }

    /// Puts a file there as it is, or another one in its place, on disk.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state()
            .files
            .insert(name.into(), Contents::synced(bytes));
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        self.state().files.remove(name);
    }

    /// Flips one bit of a file, counted from its beginning, on disk and in the cache.
    ///
    /// # Panics
    /// If the file has no such bit.
    pub fn flip_bit(&self, name: &str, bit: u64) {
        let mut state = self.state();
        let contents = state.file(name).expect("the file exists");
        let (at, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        contents.seen[at] ^= mask;
        contents.on_disk[at] ^= mask;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while the machine is locked")
    }
}
