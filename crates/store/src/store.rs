//! The store of one page server: opens its directory, replays the log, and is then led through
//! terms and generations.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use plurix_wire::canary::{self, Canary};
use plurix_wire::record::{Body, HEADER_BYTES, Record, Stamp};
use plurix_wire::{ClusterId, CommitNumber, Generation, Term};

use crate::directory;
use crate::disk::{Disk, LockError};
use crate::error::{AppendError, Failure, OpenError, ReplayError};
use crate::identity::{self, Durability, Identity};
use crate::log::{End, Log, Space};
use crate::options::Options;
use crate::repair::{self, Cut};
use crate::replay::{Recovered, Walk};

/// A page server's disk. Locked until dropped; dropping it without
/// [`close_clean`](Self::close_clean) is like the death of the process.
pub struct Store<D: Disk> {
    disk: D,
    options: Options,
    identity: Identity,
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
        if segments == 0 && identity.term == Term(0) {
            directory::create_log(&mut disk, options.shape(identity.cluster).first_segment())?;
        }
        Ok(Self {
            disk,
            options,
            identity,
            log: None,
            pending: None,
            leading: false,
        })
    }

    /// Hands out every record in order, and gets ready for [`begin_term`](Self::begin_term).
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
        let mut walk = Walk::new(&self.disk, self.identity.cluster)?;
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
            newest: walk.newest,
            same_boot,
            segment: walk.into_last_segment(),
        };
        let file = repair::cut(&mut self.disk, &cut)?;
        let Cut {
            index,
            bytes: segment_bytes,
            at,
            ..
        } = cut;
        // An earlier process may have left them in the kernel's cache.
        let unsynced = first..index;
        let end = End {
            file,
            index,
            bytes: segment_bytes,
            at,
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
        let lost = !complete && self.identity.durability == Durability::Memory;
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
        self.disk
            .replace(identity::NAME, &identity.encode())
            .map_err(|cause| {
                AppendError::Identity(Failure {
                    doing: "replacing",
                    path: self.disk.path(identity::NAME),
                    cause: Arc::new(cause),
                })
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
