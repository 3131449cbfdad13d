//! Checkpoints of a store: from the cut to the manifest that makes them exist, and what is removed
//! afterwards.
//!
//! ```text
//!  begin ──▶ pages ──▶ … ──▶ complete: carry, index ──▶ log on disk ──▶ manifest ──▶ garbage
//!   cut      or fold           fsync, name              through the cut    exists
//! ```
//!
//! All of it but the decisions is done in the background. A crash before the manifest leaves a file
//! that nobody names, and it is removed; a crash after it leaves files that nobody needs any more.
//!
//! **Invariant**: a manifest is written after its newest image and the log up to the cut are on disk,
//! and nothing is removed that one of the two newest checkpoints needs, the log behind them included.

mod compaction;
mod fold;
mod go_back;
mod prune;
mod restore;
mod steps;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::Duration;

use plurix_wire::record::Stamp;
use plurix_wire::{CheckpointId, ClusterId, PAGE_BYTES, PageBytes, PageNumber};

use crate::disk::{Disk, Reader};
use crate::error::{CheckpointError, UnreadablePage};
use crate::image::Compression;
use crate::image::locations::Locations;
use crate::image::reader;
use crate::image::writer::ImageWriter;
use crate::manifest::{Checkpoint, Manifest, Position, Strategy};
use crate::options::Options;
pub(crate) use go_back::create_segment;
pub use prune::{Pruned, prune};
pub use restore::{Base, PassedOver};
pub(crate) use restore::{begin_log, load_from, open};
use steps::Imaged;

/// Pages that may wait for the disk.
const WINDOW_PAGES: u64 = 2048;

/// What is to become a checkpoint.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The stamp of the newest commit in it.
    pub stamp: Stamp,
    /// What the leader needs beside the pages to go on from there.
    pub state: Vec<u8>,
    /// How the pages come.
    pub strategy: Strategy,
}

/// A page on its way into an image.
pub type CollectedPage = (PageNumber, Arc<PageBytes>);

/// The checkpoints of one store.
pub(crate) struct Checkpoints {
    cluster: ClusterId,
    /// Pages of the heap.
    pages: u64,
    keep: usize,
    compression: Compression,
    manifest: Manifest,
    locations: Arc<RwLock<Locations>>,
    running: Option<Running>,
}

/// A checkpoint that is being taken.
struct Running {
    order: Order,
    state: Vec<u8>,
    sent: u64,
    progress: Arc<Progress>,
    stage: Stage,
}

/// How far it is.
enum Stage {
    /// It takes pages.
    Collecting,
    /// Its image is being completed.
    Completing,
    /// Its image is on disk; the log through the cut need not be.
    AwaitingLog(Imaged),
    /// The manifest is being written.
    Publishing,
}

/// What a checkpoint will be called and where it stands.
#[derive(Debug, Clone, Copy)]
struct Order {
    id: CheckpointId,
    stamp: Stamp,
    strategy: Strategy,
    position: Position,
    /// When it began, since 1970.
    begun: Duration,
}

/// What the background work shares with those who wait for it. They ask often, and take the lock only
/// when there is something to take.
#[derive(Default)]
struct Progress {
    /// Only the background work takes it, for as long as it writes.
    writer: Mutex<Option<ImageWriter>>,
    /// Pages appended.
    pages: AtomicU64,
    /// A step has failed, and the later ones do nothing.
    has_failed: AtomicBool,
    /// There is an outcome.
    has_outcome: AtomicBool,
    outcome: Mutex<Option<Result<Done, CheckpointError>>>,
}

/// A step that the next one waits for.
enum Done {
    Imaged(Imaged),
    Published(Manifest),
}

impl Progress {
    fn settle(&self, outcome: Result<Done, CheckpointError>) {
        *self.outcome() = Some(outcome);
        self.has_outcome.store(true, Ordering::Release);
    }

    /// The outcome of the last step that has one, once.
    fn take_outcome(&self) -> Option<Result<Done, CheckpointError>> {
        if !self.has_outcome.load(Ordering::Acquire) {
            return None;
        }
        self.has_outcome.store(false, Ordering::Relaxed);
        self.outcome().take()
    }

    fn outcome(&self) -> MutexGuard<'_, Option<Result<Done, CheckpointError>>> {
        self.outcome
            .lock()
            .expect("nothing panics while it is held")
    }
}

/// Reads pages from the newest images, on any thread.
#[derive(Clone)]
pub struct StoredPages {
    reader: Arc<dyn Reader>,
    locations: Arc<RwLock<Locations>>,
}

impl std::fmt::Debug for StoredPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredPages").finish_non_exhaustive()
    }
}

impl StoredPages {
    /// The bytes of `page` as of the newest checkpoint, or `None` if no checkpoint has it.
    ///
    /// # Errors
    /// [`UnreadablePage`] if they are not what was written: see
    /// [`Store::condemn`](crate::Store::condemn).
    pub fn read(&self, page: PageNumber) -> Result<Option<Arc<PageBytes>>, UnreadablePage> {
        let Some((image, entry)) = read(&self.locations).get(page) else {
            return Ok(None);
        };
        let bytes = reader::read_page(&*self.reader, image, &entry);
        bytes
            .map(Some)
            .map_err(|source| UnreadablePage { image, source })
    }

    /// The pages that there are, ascending.
    #[must_use]
    pub fn pages(&self) -> Vec<PageNumber> {
        read(&self.locations).pages().collect()
    }
}

