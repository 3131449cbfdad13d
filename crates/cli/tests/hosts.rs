//! Several machines: a page server and two stations in networks of their own, joined by links that
//! can be cut.
//!
//! ```text
//!  network A: page server          network B: station 1     network C: station 2
//!    10.77.1.1 ───────────────────── 10.77.1.2
//!    10.77.2.1 ──────────────────────────────────────────── 10.77.2.2
//! ```

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::namespace::{Kind, Namespace};
use common::program::Program;
use common::{Member, errors, file, json, json_of, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const PORT: u16 = 7700;

/// What the machines know each other by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    BySecret,
    ByKeys,
}

/// Machines that share nothing but a secret or an authority, and the links between them.
struct Hosts {
    dir: TempDir,
    known: Known,
    secret: PathBuf,
    server: Namespace,
    stations: [Namespace; 2],
}

impl Hosts {
    fn new(known: Known) -> Option<Self> {
        if let Err(error) = Command::new("ip").arg("-Version").output() {
            eprintln!("SKIPPED: no ip, the command that configures networks: {error}");
            return None;
        }
        let server = Namespace::new(Kind::Network)?;
        let stations = [server.sibling(), server.sibling()];
        for (station, number) in stations.iter().zip(1..) {
            let pid = station.pid();
            let add = format!("link add to{number} type veth peer name uplink netns {pid}");
            let added = server.command("ip", &add).output().unwrap();
            if !added.status.success() {
                eprintln!("SKIPPED: no links between networks: {}", errors(&added));
                return None;
            }
            let (here, there) = (format!("to{number}"), "uplink".to_owned());
            for (host, link, last) in [(&server, here, 1), (station, there, 2)] {
                host.does(
                    "ip",
                    &format!("addr add 10.77.{number}.{last}/24 dev {link}"),
                );
                host.does("ip", &format!("link set {link} up"));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let secret = match known {
            Known::BySecret => file(dir.path(), "secret", b"a secret of sixteen bytes or more\n"),
            Known::ByKeys => issue_keys(dir.path()),
        };
        Some(Self {
            dir,
            known,
            secret,
            server,
            stations,
        })
    }

    /// What a machine shows to others.
    fn shown_by(&self, machine: &str) -> String {
        match self.known {
            Known::BySecret => {
                let secret = self.secret.display();
                format!("--insecure-plain --secret-file {secret}")
            }
            Known::ByKeys => format!("--keys {}/authority/{machine}", self.dir.path().display()),
        }
    }

    fn start_server(&self) -> Member {
        let (dir, shown) = (self.dir.path().display(), self.shown_by("server"));
        let mut command = self.server.plurix(&format!(
            "page-server --dir {dir}/heap --listen 0.0.0.0:{PORT} {shown}"
        ));
        // It makes a Unix socket beside the port there, and all networks share the files.
        command.env("TMPDIR", self.dir.path());
        Member::ready_of(command).0
    }

    fn start_station(&self, number: usize) -> Member {
        let shown = self.shown_by(&format!("node-{number}"));
        let station = self.stations[number - 1].plurix(&format!(
            "station --join 10.77.{number}.1:{PORT} --station {number} {shown}"
        ));
        Member::ready_of(station).0
    }

    /// The incarnation of a station that is connected.
    fn incarnation(&self, number: u64) -> Option<u64> {
        let (address, secret) = (self.address(), self.secret.display());
        let ask = format!("status --json --join {address} --secret-file {secret}");
        let status = json_of(common::plurix(&ask));
        let all = status["stations"].as_array().unwrap();
        let of = |one: &&Value| one["station"] == number && one["connected"] == true;
        all.iter().find(of)?["incarnation"].as_u64()
    }

    /// Where the test itself reaches the page server.
    fn address(&self) -> String {
        format!("unix:{}/plurix-{PORT}.sock", self.dir.path().display())
    }

    fn link(&self, number: u64, state: &str) {
        self.server
            .does("ip", &format!("link set to{number} {state}"));
    }
}

/// Makes an authority and the keys of all machines; answers where the secret is.
fn issue_keys(dir: &Path) -> PathBuf {
    let authority = dir.join("authority");
    let place = authority.display();
    json(&format!("keys init {place} --json"));
    for (name, hosts) in [
        ("server", "--host 10.77.1.1 --host 10.77.2.1"),
        ("node-1", "--host 10.77.1.2"),
        ("node-2", "--host 10.77.2.2"),
    ] {
        json(&format!("keys issue {place} --name {name} {hosts} --json"));
    }
    authority.join("secret")
}

#[test]
fn work_ends_right_although_machines_die_and_links_are_cut() {
    work_ends_right(Known::BySecret);
}

#[test]
fn with_keys_work_ends_right_as_well() {
    work_ends_right(Known::ByKeys);
}

fn work_ends_right(known: Known) {
    let Some(hosts) = Hosts::new(known) else {
        return;
    };
    let server = hosts.start_server();
    let (first, second) = (hosts.start_station(1), hosts.start_station(2));
    let mut bank = Program::bank(&hosts.address(), Some(&hosts.secret), 80_000);
    bank.goes_on(100);

    // A process dies; over TCP nothing proves that, so the number is free after some silence.
    let before = hosts.incarnation(1).unwrap();
    first.signal(Signal::KILL);
    first.end();
    let first = hosts.start_station(1);
    assert!(hosts.incarnation(1).unwrap() > before);
    bank.goes_on(100);

    // A link is cut until its station is given up; the other one goes on meanwhile.
    let before = hosts.incarnation(2).unwrap();
    hosts.link(2, "down");
    wait_for("the end of the silent station", || {
        hosts.incarnation(2).is_none().then_some(())
    });
    bank.goes_on(100);
    hosts.link(2, "up");
    let back = wait_for("the station behind the link", || hosts.incarnation(2));
    assert!(back > before);

    // The page server dies, and comes back on the same directory.
    server.signal(Signal::KILL);
    server.end();
    let server = hosts.start_server();
    bank.goes_on(100);
    bank.ends();
    server.signal(Signal::TERM);
    let ends = [server.end(), first.end(), second.end()];
    for (code, errors) in ends {
        assert_eq!(code, Some(0), "{errors}");
    }
}

#[test]
fn without_the_secret_no_machine_gets_in() {
    let Some(hosts) = Hosts::new(Known::BySecret) else {
        return;
    };
    let _server = hosts.start_server();
    let wrong = file(
        hosts.dir.path(),
        "wrong",
        b"another secret of such a length\n",
    );
    for secret in [String::new(), format!("--secret-file {}", wrong.display())] {
        for command in ["station", "status", "shutdown"] {
            let line = format!("{command} --insecure-plain --join 10.77.1.1:{PORT} {secret}");
            let refused = hosts.stations[0].output(&line);
            common::assert_fails(&refused, 1, &["10.77.1.1", "secret"]);
        }
    }
}

#[test]
fn with_keys_only_who_has_some_of_the_same_authority_gets_in() {
    let Some(hosts) = Hosts::new(Known::ByKeys) else {
        return;
    };
    let server = hosts.start_server();
    let elsewhere = hosts.dir.path().join("elsewhere");
    let elsewhere = elsewhere.display();
    json(&format!("keys init {elsewhere} --json"));
    let issue = format!("keys issue {elsewhere} --name node-1 --host 10.77.1.2");
    json(&format!("{issue} --json"));
    let secret = hosts.secret.display();
    for (shown, says) in [
        (String::new(), "--insecure-plain"),
        (format!("--insecure-plain --secret-file {secret}"), "--keys"),
        (format!("--keys {elsewhere}/node-1"), "authority"),
    ] {
        for command in ["station", "status", "shutdown"] {
            let line = format!("{command} --join 10.77.1.1:{PORT} {shown}");
            let refused = hosts.stations[0].output(&line);
            common::assert_fails(&refused, 1, &["10.77.1.1", says]);
        }
    }
    let line = format!(
        "shutdown --join 10.77.1.1:{PORT} {}",
        hosts.shown_by("node-1")
    );
    let ended = hosts.stations[0].output(&line);
    assert!(ended.status.success(), "{}", errors(&ended));
    assert_eq!(server.end().0, Some(0));
}
