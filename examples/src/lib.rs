//! What the examples share: one command becomes a cluster of processes.
//!
//! ```text
//!  first process: page server (a thread), supervisor       kmeans
//!     ├── station process                                  kmeans --join unix:…/socket
//!     ├── station process                                  kmeans --join unix:…/socket
//!     └── …                        killed? another one takes its place; nothing is lost
//! ```
//!
//! A station process is the same program with `--join`, so anybody can start more of them by hand.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use plurix::activity::Spawned;
use plurix::net::Address;
use plurix::{
    Options, PageServer, Plain, Ptr, ServerError, ServerOptions, Station, Stop, Transaction,
};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

/// Values copied into the heap by one transaction; a commit carries 16 MiB at most.
const VALUES_A_COMMIT: usize = 1 << 18;
/// The root that stands once no more work will come.
const DONE: &str = "done";

/// The option of every example.
#[derive(Debug, Args)]
pub struct Join {
    /// Take part in a cluster that runs already, as host:port or unix:path
    #[arg(long, value_name = "ADDRESS")]
    pub join: Option<Address>,
    /// End with the process that started this one.
    #[arg(long, hide = true)]
    supervised: bool,
}

/// What this process is in its cluster.
pub enum Role {
    /// One of those who do the work.
    Station(Box<Station>),
    /// The first process, which started everything.
    First(Cluster),
}

/// The page server and the supervisors of station processes; all end with this process.
pub struct Cluster {
    address: Address,
    stop: Arc<Stop>,
    server: JoinHandle<Result<(), ServerError>>,
    supervisors: Vec<JoinHandle<Result<()>>>,
    _dir: TempDir,
}

impl Join {
    /// Joins, or starts a page server and `stations` processes that join it.
    ///
    /// # Errors
    /// If there is no page server at the address, or none can be started.
    pub fn begin(&self, stations: usize) -> Result<Role> {
        if self.supervised {
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        match &self.join {
            Some(address) => Ok(Role::Station(Box::new(join(address, false)?))),
            None => Cluster::start(stations).map(Role::First),
        }
    }
}

/// Joins the cluster at `address`. An observer sets up and looks on; it is not counted as a station.
///
/// # Errors
/// As [`Station::join`].
pub fn join(address: &Address, observer: bool) -> Result<Station> {
    let mut options = Options::default();
    options.observer = observer;
    // The first process ends when all is done; who is left need not wait for it to come back.
    options.patience = Duration::from_secs(3);
    Ok(Station::join(address, options)?)
}

impl Cluster {
    fn start(stations: usize) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("plurix-").tempdir()?;
        let listen = Address::Unix(dir.path().join("socket"));
        let server = PageServer::open(ServerOptions::new(dir.path().join("heap"), listen.clone()))?;
        let stop = server.stop_handle();
        end_at_signals(dir.path().to_owned())?;
        eprintln!("more stations can take part by: --join {listen}");
        let server = std::thread::spawn(move || server.run());
        let supervisors = (1..=stations).map(|number| {
            let (address, dir) = (listen.clone(), dir.path().to_owned());
            std::thread::spawn(move || supervise(number, &address, dir))
        });
        Ok(Self {
            supervisors: supervisors.collect(),
            address: listen,
            stop,
            server,
            _dir: dir,
        })
    }

    /// An observer of this cluster, in this process.
    ///
    /// # Errors
    /// As [`Station::join`].
    pub fn observe(&self) -> Result<Station> {
        join(&self.address, true)
    }

    /// Waits until all stations have ended, then ends the page server.
    ///
    /// # Errors
    /// What a station or the page server could not do.
    pub fn finish(self) -> Result<()> {
        for supervisor in self.supervisors {
            supervisor.join().expect("a supervisor does not panic")?;
        }
        self.stop.stop();
        Ok(self.server.join().expect("a page server does not panic")?)
    }
}

/// Runs a station process, and another one whenever it is killed, until one ends by itself.
fn supervise(number: usize, address: &Address, dir: PathBuf) -> Result<()> {
    let ended = (|| loop {
        let mut station = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .args(["--supervised", "--join", &address.to_string()])
            .spawn()
            .context("cannot start a station process")?;
        eprintln!("station {number} is process {}", station.id());
        let status: ExitStatus = station.wait()?;
        match status.signal() {
            None if status.success() => return Ok(()),
            None => bail!("station {number} failed: {status}"),
            // Ctrl-C reaches all processes of a terminal; the first one is about to end, too.
            Some(SIGINT | SIGTERM) => return Ok(()),
            Some(_) => eprintln!("station {number} was killed; another takes its place"),
        }
    })();
    if let Err(error) = &ended {
        // Whoever waits for this station's work would wait for ever.
        eprintln!("error: {error:#}");
        leave(&dir, 1);
    }
    ended
}

/// Makes Ctrl-C end this process, and the others with it, without a trace in the file system.
fn end_at_signals(dir: PathBuf) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            leave(&dir, 130);
        }
    });
    Ok(())
}

fn leave(dir: &std::path::Path, code: i32) -> ! {
    // What cannot be removed is left to the system's own cleaning.
    let _ = std::fs::remove_dir_all(dir);
    std::process::exit(code)
}

/// Copies `values` into the heap, in as many transactions as that takes.
///
/// # Errors
/// As [`Station::transaction`].
pub fn store<T: Plain>(station: &mut Station, values: &[T]) -> plurix::Result<Ptr<[T]>> {
    let all = station.transaction(|tx| tx.alloc_slice::<T>(values.len()))?;
    for (part, values) in values.chunks(VALUES_A_COMMIT).enumerate() {
        let start = part * VALUES_A_COMMIT;
        let place = all.range(start..start + values.len());
        let place = place.expect("parts of a slice are in it");
        station.transaction(|tx| tx.set_slice(place, values))?;
    }
    Ok(all)
}

/// Runs activities that this station has registered, until [`end_work`] says that there are no more.
///
/// # Errors
/// As [`Station::serve`].
pub fn work_until_done(mut station: Station) -> Result<()> {
    station.serve(|station| station.transaction(|tx| is_work_ended(tx)))?;
    Ok(())
}

/// Whether [`end_work`] has said that there is no more work.
///
/// # Errors
/// As [`Transaction::get`].
pub fn is_work_ended(tx: &Transaction<'_>) -> plurix::Result<bool> {
    Ok(tx.find_root::<u64>(DONE)?.is_some())
}

/// Lets all stations in [`work_until_done`] end.
///
/// # Errors
/// As [`Station::transaction`].
pub fn end_work(station: &mut Station) -> plurix::Result<()> {
    station.transaction(|tx| {
        let done = tx.alloc(1u64)?;
        tx.set_root(DONE, done)
    })
}

/// Sleeps until all `spawned` activities are finished, and takes their results.
///
/// # Errors
/// If one of them has failed.
pub fn wait_for_all<O: Plain>(
    station: &mut Station,
    spawned: &[Spawned<O>],
) -> plurix::Result<Vec<O>> {
    let wait = |one: &Spawned<O>| {
        station.transaction(|tx| match tx.result(*one)? {
            None => Err(tx.wait_for_change()),
            Some(_) => Ok(tx.take_result(*one)?.expect("it was there just now")),
        })
    };
    spawned.iter().map(wait).collect()
}

/// `text` as a string of JSON.
#[must_use]
pub fn json_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{0}'..='\u{1f}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
