//! A whole cluster inside one process: a page server's thread and stations that threads of the
//! program use. The same code as over the network, on a Unix socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::{ErrorKind, Result};
use crate::net::Address;
use crate::server::{PageServer, ServerError, ServerOptions, Started, Stop};
use crate::station::{Options, Station};

/// A page server in a thread of this process, and stations that belong to it.
///
/// ```
/// # fn main() -> plurix::Result<()> {
/// let mut cluster = plurix::Cluster::local(2)?;
/// let [first, second] = cluster.stations() else { unreachable!() };
/// let greeting = first.transaction(|tx| tx.alloc([7u32; 4]))?;
/// second.latest()?;
/// assert_eq!(second.transaction(|tx| Ok(*tx.get(greeting)?))?, [7; 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    /// Dropped first: they leave while there is still a page server.
    stations: Vec<Station>,
    address: Address,
    started: Started,
    options: Options,
    stop: Arc<Stop>,
    server: Option<JoinHandle<Result<(), ServerError>>>,
    /// Removed at the end, unless the caller named a directory.
    _temporary: Option<Temporary>,
}

/// How to start a [`Cluster`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// How many stations join at once.
    pub stations: usize,
    /// How they join.
    pub station: Options,
    /// The page server. Its `dir` and `listen` are replaced by temporary ones if `dir` is empty.
    pub server: ServerOptions,
}

impl ClusterOptions {
    /// `stations` stations, and a log that is removed at the end.
    #[must_use]
    pub fn new(stations: usize) -> Self {
        let nowhere = Address::Unix(PathBuf::new());
        Self {
            stations,
            station: Options::default(),
            server: ServerOptions::new(PathBuf::new(), nowhere),
        }
    }

    /// Keeps the heap in `dir`, to be found there again.
    #[must_use]
    pub fn in_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.server.dir = dir.into();
        self.server.listen = vec![Address::Unix(self.server.dir.join("socket"))];
        self
    }
}

impl Cluster {
    /// A page server and `stations` stations, with a log that is removed at the end.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn local(stations: usize) -> Result<Self> {
        Self::start(ClusterOptions::new(stations))
    }

    /// Starts the page server's thread and lets the stations join.
    ///
    /// # Errors
    /// [`ErrorKind::System`] if the page server cannot start, and what [`Station::join`] answers.
    pub fn start(options: ClusterOptions) -> Result<Self> {
        let ClusterOptions {
            stations,
            station,
            mut server,
        } = options;
        let mut temporary = None;
        if server.dir.as_os_str().is_empty() {
            let made = Temporary::new()?;
            server.dir = made.0.join("heap");
            server.listen = vec![Address::Unix(made.0.join("socket"))];
            temporary = Some(made);
        }
        let server = PageServer::open(server).map_err(failed)?;
        let address = server.addresses().remove(0);
        let (started, stop) = (server.started().clone(), server.stop_handle());
        let thread = std::thread::Builder::new()
            .name("plurix-page-server".to_owned())
            .spawn(move || server.run())
            .map_err(failed)?;
        let mut cluster = Self {
            stations: Vec::with_capacity(stations),
            address,
            started,
            options: station,
            stop,
            server: Some(thread),
            _temporary: temporary,
        };
        for _ in 0..stations {
            let station = cluster.join()?;
            cluster.stations.push(station);
        }
        Ok(cluster)
    }

    /// The stations that joined at the start; each can be lent to a thread of its own.
    pub fn stations(&mut self) -> &mut [Station] {
        &mut self.stations
    }

    /// Lets one more station join; it is the caller's.
    ///
    /// # Errors
    /// What [`Station::join`] answers.
    pub fn join(&self) -> Result<Station> {
        Station::join(&self.address, self.options.clone())
    }

    /// Where other processes of this machine can join.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What the page server found at the start.
    #[must_use]
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Ends the cluster in order.
    ///
    /// # Errors
    /// [`ErrorKind::System`] if the page server could not go on.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.stations.clear();
        self.stop.stop();
        match self.server.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(failed(error)),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Who wants to know how it ended calls `stop`.
            let _ = self.end();
        }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> crate::Error {
    ErrorKind::System(Box::new(error)).into()
}

/// A directory of its own, removed with it.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(failed)?;
        let name = format!("plurix-{:016x}", u64::from_ne_bytes(random));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A directory that cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
