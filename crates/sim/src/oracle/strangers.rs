//! Who breaks the protocol is told so in the right words, and nobody else suffers: no other member
//! ends or loses its connection, and nothing commits.
//!
//! Source: ARCHITECTURE.md, invariant 5.

use plurix_wire::Incarnation;
use plurix_wire::message::{Join, SessionRefusal, Status, ToStation, Violation as Breach};

use super::{Violation, demand};

pub(crate) const ORACLE: &str = "strangers";

/// What the leader says to a stranger at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Silence,
    Welcome,
    Status,
    UnknownLife,
    Taken,
    Full,
    Breach(Breach),
    ShuttingDown,
    RolledBack,
}

/// The answer that a message is; a batch is none.
pub(crate) fn answer(message: &ToStation) -> Option<Answer> {
    Some(match message {
        ToStation::Welcome(_) => Answer::Welcome,
        ToStation::Status(_) => Answer::Status,
        ToStation::Refused(refusal) => match refusal {
            SessionRefusal::UnknownIncarnation => Answer::UnknownLife,
            SessionRefusal::StationTaken(_) => Answer::Taken,
            SessionRefusal::Full(_) => Answer::Full,
            SessionRefusal::Violation(breach) => Answer::Breach(*breach),
            SessionRefusal::ShuttingDown => Answer::ShuttingDown,
            SessionRefusal::RolledBack { .. } => Answer::RolledBack,
        },
        ToStation::Batch(_)
        | ToStation::Stopping
        | ToStation::Checkpointed(_)
        | ToStation::RecoveryLine(_)
        | ToStation::Insight(_) => return None,
    })
}

/// What becomes of a join, and the life that it ends, if any: that of a station which has its
/// number and is away.
pub(crate) fn joins(
    before: &Status,
    join: &Join,
    stations_max: u32,
) -> (Answer, Option<Incarnation>) {
    let is_wanted = |number: u32| join.station.is_some_and(|wanted| wanted.0 == number);
    let mut stations = before.stations.iter();
    let holder = stations.find(|station| is_wanted(station.station));
    if holder.is_some_and(|holder| holder.connected) {
        return (Answer::Taken, None);
    }
    let others = before.stations.len() - usize::from(holder.is_some());
    let ended = holder.map(|holder| Incarnation(holder.incarnation));
    if others >= stations_max as usize {
        (Answer::Full, ended)
    } else {
        (Answer::Welcome, ended)
    }
}

/// Judges what the leader said.
pub(crate) fn judge(expected: Answer, told: Answer) -> Result<(), Violation> {
    demand!(
        told == expected,
        ORACLE,
        "a stranger was told {told:?}, where {expected:?} was due"
    );
    Ok(())
}

/// Judges what the leader did: `before` and `after` it heard the stranger, of whose `own` lives it
/// may have ended any.
pub(crate) fn unharmed(
    before: &Status,
    after: &Status,
    own: [Option<Incarnation>; 2],
) -> Result<(), Violation> {
    demand!(
        before.commit == after.commit && before.generation == after.generation,
        ORACLE,
        "a stranger took the heap from commit {} to {}",
        before.commit,
        after.commit
    );
    for station in &before.stations {
        let is_own = own.contains(&Some(Incarnation(station.incarnation)));
        let still = after
            .stations
            .iter()
            .find(|now| now.incarnation == station.incarnation);
        demand!(
            is_own || still.is_some_and(|now| now.connected == station.connected),
            ORACLE,
            "station {} suffered from what a stranger said",
            station.station
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_wire::message::StationStatus;

    fn status(incarnations: &[u64]) -> Status {
        let station = |&incarnation: &u64| StationStatus {
            incarnation,
            connected: true,
            ..StationStatus::default()
        };
        Status {
            stations: incarnations.iter().map(station).collect(),
            ..Status::default()
        }
    }

    #[test]
    fn only_the_strangers_own_lives_may_end() {
        let (before, after) = (status(&[1, 2]), status(&[1]));
        assert!(unharmed(&before, &after, [Some(Incarnation(2)), None]).is_ok());
        assert!(unharmed(&before, &after, [Some(Incarnation(3)), None]).is_err());
        assert!(unharmed(&after, &before, [None, None]).is_ok());
    }
}
