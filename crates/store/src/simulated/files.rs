//! The simulated machine's files as background work sees them. Every operation is a step after which
//! the process may be dead.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Contents, Machine};
use crate::directory::UNFINISHED;
use crate::disk::{Files, Reader};

/// Reads for one process.
pub(super) struct SimulatedReader {
    pub(super) machine: Machine,
    pub(super) process: u64,
}

impl Reader for SimulatedReader {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("simulated:").join(name)
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(self.machine.state().file(name)?.seen.len() as u64)
    }

    fn read_at(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<()> {
        let mut state = self.machine.state();
        state.check_alive(self.process)?;
        let seen = &state.file(name)?.seen;
        let bytes = usize::try_from(at)
            .ok()
            .and_then(|at| seen.get(at..)?.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Writes for one process.
pub(super) struct SimulatedFiles<'a> {
    pub(super) machine: &'a Machine,
    pub(super) process: u64,
    /// The name of the file begun.
    pub(super) begun: &'a mut Option<String>,
}

impl Files for SimulatedFiles<'_> {
    fn now(&self) -> Duration {
        self.machine.now()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(SimulatedReader {
            machine: self.machine.clone(),
            process: self.process,
        })
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.give_up();
        let mut state = self.machine.state();
        state.operation(self.process)?;
        state.take(0)?;
        let unfinished = format!("{name}{UNFINISHED}");
        state.files.insert(unfinished, Contents::default());
        *self.begun = Some(name.to_owned());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let unfinished = format!("{}{UNFINISHED}", begun(self.begun)?);
        let mut state = self.machine.state();
        state.operation(self.process)?;
        state.take(bytes.len() as u64)?;
        state.file(&unfinished)?.append(bytes);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let name = begun(self.begun)?;
        let unfinished = format!("{name}{UNFINISHED}");
        let mut state = self.machine.state();
        state.check_sync(self.process)?;
        state.operation(self.process)?;
        let mut contents = state
            .files
            .remove(&unfinished)
            .ok_or(io::ErrorKind::NotFound)?;
        contents.sync();
        state.files.insert(name, contents);
        *self.begun = None;
        Ok(())
    }

    fn give_up(&mut self) {
        if let Some(name) = self.begun.take() {
            let mut state = self.machine.state();
            if state.operation(self.process).is_ok() {
                let unfinished = format!("{name}{UNFINISHED}");
                let removed = state.files.remove(&unfinished);
                state.give_back(removed.map_or(0, |removed| removed.seen.len() as u64));
            }
        }
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        Ok(self.machine.state().list(directory))
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.machine.state().replace(self.process, name, bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.machine.state().remove(self.process, name)
    }
}

fn begun(begun: &Option<String>) -> io::Result<String> {
    begun
        .clone()
        .ok_or_else(|| io::Error::other("no file was begun"))
}
