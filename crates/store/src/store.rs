//! The store of one page server: opens its directory, replays the log, and is then led through
//! terms and generations.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use plurix_wire::canary::{self, Canary};
use plurix_wire::record::{Body, HEADER_BYTES, Record, Stamp};
use plurix_wire::{CheckpointId, ClusterId, CommitNumber, Generation, Term};

use crate::checkpoint::{
    self, Base, Checkpoints, CollectedPage, Cut as CheckpointCut, PassedOver, StoredPages,
};
use crate::directory;
use crate::disk::{Disk, LockError};
use crate::error::{AppendError, CheckpointError, Failure, OpenError, ReplayError, RestoreError};
use crate::identity::{self, Durability, Identity};
use crate::log::{End, Log, Space};
use crate::manifest::Checkpoint;
use crate::options::Options;
use crate::repair::{self, Cut};
use crate::replay::{Recovered, Walk};

/// A page server's disk. Locked until dropped; dropping it without
/// [`close_clean`](Self::close_clean) is like the death of the process.
pub struct Store<D: Disk> {
    disk: D,
    options: Options,
    identity: Identity,
    checkpoints: Checkpoints,
    /// What is wrong with a manifest that was passed over.
    passed_over: Vec<PassedOver>,
    /// There once it was asked for.
    base: Option<Base>,
    /// There once the log was replayed.
    log: Option<Log<D::File>>,
    /// The generation that must begin before the next commit.
    pending: Option<Generation>,
    leading: bool,
}

impl<D: Disk> Store<D> {
    /// Opens the store on `disk`, or makes a new one where there is none.
    ///
    /// # Errors
    /// [`OpenError`]; nothing that was there is changed then.
    pub fn create_or_open(mut disk: D, options: Options) -> Result<Self, OpenError> {
        options.check()?;
        // Once before anything is written there, and once when nobody else can change it.
        directory::entries(&disk)?;
        let path = disk.path("");
        disk.lock().map_err(|error| match error {
            LockError::Held { pid } => OpenError::Locked {
                directory: path.clone(),
                pid,
            },
            LockError::Io(source) => directory::failed("lock", path.clone(), source),
        })?;
        let entries = directory::entries(&disk)?;
        let identity = if entries.iter().any(|entry| entry == identity::NAME) {
            directory::existing_identity(&disk, &options)?
        } else {
            directory::create_identity(&mut disk, &options)?
        };
        let segments = directory::remove_unfinished(&mut disk)?;
        let (manifest, passed_over) = checkpoint::load_from(&disk, identity.cluster)?;
        if segments == 0 && identity.term == Term(0) && manifest.checkpoints.is_empty() {
            directory::create_log(&mut disk, options.shape(identity.cluster).first_segment())?;
        }
        Ok(Self {
            checkpoints: Checkpoints::new(manifest, &options),
            disk,
            options,
            identity,
            passed_over,
            base: None,
            log: None,
            pending: None,
            leading: false,
        })
    }

    /// Takes the heap back to checkpoint `to`, or the newest one: a new checkpoint repeats it, the log
    /// begins anew behind that, and a new generation is due, so that nobody takes what follows for
    /// what was there. After a crash the heap has gone back or is as it was.
    ///
    /// Checkpoints of what is abandoned stay until newer ones take their places.
    ///
    /// # Errors
    /// [`RestoreError`]; the heap is then as it was.
    ///
    /// # Panics
    /// If the [`base`](Self::base) was asked for before.
    pub fn go_back(&mut self, to: Option<CheckpointId>) -> Result<Checkpoint, RestoreError> {
        assert!(self.base.is_none(), "it is decided where to start from");
        let shape = self.options.shape(self.identity.cluster);
        let way = self
            .checkpoints
            .prepare_to_go_back(&mut self.disk, to, &shape)?;
        let cuts = self.checkpoints().iter().map(|known| known.cut.generation);
        let used = cuts.fold(self.identity.generation, Generation::max);
        let identity = Identity {
            generation: used.next(),
            ..self.identity
        };
        self.replace_identity(identity)
            .map_err(RestoreError::Identity)?;
        self.checkpoints.go_back(&mut self.disk, way)
    }

    /// The checkpoint to start from: the newest that is whole.
    pub fn base(&mut self) -> &Base {
        self.base.get_or_insert_with(|| {
            let mut base = self.checkpoints.restore(&self.disk);
            base.passed_over.splice(0..0, self.passed_over.drain(..));
            base
        })
    }

