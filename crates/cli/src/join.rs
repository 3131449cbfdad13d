//! Joining a page server that may be away for a while, and telling a lost session from a lost cause.

use std::time::{Duration, Instant};

use plurix::error::SessionRefusal;
use plurix::net::Address;
use plurix::{Error, ErrorKind, Options, Station};

/// The pause between two attempts to join.
const PAUSE: Duration = Duration::from_millis(20);

/// Joins; a page server that is away is waited for, up to the options' patience. `on_wait` hears
/// once why there is a wait.
pub(crate) fn join(
    address: &Address,
    options: &Options,
    mut on_wait: impl FnMut(&Error),
) -> Result<Station, Error> {
    let begin = Instant::now();
    let mut told = false;
    loop {
        match Station::join(address, options.clone()) {
            Err(error) if is_away(&error) && begin.elapsed() < options.patience => {
                if !std::mem::replace(&mut told, true) {
                    on_wait(&error);
                }
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// Whether there is no page server now, though there may be one later.
pub(crate) fn is_away(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Connect(error) => error.is_passing(),
        ErrorKind::Refused(refusal) => matches!(refusal, SessionRefusal::ShuttingDown),
        _ => false,
    }
}

/// Whether only this life of the station is over: a new one can go on with the work.
pub(crate) fn is_lost_session(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::OutcomeUnknown
            | ErrorKind::NotRun
            | ErrorKind::RolledBack { .. }
            | ErrorKind::Refused(SessionRefusal::UnknownIncarnation)
    )
}

/// Whether the page server has ended in order.
pub(crate) fn is_shutdown(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Refused(SessionRefusal::ShuttingDown)
    )
}