impl Checkpoints {
    pub(crate) fn new(manifest: Manifest, options: &Options) -> Self {
        Self {
            cluster: manifest.cluster,
            pages: options.heap_bytes / PAGE_BYTES as u64,
            keep: options.checkpoints_kept.max(2),
            compression: options.compression,
            manifest,
            locations: Arc::default(),
            running: None,
        }
    }

    /// What there is to start from.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn stored_pages(&self, disk: &impl Disk) -> StoredPages {
        StoredPages {
            reader: disk.reader(),
            locations: Arc::clone(&self.locations),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begins a checkpoint at the end of the log, which is at `position`.
    pub(crate) fn begin(
        &mut self,
        disk: &mut impl Disk,
        cut: Cut,
        position: Position,
    ) -> CheckpointId {
        assert!(self.running.is_none(), "one checkpoint is taken at a time");
        self.manifest.newest_id = self.manifest.newest_id.next();
        let order = Order {
            id: self.manifest.newest_id,
            stamp: cut.stamp,
            strategy: cut.strategy,
            position,
            begun: disk.now(),
        };
        let progress = Arc::<Progress>::default();
        disk.start(steps::create(
            Arc::clone(&progress),
            order.id,
            self.cluster,
            self.compression,
        ));
        self.running = Some(Running {
            order,
            state: cut.state,
            sent: 0,
            progress,
            stage: Stage::Collecting,
        });
        order.id
    }

    /// How many pages it takes now.
    pub(crate) fn room(&self) -> usize {
        let Some(running) = &self.running else {
            return 0;
        };
        if !matches!(running.stage, Stage::Collecting) {
            return 0;
        }
        if running.progress.has_outcome.load(Ordering::Acquire) {
            return 0;
        }
        let appended = running.progress.pages.load(Ordering::Relaxed);
        (WINDOW_PAGES - (running.sent - appended)) as usize
    }

    /// Takes pages as of the cut.
    pub(crate) fn add(&mut self, disk: &mut impl Disk, pages: Vec<CollectedPage>) {
        let running = self.running.as_mut().expect("a checkpoint is running");
        let is_open = matches!(running.stage, Stage::Collecting);
        assert!(is_open, "the last page was announced");
        running.sent += pages.len() as u64;
        disk.start(steps::append(Arc::clone(&running.progress), pages));
    }

    /// There are no more pages.
    pub(crate) fn finish(&mut self, disk: &mut impl Disk) {
        let running = self.running.as_mut().expect("a checkpoint is running");
        let is_open = matches!(running.stage, Stage::Collecting);
        assert!(is_open, "the last page is announced once");
        running.stage = Stage::Completing;
        let newest = self.manifest.checkpoints.last();
        let fold_from = newest.map_or_else(Position::beginning, |newest| newest.position);
        disk.start(steps::complete(
            steps::Completion {
                order: running.order,
                state: std::mem::take(&mut running.state),
                manifest: self.manifest.clone(),
                fold_from: (running.order.strategy == Strategy::Log).then_some(fold_from),
                locations: Arc::clone(&self.locations),
            },
            Arc::clone(&running.progress),
        ));
    }

    /// Goes on with what can go on; answers what became of the running checkpoint, once.
    /// `is_synced` says whether the log is on disk up to a place.
    pub(crate) fn poll(
        &mut self,
        disk: &mut impl Disk,
        is_synced: impl Fn(Position) -> bool,
    ) -> Option<Result<Checkpoint, CheckpointError>> {
        disk.advance();
        let running = self.running.as_mut()?;
        match running.progress.take_outcome() {
            None => {}
            Some(Ok(Done::Imaged(imaged))) => running.stage = Stage::AwaitingLog(imaged),
            Some(Ok(Done::Published(manifest))) => {
                self.running = None;
                self.manifest = manifest;
                let newest = self.manifest.checkpoints.last();
                return newest.cloned().map(Ok);
            }
            Some(Err(error)) => {
                self.running = None;
                self.remove_garbage(disk);
                return Some(Err(error));
            }
        }
        if matches!(running.stage, Stage::AwaitingLog(_)) && is_synced(running.order.position) {
            let stage = std::mem::replace(&mut running.stage, Stage::Publishing);
            let Stage::AwaitingLog(imaged) = stage else {
                unreachable!("matched above");
            };
            disk.start(steps::publish(
                steps::Publication {
                    order: running.order,
                    imaged,
                    manifest: self.manifest.clone(),
                    keep: self.keep,
                    locations: Arc::clone(&self.locations),
                },
                Arc::clone(&running.progress),
            ));
        }
        None
    }

    /// Writes down that `image` is damaged, so that no checkpoint made of it is used again.
    pub(crate) fn condemn(&mut self, disk: &mut impl Disk, image: CheckpointId) -> io::Result<()> {
        disk.drain();
        let mut manifest = self.manifest.clone();
        let mut images = manifest.images.iter_mut();
        if let Some(record) = images.find(|record| record.id == image) {
            record.damaged = true;
        }
        manifest.sequence += 1;
        disk.replace(manifest.name(), &manifest.encode())?;
        self.manifest = manifest;
        Ok(())
    }

    /// As [`Manifest::log_needed_from`].
    pub(crate) fn log_needed_from(&self) -> u64 {
        self.manifest.log_needed_from()
    }

    /// Removes what no checkpoint needs.
    pub(crate) fn remove_garbage(&self, disk: &mut impl Disk) {
        let needed = self.manifest.images.iter().map(|image| image.id).collect();
        disk.start(steps::remove_garbage(needed, self.log_needed_from()));
    }
}

fn read(locations: &RwLock<Locations>) -> RwLockReadGuard<'_, Locations> {
    locations.read().expect("nothing panics while it is held")
}
