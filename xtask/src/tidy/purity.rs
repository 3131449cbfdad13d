//! The pure crates know no time, socket, file, thread, environment or randomness: what they need
//! of the world is passed in, so that one seed repeats a run exactly. The check reads tokens, so
//! comments and strings may speak of what the code must not touch.

use proc_macro2::{Ident, TokenStream, TokenTree};

use super::PURE_CRATES;
use super::tokens::{next_segments, starts_with, walk};
use crate::repository::Repository;
use crate::violation::Violation;

/// Modules of the standard library that reach outside the process, or at its threads.
const IMPURE_MODULES: [&str; 8] = ["env", "fs", "io", "net", "os", "process", "thread", "time"];

/// Names that are impure wherever they come from. The standard hash map is seeded at random and
/// iterates in another order each time.
const IMPURE_NAMES: [&str; 17] = [
    "HashMap",
    "HashSet",
    "Instant",
    "RandomState",
    "SystemTime",
    "UNIX_EPOCH",
    "async_std",
    "chrono",
    "crossbeam",
    "fastrand",
    "getrandom",
    "libc",
    "mio",
    "rand",
    "rustix",
    "thread_local",
    "tokio",
];

/// Macros that write to the process's streams.
const IMPURE_MACROS: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

/// What one file may mention all the same. The planted bug of a test is the thread's, so that tests
/// can run side by side; no other build has it.
const EXCEPTIONS: [(&str, &str); 1] = [("crates/wire/src/canary.rs", "thread_local")];

/// The crates that a seed must repeat exactly, though some of them touch files: clippy keeps clocks
/// and chance out of them, by a list that only a clippy.toml of their own can hold.
const SEEDED_CRATES: [&str; 3] = ["protocol", "store", "sim"];

/// Checks every source file of the pure crates, their tests included, and that clippy watches the
/// seeded ones.
pub(crate) fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations: Vec<_> = SEEDED_CRATES
        .iter()
        .filter_map(|name| clippy_watches(repository, name))
        .collect();
    for name in PURE_CRATES {
        for (path, text) in repository.below(&format!("crates/{name}/"), ".rs") {
            match text.parse::<TokenStream>() {
                Ok(tokens) => violations.extend(check_file(path, tokens)),
                Err(error) => violations.push(Violation::new(
                    path,
                    error.span().start().line,
                    format!("not Rust: {error}"),
                    "make it compile",
                )),
            }
        }
    }
    violations
}

fn clippy_watches(repository: &Repository, name: &str) -> Option<Violation> {
    let path = format!("crates/{name}/clippy.toml");
    let text = repository.text(&path).unwrap_or_default();
    let watches = ["Instant::now", "HashMap"]
        .iter()
        .all(|guarded| text.contains(guarded));
    (!watches).then(|| {
        let what = "clippy is not told to keep clocks and random order out of this crate";
        Violation::new(&path, 1, what, "link it to crates/protocol/clippy.toml")
    })
}

fn check_file(path: &str, tokens: TokenStream) -> Vec<Violation> {
    let mut violations = Vec::new();
    walk(tokens, &mut |tokens| {
        if let [TokenTree::Ident(ident), after @ ..] = tokens
            && !EXCEPTIONS.contains(&(path, ident.to_string().as_str()))
            && let Some(what) = impurity(ident, after)
        {
            let remedy = "pass the value in, or use an ordered or seeded type";
            violations.push(Violation::new(
                path,
                ident.span().start().line,
                what,
                remedy,
            ));
        }
    });
    violations
}

