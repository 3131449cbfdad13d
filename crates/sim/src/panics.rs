//! A panic in the code under test ends its run like any violation, and says where it was. Shrinking
//! provokes the same panic hundreds of times, so that it must not print each of them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};

use crate::Failure;

thread_local! {
    /// Whether this thread runs a simulation.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    /// Where it panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, panics inside of runs print nothing; reports tell where they were.
pub fn keep_panics_quiet() {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if RUNNING.get() {
            PLACE.replace(info.location().map(ToString::to_string));
        } else {
            others(info);
        }
    }));
}

/// Calls `run`; answers what it does, or its panic.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    RUNNING.set(true);
    let end = panic::catch_unwind(AssertUnwindSafe(run));
    RUNNING.set(false);
    end.map_err(|panic| {
        let place = PLACE.take();
        let at = place.iter().map(|place| format!(", at {place}"));
        Failure {
            oracle: "panic".to_owned(),
            what: message(&*panic).to_owned() + &at.collect::<String>(),
            place,
        }
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
