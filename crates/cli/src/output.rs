//! Writing for people and scripts. Who reads may go away (`plurix … | head`); that ends nothing.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to standard output.
pub(crate) fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    // A reader that has gone misses nothing that it wanted.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a line to standard error.
pub(crate) fn note(text: impl Display) {
    // As above.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
