//! Namespaces of the kernel: a disk or a network of a test's own. They have no names: the kernel
//! takes them away, with what is in them, when their last process ends, however the test ends.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use super::{PLURIX, errors, with_arguments};

/// Which part of the system a [`Namespace`] has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mounts,
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

/// A namespace, held by a process that does nothing and ends with the test.
pub(crate) struct Namespace {
    kind: Kind,
    holder: Child,
    /// The flags to enter the users' namespace that gives the right to all this.
    users: Vec<String>,
}

impl Namespace {
    /// A new namespace. Without the right to make one, root's or that of a user over a users'
    /// namespace of its own, the test says so and is skipped.
    pub(crate) fn new(kind: Kind) -> Option<Self> {
        let own_users: &[&str] = if rustix::process::geteuid().is_root() {
            &[]
        } else {
            &["--user", "--map-root-user"]
        };
        let mut command = Command::new("unshare");
        command.args(own_users).arg(kind.flag());
        let made = Self::hold(kind, command);
        let made = made.map(|holder| {
            let users = if own_users.is_empty() {
                Vec::new()
            } else {
                enter_users(&holder)
            };
            Self {
                kind,
                holder,
                users,
            }
        });
        made.map_err(|why| eprintln!("SKIPPED: no right to make a namespace ({kind:?}): {why}"))
            .ok()
    }

    /// Another one of the same kind, under the same users.
    pub(crate) fn sibling(&self) -> Self {
        let mut command = Command::new("nsenter");
        command.args(&self.users).arg("--");
        command.args(["unshare", self.kind.flag()]);
        Self {
            kind: self.kind,
            holder: Self::hold(self.kind, command).unwrap(),
            users: self.users.clone(),
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
        let written = holder.stdin.as_mut().unwrap().write_all(b"made\n");
        let mut line = String::new();
        let mut answers = BufReader::new(holder.stdout.as_mut().unwrap());
        answers.read_line(&mut line).unwrap();
        if written.is_ok() && line == "made\n" {
            return Ok(holder);
        }
        Err(errors(&holder.wait_with_output().unwrap()))
    }

    /// The process number of the holder, by which other programs name the namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A program with `arguments`, separated by spaces, inside.
    pub(crate) fn command(&self, program: &str, arguments: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(&self.users).arg(self.kind.flag());
        command.args(["--target", &self.pid().to_string(), "--", program]);
        with_arguments(command, arguments)
    }

    /// `plurix` inside.
    pub(crate) fn plurix(&self, arguments: &str) -> Command {
        self.command(PLURIX, arguments)
    }

    /// Runs `plurix` inside to its end.
    pub(crate) fn output(&self, arguments: &str) -> Output {
        self.plurix(arguments).output().unwrap()
    }

    /// Runs a program inside, which must succeed.
    #[track_caller]
    pub(crate) fn does(&self, program: &str, arguments: &str) {
        let output = self.command(program, arguments).output().unwrap();
        let (succeeds, errors) = (output.status.success(), errors(&output));
        assert!(succeeds, "{program} {arguments}: {errors}");
    }

    /// The root directory as it looks inside.
    pub(crate) fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.pid()).into()
    }
}

/// The flags by which `nsenter` joins the users' namespace of `holder`.
fn enter_users(holder: &Child) -> Vec<String> {
    let users = format!("--user=/proc/{}/ns/user", holder.id());
    vec![users, "--preserve-credentials".to_owned()]
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The namespace lives on while members of the test are in it; they end with the test too.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
