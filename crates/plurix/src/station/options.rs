//! What a program can wish of its station.

use std::time::Duration;

use plurix_wire::{PAGE_BYTES, StationId};

use crate::net::{Credentials, Keys, Secret};

/// A page server that takes longer to shake hands is not there.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(2);

/// How a station joins and waits. The defaults suit a station on the machine or in the local
/// network of its page server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The number to take over, that of a predecessor; any if `None`, and another one later if that
    /// has to be.
    pub station: Option<u32>,
    /// It observes and sets up, and is not counted among the workers.
    pub observer: bool,
    /// The cluster's shared secret.
    pub secret: Option<Secret>,
    /// This machine's keys. With them, each connection over TCP is protected by TLS, and both sides show a
    /// certificate of the same authority.
    pub keys: Option<Keys>,
    /// Connects to other machines without keys: everybody between them can read and change what is said.
    pub insecure_plain: bool,
    /// A waiting station asks its socket this long before it sleeps. Sleeping costs a wake-up of
    /// some 20 µs, and the page server, who wakes, several; asking costs processor time, but gives
    /// way to whoever else has use for it. The default outlasts a durable commit on a quick disk.
    pub spin: Duration,
    /// A station that has not looked at its socket for this long looks before a transaction, so
    /// that its snapshot is not much older.
    pub freshness: Duration,
    /// A page server that has been gone this long is given up.
    pub patience: Duration,
    /// A transaction refused because the log is full is tried again this long.
    pub log_full_patience: Duration,
    /// A transaction whose snapshot was forgotten is tried again this often.
    pub snapshot_tries: u32,
    /// After so many conflicts in a row a transaction asks for the token: then commits of others wait
    /// until it has committed, for at most the page server's `--token-max`.
    pub fair_after: u32,
    /// A transaction that was refused with the token so often takes too long for it.
    pub token_tries: u32,
    /// Most pages fetched ahead when pages are missed one after the other; twice as many are under way.
    pub read_ahead: u32,
    /// Memory for pages of the heap. What was used the longest ago is given up between transactions, a
    /// page at least is kept; a transaction that touches more has it until it ends, so a program that
    /// reads more than there is memory for reads it in several transactions. Unlimited unless it is set:
    /// a station does not know how many others share the machine.
    pub cache_bytes: u64,
    /// On one host, speaks with the page server through memory that both map, rather than over the
    /// Unix socket.
    pub shared_memory: bool,
    /// Runs on memory that Miri and sanitizers understand, of at most this many bytes.
    pub emulated_memory: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            station: None,
            observer: false,
            secret: None,
            keys: None,
            insecure_plain: false,
            spin: Duration::from_micros(400),
            freshness: Duration::from_micros(100),
            patience: Duration::from_secs(60),
            log_full_patience: Duration::from_secs(30),
            snapshot_tries: 16,
            fair_after: 8,
            token_tries: 4,
            read_ahead: 256,
            cache_bytes: u64::MAX,
            shared_memory: true,
            emulated_memory: false,
        }
    }
}

impl Options {
    /// What it shows to others, and wants to be shown.
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

    pub(super) fn protocol(&self) -> plurix_protocol::station::Settings {
        plurix_protocol::station::Settings {
            station: self.station.map(StationId),
            observer: self.observer,
            read_ahead: self.read_ahead,
            cache_pages_max: (self.cache_bytes / PAGE_BYTES as u64).max(1) as usize,
            ..Default::default()
        }
    }
}
