//! Where the processes run and what lies between them: this machine with a proxy before each worker
//! that uses TCP, or networks of their own, joined by links that can be cut.
//!
//! ```text
//!  network of the page server         network of worker n
//!     10.77.n.1 (to<n>) ──────────────── 10.77.n.2 (uplink)
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::namespace::{Kind, Namespace};
use crate::plan::{Direction, Fault, Transport};
use crate::proxy::{Mode, Proxy};

/// The port of the page server where it has a network of its own.
const PORT: u16 = 7700;

/// What lies between the processes.
#[derive(Debug)]
pub(crate) enum Machines {
    /// A proxy for each worker that uses TCP.
    One(BTreeMap<usize, Proxy>),
    /// Networks of the page server and of each worker that uses TCP.
    Networks {
        server: Namespace,
        workers: BTreeMap<usize, Namespace>,
        /// Why links cannot be made slow and lossy, if they cannot.
        no_netem: Option<String>,
    },
}

impl Machines {
    /// Everybody on this machine. The page server's port is told later.
    pub(crate) fn one(workers: &[Transport]) -> Result<Self> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let proxies = remote(workers).map(|index| Ok((index, Proxy::start(nowhere)?)));
        Ok(Self::One(proxies.collect::<Result<_>>()?))
    }

    /// A network for each machine.
    ///
    /// # Errors
    /// Says what the system refuses.
    pub(crate) fn networks(transports: &[Transport]) -> Result<Self, String> {
        let server = Namespace::new(Kind::Network)?;
        let mut workers = BTreeMap::new();
        for index in remote(transports) {
            let (worker, number) = (server.sibling()?, index + 1);
            let pid = worker.pid();
            let add = format!("link add to{number} type veth peer name uplink netns {pid}");
            server.run("ip", &add)?;
            let here = format!("to{number}");
            for (host, link, last) in [(&server, here.as_str(), 1), (&worker, "uplink", 2)] {
                host.run(
                    "ip",
                    &format!("addr add 10.77.{number}.{last}/24 dev {link}"),
                )?;
                host.run("ip", &format!("link set {link} up"))?;
            }
            workers.insert(index, worker);
        }
        let no_netem = workers.values().next().and_then(|worker| {
            let impair = worker.run("tc", "qdisc replace dev uplink root netem delay 1ms");
            impair
                .and_then(|()| worker.run("tc", "qdisc del dev uplink root"))
                .err()
        });
        Ok(Self::Networks {
            server,
            workers,
            no_netem,
        })
    }

    /// Why links cannot be made slow and lossy, if they cannot.
    pub(crate) fn no_netem(&self) -> Option<&str> {
        match self {
            Self::Networks { no_netem, .. } => no_netem.as_deref(),
            Self::One(_) => None,
        }
    }

    /// A command on the page server's machine.
    pub(crate) fn server_command(&self, program: &Path) -> Command {
        match self {
            Self::One(_) => Command::new(program),
            Self::Networks { server, .. } => server.command(program),
        }
    }

    /// A command on the machine of a worker.
    pub(crate) fn worker_command(&self, worker: usize, program: &Path) -> Command {
        match self {
            Self::Networks { workers, .. } if workers.contains_key(&worker) => {
                workers[&worker].command(program)
            }
            _ => Command::new(program),
        }
    }

    /// Where the page server listens for TCP.
    pub(crate) fn listen(&self) -> String {
        match self {
            Self::One(_) => "127.0.0.1:0".to_owned(),
            Self::Networks { .. } => format!("0.0.0.0:{PORT}"),
        }
    }

    /// What lets the page server listen there: faults strike beneath TLS as above it, and it is the
    /// protocol that is judged.
    pub(crate) fn server_options(&self) -> &'static [&'static str] {
        match self {
            Self::One(_) => &[],
            Self::Networks { .. } => &["--insecure-plain"],
        }
    }

    /// Where a worker that uses TCP finds it.
    pub(crate) fn address(&self, worker: usize) -> Result<String> {
        match self {
            Self::One(proxies) => {
                let proxy = proxies.get(&worker).context("a worker that uses TCP")?;
                Ok(proxy.address().to_string())
            }
            Self::Networks { .. } => Ok(format!("10.77.{}.1:{PORT}", worker + 1)),
        }
    }

    /// A page server listens at `address` now.
    pub(crate) fn server_is_at(&self, address: SocketAddr) {
        if let Self::One(proxies) = self {
            proxies.values().for_each(|proxy| proxy.set_server(address));
        }
    }

    /// Breaks something; answers whether that can be done here.
    pub(crate) fn strike(&self, fault: Fault) -> Result<bool> {
        match (self, fault) {
            (Self::One(proxies), Fault::Cut(worker)) => {
                proxies[&worker].set_mode(Mode::Refuse);
                proxies[&worker].hang_up();
            }
            (Self::One(proxies), Fault::Stall(worker, direction)) => {
                proxies[&worker].set_mode(Mode::Stall(direction));
            }
            (Self::One(proxies), Fault::BlackHole(worker, direction)) => {
                proxies[&worker].set_mode(Mode::Lose(direction));
            }
            (Self::Networks { .. }, Fault::LinkDown(worker)) => self.link(worker, "down")?,
            (Self::Networks { .. }, Fault::OneWay(worker, direction)) => {
                self.drop_packets(worker, direction)?;
            }
            (Self::Networks { no_netem: None, .. }, Fault::BadLink(worker)) => {
                self.each_link(worker, "netem delay 20ms 10ms loss 2%")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Repairs what a fault broke.
    pub(crate) fn repair(&self, fault: Fault) -> Result<()> {
        match (self, fault) {
            (Self::One(proxies), Fault::Cut(worker) | Fault::Stall(worker, _)) => {
                proxies[&worker].set_mode(Mode::Pass);
            }
            (Self::One(proxies), Fault::BlackHole(worker, _)) => {
                // Before anything passes again: what was lost cannot be left out of a stream.
                proxies[&worker].hang_up();
                proxies[&worker].set_mode(Mode::Pass);
            }
            (Self::Networks { .. }, Fault::LinkDown(worker)) => self.link(worker, "up")?,
            (Self::Networks { .. }, Fault::OneWay(worker, _)) => self.keep_packets(worker),
            (Self::Networks { .. }, Fault::BadLink(worker)) => self.each_link(worker, "pfifo")?,
            _ => {}
        }
        Ok(())
    }

    fn link(&self, worker: usize, state: &str) -> Result<()> {
        let (server, _) = self.ends(worker);
        let change = format!("link set to{} {state}", worker + 1);
        server.run("ip", &change).map_err(|why| anyhow!(why))
    }

    /// Drops where it is sent what goes in one direction.
    fn drop_packets(&self, worker: usize, direction: Direction) -> Result<()> {
        for (host, way, route) in self.routes(worker) {
            if direction == way || direction == Direction::Both {
                let add = format!("route replace blackhole {route}");
                host.run("ip", &add).map_err(|why| anyhow!(why))?;
            }
        }
        Ok(())
    }

    fn keep_packets(&self, worker: usize) {
        for (host, _, route) in self.routes(worker) {
            // Most often it is there in one direction only.
            let _ = host.run("ip", &format!("route del blackhole {route}"));
        }
    }

    /// The two hosts of a link, which way they send, and whereto.
    fn routes(&self, worker: usize) -> [(&Namespace, Direction, String); 2] {
        let ((server, station), number) = (self.ends(worker), worker + 1);
        [
            (server, Direction::ToWorker, format!("10.77.{number}.2/32")),
            (station, Direction::ToServer, format!("10.77.{number}.1/32")),
        ]
    }

    /// Sets the queue of both ends of a link.
    fn each_link(&self, worker: usize, queue: &str) -> Result<()> {
        let (server, station) = self.ends(worker);
        let here = format!("to{}", worker + 1);
        for (host, link) in [(server, here.as_str()), (station, "uplink")] {
            let change = format!("qdisc replace dev {link} root {queue}");
            host.run("tc", &change).map_err(|why| anyhow!(why))?;
        }
        Ok(())
    }

    fn ends(&self, worker: usize) -> (&Namespace, &Namespace) {
        match self {
            Self::Networks {
                server, workers, ..
            } => (server, &workers[&worker]),
            Self::One(_) => unreachable!("links are between networks"),
        }
    }
}

/// The workers that use TCP.
fn remote(workers: &[Transport]) -> impl Iterator<Item = usize> {
    let is_remote = |index: &usize| workers[*index] == Transport::Tcp;
    (0..workers.len()).filter(is_remote)
}
