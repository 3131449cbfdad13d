//! What Plurix is built from: free licences that suit its own, the public registry alone, and no C
//! library that a user would have to install first. It does the part of cargo-deny's work that
//! needs no network and none of the minutes that building cargo-deny takes; advisories, whose
//! database lives on the network, are not checked.

use cargo_metadata::{Metadata, Package};

use crate::violation::Violation;

/// SPDX identifiers that go with MIT OR Apache-2.0.
const LICENCES: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates whose `links` key asks for nothing that a machine with a C compiler lacks: it makes them
/// unique in a build, or they bring the library's source with them (`zstd-sys`, `ring`).
const LINKS_NOTHING_FOREIGN: [&str; 5] = [
    "prettyplease",
    "rayon-core",
    "ring",
    "wasm-bindgen-shared",
    "zstd-sys",
];

/// Crates refused, with the reason.
const BANNED: [(&str, &str); 5] = [
    ("bincode", "no longer maintained; use postcard"),
    (
        "bindgen",
        "needs libclang; write the few declarations on rustix or libc",
    ),
    (
        "madsim",
        "replaces the standard library underneath; use the simulator in crates/sim",
    ),
    ("native-tls", "needs a C library; use rustls"),
    (
        "userfaultfd",
        "needs libclang; write the few ioctls on rustix",
    ),
];

/// Checks every package of the resolved graph.
pub(crate) fn check(metadata: &Metadata) -> Vec<Violation> {
    let mut violations: Vec<_> = metadata.packages.iter().flat_map(check_package).collect();
    violations.sort();
    violations
}

fn check_package(package: &Package) -> Vec<Violation> {
    let name = package.name.as_str();
    let foreign = package.source.is_some();
    let mut found = Vec::new();
    if let Err(what) = licence(package.license.as_deref()) {
        found.push((what, "replace the crate".to_owned()));
    }
    if foreign
        && !package
            .source
            .as_ref()
            .is_some_and(cargo_metadata::Source::is_crates_io)
    {
        let what = "does not come from crates.io".to_owned();
        found.push((what, "depend on a published version".to_owned()));
    }
    if let Some(library) = &package.links
        && !LINKS_NOTHING_FOREIGN.contains(&name)
    {
        found.push((
            format!("links the C library {library}"),
            "replace the crate".to_owned(),
        ));
    }
    if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
        found.push(("is banned".to_owned(), (*reason).to_owned()));
    }
    found
        .into_iter()
        .map(|(what, remedy)| {
            let what = format!("{name} {} {what}", package.version);
            Violation::new("Cargo.lock", 1, what, remedy)
        })
        .collect()
}

fn licence(stated: Option<&str>) -> Result<(), String> {
    let Some(stated) = stated else {
        return Err("states no licence".to_owned());
    };
    let expression = spdx::Expression::parse_mode(stated, spdx::ParseMode::LAX)
        .map_err(|error| format!("states a licence that does not parse: {}", error.reason))?;
    if expression.evaluate(|required| LICENCES.contains(&required.to_string().as_str())) {
        return Ok(());
    }
    Err(format!(
        "is under {stated}, which is not on the list in {}",
        file!()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A package as `cargo metadata` prints it, with one field changed.
    fn package(field: &str, value: Value) -> Package {
        let mut package = json!({
            "name": "good",
            "version": "1.0.0",
            "id": "good",
            "license": "MIT OR Apache-2.0",
            "source": "registry+https://github.com/rust-lang/crates.io-index",
            "links": null,
            "dependencies": [],
            "targets": [],
            "features": {},
            "manifest_path": "/good/Cargo.toml",
        });
        package[field] = value;
        serde_json::from_value(package).unwrap()
    }

    #[test]
    fn licences_are_judged_as_expressions() {
        for (stated, allowed) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-3.0-only", false),
            ("MIT AND GPL-3.0-only", false),
            ("MPL-2.0", false),
            ("none of your business", false),
        ] {
            assert_eq!(licence(Some(stated)).is_ok(), allowed, "{stated}");
        }
        assert!(licence(None).is_err());
    }

    #[test]
    fn each_rule_refuses_a_package_that_breaks_it() {
        assert_eq!(check_package(&package("name", json!("good"))), []);
        for (field, value) in [
            ("license", json!("GPL-3.0-only")),
            ("source", json!("git+https://example.org/bad")),
            ("links", json!("ssl")),
            ("name", json!("bindgen")),
        ] {
            assert_eq!(check_package(&package(field, value)).len(), 1, "{field}");
        }
    }
}
