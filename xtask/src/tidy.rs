//! Checks of what the compiler cannot see. Each module below holds one family of rules, and the
//! unit tests of each show the rule refusing a bad sample: a check that cannot fail is worth
//! nothing.

mod code_map;
mod dependencies;
mod purity;
mod sources;
mod tokens;

use cargo_metadata::Metadata;

use crate::markdown;
use crate::repository::Repository;
use crate::violation::Violation;

/// The crates that hold the protocol and nothing of the machine it runs on.
const PURE_CRATES: [&str; 2] = ["wire", "protocol"];

/// Every violation in the repository, by path and line.
pub(crate) fn check(repository: &Repository, metadata: &Metadata) -> Vec<Violation> {
    let mut violations = dependencies::check(repository, metadata);
    violations.extend(purity::check(repository));
    violations.extend(sources::check(repository));
    violations.extend(code_map::check(repository));
    violations.extend(markdown::check_links(repository));
    violations.sort();
    violations
}
