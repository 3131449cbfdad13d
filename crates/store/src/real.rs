//! A store's directory in a file system. Segments are mapped, so that a store to one is in the
//! kernel's cache at once; threads of its own prepare, sync and close them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::iter;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plurix_memory::MappedFile;
use rustix::fs::{Advice, FallocateFlags, FlockOperation, SeekFrom, fadvise};
use rustix::io::Errno;

use crate::background::{RealFiles, RealReader};
use crate::directory::{LOCK, UNFINISHED};
use crate::disk::{Disk, Job, LockError, NewSegment, Reader, SegmentFile};
use crate::identity::BootId;
use crate::segment;
use crate::syncer::Syncer;
use crate::worker::Worker;

const BLOCK_BYTES: usize = 4096;
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
/// Bytes that are read, and dropped again if they are zero, in one piece.
const READ_BYTES: usize = 1 << 20;

/// The id of this run of the kernel.
///
/// # Errors
/// If `/proc` is not there, or says something else.
pub fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().chars().filter(|&digit| digit != '-').collect();
    match u128::from_str_radix(&digits, 16) {
        Ok(id) if digits.len() == 32 => Ok(BootId(id.to_be_bytes())),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's boot id is no UUID",
        )),
    }
}

/// A directory of a file system.
pub struct RealDisk {
    directory: PathBuf,
    workers: Option<Workers>,
    on_done: Arc<dyn Fn() + Send + Sync>,
    reader: Arc<RealReader>,
    /// Dropped after the workers, who write under it.
    lock: Option<Lock>,
}

/// Threads that do what would stop the leader's loop.
struct Workers {
    creator: Worker<NewSegment, io::Result<MappedSegment>>,
    syncer: Syncer,
    images: Worker<Job, ()>,
    /// Jobs whose end was not noticed yet.
    jobs: usize,
}

/// A file that is locked as long as this lives.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // To close it is not enough: a process that is just being started by another thread has a
        // copy of the descriptor until it executes its program, and with it the lock.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl RealDisk {
    /// The directory at `path`, which may be yet to be made.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let directory = path.into();
        Self {
            reader: Arc::new(RealReader::new(directory.clone())),
            directory,
            workers: None,
            on_done: Arc::new(|| {}),
            lock: None,
        }
    }

    /// Has `wake` called, on another thread, whenever [`poll_sync`](Disk::poll_sync) may have
    /// something to say or a [`Job`] was done, so that nobody needs to ask in vain.
    #[must_use]
    pub fn on_done(mut self, wake: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_done = Arc::new(wake);
        self
    }

    fn workers(&mut self) -> &mut Workers {
        self.workers
            .as_mut()
            .expect("the directory is locked before it is written")
    }
}

