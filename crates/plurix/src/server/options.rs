//! What can be set of a page server.

use std::path::PathBuf;
use std::time::Duration;

use plurix_store::Compression;
use plurix_wire::CheckpointId;

use super::checkpoints::CheckpointOptions;
use crate::net::{Address, Credentials, Keys, Secret};

/// What an answer to a commit promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The commit survives the death of any process of the cluster.
    #[default]
    Memory,
    /// The commit survives a power cut.
    Durable,
}

/// Which checkpoint a heap goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePoint {
    /// The newest.
    Newest,
    /// This one.
    Checkpoint(CheckpointId),
}

impl RestorePoint {
    pub(super) fn id(self) -> Option<CheckpointId> {
        match self {
            Self::Newest => None,
            Self::Checkpoint(id) => Some(id),
        }
    }
}

/// Directory, addresses and bounds of a page server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where it keeps its log; made if it is not there.
    pub dir: PathBuf,
    /// Where it listens.
    pub listen: Vec<Address>,
    /// The cluster's shared secret; needed if other machines can reach it, and there are no keys.
    pub secret: Option<Secret>,
    /// This machine's keys. With them, each connection over TCP is protected by TLS, and both sides show a
    /// certificate of the same authority.
    pub keys: Option<Keys>,
    /// Lets other machines reach it without keys, if there is a secret: everybody between them can read and
    /// change what is said.
    pub insecure_plain: bool,
    /// What an answer promises.
    pub durability: Durability,
    /// Size of the heap, in bytes; that on disk, or 1 TiB, if `None`.
    pub heap_bytes: Option<u64>,
    /// Bytes of before- and after-images kept to serve older snapshots.
    pub history_bytes: usize,
    /// Commits wait at most this long for a station that took the token, because others were faster
    /// than its transaction again and again.
    pub token_max: Duration,
    /// Bytes a slow station may be behind before its changes are merged.
    pub backlog_bytes: usize,
    /// Most stations at a time.
    pub stations_max: u32,
    /// A station silent for longer is dropped.
    pub silence_max: Duration,
    /// Changes that nobody waits for are held back this long, to be sent together.
    pub stream_delay: Duration,
    /// The loop asks its sockets this long before it sleeps.
    pub spin: Duration,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// The heap goes back to this checkpoint first: what was committed since is gone, and stations
    /// that have seen some of it answer [`RolledBack`](crate::ErrorKind::RolledBack).
    pub restore: Option<RestorePoint>,
    /// When and how checkpoints are taken; if `None`, the log alone keeps the heap.
    pub checkpoint: Option<CheckpointOptions>,
    /// Checkpoints that are kept; two at least.
    pub checkpoints_kept: usize,
    /// How pages are stored in checkpoints.
    pub compression: Compression,
    /// Memory for pages, in bytes, beyond those that changed since the last checkpoint.
    pub cache_bytes: u64,
    /// Pages are loaded from the newest checkpoint after the start, while stations work, and not only
    /// when they are asked for.
    pub preload: bool,
}

impl ServerOptions {
    /// The defaults for a page server that keeps its log in `dir` and listens on `listen`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, listen: Address) -> Self {
        Self {
            dir: dir.into(),
            listen: vec![listen],
            secret: None,
            keys: None,
            insecure_plain: false,
            durability: Durability::default(),
            heap_bytes: None,
            history_bytes: 64 << 20,
            token_max: Duration::from_secs(1),
            backlog_bytes: 4 << 20,
            stations_max: 1024,
            silence_max: Duration::from_secs(2),
            stream_delay: Duration::from_micros(300),
            spin: Duration::from_micros(50),
            segment_bytes: 64 << 20,
            restore: None,
            checkpoint: None,
            checkpoints_kept: 4,
            compression: Compression::None,
            cache_bytes: u64::MAX,
            preload: false,
        }
    }

    /// What it is shown by others, and shows them.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials {
            secret: self.secret.clone(),
            keys: self.keys.clone(),
            insecure_plain: self.insecure_plain,
        }
    }

    /// Takes what it shows to others, and wants to be shown.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        let Credentials {
            secret,
            keys,
            insecure_plain,
        } = credentials;
        self.secret = secret;
        self.keys = keys;
        self.insecure_plain = insecure_plain;
    }
}
