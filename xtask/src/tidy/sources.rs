//! House style that can be counted or read off the tokens: every file says why it exists and stays
//! readable, unsafe code has one home, and nothing is left for later without an issue.

use proc_macro2::{TokenStream, TokenTree};

use super::tokens::{next_segments, walk};
use crate::repository::Repository;
use crate::violation::Violation;

/// The longest source file, in lines.
const LINES_MAX: usize = 600;

/// The only crate that may hold unsafe code.
const UNSAFE_HOME: &str = "crates/memory/";

/// What the store may name of plurix-memory: its mapped file, and how that fails.
const STORE_USES_OF_MEMORY: [&str; 2] = ["MappedFile", "Error"];

/// Words that promise later work. Split, so that this file does not break its own rule.
const PROMISES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Where promises are looked for, besides Rust sources.
const OTHER_SOURCES: [&str; 4] = [".md", ".toml", ".ci/run", ".sh"];

/// Checks every file.
pub(crate) fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in repository.files() {
        if path.ends_with(".rs") {
            violations.extend(says_why(path, text));
            violations.extend(is_short(path, text));
            let tokens = text.parse::<TokenStream>().unwrap_or_default();
            violations.extend(holds_unsafe(path, tokens.clone()));
            violations.extend(store_uses_of_memory(path, tokens));
        }
        if path.ends_with(".rs") || OTHER_SOURCES.iter().any(|end| path.ends_with(end)) {
            violations.extend(promises(path, text));
        }
    }
    violations
}

fn says_why(path: &str, text: &str) -> Option<Violation> {
    let first = text.lines().next().unwrap_or_default();
    let says = first
        .strip_prefix("//!")
        .is_some_and(|why| !why.trim().is_empty());
    (!says).then(|| {
        let what = "the first line is not a `//!` comment";
        Violation::new(
            path,
            1,
            what,
            "begin with a sentence on why the file exists",
        )
    })
}

fn is_short(path: &str, text: &str) -> Option<Violation> {
    let lines = text.lines().count();
    (path.contains("src/") && lines > LINES_MAX).then(|| {
        let what = format!("{lines} lines, more than {LINES_MAX}");
        Violation::new(
            path,
            LINES_MAX + 1,
            what,
            "look for the seam and split the file there",
        )
    })
}

fn holds_unsafe(path: &str, tokens: TokenStream) -> Vec<Violation> {
    if path.starts_with(UNSAFE_HOME) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    walk(tokens, &mut |window| {
        if let [TokenTree::Ident(ident), ..] = window
            && ident == "unsafe"
        {
            lines.push(ident.span().start().line);
        }
    });
    let violation = |line| {
        let what = format!("unsafe code outside {UNSAFE_HOME}");
        Violation::new(
            path,
            line,
            what,
            "give plurix-memory a safe function that does it",
        )
    };
    lines.into_iter().map(violation).collect()
}

fn store_uses_of_memory(path: &str, tokens: TokenStream) -> Vec<Violation> {
    if !path.starts_with("crates/store/") {
        return Vec::new();
    }
    let mut lines = Vec::new();
    walk(tokens, &mut |tokens| {
        if let [TokenTree::Ident(ident), after @ ..] = tokens
            && ident == "plurix_memory"
        {
            let names = next_segments(after);
            let allowed = names
                .iter()
                .all(|name| STORE_USES_OF_MEMORY.contains(&name.as_str()));
            if names.is_empty() || !allowed {
                lines.push(ident.span().start().line);
            }
        }
    });
    let violation = |line| {
        let what = "the store uses plurix-memory for more than mapped files";
        let remedy = format!(
            "name nothing of it but {}",
            STORE_USES_OF_MEMORY.join(" and ")
        );
        Violation::new(path, line, what, remedy)
    };
    lines.into_iter().map(violation).collect()
}

fn promises(path: &str, text: &str) -> Vec<Violation> {
    let numbered = text.lines().enumerate();
    numbered
        .filter(|(_, line)| {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(|word| PROMISES.contains(&word)) && !names_an_issue(line)
        })
        .map(|(index, _)| {
            let what = "work is left for later without an issue";
            Violation::new(
                path,
                index + 1,
                what,
                "do it now, or name the issue as `#N`",
            )
        })
        .collect()
}

fn names_an_issue(line: &str) -> bool {
    line.split('#')
        .skip(1)
        .any(|after| after.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Repository::of([(path, text)]))
            .iter()
            .map(|found| found.line)
            .collect()
    }

    #[test]
    fn a_file_must_say_why_it_exists() {
        for bad in [
            "",
            "use a;\n",
            "//!\n",
            "// Why.\n",
            "\n//! Why.\n",
            "/// Why.\nfn f() {}\n",
        ] {
            assert_eq!(lines("crates/plurix/src/a.rs", bad), [1], "{bad:?}");
        }
        assert!(lines("crates/plurix/tests/a.rs", "//! Why.\n").is_empty());
    }

    #[test]
    fn a_file_of_601_lines_is_too_long() {
        let longest = format!("//! Why.\n{}", "\n".repeat(LINES_MAX - 1));
        assert!(lines("crates/plurix/src/a.rs", &longest).is_empty());
        assert_eq!(
            lines("crates/plurix/src/a.rs", &(longest.clone() + "\n")),
            [LINES_MAX + 1]
        );
    }

    #[test]
    fn unsafe_code_has_one_home() {
        let source =
            "//! No unsafe here.\n\nfn f() { unsafe { g(\"unsafe\") } }\nunsafe impl A {}\n";
        assert_eq!(lines("crates/plurix/src/a.rs", source), [3, 4]);
        assert!(lines("crates/memory/src/a.rs", source).is_empty());
    }

    #[test]
    fn the_store_sees_only_the_mapped_file() {
        let path = "crates/store/src/a.rs";
        assert!(
            lines(
                path,
                "//! Why.\nuse plurix_memory::{Error as E, MappedFile};\n"
            )
            .is_empty()
        );
        assert_eq!(
            lines(path, "//! Why.\nuse plurix_memory::HeapMemory;\n"),
            [2]
        );
        assert_eq!(
            lines(
                path,
                "//! Why.\nuse plurix_memory::{MappedFile, HeapMemory};\n"
            ),
            [2]
        );
        assert_eq!(lines(path, "//! Why.\nuse plurix_memory as memory;\n"), [2]);
    }

    #[test]
    fn a_promise_names_its_issue() {
        for promise in PROMISES {
            let bare = format!("//! Why.\n// {promise}: later\n");
            let named = format!("//! Why.\n// {promise}(#12): later\n");
            assert_eq!(lines("crates/plurix/src/a.rs", &bare), [2]);
            assert!(lines("crates/plurix/src/a.rs", &named).is_empty());
            assert_eq!(lines("docs/guide.md", &format!("{promise} # later")), [1]);
            assert!(lines("crates/plurix/src/a.rs", &format!("//! {promise}S")).is_empty());
        }
    }
}
