//! Files of a real directory as background work sees them: images written past the kernel's cache,
//! in large pieces, and read at any place.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::directory::UNFINISHED;
use crate::disk::{Files, Reader};
use crate::real;
use crate::worker::Worker;

/// Bytes that are written in one piece.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces in memory: one is made, one waits, and one is written.
const PIECES: usize = 3;
/// Bytes that are allocated ahead in one piece.
const AHEAD_BYTES: u64 = 32 << 20;

/// A block that lies as the disk wants it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Block([u8; 4096]);

/// Reads files of one directory; keeps those open that were read.
pub(crate) struct RealReader {
    directory: PathBuf,
    open: Mutex<BTreeMap<String, Arc<File>>>,
}

impl RealReader {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            open: Mutex::default(),
        }
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().expect("nothing panics while it is held");
        if let Some(file) = open.get(name) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.path(name))?);
        open.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    /// Closes a file, so that its space is free once it is removed.
    fn close(&self, name: &str) {
        let mut open = self.open.lock().expect("nothing panics while it is held");
        open.remove(name);
    }
}

impl Reader for RealReader {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn read_at(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file(name)?.read_exact_at(into, at)
    }
}

/// The files of one directory, on the thread that makes images. Another thread writes what it has
/// made, so that the disk need not wait for the next piece, nor the next piece for the disk.
pub(crate) struct RealFiles {
    reader: Arc<RealReader>,
    begun: Option<Begun>,
    /// Bytes that wait for more of them.
    piece: Vec<Block>,
    /// Pieces for later ones.
    empty: Vec<Vec<Block>>,
    writer: Worker<Piece, (Vec<Block>, io::Result<()>)>,
    /// Pieces that the writer has.
    sent: usize,
}

/// A file that has no name of its own yet.
struct Begun {
    name: String,
    file: Arc<File>,
    /// Bytes that were given to the writer.
    at: u64,
    /// Bytes that wait in the piece.
    waiting: usize,
    /// Bytes that blocks were allocated for.
    allocated: u64,
}

/// Bytes on their way to the disk.
struct Piece {
    file: Arc<File>,
    at: u64,
    bytes: usize,
    blocks: Vec<Block>,
    /// Blocks to be allocated first.
    ahead: Option<Range<u64>>,
}

impl RealFiles {
    pub(crate) fn new(reader: Arc<RealReader>) -> io::Result<Self> {
        let empty = || vec![Block([0; 4096]); PIECE_BYTES / 4096];
        let write = |piece: Piece| {
            let outcome = piece.write();
            (piece.blocks, outcome)
        };
        Ok(Self {
            reader,
            begun: None,
            piece: empty(),
            empty: (1..PIECES).map(|_| empty()).collect(),
            writer: Worker::start("plurix-pieces", write, || {})?,
            sent: 0,
        })
    }

    /// Has what waits written.
    fn flush(&mut self) -> io::Result<()> {
        let empty = match self.empty.pop() {
            Some(empty) => empty,
            None => self.await_piece()?,
        };
        let begun = begun(&mut self.begun)?;
        let bytes = mem::take(&mut begun.waiting);
        self.writer.send(Piece {
            file: Arc::clone(&begun.file),
            at: begun.at,
            bytes,
            blocks: mem::replace(&mut self.piece, empty),
            ahead: begun.ahead(bytes as u64),
        });
        begun.at += bytes as u64;
        self.sent += 1;
        Ok(())
    }

    /// Waits until the oldest piece that the writer has is written; answers its memory.
    fn await_piece(&mut self) -> io::Result<Vec<Block>> {
        self.sent -= 1;
        let (blocks, outcome) = self.writer.wait()?;
        match outcome {
            Ok(()) => Ok(blocks),
            Err(error) => {
                self.empty.push(blocks);
                Err(error)
            }
        }
    }

    /// Waits until the writer has nothing left; answers the first failure.
    fn settle(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        while self.sent > 0 {
            let written = self.await_piece();
            outcome = outcome.and(written.map(|blocks| self.empty.push(blocks)));
        }
        outcome
    }
}

impl Begun {
    /// The blocks to be allocated before `more` bytes are written. One by one, each would be a change
    /// of the file's metadata.
    fn ahead(&mut self, more: u64) -> Option<Range<u64>> {
        let begin = self.allocated;
        while self.at + more > self.allocated {
            self.allocated += AHEAD_BYTES.min(self.allocated.max(PIECE_BYTES as u64));
        }
        (begin < self.allocated).then_some(begin..self.allocated)
    }
}

impl Piece {
    fn write(&self) -> io::Result<()> {
        if let Some(ahead) = &self.ahead {
            allocate(&self.file, ahead)?;
        }
        let bytes = &self.blocks.as_bytes()[..self.bytes];
        self.file.write_all_at(bytes, self.at).or_else(|error| {
            // The file system, or the length, is none for writing past the cache.
            if error.raw_os_error() != Some(Errno::INVAL.raw_os_error()) {
                return Err(error);
            }
            rustix::fs::fcntl_setfl(&self.file, OFlags::empty())?;
            self.file.write_all_at(bytes, self.at)
        })
    }
}

fn allocate(file: &File, ahead: &Range<u64>) -> io::Result<()> {
    loop {
        let flags = FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(file, flags, ahead.start, ahead.end - ahead.start) {
            // Blocks that are not allocated ahead are when they are written.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOSPC) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Files for RealFiles {
    fn now(&self) -> Duration {
        real::now()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.reader.clone()
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.give_up();
        let path = self.reader.path(&format!("{name}{UNFINISHED}"));
        if let Some(parent) = path.parent() {
            real::make_directory(parent)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let file = options
            .clone()
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(&path)
            .or_else(|_| options.open(&path))?;
        self.begun = Some(Begun {
            name: name.to_owned(),
            file: Arc::new(file),
            at: 0,
            waiting: 0,
            allocated: 0,
        });
        Ok(())
    }

    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let waiting = &mut begun(&mut self.begun)?.waiting;
            let piece = &mut self.piece.as_mut_bytes()[*waiting..];
            let taken = bytes.len().min(piece.len());
            piece[..taken].copy_from_slice(&bytes[..taken]);
            *waiting += taken;
            bytes = &bytes[taken..];
            if *waiting < PIECE_BYTES {
                return Ok(());
            }
            self.flush()?;
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.settle()?;
        let begun = begun(&mut self.begun)?;
        // Blocks that were allocated ahead and not written are given back.
        begun.file.set_len(begun.at)?;
        begun.file.sync_all()?;
        let path = self.reader.path(&begun.name);
        let unfinished = self.reader.path(&format!("{}{UNFINISHED}", begun.name));
        real::rename(&unfinished, &path)?;
        self.begun = None;
        Ok(())
    }

    fn give_up(&mut self) {
        // What is not wanted any more may have failed.
        let _ = self.settle();
        if let Some(begun) = self.begun.take() {
            let path = self.reader.path(&format!("{}{UNFINISHED}", begun.name));
            // What cannot be removed is removed at the next opening.
            let _ = fs::remove_file(path);
        }
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        real::list(&self.reader.path(directory))
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        real::replace(&self.reader.path(name), bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.reader.close(name);
        real::remove(&self.reader.path(name))
    }
}

fn begun(begun: &mut Option<Begun>) -> io::Result<&mut Begun> {
    begun
        .as_mut()
        .ok_or_else(|| io::Error::other("no file was begun"))
}
