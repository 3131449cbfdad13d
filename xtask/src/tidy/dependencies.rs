//! The dependency law: which crate of Plurix may know which other, and which foreign crates may
//! come near the protocol. The law is what keeps the protocol free of sockets and clocks, and so
//! keeps the simulator's verdict valid for the real thing.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};

use super::PURE_CRATES;
use crate::repository::{Repository, line_starting_with};
use crate::violation::Violation;

/// Each crate, by directory, with the crates it may depend on.
const LAW: [(&str, &[&str]); 14] = [
    ("crates/wire", &[]),
    ("crates/protocol", &["wire"]),
    // The protocol for what it asks of a station's pages.
    ("crates/memory", &["wire", "protocol"]),
    // Memory only for its mapped file: see `sources::store_uses_of_memory`.
    ("crates/store", &["wire", "memory"]),
    ("crates/derive", &[]),
    (
        "crates/plurix",
        &["wire", "derive", "protocol", "memory", "store"],
    ),
    ("crates/apps", &["plurix"]),
    ("crates/cli", &["plurix", "apps"]),
    // What users would write, so with nothing but what users have.
    ("examples", &["plurix"]),
    (
        "crates/sim",
        &["wire", "protocol", "memory", "store", "plurix"],
    ),
    ("crates/chaos", &["wire", "store", "plurix", "sim"]),
    (
        "crates/lab",
        &[
            "wire", "protocol", "memory", "store", "plurix", "apps", "sim",
        ],
    ),
    (
        "fuzz",
        &["wire", "protocol", "memory", "store", "plurix", "apps"],
    ),
    ("xtask", &[]),
];

/// What any crate may use in its tests beyond the law.
const FOR_TESTS: [&str; 2] = ["sim", "chaos"];

/// The foreign crates that may be linked into a pure crate: they compute and allocate and do
/// nothing else (`embedded-io` is traits alone). Procedural macros run in the compiler and need no
/// entry.
const PURE_FOREIGN_CRATES: [&str; 10] = [
    "bytes",
    "cfg-if",
    "cobs",
    "crc32fast",
    "embedded-io",
    "postcard",
    "rustc-hash",
    "serde",
    "serde_core",
    "thiserror",
];

/// Checks every member's manifest and what is linked into the pure crates.
pub(crate) fn check(repository: &Repository, metadata: &Metadata) -> Vec<Violation> {
    let members: Vec<Member> = metadata
        .workspace_packages()
        .into_iter()
        .map(|p| Member::new(p, metadata))
        .collect();
    let mut violations: Vec<_> = members
        .iter()
        .flat_map(|member| obeys_law(member, repository))
        .collect();
    let links = links(metadata);
    for member in &members {
        if PURE_CRATES
            .iter()
            .any(|name| member.directory == format!("crates/{name}"))
        {
            violations.extend(links_only_pure(member, &links));
        }
    }
    violations
}

/// One crate of the workspace as its manifest states it.
struct Member {
    name: String,
    /// Relative to the root.
    directory: String,
    /// Dependencies on other members: directory and kind.
    uses: Vec<(String, DependencyKind)>,
}

impl Member {
    fn new(package: &Package, metadata: &Metadata) -> Self {
        let relative = |path: &cargo_metadata::camino::Utf8Path| {
            path.strip_prefix(&metadata.workspace_root)
                .unwrap_or(path)
                .to_string()
        };
        let uses = package
            .dependencies
            .iter()
            .filter_map(|dependency| Some((relative(dependency.path.as_ref()?), dependency.kind)));
        Self {
            name: package.name.to_string(),
            directory: package
                .manifest_path
                .parent()
                .map(relative)
                .unwrap_or_default(),
            uses: uses.collect(),
        }
    }
}

fn obeys_law(member: &Member, repository: &Repository) -> Vec<Violation> {
    let manifest = format!("{}/Cargo.toml", member.directory);
    let text = repository.text(&manifest).unwrap_or_default();
    let Some((_, allowed)) = LAW
        .iter()
        .find(|(directory, _)| *directory == member.directory)
    else {
        let what = format!("{} has no place in the dependency law", member.directory);
        return vec![Violation::new(
            &manifest,
            1,
            what,
            format!("give it one in {}", file!()),
        )];
    };
    let forbidden = member.uses.iter().filter(|(used, kind)| {
        let name = used.strip_prefix("crates/").unwrap_or(used);
        let for_tests = *kind == DependencyKind::Development && FOR_TESTS.contains(&name);
        !allowed.contains(&name) && !for_tests
    });
    forbidden
        .map(|(used, _)| {
            let crate_name = used
                .replace("crates/plurix", "plurix")
                .replace("crates/", "plurix-");
            let what = format!("{} must not depend on {used}", member.directory);
            let remedy = "move the code to where the law allows it, or pass the value in";
            Violation::new(
                &manifest,
                line_starting_with(text, &crate_name),
                what,
                remedy,
            )
        })
        .collect()
}

/// What each crate links, by name: normal dependencies, procedural macros left out.
type Links = BTreeMap<String, BTreeSet<String>>;

