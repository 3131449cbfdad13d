//! The store of one page server: opens its directory, replays the log, and is then led through
//! terms and generations.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use plurix_wire::message::COMMIT_BYTES_MAX;
use plurix_wire::record::{Body, HEADER_BYTES, RECORD_BYTES_MAX, Record, Stamp};
use plurix_wire::{ClusterId, CommitNumber, Generation, Term};

use crate::disk::{Disk, LockError};
use crate::error::{AppendError, Failure, OpenError, ReplayError};
use crate::identity::{self, BootId, Durability, FORMAT_VERSION, Fault, Identity};
use crate::log::{self, End, Log, Shape, Space};
use crate::repair::{self, Cut};
use crate::replay::{Recovered, Walk};
use crate::segment::{self, SEGMENT_BYTES_MAX};

/// A file that replaces another one, or becomes a segment, has this at the end of its name until
/// it is on disk.
pub(crate) const UNFINISHED: &str = ".new";
/// The file that is locked.
pub(crate) const LOCK: &str = "lock";

/// Longer than an identity of any version.
const IDENTITY_BYTES_MAX: u64 = 4096;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// What this opening promises for an answered commit.
    pub durability: Durability,
    /// Length of new segments: a multiple of 4096.
    pub segment_bytes: u64,
    /// The longest write set of a commit; smaller ones allow for smaller segments.
    pub commit_bytes_max: u64,
    /// Size of the heap, which a store keeps for ever.
    pub heap_bytes: u64,
    /// The id of the cluster if the store is new.
    pub cluster: ClusterId,
    /// The kernel's boot id.
    pub boot: BootId,
}

impl Options {
    /// The usual options: memory durability, segments of 64 MiB.
    #[must_use]
    pub fn new(heap_bytes: u64, cluster: ClusterId, boot: BootId) -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: 64 << 20,
            commit_bytes_max: COMMIT_BYTES_MAX as u64,
            heap_bytes,
            cluster,
            boot,
        }
    }

    fn record_bytes_max(&self) -> u64 {
        self.commit_bytes_max + (RECORD_BYTES_MAX - COMMIT_BYTES_MAX) as u64
    }

    fn check(&self) -> Result<(), OpenError> {
        let segment_bytes = self.segment_bytes;
        let (least, most) = (
            log::segment_bytes_min(self.record_bytes_max()),
            SEGMENT_BYTES_MAX,
        );
        if segment_bytes.is_multiple_of(4096) && (least..=most).contains(&segment_bytes) {
            return Ok(());
        }
        Err(OpenError::SegmentBytes {
            segment_bytes,
            least,
            most,
        })
    }

    fn shape(&self, cluster: ClusterId) -> Shape {
        Shape {
            cluster,
            segment_bytes: self.segment_bytes,
            record_bytes_max: self.record_bytes_max(),
            durability: self.durability,
        }
    }
}

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
        let entries = directory(&disk)?;
        let directory = disk.path("");
        disk.lock().map_err(|error| match error {
            LockError::Held { pid } => OpenError::Locked {
                directory: directory.clone(),
                pid,
            },
            LockError::Io(source) => failed("lock", directory.clone(), source),
        })?;
        let identity = if entries.iter().any(|entry| entry == identity::NAME) {
            existing(&disk, &options)?
        } else {
            create_identity(&mut disk, &options)?
        };
        let segments = remove_unfinished(&mut disk)?;
        if segments == 0 && identity.term == Term(0) {
            let first = options.shape(identity.cluster).first_segment();
            let bytes = first.bytes;
            disk.create(first).map_err(|source| match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::NoSpace {
                    directory,
                    bytes,
                    source,
                },
                _ => failed("create", disk.path(&segment::name(1)), source),
            })?;
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
        let answers_missing = !complete && self.identity.durability == Durability::Memory;
        let generation = if answers_missing {
            last.generation.next()
        } else {
            last.generation
        };
        let due = generation.max(self.identity.generation);
        (due > last.generation).then_some(due)
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

fn failed(doing: &'static str, path: std::path::PathBuf, source: io::Error) -> OpenError {
    OpenError::Io {
        doing,
        path,
        source,
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

/// The entries of the store's directory, none if it is yet to be made; refuses what is no store
/// before anything is written there.
fn directory(disk: &impl Disk) -> Result<Vec<String>, OpenError> {
    let path = disk.path("");
    let entries = disk.list("").map_err(|source| match source.kind() {
        io::ErrorKind::NotADirectory => OpenError::NotADirectory { path: path.clone() },
        _ => failed("list", path.clone(), source),
    })?;
    if entries.iter().any(|entry| entry == identity::NAME) {
        return Ok(entries);
    }
    let known = [LOCK, segment::DIRECTORY, "lost+found"];
    let foreign = entries.iter().find(|entry| {
        !known.contains(&entry.as_str()) && entry.strip_suffix(UNFINISHED) != Some(identity::NAME)
    });
    match foreign {
        Some(entry) => Err(OpenError::Foreign {
            directory: path,
            entry: entry.clone(),
        }),
        None => Ok(entries),
    }
}

fn existing(disk: &impl Disk, options: &Options) -> Result<Identity, OpenError> {
    let file = disk.path(identity::NAME);
    let io = |source| failed("read", file.clone(), source);
    let length = disk.length(identity::NAME).map_err(io)?;
    if length > IDENTITY_BYTES_MAX {
        return Err(OpenError::IdentityDamaged {
            file,
            what: "it is too long",
        });
    }
    let mut bytes = Vec::new();
    disk.read(identity::NAME, &mut bytes).map_err(io)?;
    bytes.resize(length as usize, 0);
    let identity = Identity::decode(&bytes).map_err(|fault| match fault {
        Fault::Damaged(what) => OpenError::IdentityDamaged {
            file: file.clone(),
            what,
        },
        Fault::Newer(found) => OpenError::NewerVersion {
            file: file.clone(),
            found,
            known: FORMAT_VERSION,
        },
    })?;
    if identity.heap_bytes != options.heap_bytes {
        return Err(OpenError::HeapBytes {
            directory: disk.path(""),
            existing: identity.heap_bytes,
            asked: options.heap_bytes,
        });
    }
    Ok(identity)
}

/// Writes the identity before the first segment, so that a log without one is never a new store.
fn create_identity(disk: &mut impl Disk, options: &Options) -> Result<Identity, OpenError> {
    let file = disk.path(identity::NAME);
    if !segments(disk)?.is_empty() {
        return Err(OpenError::IdentityMissing { file });
    }
    let identity = Identity {
        cluster: options.cluster,
        heap_bytes: options.heap_bytes,
        term: Term(0),
        boot: options.boot,
        generation: Generation(0),
        durability: options.durability,
    };
    disk.replace(identity::NAME, &identity.encode())
        .map_err(|source| failed("create", file, source))?;
    Ok(identity)
}

fn segments(disk: &impl Disk) -> Result<Vec<String>, OpenError> {
    disk.list(segment::DIRECTORY)
        .map_err(|source| failed("list", disk.path(segment::DIRECTORY), source))
}

/// Removes segments whose creation a crash interrupted; answers how many whole ones there are.
fn remove_unfinished(disk: &mut impl Disk) -> Result<usize, OpenError> {
    let entries = segments(disk)?;
    for entry in entries.iter().filter(|entry| entry.ends_with(UNFINISHED)) {
        let name = format!("{}/{entry}", segment::DIRECTORY);
        disk.remove(&name)
            .map_err(|source| failed("remove", disk.path(&name), source))?;
    }
    Ok(entries
        .iter()
        .filter(|entry| segment::index_of(entry).is_some())
        .count())
}