impl Disk for RealDisk {
    type File = MappedSegment;

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.directory.clone()
        } else {
            self.directory.join(name)
        }
    }

    fn lock(&mut self) -> Result<(), LockError> {
        make_directory(&self.directory)?;
        let path = self.path(LOCK);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let pid = fs::read_to_string(&path)?.trim().parse().ok();
                return Err(LockError::Held { pid });
            }
            Err(errno) => return Err(LockError::Io(errno.into())),
        }
        file.set_len(0)?;
        // Without room for the number the lock still holds; only its holder has no name then.
        let _ = writeln!(file, "{}", std::process::id());
        self.lock = Some(Lock(file));
        let directory = self.directory.clone();
        let create = move |segment| create(&directory, &segment);
        let (synced, done) = (Arc::clone(&self.on_done), Arc::clone(&self.on_done));
        let mut files = RealFiles::new(Arc::clone(&self.reader))?;
        self.workers = Some(Workers {
            creator: Worker::start("plurix-segments", create, || {})?,
            syncer: Syncer::start(move || synced())?,
            images: Worker::start(
                "plurix-images",
                move |job: Job| job(&mut files),
                move || done(),
            )?,
            jobs: 0,
        });
        Ok(())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        list(&self.path(directory))
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn read(&self, name: &str, skip: Range<u64>, into: &mut Vec<u8>) -> io::Result<()> {
        let file = File::open(self.path(name))?;
        let length = file.metadata()?.len();
        into.clear();
        if !skip.is_empty() {
            // Zeroed memory that nobody touches costs nothing.
            *into = vec![0; length as usize];
            into.truncate(skip.end as usize);
            file.read_exact_at(&mut into[..skip.start as usize], 0)?;
        }
        let from = into.len() as u64;
        let pieces = data(&file, from..length)?.into_iter().flat_map(|range| {
            let end = range.end;
            range
                .step_by(READ_BYTES)
                .map(move |at| at..end.min(at + READ_BYTES as u64))
        });
        // Memory is touched only for what is not zero: a segment is mostly empty.
        for piece in pieces {
            let used = into.len();
            into.resize(used + (piece.end - piece.start) as usize, 0);
            file.read_exact_at(&mut into[used..], piece.start)?;
            if into[used..]
                .chunks(BLOCK_BYTES)
                .all(|block| *block == ZEROS[..block.len()])
            {
                into.truncate(used);
            } else {
                let left_out = piece.start as usize - used;
                into.splice(used..used, iter::repeat_n(0, left_out));
            }
        }
        Ok(())
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace(&self.path(name), bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        remove(&self.path(name))
    }

    fn open(&mut self, name: &str, bytes: u64, at: u64, cold: bool) -> io::Result<MappedSegment> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))?;
        allocate(&file, bytes)?;
        if cold {
            // Reading ahead filled the cache with large folios, of which a sync writes the whole
            // for one byte stored; what faults of a mapping bring in again are single pages.
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
        let warmed = cold.then(|| file.try_clone()).transpose()?;
        let segment = map(file, bytes)?;
        if let Some(file) = warmed {
            warm(file, at..bytes)?;
        }
        Ok(segment)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.path(name))?
            .sync_data()
    }

    fn create(&mut self, segment: NewSegment) -> io::Result<MappedSegment> {
        create(&self.directory, &segment)
    }

    fn start_create(&mut self, segment: NewSegment) {
        self.workers().creator.send(segment);
    }

    fn poll_create(&mut self) -> Option<io::Result<MappedSegment>> {
        self.workers().creator.poll().map(Result::flatten)
    }

    fn retire(&mut self, file: MappedSegment) {
        self.workers().syncer.retire(file);
    }

    fn start_sync(&mut self, file: &MappedSegment, earlier: Vec<String>) {
        let earlier = earlier.iter().map(|name| self.path(name)).collect();
        let file = Arc::clone(file.0.file());
        self.workers().syncer.start_sync(file, earlier);
    }

    fn poll_sync(&mut self) -> Option<io::Result<()>> {
        self.workers().syncer.poll()
    }

    fn finish_syncs(&mut self) -> io::Result<()> {
        self.workers().syncer.finish()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.reader.clone()
    }

    fn start(&mut self, job: Job) {
        let workers = self.workers();
        workers.jobs += 1;
        workers.images.send(job);
    }

    fn advance(&mut self) {
        let workers = self.workers();
        while workers.images.poll().is_some_and(|done| done.is_ok()) {
            workers.jobs -= 1;
        }
    }

    fn drain(&mut self) {
        let workers = self.workers();
        while workers.jobs > 0 {
            if workers.images.wait().is_err() {
                // The thread has panicked, which was reported when it happened.
                workers.jobs = 0;
                return;
            }
            workers.jobs -= 1;
        }
    }

    fn now(&self) -> Duration {
        now()
    }
}

/// A mapped segment.
pub struct MappedSegment(MappedFile);

impl SegmentFile for MappedSegment {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.0.write(at, bytes);
    }

    fn publish(&mut self, at: u64, word: u64) {
        self.0.publish_u64(at, word);
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.file().sync_data()
    }
}

/// Creates a segment; it gets its name when all of it is on disk.
fn create(directory: &Path, segment: &NewSegment) -> io::Result<MappedSegment> {
    let path = directory.join(&segment.name);
    let unfinished = directory.join(format!("{}{UNFINISHED}", segment.name));
    make_directory(&directory.join(segment::DIRECTORY))?;
    let created = fill(&unfinished, segment).and_then(|file| {
        rename(&unfinished, &path)?;
        map(file, segment.bytes)
    });
    if created.is_err() {
        // What cannot be removed is removed at the next opening.
        let _ = fs::remove_file(&unfinished);
    }
    created
}

