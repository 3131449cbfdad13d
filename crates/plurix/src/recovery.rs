//! Where a leader and its store meet: the leader starts from the store's newest checkpoint, loads
//! pages from there, and has the next checkpoint taken.
//!
//! Programs need nothing of this. The page server does it on a directory, the deterministic simulator
//! and the fuzz targets on a disk in memory, so that they judge the very code that runs in production.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use plurix_protocol::leader::{self, Images, Leader, ReplayError, Settings};
use plurix_store::{Cut, Disk, Store, StoredPages, Strategy, UnreadablePage};
use plurix_wire::record::Stamp;
use plurix_wire::{PAGE_BYTES, PageBytes, PageNumber};

/// A leader that stands at the cut of the [`base`](Store::base) of `store`, to replay the log behind it,
/// and the pages that it loads.
///
/// # Errors
/// [`ReplayError`] if the leader's state in the checkpoint cannot be used.
pub fn start_leader(
    store: &mut Store<impl Disk>,
    settings: Settings,
) -> Result<(Leader, Arc<CheckpointedPages>), ReplayError> {
    // The base is loaded first: before, there are no pages.
    let base = store.base().clone();
    let stored = store.stored_pages();
    let pages = stored.pages();
    let images = Arc::new(CheckpointedPages::new(stored));
    let mut leader = Leader::with_images(settings, Arc::clone(&images) as Arc<dyn Images>);
    if let Some(checkpoint) = &base.checkpoint {
        leader.start_from(checkpoint.cut, &base.state, pages)?;
    }
    Ok((leader, images))
}

/// The checkpoint that a leader asks its store for.
#[must_use]
pub fn cut(stamp: Stamp, state: Vec<u8>, strategy: leader::Strategy) -> Cut {
    let strategy = match strategy {
        leader::Strategy::Blocking => Strategy::Blocking,
        leader::Strategy::NonBlocking => Strategy::NonBlocking,
        leader::Strategy::Log => Strategy::Log,
    };
    Cut {
        stamp,
        state,
        strategy,
    }
}

/// The pages of the newest checkpoint, for the leader, to whom loading one cannot fail. If it does, the
/// leader gets zeros, and the driver [learns of it](Self::take_failure) before anything that came of
/// them gets out.
#[derive(Debug)]
pub struct CheckpointedPages {
    stored: StoredPages,
    has_failed: AtomicBool,
    failure: Mutex<Option<UnreadablePage>>,
}

impl CheckpointedPages {
    fn new(stored: StoredPages) -> Self {
        Self {
            stored,
            has_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// What went wrong since the last time. To be asked after whatever the leader was told or asked,
    /// and cheap while nothing has.
    pub fn take_failure(&self) -> Option<UnreadablePage> {
        // The lock orders what it guards; this only saves taking it.
        if !self.has_failed.load(Ordering::Relaxed) {
            return None;
        }
        self.failure().take()
    }

    fn failure(&self) -> MutexGuard<'_, Option<UnreadablePage>> {
        self.failure
            .lock()
            .expect("nothing panics while it is held")
    }
}

impl Images for CheckpointedPages {
    fn load(&self, page: PageNumber) -> Arc<PageBytes> {
        match self.stored.read(page) {
            Ok(bytes) => bytes.expect("the leader asks for what a checkpoint holds"),
            Err(error) => {
                *self.failure() = Some(error);
                self.has_failed.store(true, Ordering::Relaxed);
                Arc::new([0; PAGE_BYTES])
            }
        }
    }
}
