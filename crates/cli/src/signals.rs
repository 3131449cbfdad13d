//! SIGINT and SIGTERM, as calls on a thread of their own.

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `act` for each SIGINT and SIGTERM from now on.
pub(crate) fn on_stop(mut act: impl FnMut() + Send + 'static) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for signals")?;
    std::thread::Builder::new()
        .name("plurix-signals".to_owned())
        .spawn(move || signals.forever().for_each(|_| act()))
        .context("cannot start a thread")?;
    Ok(())
}
