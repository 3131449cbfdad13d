//! Oracle: in the end every station reads the same, and it is what an undisturbed run gives, however
//! often the team began again. The scripts are free of races and add under locks only, so that the
//! workers of an interval, one after the other and alone, leave what any run must leave.
//!
//! Source: determinacy of programs without data races, up to the order of commuting critical sections
//! (Steele, "Making asynchronous parallelism safe for the world", POPL 1990).

use std::collections::BTreeMap;

use super::super::script::Spot;
use super::values::Values;
use crate::oracle::{Violation, demand};

/// Compares the model, by which every load was judged, with the expected `outcome`.
pub(in super::super) fn check(
    values: &Values,
    outcome: &BTreeMap<Spot, u8>,
    raced: Option<Spot>,
) -> Result<(), Violation> {
    for (&spot, &expected) in outcome.iter().filter(|(spot, _)| Some(**spot) != raced) {
        let found = values.at(spot);
        demand!(
            found == expected,
            "results",
            "{spot} is {found} in the end; an undisturbed run leaves {expected}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_wire::PageNumber;

    #[test]
    fn the_outcome_is_that_of_an_undisturbed_run() {
        let spot = Spot {
            page: PageNumber(3),
            at: 7,
        };
        let mut values = Values::default();
        let outcome = BTreeMap::from([(spot, 4)]);
        assert!(check(&values, &outcome, None).is_err());
        assert_eq!(check(&values, &outcome, Some(spot)), Ok(()));
        values.stored(spot, 4);
        assert_eq!(check(&values, &outcome, None), Ok(()));
    }
}
