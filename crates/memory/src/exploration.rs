//! Runs models of concurrent code under `loom`: in every order of their steps, and with every value
//! that a load may see by the memory model of C++20 (Norris and Demsky, *CDSChecker*, OOPSLA 2013).
//! Public for the models of `plurix`; `cargo xtask loom` runs them all.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often a thread that could go on is interrupted in one interleaving, at most. Few bugs need
/// more than two (Musuvathi and Qadeer, *Iterative context bounding*, PLDI 2007).
const PREEMPTIONS_MAX: usize = 4;

/// Runs `model` in all interleavings, and prints how many those were.
///
/// # Panics
/// If it fails in one of them.
pub fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    explore_within(PREEMPTIONS_MAX, name, model);
}

/// Runs `model` in those interleavings that have up to so many `preemptions`, and prints how many those
/// were: for models of more steps or threads than could be explored further in reasonable time.
///
/// # Panics
/// If it fails in one of them.
pub fn explore_within(preemptions: usize, name: &str, model: impl Fn() + Send + Sync + 'static) {
    let interleavings = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&interleavings);
    let mut builder = loom::model::Builder::new();
    // `LOOM_MAX_PREEMPTIONS` asks for more, or for fewer.
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let interleavings = interleavings.load(Ordering::Relaxed);
    // Past the capture of the test harness, which shows the output of failed tests alone.
    let _ = writeln!(
        std::io::stdout(),
        "{name}: holds in {interleavings} interleavings"
    );
}

/// What loom says against a `model` that is wrong.
///
/// # Panics
/// If it finds nothing.
pub fn objection(model: impl Fn() + Send + Sync + 'static) -> String {
    let explored = catch_unwind(AssertUnwindSafe(|| explore("a wrong model", model)));
    let panic = explored.expect_err("what is wrong on purpose must be found");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or_else(|_| String::new(), |text| (*text).to_owned()),
    }
}
