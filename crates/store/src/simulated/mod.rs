//! A disk in memory that crashes, fills up, fails and decays on demand, for tests and for the
//! deterministic simulator.
//!
//! A [`Machine`] outlives the processes on it; each [`SimulatedDisk`] is one process's view. Every
//! file has its bytes as processes see them and as they are on disk. [`Machine::kill`] ends the
//! processes and loses nothing; [`Machine::power_cut`] loses what the caller decides of everything
//! that was not synced. Where a decision is random, it is the caller's.

mod disk;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

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

    fn sync(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        self.on_disk[dirty.clone()].copy_from_slice(&self.seen[dirty]);
    }
}

impl State {
    /// Counts one thing that a process does; `false` if it is dead and does it no more.
    fn step(&mut self, process: u64) -> bool {
        if process < self.oldest_alive || self.steps_left == Some(0) {
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

    fn file(&mut self, name: &str) -> io::Result<&mut Contents> {
        self.files
            .get_mut(name)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&mut self, process: u64, name: &str) -> io::Result<()> {
        self.operation(process)?;
        if self.fail_syncs {
            return Err(io::Error::other("simulated failure of a sync"));
        }
        self.file(name)?.sync();
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
