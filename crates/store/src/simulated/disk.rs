//! How one process sees the simulated machine: the [`Disk`] that a store runs on.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use super::files::{SimulatedFiles, SimulatedReader};
use super::{Contents, Machine, Snapshot};
use crate::directory::UNFINISHED;
use crate::disk::{Disk, Job, LockError, NewSegment, Reader, SegmentFile, copied};

/// One process's view of a [`Machine`]'s directory.
pub struct SimulatedDisk {
    machine: Machine,
    process: u64,
    /// A segment that is being created, and how often it is still asked for in vain.
    creating: Option<(NewSegment, u32)>,
    retired: Vec<SimulatedSegment>,
    /// The files that are being synced as they were, and how often that is asked for in vain.
    syncing: Option<(Vec<(String, Snapshot)>, u32)>,
    /// How a sync ended, until it is asked for.
    synced: Option<io::Result<()>>,
    /// Background work, and how often it is let go on in vain before the first job.
    jobs: VecDeque<Job>,
    polls_left: u32,
    /// The file that background work has begun.
    begun: Option<String>,
}

impl SimulatedDisk {
    pub(super) fn new(machine: Machine, process: u64) -> Self {
        Self {
            machine,
            process,
            creating: None,
            retired: Vec::new(),
            syncing: None,
            synced: None,
            jobs: VecDeque::new(),
            polls_left: 0,
            begun: None,
        }
    }

    fn end_sync(&self, files: &[(String, Snapshot)]) -> io::Result<()> {
        let mut state = self.machine.state();
        for (name, snapshot) in files {
            state.check_sync(self.process)?;
            if let Ok(contents) = state.file(name) {
                contents.sync_snapshot(snapshot);
            }
        }
        Ok(())
    }

    fn do_job(&mut self) {
        if let Some(job) = self.jobs.pop_front() {
            job(&mut SimulatedFiles {
                machine: &self.machine,
                process: self.process,
                begun: &mut self.begun,
            });
            self.polls_left = self.machine.state().job_polls;
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

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk")
            .field("process", &self.process)
            .finish_non_exhaustive()
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
        Ok(self.machine.state().list(directory))
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(self.machine.state().file(name)?.seen.len() as u64)
    }

    fn read(&self, name: &str, skip: Range<u64>, into: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.machine.state();
        let seen = &state.file(name)?.seen;
        let end = seen
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        into.clear();
        into.extend_from_slice(&seen[..end]);
        if let Some(skipped) = into.get_mut(skip.start as usize..end.min(skip.end as usize)) {
            skipped.fill(0);
        }
        Ok(())
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.machine.state().replace(self.process, name, bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.machine.state().remove(self.process, name)
    }

    fn open(
        &mut self,
        name: &str,
        bytes: u64,
        _at: u64,
        _cold: bool,
    ) -> io::Result<SimulatedSegment> {
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

    fn start_sync(&mut self, file: &SimulatedSegment, earlier: Vec<String>) {
        assert!(self.syncing.is_none(), "one sync is under way at a time");
        let mut state = self.machine.state();
        let retired = self.retired.drain(..).map(|file| file.name);
        let names = earlier
            .into_iter()
            .chain(retired)
            .chain([file.name.clone()]);
        // Of a file that was removed there is nothing left to bring on disk.
        let snapshots = names
            .filter_map(|name| {
                let snapshot = state.file(&name).ok()?.snapshot();
                Some((name, snapshot))
            })
            .collect();
        self.syncing = Some((snapshots, state.sync_polls));
    }

    fn poll_sync(&mut self) -> Option<io::Result<()>> {
        match self.syncing.take() {
            None => {}
            Some((files, 0)) => self.synced = Some(self.end_sync(&files)),
            Some((files, polls)) => self.syncing = Some((files, polls - 1)),
        }
        self.synced.take()
    }

    fn finish_syncs(&mut self) -> io::Result<()> {
        let mut ended = Ok(());
        if let Some((files, _)) = self.syncing.take() {
            let outcome = self.end_sync(&files);
            ended = copied(&outcome);
            self.synced = Some(outcome);
        }
        ended?;
        self.retired.drain(..).try_for_each(|mut file| file.sync())
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(SimulatedReader {
            machine: self.machine.clone(),
            process: self.process,
        })
    }

    fn start(&mut self, job: Job) {
        if self.jobs.is_empty() {
            self.polls_left = self.machine.state().job_polls;
        }
        self.jobs.push_back(job);
    }

    fn advance(&mut self) {
        match self.polls_left.checked_sub(1) {
            Some(left) if !self.jobs.is_empty() => self.polls_left = left,
            _ => self.do_job(),
        }
    }

    fn drain(&mut self) {
        while !self.jobs.is_empty() {
            self.do_job();
        }
    }

    fn now(&self) -> Duration {
        self.machine.now()
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
