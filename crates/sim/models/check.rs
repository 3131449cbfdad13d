//! Runs the checker over one model and says how large it was; a broken rule is shown with the
//! shortest way to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plurix_wire::CommitNumber;
use plurix_wire::message::{Batch, Item};
use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, HasDiscoveries, Model};

use crate::cluster::{Cluster, Setup, Step};
use crate::process::Program;

/// How often things happened on any path that a model must reach to be worth anything. No part of
/// a state: it would tell apart what behaves alike.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    refused: AtomicU64,
    unknown: AtomicU64,
    too_old: AtomicU64,
    lines: AtomicU64,
    parts: AtomicU64,
    frozen: AtomicU64,
}

impl Tally {
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn too_old(&self) {
        self.too_old.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn batch(&self, batch: &Batch, newest: CommitNumber) {
        let lines = |item: &&Item| matches!(item, Item::Lines(_));
        let told = batch.items.iter().filter(lines).count() as u64;
        self.lines.fetch_add(told, Ordering::Relaxed);
        let is_behind = told > 0 && batch.last && batch.through < newest;
        self.frozen
            .fetch_add(u64::from(is_behind), Ordering::Relaxed);
        self.parts
            .fetch_add(u64::from(!batch.last), Ordering::Relaxed);
    }

    fn reached(&self, what: Reach) -> bool {
        let counter = match what {
            Reach::Refused => &self.refused,
            Reach::Unknown => &self.unknown,
            Reach::TooOld => &self.too_old,
            Reach::Lines => &self.lines,
            Reach::Parts => &self.parts,
            Reach::Frozen => &self.frozen,
        };
        counter.load(Ordering::Relaxed) > 0
    }
}

/// What a model is there to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A commit is refused.
    Refused,
    /// An outcome stays unknown.
    Unknown,
    /// A snapshot is too old for the history.
    TooOld,
    /// Lines are refreshed, after a backlog collapsed or a session was resumed.
    Lines,
    /// A group takes several batches.
    Parts,
    /// A group of lines ends at a commit that is not the newest any more.
    Frozen,
}

/// Visits every state; fails if one breaks a rule, or if something expected is never reached.
pub(crate) fn check<P: Program>(name: &str, setup: Setup<P>, expected: &[Reach]) {
    let found = visit(name, &setup);
    if let Some((rule, way)) = found.into_iter().next() {
        panic!("{name}: broken: {rule}\n{way}");
    }
    for what in expected {
        assert!(
            setup.tally.reached(*what),
            "{name}: never reached: {what:?}"
        );
    }
}

/// Visits states until a rule is found broken, which must be this one.
pub(crate) fn refute<P: Program>(name: &str, setup: &Setup<P>, rule: &'static str) {
    let found = visit(name, setup);
    let way = found.get(rule);
    let way = way.unwrap_or_else(|| panic!("{name}: no state breaks: {rule}: {found:?}"));
    println!("{name}: broken as it must be: {rule}\n{way}");
}

/// Visits states until a rule is broken or all were visited; answers the broken rules and a way to
/// where each is.
fn visit<P: Program>(name: &str, setup: &Setup<P>) -> BTreeMap<&'static str, String> {
    let checker = setup
        .clone()
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join_and_report(&mut Summary(name));
    let found = checker.discoveries().into_iter();
    found
        .map(|(rule, path)| (rule, listed(&path.into_actions())))
        .collect()
}

fn listed(steps: &[Step]) -> String {
    let lines = steps.iter().enumerate();
    lines
        .map(|(at, step)| format!("  {at:2} {step:?}\n"))
        .collect()
}

/// Prints the size of the model when it has been visited.
struct Summary<'a>(&'a str);

impl<P: Program> Reporter<Setup<P>> for Summary<'_> {
    fn report_checking(&mut self, data: ReportData) {
        if data.done {
            println!(
                "{}: {} states, {} steps, depth {}, {:.1} s",
                self.0,
                data.unique_states,
                data.total_states,
                data.max_depth,
                data.duration.as_secs_f64()
            );
        }
    }

    fn report_discoveries(
        &mut self,
        _: &Setup<P>,
        _: BTreeMap<&'static str, ReportDiscovery<Setup<P>>>,
    ) where
        Cluster<P>: std::fmt::Debug,
    {
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(50)
    }
}