fn links(metadata: &Metadata) -> Links {
    let packages: BTreeMap<&PackageId, &Package> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package))
        .collect();
    let is_macro = |id: &PackageId| packages[id].targets.iter().any(|t| t.is_proc_macro());
    let mut links = Links::new();
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let linked = node.deps.iter().filter(|dependency| {
            !is_macro(&dependency.pkg)
                && dependency
                    .dep_kinds
                    .iter()
                    .any(|d| d.kind == DependencyKind::Normal)
        });
        // Several versions of a crate share a name, and so an entry.
        let names = links
            .entry(packages[&node.id].name.to_string())
            .or_default();
        names.extend(linked.map(|dependency| packages[&dependency.pkg].name.to_string()));
    }
    links
}

fn links_only_pure(member: &Member, links: &Links) -> Vec<Violation> {
    let manifest = format!("{}/Cargo.toml", member.directory);
    let mut violations = Vec::new();
    let mut seen = BTreeSet::new();
    let mut paths = vec![vec![member.name.as_str()]];
    while let Some(path) = paths.pop() {
        let last = path[path.len() - 1];
        for used in links.get(last).into_iter().flatten() {
            if !seen.insert(used) {
                continue;
            }
            let longer = [path.as_slice(), &[used.as_str()]].concat();
            if used.starts_with("plurix") || PURE_FOREIGN_CRATES.contains(&used.as_str()) {
                paths.push(longer);
                continue;
            }
            let what = format!(
                "{} is linked into a pure crate ({})",
                used,
                longer.join(" → ")
            );
            let remedy = format!(
                "remove it, or, if it knows no time, I/O, thread or randomness, list it in {}",
                file!()
            );
            violations.push(Violation::new(&manifest, 1, what, remedy));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(directory: &str, uses: &[(&str, DependencyKind)]) -> Member {
        Member {
            name: directory.replace("crates/", "plurix-"),
            directory: directory.to_owned(),
            uses: uses
                .iter()
                .map(|(used, kind)| ((*used).to_owned(), *kind))
                .collect(),
        }
    }

    #[test]
    fn the_law_refuses_every_edge_it_does_not_name() {
        use DependencyKind::{Build, Development, Normal};
        for (directory, used, kind, allowed) in [
            ("crates/protocol", "crates/wire", Normal, true),
            ("crates/protocol", "crates/memory", Normal, false),
            ("crates/protocol", "crates/memory", Development, false),
            ("crates/protocol", "crates/memory", Build, false),
            ("crates/protocol", "crates/sim", Normal, false),
            ("crates/protocol", "crates/sim", Development, true),
            ("crates/wire", "crates/protocol", Normal, false),
            ("crates/memory", "crates/protocol", Normal, true),
            ("crates/memory", "crates/store", Normal, false),
            ("crates/store", "crates/memory", Normal, true),
            ("crates/store", "crates/protocol", Normal, false),
            ("crates/plurix", "crates/sim", Normal, false),
            ("crates/apps", "crates/wire", Normal, false),
            ("crates/cli", "crates/store", Normal, false),
            ("crates/sim", "crates/apps", Normal, false),
            ("crates/chaos", "crates/sim", Normal, true),
            ("crates/chaos", "crates/cli", Normal, false),
            ("crates/cli", "crates/chaos", Normal, false),
            ("crates/cli", "crates/chaos", Development, true),
            ("crates/lab", "crates/apps", Normal, true),
            ("crates/lab", "crates/cli", Normal, false),
            ("crates/cli", "crates/lab", Normal, false),
            ("crates/apps", "xtask", Normal, false),
            ("fuzz", "crates/apps", Normal, true),
            ("fuzz", "crates/cli", Normal, false),
            ("crates/sim", "fuzz", Development, false),
            ("xtask", "crates/wire", Normal, false),
        ] {
            let found = obeys_law(&member(directory, &[(used, kind)]), &Repository::default());
            assert_eq!(
                found.is_empty(),
                allowed,
                "{directory} → {used} ({kind}): {found:?}"
            );
        }
    }

    #[test]
    fn a_violation_points_at_the_line_of_the_manifest() {
        let text = "[package]\n\n[dependencies]\nplurix-memory.workspace = true\n";
        let repository = Repository::of([("crates/protocol/Cargo.toml", text)]);
        let uses = [("crates/memory", DependencyKind::Normal)];
        let found = obeys_law(&member("crates/protocol", &uses), &repository);
        assert_eq!(
            (found[0].path.as_str(), found[0].line),
            ("crates/protocol/Cargo.toml", 4)
        );
    }

    #[test]
    fn a_crate_without_a_place_in_the_law_is_refused() {
        assert_eq!(
            obeys_law(&member("crates/new", &[]), &Repository::default()).len(),
            1
        );
    }

    #[test]
    fn an_impure_crate_is_found_however_deep_it_is_linked() {
        let linked = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let mut links = Links::from([
            (
                "plurix-protocol".to_owned(),
                linked(&["plurix-wire", "rustc-hash"]),
            ),
            ("plurix-wire".to_owned(), linked(&["bytes"])),
        ]);
        let protocol = member("crates/protocol", &[]);
        assert_eq!(links_only_pure(&protocol, &links), []);
        links.insert("bytes".to_owned(), linked(&["getrandom"]));
        let found = links_only_pure(&protocol, &links);
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .what
                .contains("plurix-protocol → plurix-wire → bytes → getrandom")
        );
    }
}
