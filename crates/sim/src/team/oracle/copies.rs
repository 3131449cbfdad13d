//! Oracle: what members hold fits together. Looked at whenever all of them are in one interval:
//!
//! - a page has one home at most;
//! - a page that its home stores to unseen has no copy anywhere;
//! - its home knows of every copy.
//!
//! Source: the invariants of `plurix_protocol::team`; directories that know all copies go back to Censier
//! and Feautrier, "A new solution to coherence problems in multicache systems", IEEE Transactions on
//! Computers C-27(12), 1978.

use plurix_protocol::team::{Access, Keeping, Member};
use plurix_wire::{PageNumber, Rank};

use crate::oracle::{Violation, demand};

/// A member, and what its program may do with a page.
pub(in super::super) type Held<'a> = (&'a Member, &'a dyn Fn(PageNumber) -> Access);

/// Looks at all members, in the order of their ranks.
pub(in super::super) fn check(
    pages: impl Iterator<Item = PageNumber>,
    members: &[Held<'_>],
) -> Result<(), Violation> {
    let interval = |(member, _): &Held<'_>| member.interval();
    let first = members.first().map(interval);
    if members.iter().any(|held| Some(interval(held)) != first) {
        return Ok(());
    }
    pages
        .into_iter()
        .try_for_each(|page| check_page(page, members))
}

fn check_page(page: PageNumber, members: &[Held<'_>]) -> Result<(), Violation> {
    let mut home: Option<(Rank, Keeping)> = None;
    for (member, _) in members {
        let Some(keeping) = member.keeping(page) else {
            continue;
        };
        demand!(
            home.is_none(),
            "copies",
            "page {page} has two homes, {} and {}",
            home.map_or(Rank(0), |(rank, _)| rank),
            member.rank()
        );
        home = Some((member.rank(), keeping));
    }
    for (member, access) in members {
        let (rank, access) = (member.rank(), access(page));
        if access == Access::None || home.is_some_and(|(home, _)| home == rank) {
            continue;
        }
        let Some((home, keeping)) = home else {
            let what = format!("{rank} has a copy of page {page}, which has no home");
            let oracle = "copies";
            return Err(Violation { oracle, what });
        };
        demand!(
            !keeping.is_unseen,
            "copies",
            "{home} stores unseen to page {page}, of which {rank} has a copy"
        );
        demand!(
            keeping.copies >> rank.0 & 1 == 1,
            "copies",
            "{home} does not know that {rank} has a copy of page {page}"
        );
    }
    Ok(())
}