    /// Hands out every record behind the [`base`](Self::base) in order, and gets ready for
    /// [`begin_term`](Self::begin_term).
    ///
    /// The write sets share the buffer of their segment; a copy that is kept keeps all of it.
    ///
    /// # Errors
    /// [`ReplayError`]; what was handed out must then be thrown away, and the store dropped.
    ///
    /// # Panics
    /// If the log was replayed before.
    pub fn replay<E>(
        &mut self,
        mut apply: impl FnMut(&Record) -> Result<(), E>,
    ) -> Result<Recovered, ReplayError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        assert!(self.log.is_none(), "the log is replayed once");
        let same_boot = self.identity.boot == self.options.boot;
        self.base();
        let base = self.base.as_ref().expect("asked for above");
        checkpoint::begin_log(&mut self.disk, base)?;
        if base.begins_log() && base.passed_over.is_empty() {
            // A crash may have left the log of what was abandoned.
            self.checkpoints.remove_garbage(&mut self.disk);
        }
        let mut walk = Walk::new(&self.disk, self.identity.cluster, base)?;
        let stop = walk.run(&mut apply)?;
        let verdict = repair::judge(&mut walk, stop, same_boot, self.identity.term)?;
        let Walk {
            first,
            last,
            synced,
            records,
            bytes,
            ..
        } = walk;
        let cut = Cut {
            index: walk.index,
            bytes: walk.segment_bytes,
            at: walk.at,
            last_at: walk.last_at,
            newest: walk.newest,
            same_boot,
            segment: walk.into_last_segment(),
        };
        let file = repair::cut(&mut self.disk, &cut)?;
        let Cut {
            index,
            bytes: segment_bytes,
            at,
            last_at,
            ..
        } = cut;
        // An earlier process may have left them in the kernel's cache.
        let unsynced = first..index;
        // What another boot reads came from the disk.
        let synced = if same_boot { synced } else { last.number };
        let end = End {
            file,
            index,
            bytes: segment_bytes,
            at,
            last_at,
            last,
            synced,
            unsynced,
        };
        let mut log = Log::new(end, self.options.shape(self.identity.cluster));
        log.ensure_reserve(&mut self.disk);
        if self.options.durability == Durability::Durable {
            // What replay hands out may be shown to others from now on, so it must be on disk.
            log.sync(&mut self.disk).map_err(into_replay_error)?;
        }
        self.log = Some(log);
        self.pending = self.generation_due(&last, same_boot || verdict.ended_clean);
        Ok(Recovered {
            last,
            records,
            bytes,
            ended_clean: verdict.ended_clean,
            same_boot,
            torn: verdict.torn,
            new_generation: self.pending,
        })
    }

    /// The generation to begin after a log that ends with `last`. One that was due stays due until
    /// its record is on disk, which is before its first commit.
    fn generation_due(&self, last: &Stamp, complete: bool) -> Option<Generation> {
        let recorded = self.identity.generation;
        let memory = self.identity.durability == Durability::Memory;
        let lost = memory && !complete && self.was_led();
        if lost && !canary::strikes(Canary::ReuseNumber) {
            // A generation that was recorded may have answered commits on the boot that ended,
            // although its own record is lost: its name is used up.
            return Some(recorded.max(last.generation).next());
        }
        (recorded > last.generation).then_some(recorded)
    }

    /// Begins the next term: it is on disk, in every durability, before this returns.
    ///
    /// # Errors
    /// [`AppendError`]; the term is then not begun.
    ///
    /// # Panics
    /// If the log was not replayed.
    pub fn begin_term(&mut self) -> Result<Term, AppendError> {
        let last = self.last();
        self.check_room(&Body::Term)?;
        let identity = Identity {
            term: self.identity.term.max(last.term).next(),
            boot: self.options.boot,
            generation: self
                .pending
                .unwrap_or(self.identity.generation.max(last.generation)),
            durability: self.options.durability,
            ..self.identity
        };
        self.write_identity(identity)?;
        self.leading = true;
        self.append(&Record {
            stamp: Stamp {
                term: identity.term,
                ..last
            },
            body: Body::Term,
        })?;
        Ok(identity.term)
    }

    /// Begins the generation that [`Recovered::new_generation`] asks for, or else the next one:
    /// the heap goes back to commit `cut`. On disk before this returns.
    ///
    /// # Errors
    /// [`AppendError`].
    ///
    /// # Panics
    /// If no term was begun, or `cut` is newer than the newest commit.
    pub fn begin_generation(&mut self, cut: CommitNumber) -> Result<Generation, AppendError> {
        let last = self.last();
        self.check_room(&Body::Generation)?;
        let generation = match self.pending {
            Some(generation) => generation,
            None => {
                let generation = self.identity.generation.max(last.generation).next();
                self.write_identity(Identity {
                    generation,
                    ..self.identity
                })?;
                self.pending = Some(generation);
                generation
            }
        };
        let stamp = Stamp {
            generation,
            term: last.term,
            number: cut,
        };
        self.append(&Record {
            stamp,
            body: Body::Generation,
        })?;
        self.pending = None;
        self.sync()?;
        Ok(generation)
    }

    /// Stores `record` behind the last one. From then on it survives the death of the process.
    /// Makes no system call, but for waking a thread once a segment.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if a sync failed before.
    ///
    /// # Panics
    /// If there is less [`room`](Self::room) than the record takes, for a control record less
    /// [`control_room`](Self::control_room); if the record may not follow the last one; if no term
    /// was begun, or a commit comes before the generation that is due. Each would tear the log.
    pub fn append(&mut self, record: &Record) -> Result<(), AppendError> {
        assert!(self.leading, "a term is begun before anything is logged");
        assert!(
            self.pending.is_none() || !matches!(record.body, Body::Commit { .. }),
            "generation {:?} must begin before a commit",
            self.pending
        );
        let log = self.log.as_mut().expect("a term is begun after the replay");
        log.append(&mut self.disk, record)
    }

    /// Bytes ([`Record::encoded_bytes`]) that the next commit may take.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.log().room()
    }

    /// Bytes that the next control record may take: a reserve is kept for them when commits find
    /// no room any more.
    #[must_use]
    pub fn control_room(&self) -> u64 {
        self.log().free()
    }

    /// Prepares the next segment in the background when the current one fills up. To be called
    /// often; cheap when there is nothing to do. `now` is the time since any fixed moment.
    pub fn maintain(&mut self, now: Duration) -> &Space {
        let log = self.log.as_mut().expect("the log is replayed first");
        log.maintain(&mut self.disk, now)
    }

    /// Whether the log can go on, as of the last [`maintain`](Self::maintain).
    #[must_use]
    pub fn space(&self) -> &Space {
        self.log().space()
    }

    /// Brings everything appended on disk; answers the newest commit that is there now.
    ///
    /// # Errors
    /// [`AppendError::Failed`], now and ever after: whether the commits since the last success are
    /// on disk is unknown.
    pub fn sync(&mut self) -> Result<CommitNumber, AppendError> {
        let log = self.log.as_mut().expect("the log is replayed first");
        log.sync(&mut self.disk)
    }

    /// Begins to bring everything appended so far on disk, and returns at once. While a sync is
    /// under way, another one is remembered, and begins when [`poll_sync`](Self::poll_sync) has
    /// answered for the first.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if a sync failed before.
    pub fn start_sync(&mut self) -> Result<(), AppendError> {
        let log = self.log.as_mut().expect("the log is replayed first");
        log.start_sync(&mut self.disk)
    }

    /// Answers, once for each sync in the background that has ended, the newest commit that is on
    /// disk now. Costs next to nothing while none has.
    ///
    /// # Errors
    /// [`AppendError::Failed`] as for [`sync`](Self::sync), now and ever after.
    pub fn poll_sync(&mut self) -> Option<Result<CommitNumber, AppendError>> {
        let log = self.log.as_mut().expect("the log is replayed first");
        log.poll_sync(&mut self.disk)
    }

    /// Whether a sync is under way in the background.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        self.log().is_syncing()
    }

    /// The newest commit known to be on disk: what a loss of power cannot take back.
    #[must_use]
    pub fn synced(&self) -> CommitNumber {
        self.log().synced()
    }

    /// The checkpoints there are, oldest first; the last one is the newest.
    #[must_use]
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints.manifest().checkpoints
    }

    /// Reads pages as of the newest checkpoint, on any thread.
    #[must_use]
    pub fn stored_pages(&self) -> StoredPages {
        self.checkpoints.stored_pages(&self.disk)
    }

    /// Begins a checkpoint of all that was appended; its pages follow, unless it folds the log.
    ///
    /// # Panics
    /// If one is running, or the cut is not the end of the log.
    pub fn begin_checkpoint(&mut self, cut: CheckpointCut) -> CheckpointId {
        assert_eq!(cut.stamp, self.last(), "the cut is where the log ends");
        let position = self.log().position();
        self.checkpoints.begin(&mut self.disk, cut, position)
    }

    /// Whether a checkpoint is being taken.
    #[must_use]
    pub fn is_checkpointing(&self) -> bool {
        self.checkpoints.is_running()
    }

    /// How many pages the running checkpoint takes now, so that few wait for the disk.
    #[must_use]
    pub fn checkpoint_room(&self) -> usize {
        self.checkpoints.room()
    }

    /// Adds pages, as of the cut, to the running checkpoint. Each comes once.
    ///
    /// # Panics
    /// If none is running, or [`finish_checkpoint`](Self::finish_checkpoint) was called.
    pub fn add_to_checkpoint(&mut self, pages: Vec<CollectedPage>) {
        self.checkpoints.add(&mut self.disk, pages);
    }

    /// Every page of the running checkpoint was added. Its image is completed in the background, the
    /// log is brought on disk through the cut, and then the checkpoint is published.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if the log failed before.
    ///
    /// # Panics
    /// If none is running, or this was called before.
    pub fn finish_checkpoint(&mut self) -> Result<(), AppendError> {
        self.checkpoints.finish(&mut self.disk);
        self.start_sync()
    }

    /// Lets the running checkpoint go on; answers what became of it, once. The driver also asks for
    /// [`poll_sync`](Self::poll_sync).
    pub fn poll_checkpoint(&mut self) -> Option<Result<Checkpoint, CheckpointError>> {
        let log = self.log.as_mut().expect("the log is replayed first");
        let outcome = self
            .checkpoints
            .poll(&mut self.disk, |position| log.is_synced(position))?;
        if outcome.is_ok() {
            log.forget_before(self.checkpoints.log_needed_from());
            self.checkpoints.remove_garbage(&mut self.disk);
        }
        Some(outcome)
    }

    /// Writes down that `image` is damaged: the next opening passes over every checkpoint made of it,
    /// and starts from an older one and the log behind that. To be called before this process ends,
    /// for it cannot go on with pages that it cannot read.
    ///
    /// # Errors
    /// Whatever the file system reports.
    pub fn condemn(&mut self, image: CheckpointId) -> io::Result<()> {
        self.checkpoints.condemn(&mut self.disk, image)
    }

    /// Waits until all work in the background is done.
    pub fn drain(&mut self) {
        self.disk.drain();
    }

    /// Ends the leadership in order: nothing of the log is missing on any later boot.
    ///
    /// # Errors
    /// [`AppendError`]; the log then ends as if the process had been killed.
    pub fn close_clean(mut self) -> Result<(), AppendError> {
        if self.leading {
            self.check_room(&Body::Clean)?;
            self.append(&Record {
                stamp: self.last(),
                body: Body::Clean,
            })?;
            self.sync()?;
        }
        Ok(())
    }

    /// The stamp of the last record.
    #[must_use]
    pub fn last(&self) -> Stamp {
        self.log().last()
    }

    /// The cluster whose store this is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.identity.cluster
    }

    /// Whether commits may have been answered from this store, as is not so before the
    /// [first term](Self::begin_term) of one that is new or imported. If not, none is missing, even
    /// where a [generation must begin](Recovered::new_generation).
    #[must_use]
    pub fn was_led(&self) -> bool {
        self.identity.was_led()
    }

    /// What this opening promises for an answered commit.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.options.durability
    }

    fn log(&self) -> &Log<D::File> {
        self.log.as_ref().expect("the log is replayed first")
    }

    fn check_room(&self, body: &Body) -> Result<(), AppendError> {
        debug_assert!(matches!(body, Body::Term | Body::Generation | Body::Clean));
        let (bytes, room) = (HEADER_BYTES as u64, self.control_room());
        if bytes > room {
            Err(AppendError::NoRoom { bytes, room })
        } else {
            Ok(())
        }
    }

    fn write_identity(&mut self, identity: Identity) -> Result<(), AppendError> {
        self.replace_identity(identity)
            .map_err(AppendError::Identity)
    }

    fn replace_identity(&mut self, identity: Identity) -> Result<(), Failure> {
        let replaced = self.disk.replace(identity::NAME, &identity.encode());
        replaced.map_err(|cause| Failure {
            doing: "replacing",
            path: self.disk.path(identity::NAME),
            cause: Arc::new(cause),
        })?;
        self.identity = identity;
        Ok(())
    }
}

fn into_replay_error(error: AppendError) -> ReplayError {
    match error {
        AppendError::Failed(Failure { path, cause, .. }) => ReplayError::Io {
            doing: "sync",
            path,
            source: io::Error::new(cause.kind(), cause),
        },
        other => unreachable!("a sync fails as Failed only: {other}"),
    }
}
