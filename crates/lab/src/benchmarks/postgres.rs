//! PostgreSQL, for comparison: a cluster of its own in a temporary directory, and pgbench.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// Where Debian keeps the server's programs, one directory a version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The account that the server runs under if this program runs as root, which it refuses.
const ACCOUNT: &str = "postgres";
/// Read one counter and update it, as one serializable transaction.
const SCRIPT: &str = "\\set id random(1, :counters)
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT value FROM counters WHERE id = :id;
UPDATE counters SET value = value + 1 WHERE id = :id;
END;
";

/// A running server, stopped and removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    directory: TempDir,
    as_root: bool,
    counters: u64,
    clients: u64,
}

impl Postgres {
    /// Starts one with a table of `counters`; `None` if it is not installed.
    pub(crate) fn start(counters: u64, clients: u64) -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            return Ok(None);
        };
        let directory = tempfile::tempdir()?;
        let server = Self {
            programs,
            as_root: rustix::process::geteuid().is_root(),
            directory,
            counters,
            clients,
        };
        let path = server.directory.path();
        if server.as_root {
            let (user, group) = account()?;
            chown(path, Some(user), Some(group))?;
        }
        fs::write(path.join("script"), SCRIPT)?;
        let data = server.data();
        server.call("initdb", &["-D", &data, "-A", "trust", "--no-sync"])?;
        let options = format!(
            "-k {} -c listen_addresses= -c synchronous_commit=on -c fsync=on",
            path.display()
        );
        let log = path.join("log").display().to_string();
        server.call(
            "pg_ctl",
            &["-D", &data, "-w", "-l", &log, "-o", &options, "start"],
        )?;
        server.prepare()?;
        Ok(Some(server))
    }

    /// Transactions a second of all clients together.
    pub(crate) fn rate(&self, round: Duration) -> Result<f64> {
        let script = self.directory.path().join("script").display().to_string();
        let counters = format!("counters={}", self.counters);
        let clients = self.clients.to_string();
        // Whole seconds only, and its first moments are slow.
        let seconds = (round.as_secs() * 3).max(1).to_string();
        let socket = self.directory.path().display().to_string();
        let output = self.call(
            "pgbench",
            &[
                "-n",
                "-M",
                "prepared",
                "-f",
                &script,
                "-D",
                &counters,
                "-c",
                &clients,
                "-j",
                "2",
                "-T",
                &seconds,
                "--max-tries=1000",
                "-h",
                &socket,
                ACCOUNT,
            ],
        )?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = "))
            .and_then(|rest| rest.split_whitespace().next())
            .with_context(|| format!("pgbench names no rate: {text}"))?;
        Ok(rate.parse()?)
    }

    fn prepare(&self) -> Result<()> {
        let table = format!(
            "CREATE TABLE counters (id int PRIMARY KEY, value bigint NOT NULL); \
             INSERT INTO counters SELECT id, 0 FROM generate_series(1, {}) id; \
             VACUUM ANALYZE counters; CHECKPOINT;",
            self.counters
        );
        let socket = self.directory.path().display().to_string();
        let role = if self.as_root {
            String::new()
        } else {
            // The cluster belongs to whoever made it, and has a database of one name only.
            format!("CREATE ROLE {ACCOUNT} SUPERUSER LOGIN; ")
        };
        for statement in role.split_inclusive(';').chain(table.split_inclusive(';')) {
            if statement.trim().is_empty() {
                continue;
            }
            self.call(
                "psql",
                &["-q", "-h", &socket, "-d", "postgres", "-c", statement],
            )?;
        }
        Ok(())
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    /// Runs one of its programs to the end.
    fn call(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let path = self.programs.join(program);
        let mut command = if self.as_root {
            let mut command = Command::new("runuser");
            command.args(["-u", ACCOUNT, "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        let output = command
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            bail!(
                "{program} failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // If it does not run, there is nothing to stop; the directory is removed either way.
        let _ = self.call("pg_ctl", &["-D", &self.data(), "-m", "immediate", "stop"]);
    }
}

/// The directory with `pgbench` and the server, of the newest version installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).ok()?.filter_map(Result::ok);
    let installed = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| {
            ["initdb", "pg_ctl", "pgbench"]
                .iter()
                .all(|name| bin.join(name).exists())
        });
    installed.max_by_key(|bin| version_of(bin))
}

fn version_of(bin: &Path) -> u32 {
    let version = bin.parent().and_then(Path::file_name);
    let text = version.map(|name| name.to_string_lossy().into_owned());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// User and group of the account, from its home directory's owner.
fn account() -> Result<(u32, u32)> {
    let passwords = fs::read_to_string("/etc/passwd")?;
    let line = passwords
        .lines()
        .find(|line| line.split(':').next() == Some(ACCOUNT));
    let home = line
        .and_then(|line| line.split(':').nth(5))
        .with_context(|| format!("there is no account '{ACCOUNT}'"))?;
    let found = fs::metadata(home).with_context(|| format!("the home of '{ACCOUNT}'"))?;
    Ok((found.uid(), found.gid()))
}
