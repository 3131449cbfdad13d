//! Namespaces of the kernel, as tests want them: a test that may not make them says so and is
//! skipped, and what fails inside fails the test.

use std::path::PathBuf;
use std::process::{Command, Output};

pub(crate) use plurix_chaos::namespace::Kind;

use super::{PLURIX, with_arguments};

/// A disk or a network of a test's own.
pub(crate) struct Namespace(plurix_chaos::namespace::Namespace);

impl Namespace {
    /// A new namespace, or `None` if the test must be skipped.
    pub(crate) fn new(kind: Kind) -> Option<Self> {
        let made = plurix_chaos::namespace::Namespace::new(kind);
        made.map(Self)
            .map_err(|why| eprintln!("SKIPPED: {why}"))
            .ok()
    }

    /// Another one of the same kind, under the same users.
    pub(crate) fn sibling(&self) -> Self {
        Self(self.0.sibling().unwrap())
    }

    /// The process number by which other programs name the namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// A program with `arguments`, separated by spaces, inside.
    pub(crate) fn command(&self, program: &str, arguments: &str) -> Command {
        with_arguments(self.0.command(program), arguments)
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
        self.0.run(program, arguments).unwrap();
    }

    /// The root directory as it looks inside.
    pub(crate) fn root(&self) -> PathBuf {
        self.0.root()
    }
}
