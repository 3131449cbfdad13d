//! What no reachable state may break. A step that breaks a rule is remembered in the state it leads
//! to, and nothing follows it, so that the checker's path to it ends where it happened.

use stateright::Property;

use crate::cluster::{Cluster, Setup};
use crate::process::Program;

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    Numbers,
    Twice,
    Answered,
    Refused,
    Unknown,
    Revealed,
    Opacity,
    Serial,
    Memory,
    Dead,
    Honest,
    Panics,
    Goal,
}

/// Checks a rule where the step that could break it is made.
#[macro_export]
macro_rules! demand {
    ($cluster:expr, $holds:expr, $rule:expr) => {
        if !$holds {
            $cluster.broken.get_or_insert($rule);
        }
    };
}

pub(crate) const COMES_TO_REST: &str =
    "every run comes to rest with all programs done and everybody a member";

/// One property for each rule, and that no run ends before everything is done.
pub(crate) fn properties<P: Program>() -> Vec<Property<Setup<P>>> {
    macro_rules! rule {
        ($rule:ident, $name:literal) => {
            Property::always($name, |_: &Setup<P>, state: &Cluster<P>| {
                state.broken != Some(Rule::$rule)
            })
        };
    }
    vec![
        rule!(Numbers, "numbers are dense, and only members commit"),
        rule!(Twice, "no id commits twice"),
        rule!(
            Answered,
            "an answer says what the log says, now and ever after"
        ),
        rule!(Refused, "a refused commit is never in the log"),
        rule!(
            Unknown,
            "an outcome is unknown only if the incarnation ended"
        ),
        rule!(
            Revealed,
            "nothing is revealed before it is logged as promised"
        ),
        rule!(Opacity, "every read of an attempt is of its one snapshot"),
        rule!(
            Serial,
            "what a committed transaction read held until its number"
        ),
        rule!(Memory, "a station's pages are the heap at its snapshot"),
        rule!(Dead, "who is seen dead commits nothing after that snapshot"),
        rule!(Honest, "nobody is taken to have broken the protocol"),
        rule!(Panics, "no assertion fails"),
        rule!(Goal, "the heap holds in the end what the programs did"),
        Property::always(COMES_TO_REST, |setup, state: &Cluster<P>| {
            state.broken.is_some() || !state.steps(setup).is_empty() || state.is_done()
        }),
    ]
}
