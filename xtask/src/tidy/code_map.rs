//! ARCHITECTURE.md's code map is where a newcomer starts; it must name every crate and nothing
//! that is gone.

use std::collections::BTreeSet;

use crate::repository::Repository;
use crate::violation::Violation;

const MAP: &str = "ARCHITECTURE.md";

/// Checks the map against the directories.
pub(crate) fn check(repository: &Repository) -> Vec<Violation> {
    let Some(text) = repository.text(MAP) else {
        return vec![Violation::new(
            MAP,
            1,
            "missing",
            "write it, with a map of the crates",
        )];
    };
    let named: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .flat_map(|(index, line)| paths(line).map(move |path| (index + 1, path)))
        .collect();
    let missing = crates(repository)
        .into_iter()
        .filter(|directory| !named.iter().any(|(_, path)| path == directory));
    let gone = named.iter().filter(|(_, path)| !repository.exists(path));
    let missing = missing.map(|directory| {
        Violation::new(
            MAP,
            1,
            format!("the code map does not name {directory}"),
            "add it",
        )
    });
    let gone = gone.map(|(line, path)| {
        Violation::new(
            MAP,
            *line,
            format!("{path} does not exist"),
            "name what took its place",
        )
    });
    missing.chain(gone).collect()
}

/// The directories of all crates.
fn crates(repository: &Repository) -> BTreeSet<&str> {
    let manifests = repository
        .files()
        .filter_map(|(path, _)| path.strip_suffix("/Cargo.toml"));
    manifests
        .filter(|directory| directory.starts_with("crates/") || *directory == "xtask")
        .collect()
}

/// The paths of ours that `line` mentions: words that begin with `crates/` or are `xtask`.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && !"/_-.".contains(c))
        .map(|word| word.trim_end_matches(['.', '/']))
        .filter(|word| {
            word.starts_with("crates/") || *word == "xtask" || word.starts_with("xtask/")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(map: &str) -> Vec<(usize, String)> {
        let repository = Repository::of([
            (MAP, map),
            ("crates/wire/Cargo.toml", ""),
            ("crates/wire/src/lib.rs", ""),
            ("xtask/Cargo.toml", ""),
        ]);
        check(&repository)
            .into_iter()
            .map(|v| (v.line, v.what))
            .collect()
    }

    #[test]
    fn a_map_that_names_every_crate_and_no_other_path_passes() {
        assert!(found("`crates/wire/` and [wire](crates/wire/src/lib.rs), `xtask`.").is_empty());
    }

    #[test]
    fn a_crate_left_out_is_missed() {
        let what = "the code map does not name crates/wire".to_owned();
        assert_eq!(found("`crates/wire/src/lib.rs` and `xtask`"), [(1, what)]);
    }

    #[test]
    fn a_path_that_is_gone_is_named_with_its_line() {
        let what = "crates/gone does not exist".to_owned();
        assert_eq!(found("`crates/wire`, xtask\n\n`crates/gone`"), [(3, what)]);
    }

    #[test]
    fn the_map_itself_must_be_there() {
        assert_eq!(check(&Repository::default()).len(), 1);
    }
}
