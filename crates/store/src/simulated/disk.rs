//! How one process sees the simulated machine: the [`Disk`] that a store runs on.

use std::io;
use std::path::PathBuf;

use super::{Contents, Machine};
use crate::directory::UNFINISHED;
use crate::disk::{Disk, LockError, NewSegment, SegmentFile};

/// One process's view of a [`Machine`]'s directory.
#[derive(Debug)]
pub struct SimulatedDisk {
    machine: Machine,
    process: u64,
    /// A segment that is being created, and how often it is still asked for in vain.
    creating: Option<(NewSegment, u32)>,
    retired: Vec<SimulatedSegment>,
}

impl SimulatedDisk {
    pub(super) fn new(machine: Machine, process: u64) -> Self {
        Self {
            machine,
            process,
            creating: None,
            retired: Vec::new(),
        }
    }

    fn segment(&self, name: &str) -> SimulatedSegment {
        let (machine, process) = (self.machine.clone(), self.process);
        SimulatedSegment {
            machine,
            process,
            name: name.into(),
        }
    }
}

impl Drop for SimulatedDisk {
    fn drop(&mut self) {
        let mut state = self.machine.state();
        if state.lock == Some(self.process) {
            state.lock = None;
        }
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedSegment;

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("simulated:").join(name)
    }

    fn lock(&mut self) -> Result<(), LockError> {
        let mut state = self.machine.state();
        state.operation(self.process)?;
        if let Some(holder) = state.lock {
            return Err(LockError::Held {
                pid: u32::try_from(holder).ok(),
            });
        }
        state.lock = Some(self.process);
        Ok(())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let state = self.machine.state();
        let mut entries: Vec<String> = Vec::new();
        for name in state.files.keys() {
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
        Ok(entries)
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(self.machine.state().file(name)?.seen.len() as u64)
    }

    fn read(&self, name: &str, into: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.machine.state();
        let seen = &state.file(name)?.seen;
        let end = seen
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        into.clear();
        into.extend_from_slice(&seen[..end]);
        Ok(())
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.machine.state();
        state.operation(self.process)?;
        // The new file lies beside the old one until it takes its place.
        state.take(bytes.len() as u64)?;
        let old = state
            .files
            .insert(name.into(), Contents::synced(bytes.to_vec()));
        state.give_back(old.map_or(0, |old| old.seen.len() as u64));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.machine.state();
        state.operation(self.process)?;
        let bytes = state.file(name)?.seen.len() as u64;
        state.files.remove(name);
        state.give_back(bytes);
        Ok(())
    }

    fn open(&mut self, name: &str, bytes: u64, _cold: bool) -> io::Result<SimulatedSegment> {
        let mut state = self.machine.state();
        state.operation(self.process)?;
        assert_eq!(
            state.file(name)?.seen.len() as u64,
            bytes,
            "a segment is opened whole"
        );
        Ok(self.segment(name))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.machine.state().sync(self.process, name)
    }

    fn create(&mut self, segment: NewSegment) -> io::Result<SimulatedSegment> {
        let mut state = self.machine.state();
        let unfinished = format!("{}{UNFINISHED}", segment.name);
        state.operation(self.process)?;
        // As much as fits is there until it turns out that the rest does not.
        let taken = match state.take(segment.bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => state.free_bytes.take(),
            other => other.map(|()| None)?,
        };
        let mut bytes = segment.header;
        bytes.resize(taken.unwrap_or(segment.bytes) as usize, 0);
        let file = Contents::synced(bytes);
        state.files.insert(unfinished.clone(), file);
        if taken.is_some() {
            state.free_bytes = Some(0);
        }
        // Who dies here leaves the unfinished file behind.
        state.operation(self.process)?;
        let file = state.files.remove(&unfinished).expect("just made");
        if taken.is_some() {
            state.free_bytes = taken;
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.files.insert(segment.name.clone(), file);
        Ok(self.segment(&segment.name))
    }

    fn start_create(&mut self, segment: NewSegment) {
        assert!(self.creating.is_none(), "one segment is created at a time");
        let polls = self.machine.state().create_polls;
        self.creating = Some((segment, polls));
    }

    fn poll_create(&mut self) -> Option<io::Result<SimulatedSegment>> {
        match self.creating.take()? {
            (segment, 0) => Some(self.create(segment)),
            (segment, polls) => {
                self.creating = Some((segment, polls - 1));
                None
            }
        }
    }

    fn retire(&mut self, file: SimulatedSegment) {
        self.retired.push(file);
    }

    fn finish_retired(&mut self) -> io::Result<()> {
        self.retired.drain(..).try_for_each(|mut file| file.sync())
    }
}

/// A segment of a [`SimulatedDisk`].
#[derive(Debug)]
pub struct SimulatedSegment {
    machine: Machine,
    process: u64,
    name: String,
}

impl SegmentFile for SimulatedSegment {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut state = self.machine.state();
        let mut at = at as usize;
        for word in bytes.chunks(8) {
            if !state.step(self.process) {
                return;
            }
            state
                .file(&self.name)
                .expect("an open segment is not removed")
                .store(at, word);
            at += word.len();
        }
    }

    fn publish(&mut self, at: u64, word: u64) {
        assert!(
            at.is_multiple_of(8),
            "only an aligned word is stored in one piece"
        );
        self.write(at, &word.to_le_bytes());
    }

    fn sync(&mut self) -> io::Result<()> {
        self.machine.state().sync(self.process, &self.name)
    }
}