fn fill(path: &Path, segment: &NewSegment) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    allocate(&file, segment.bytes)?;
    if segment.written {
        write_zeros(&file, segment.bytes)?;
    }
    file.write_all_at(&segment.header, 0)?;
    file.sync_all()?;
    Ok(file)
}

/// Makes sure that every block of `file` has its place on disk, by writing where the file system
/// cannot do it otherwise.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let length = file.metadata()?.len();
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if length == 0 => return write_zeros(file, bytes),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Writes block by block: longer writes would put large folios into the cache, of which a sync
/// writes the whole for one byte stored to the mapping (five times slower on ext4, Linux 6.18).
fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let mut blocks = (0..bytes).step_by(BLOCK_BYTES);
    blocks.try_for_each(|at| {
        let length = BLOCK_BYTES.min((bytes - at) as usize);
        file.write_all_at(&ZEROS[..length], at)
    })
}

/// The ranges of a part of a file that are not known to be zero, as of now: what is read ahead of them into the kernel's cache, the file system takes for data, too.
fn data(file: &File, within: Range<u64>) -> io::Result<Vec<Range<u64>>> {
    fadvise(file, 0, None, Advice::Random)?;
    let mut ranges = Vec::new();
    let Range {
        start: mut at,
        end: length,
    } = within;
    while at < length {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(errno) => return Err(errno.into()),
        };
        at = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(length),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NXIO) => length,
            Err(errno) => return Err(errno.into()),
        };
        ranges.push(start..at);
    }
    Ok(ranges)
}

/// Has a part of a segment read into the kernel's cache page by page, before somebody stores to it and
/// waits for the disk.
#[expect(
    clippy::disallowed_methods,
    reason = "it only spares the driver's thread the disk"
)]
fn warm(file: File, part: Range<u64>) -> io::Result<()> {
    let segment = map(file, part.end)?;
    let touch = move || {
        let touch = |at| segment.0.read(at, &mut [0]);
        part.step_by(BLOCK_BYTES).for_each(touch);
    };
    let thread = thread::Builder::new().name("plurix-warm".into());
    thread.spawn(touch).map(drop)
}

fn map(file: File, bytes: u64) -> io::Result<MappedSegment> {
    MappedFile::new(file, bytes)
        .map(MappedSegment)
        .map_err(io::Error::other)
}

/// The time since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "it is written down for people, and decides nothing"
)]
pub(crate) fn now() -> Duration {
    // A clock that is set to before then tells nothing.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Names of the entries of the directory at `path`; none if there is none.
pub(crate) fn list(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Replaces the file at `path`, or makes it: after a crash it is the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&unfinished, path)
}

/// Removes the file at `path`.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_parent(path)
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Makes a directory and those above it, if they are not there.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    sync_parent(path)
}

/// Brings the entry of `path` on disk.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_its_holes_and_perhaps_without_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(directory.path());
        let mut expected = vec![0; 5 * READ_BYTES];
        for at in [3, READ_BYTES - 1, 3 * READ_BYTES + 5000] {
            expected[at] = 7;
        }
        fs::write(directory.path().join("dense"), &expected).unwrap();
        let sparse = File::create(directory.path().join("sparse")).unwrap();
        sparse.set_len(expected.len() as u64).unwrap();
        for at in [3, READ_BYTES - 1, 3 * READ_BYTES + 5000] {
            sparse.write_all_at(&[7], at as u64).unwrap();
        }
        for name in ["dense", "sparse"] {
            let mut bytes = vec![9; 10];
            disk.read(name, 0..0, &mut bytes).unwrap();
            bytes.resize(expected.len(), 0);
            assert!(bytes == expected, "{name}");
            for skip in [1..2, 4..READ_BYTES as u64 + 7, 0..expected.len() as u64] {
                let mut rest = expected.clone();
                rest[skip.start as usize..skip.end as usize].fill(0);
                disk.read(name, skip, &mut bytes).unwrap();
                bytes.resize(expected.len(), 0);
                assert!(bytes == rest, "{name}");
            }
        }
    }

    #[test]
    fn the_kernel_names_its_boot() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert_ne!(boot_id().unwrap(), BootId::default());
    }
}
