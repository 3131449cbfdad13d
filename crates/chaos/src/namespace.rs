//! Namespaces of the kernel: a disk or a network of one's own. They have no names: the kernel takes
//! them away, with what is in them, when their last process ends, however that comes about.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Which part of the system a [`Namespace`] has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is mounted.
    Mounts,
    /// Network devices, addresses and ports.
    Network,
}

impl Kind {
    fn flag(self) -> &'static str {
        match self {
            Self::Mounts => "--mount",
            Self::Network => "--net",
        }
    }
}

/// A namespace, held by a process that does nothing and ends with whoever made it.
#[derive(Debug)]
pub struct Namespace {
    kind: Kind,
    holder: Child,
    /// The flags to enter the users' namespace that gives the right to all this.
    users: Vec<String>,
}

impl Namespace {
    /// A new namespace.
    ///
    /// # Errors
    /// Says why, above all without the right to make one: root's, or that of a user over a users'
    /// namespace of its own.
    pub fn new(kind: Kind) -> Result<Self, String> {
        let is_root = rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        if !is_root {
            command.args(["--user", "--map-root-user"]);
        }
        command.arg(kind.flag());
        let holder = hold(kind, command)
            .map_err(|why| format!("no right to make a namespace ({kind:?}): {why}"))?;
        let users = if is_root {
            Vec::new()
        } else {
            enter_users(&holder)
        };
        Ok(Self {
            kind,
            holder,
            users,
        })
    }

    /// Another one of the same kind, under the same users.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn sibling(&self) -> Result<Self, String> {
        let mut command = Command::new("nsenter");
        command.args(&self.users).arg("--");
        command.args(["unshare", self.kind.flag()]);
        Ok(Self {
            kind: self.kind,
            holder: hold(self.kind, command)?,
            users: self.users.clone(),
        })
    }

    /// The process number of the holder, by which other programs name the namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A program inside; `nsenter` becomes that program, in the same process.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(&self.users).arg(self.kind.flag());
        command.args(["--target", &self.pid().to_string(), "--"]);
        command.arg(program);
        command
    }

    /// Runs a program inside, with `arguments` separated by spaces, to its end.
    ///
    /// # Errors
    /// What it says if it fails.
    pub fn run(&self, program: &str, arguments: &str) -> Result<(), String> {
        let mut command = self.command(program);
        command.args(arguments.split_whitespace());
        let failed = |why| format!("{program} {arguments}: {why}");
        let output = command.output().map_err(|why| failed(why.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// The root directory as it looks inside.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.pid()).into()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The namespace lives on while other processes are in it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Starts the process that holds what `unshare` makes; answers when it is made.
fn hold(kind: Kind, mut unshare: Command) -> Result<Child, String> {
    if kind == Kind::Mounts {
        unshare.args(["--propagation", "private"]);
    }
    let mut holder = unshare
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (Some(input), Some(output)) = (&mut holder.stdin, &mut holder.stdout) else {
        unreachable!("both are piped");
    };
    let written = input.write_all(b"made\n");
    let mut line = String::new();
    let read = BufReader::new(output).read_line(&mut line);
    if written.is_ok() && read.is_ok() && line == "made\n" {
        return Ok(holder);
    }
    let ended = holder
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    Err(String::from_utf8_lossy(&ended.stderr).into_owned())
}

/// The flags by which `nsenter` joins the users' namespace of `holder`.
fn enter_users(holder: &Child) -> Vec<String> {
    let users = format!("--user=/proc/{}/ns/user", holder.id());
    vec![users, "--preserve-credentials".to_owned()]
}
