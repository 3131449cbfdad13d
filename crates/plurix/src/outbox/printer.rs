//! Any writer, for instance standard output, and a small file that remembers what it was given.
//!
//! ```text
//!  state:  | number | check | number | check |     u64 little-endian each
//!          |  even entries  |   odd entries  |     the newest whole one counts
//! ```
//!
//! `check` is the number's complement, so that neither an empty file nor half a write is taken for
//! whole. Two places, used in turn, so that a write that is torn destroys nothing that counts.

use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Entry, Sink};

const SLOT_BYTES: usize = 16;

/// Writes the content of each entry, as it is, to a writer that cannot be asked what it has.
///
/// *Nearly* exactly once, and never less than once:
///
/// - The writer takes an entry and the process dies before it has noted that: that one entry, the
///   last, is written again. It may also have been written in part. Between the two there are two
///   system calls, and no way to make one of them.
/// - The machine loses power: what was written since the last entries were removed from the heap is
///   written again. What the writer itself loses then, for instance a file that nobody has synced, is
///   lost.
///
/// Entries that were noted are never written again. For exactly once, write to a
/// [`Journal`](super::Journal).
#[derive(Debug)]
pub struct Printer<W> {
    writer: W,
    state: File,
    newest: u64,
}

impl<W: Write> Printer<W> {
    /// Writes to `writer`, and notes in the file at `state`, which is made if there is none, which
    /// entry was the last. The file is locked as long as this lives.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if somebody else has the file open; [`ErrorKind::InvalidData`] if it
    /// is something else; whatever the file system answers.
    pub fn new(writer: W, state: impl AsRef<Path>) -> io::Result<Self> {
        let path = state.as_ref();
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let state = options.open(path)?;
        flock(&state, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => {
                let what = format!("{} is used by another printer", path.display());
                Error::new(ErrorKind::WouldBlock, what)
            }
            other => other.into(),
        })?;
        if state.metadata()?.len() > 2 * SLOT_BYTES as u64 {
            let what = format!(
                "{} is no state of a printer; name another file",
                path.display()
            );
            return Err(Error::new(ErrorKind::InvalidData, what));
        }
        let newest = slot(&state, 0)?.max(slot(&state, 1)?);
        Ok(Self {
            writer,
            state,
            newest,
        })
    }
}

impl<W: Write> Sink for Printer<W> {
    fn newest(&self) -> u64 {
        self.newest
    }

    fn take(&mut self, entry: &Entry) -> io::Result<()> {
        self.writer.write_all(&entry.content)?;
        self.writer.flush()?;
        let number = entry.number;
        let noted = [number.to_le_bytes(), (!number).to_le_bytes()].concat();
        self.state
            .write_all_at(&noted, number % 2 * SLOT_BYTES as u64)?;
        self.newest = number;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.state.sync_all()
    }
}

/// The number in one place of the file; zero if it has no whole one.
fn slot(state: &File, index: u64) -> io::Result<u64> {
    let mut bytes = [0; SLOT_BYTES];
    match state.read_exact_at(&mut bytes, index * SLOT_BYTES as u64) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
        Err(error) => return Err(error),
    }
    let [number, check] = [0, 8].map(|at| {
        let word = bytes[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(word)
    });
    Ok(if check == !number { number } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn print(printer: &mut Printer<&mut Vec<u8>>, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            let content = format!("{number};").into_bytes();
            printer.take(&Entry { number, content }).unwrap();
        }
    }

    #[test]
    fn the_last_entry_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let mut written = Vec::new();
        for number in 1..=5 {
            let mut printer = Printer::new(&mut written, &state).unwrap();
            assert_eq!(printer.newest(), number - 1);
            print(&mut printer, number..=number);
            printer.settle().unwrap();
        }
        assert_eq!(written, b"1;2;3;4;5;");
    }

    #[test]
    fn a_torn_state_is_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let mut written = Vec::new();
        print(&mut Printer::new(&mut written, &state).unwrap(), 1..=5);
        let whole = fs::read(&state).unwrap();
        // The place of the odd entries, byte by byte.
        for torn in SLOT_BYTES..2 * SLOT_BYTES {
            let mut bytes = whole.clone();
            bytes[torn] ^= 0x40;
            fs::write(&state, bytes).unwrap();
            assert_eq!(Printer::new(&mut written, &state).unwrap().newest(), 4);
        }
        fs::write(&state, &whole[..SLOT_BYTES + 3]).unwrap();
        assert_eq!(Printer::new(&mut written, &state).unwrap().newest(), 4);
    }

    #[test]
    fn what_is_no_state_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("letter");
        fs::write(&state, "Dear Sir or Madam, I am writing to you").unwrap();
        let refused = Printer::new(io::sink(), &state).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        let first = Printer::new(io::sink(), directory.path().join("state")).unwrap();
        let second = Printer::new(io::sink(), directory.path().join("state")).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::WouldBlock);
        drop(first);
    }
}