/// What is impure about `ident`, followed by `after`.
fn impurity(ident: &Ident, after: &[TokenTree]) -> Option<String> {
    let name = ident.to_string();
    if IMPURE_NAMES.contains(&name.as_str()) {
        return Some(format!("a pure crate mentions {name}"));
    }
    if IMPURE_MACROS.contains(&name.as_str()) && starts_with(after, "!") {
        return Some(format!("a pure crate prints by {name}!"));
    }
    if !["std", "core", "alloc"].contains(&name.as_str()) {
        return None;
    }
    if matches!(after.first(), Some(TokenTree::Ident(next)) if next == "as") {
        return Some(format!(
            "a pure crate renames {name}, which hides what it uses"
        ));
    }
    next_segments(after)
        .into_iter()
        .find_map(|module| match module.as_str() {
            "*" | "self" => Some(format!("{name}::{module} hides what a pure crate uses")),
            _ if IMPURE_MODULES.contains(&module.as_str()) => {
                Some(format!("a pure crate mentions {name}::{module}"))
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = include_str!("../../../crates/protocol/clippy.toml");

    fn lines(path: &str, source: &str) -> Vec<usize> {
        let repository = Repository::of([
            (path, source),
            ("crates/protocol/clippy.toml", LINTS),
            ("crates/store/clippy.toml", LINTS),
            ("crates/sim/clippy.toml", LINTS),
        ]);
        check(&repository).iter().map(|found| found.line).collect()
    }

    #[test]
    fn a_seeded_crate_that_clippy_does_not_watch_is_named() {
        let lax = "allow-unwrap-in-tests = true";
        let repository = Repository::of([
            ("crates/protocol/clippy.toml", LINTS),
            ("crates/store/clippy.toml", lax),
        ]);
        let found: Vec<_> = check(&repository)
            .into_iter()
            .map(|found| found.path)
            .collect();
        assert_eq!(
            found,
            ["crates/store/clippy.toml", "crates/sim/clippy.toml"]
        );
    }

    #[test]
    fn what_reaches_outside_is_found_on_its_line() {
        for bad in [
            "use std::time::Instant;",
            "use std::time::Duration;",
            "use std::{fmt, net::TcpStream};",
            "use ::std::fs;",
            "use core::net::IpAddr;",
            "use std::*;",
            "use std as other;",
            "use std::{self as other};",
            "extern crate std as other;",
            "fn f() { std::thread::spawn(|| ()); }",
            "fn f() { g(std::env::var(\"X\")); }",
            "macro_rules! m { () => { std::os::fd::AsFd } }",
            "fn f(map: HashMap<u8, u8>) {}",
            "use std::collections::{BTreeMap, HashSet};",
            "use std::hash::RandomState;",
            "fn f() { rand::random() }",
            "fn f() { getrandom::fill(&mut []) }",
            "async fn f() { tokio::task::yield_now().await }",
            "thread_local! { static A: u8 = 0; }",
            "fn f() { println!() }",
        ] {
            let source = format!("//! Why.\n\n{bad}\n");
            let found = lines("crates/protocol/src/a.rs", &source);
            assert!(
                !found.is_empty() && found.iter().all(|line| *line == 3),
                "{bad}: {found:?}"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_rust_is_refused_rather_than_passed_over() {
        assert_eq!(lines("crates/wire/src/a.rs", "fn f() {").len(), 1);
    }

    #[test]
    fn comments_strings_and_pure_modules_are_let_pass() {
        let source = r#"//! No std::time::Instant here.
            use std::{collections::BTreeMap, fmt, mem};
            use rustc_hash::FxHashMap;
            /// See std::net.
            fn f(time: u64, net: u8) -> &'static str { "std::fs println!" }
        "#;
        assert!(lines("crates/protocol/src/a.rs", source).is_empty());
    }

    #[test]
    fn other_crates_may_reach_outside() {
        assert!(lines("crates/plurix/src/a.rs", "use std::net::TcpStream;").is_empty());
    }

    #[test]
    fn an_exception_holds_for_one_name_in_one_file() {
        let source = "thread_local! { static A: u8 = 0; }";
        assert!(lines("crates/wire/src/canary.rs", source).is_empty());
        assert_eq!(lines("crates/wire/src/ids.rs", source), [1]);
        assert_eq!(lines("crates/wire/src/canary.rs", "use std::fs;"), [1]);
    }

    #[test]
    fn tests_of_a_pure_crate_are_pure_as_well() {
        assert_eq!(lines("crates/protocol/tests/a.rs", "use std::fs;"), [1]);
    }
}
