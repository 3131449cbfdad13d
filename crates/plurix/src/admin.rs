//! Questions and orders to a page server that need no membership: how it stands, to take a
//! checkpoint, and to end.

use std::time::{Duration, Instant};

pub use plurix_wire::latencies::{Latencies, Percentiles};
use plurix_wire::message::PageRun;
pub use plurix_wire::message::insight::{
    Conflicts, LineConflicts, LineStation, RunInsight, StationNumbers,
};
use plurix_wire::message::insight::{Insight, Question};
pub use plurix_wire::message::{CheckpointStatus, StationStatus, Status};
use plurix_wire::message::{ToLeader, ToStation};

use crate::error::{ErrorKind, Result};
use crate::net::handshake::{Client, ConnectError, connect};
use crate::net::{Address, Connection, Credentials, NetError};

/// A page server that takes longer to answer is not there. Marking a log clean waits for the disk.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Asks the page server at `address` how it stands.
///
/// # Errors
/// [`ErrorKind::Connect`] if there is none, or it wants other credentials.
pub fn status(address: &Address, credentials: impl Into<Credentials>) -> Result<Status> {
    match ask(address, credentials, &ToLeader::Status, ANSWER_MAX)? {
        ToStation::Status(status) => Ok(*status),
        _ => Err(unexpected(address)),
    }
}

/// Asks the page server at `address` to end in order; it has marked its log clean when this
/// answers. Its stations end too.
///
/// # Errors
/// As [`status`].
pub fn shutdown(address: &Address, credentials: impl Into<Credentials>) -> Result<()> {
    match ask(address, credentials, &ToLeader::Shutdown, ANSWER_MAX)? {
        ToStation::Stopping => Ok(()),
        _ => Err(unexpected(address)),
    }
}

/// Has the page server at `address` take a checkpoint of everything committed before, and answers when
/// it is on disk, which may take up to `patience`. If nothing was committed since the newest one, that
/// is the answer.
///
/// # Errors
/// [`ErrorKind::NoCheckpoint`] if it could not be taken, [`ErrorKind::Refused`] if the page server
/// ends; and as [`status`].
pub fn checkpoint(
    address: &Address,
    credentials: impl Into<Credentials>,
    patience: Duration,
) -> Result<CheckpointStatus> {
    match ask(address, credentials, &ToLeader::Checkpoint, patience)? {
        ToStation::Checkpointed(Ok(taken)) => Ok(*taken),
        ToStation::Checkpointed(Err(why)) => Err(ErrorKind::NoCheckpoint(why).into()),
        ToStation::Refused(refusal) => Err(ErrorKind::Refused(refusal).into()),
        _ => Err(unexpected(address)),
    }
}

/// Asks the page server at `address` for up to `limit` lines that transactions conflict about, those
/// with most conflicts first; with `reset` it begins to count anew.
///
/// # Errors
/// As [`status`].
pub fn conflicts(
    address: &Address,
    credentials: impl Into<Credentials>,
    limit: u32,
    reset: bool,
) -> Result<Conflicts> {
    let question = ToLeader::Ask(Question::Conflicts { limit, reset });
    match ask(address, credentials, &question, ANSWER_MAX)? {
        ToStation::Insight(insight) => match *insight {
            Insight::Conflicts(conflicts) => Ok(conflicts),
            _ => Err(unexpected(address)),
        },
        _ => Err(unexpected(address)),
    }
}

/// Asks the page server at `address` who holds pages and which commit wrote them last. Each run is its
/// first page and how many there are; a million pages may be asked for at once, in 4096 runs.
///
/// # Errors
/// As [`status`].
pub fn page_holders(
    address: &Address,
    credentials: impl Into<Credentials>,
    runs: &[(u32, u32)],
) -> Result<Vec<RunInsight>> {
    let runs = runs
        .iter()
        .map(|(first, count)| PageRun::new(plurix_wire::PageNumber(*first), *count));
    let question = ToLeader::Ask(Question::Pages(runs.collect()));
    match ask(address, credentials, &question, ANSWER_MAX)? {
        ToStation::Insight(insight) => match *insight {
            Insight::Pages(runs) => Ok(runs),
            _ => Err(unexpected(address)),
        },
        _ => Err(unexpected(address)),
    }
}

/// Sends one message over a connection of its own and waits for the answer.
fn ask(
    address: &Address,
    credentials: impl Into<Credentials>,
    message: &ToLeader,
    patience: Duration,
) -> Result<ToStation> {
    let deadline = Instant::now() + patience;
    let client = Client {
        credentials: &credentials.into(),
        cluster: None,
        // Not for a single answer.
        shares_memory: false,
        timeout: ANSWER_MAX,
    };
    let (mut connection, _) = connect(address, &client).map_err(ErrorKind::from)?;
    let answer = exchange(&mut connection, message, deadline).map_err(|source| {
        let address = address.clone();
        ErrorKind::from(ConnectError::Broken { address, source })
    })?;
    answer.ok_or_else(|| ErrorKind::from(ConnectError::Silent(address.clone())).into())
}

/// The answer, or `None` if none came before the deadline.
pub(crate) fn exchange(
    connection: &mut Connection,
    message: &ToLeader,
    deadline: Instant,
) -> Result<Option<ToStation>, NetError> {
    connection.queue(message)?;
    loop {
        connection.flush()?;
        // What arrived before the peer closed the connection still counts.
        let received = connection.receive();
        if let Some(answer) = connection.next()? {
            return Ok(Some(answer));
        }
        received?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        connection.wait(left)?;
    }
}

fn unexpected(address: &Address) -> crate::Error {
    let source = NetError::Wire(plurix_wire::Error::Invalid("not an answer to the question"));
    ErrorKind::from(ConnectError::Broken {
        address: address.clone(),
        source,
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    #[test]
    fn the_status_tells_who_is_there() {
        let mut cluster = Cluster::local(2).unwrap();
        cluster.stations()[0]
            .transaction(|tx| tx.alloc(7u64))
            .unwrap();
        let status = status(cluster.address(), None).unwrap();
        assert_eq!(status.stations.len(), 2);
        assert!(status.stations.iter().all(|station| station.connected));
        assert!(status.commit > 0 && status.commits >= status.stations[0].commits);
    }

    #[test]
    fn stations_tell_what_only_they_know() {
        let mut cluster = Cluster::local(1).unwrap();
        let address = cluster.address().clone();
        let counter = cluster.stations()[0].transaction(|tx| tx.alloc(0u64));
        let counter = counter.unwrap();
        let deadline = Instant::now() + ANSWER_MAX;
        let told = loop {
            let station = &mut cluster.stations()[0];
            station
                .transaction(|tx| {
                    *tx.get_mut(counter)? += 1;
                    Ok(())
                })
                .unwrap();
            let status = status(&address, None).unwrap();
            let [station] = status.stations.try_into().unwrap();
            match station.numbers.clone() {
                Some(numbers) if numbers.commits > 1 => break (station, numbers),
                _ => assert!(Instant::now() < deadline, "it tells nothing"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let (station, numbers) = told;
        assert!(station.bytes_in > 0 && station.bytes_out > 0);
        assert!(["ring", "unix"].contains(&station.transport.as_str()));
        assert!(station.fetches >= numbers.misses && numbers.misses > 0);
        assert_eq!(numbers.commits, numbers.commit_latency.count());
        assert_eq!(numbers.misses, numbers.miss_latency.count());
        assert_eq!(numbers.cache_bytes, numbers.cache_pages * 4096);
        let ended = numbers.commits + numbers.reads + numbers.restarts;
        assert!(
            (ended..=ended + 1).contains(&numbers.attempts),
            "{numbers:?}"
        );
    }

    #[test]
    fn a_line_that_two_stations_write_is_counted_with_the_bytes_of_each() {
        let mut cluster = Cluster::local(2).unwrap();
        let address = cluster.address().clone();
        let [first, second] = cluster.stations() else {
            unreachable!()
        };
        let pair = first.transaction(|tx| tx.alloc_slice_from(&[0u64, 0]));
        let pair = pair.unwrap();
        second.latest().unwrap();
        let mut attempts = 0;
        second
            .transaction(|tx| {
                attempts += 1;
                tx.get_mut(pair)?[1] = u64::MAX;
                if attempts == 1 {
                    let written = first.transaction(|tx| {
                        tx.get_mut(pair)?[0] = u64::MAX;
                        Ok(())
                    });
                    written?;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(attempts, 2);
        let found = conflicts(&address, None, 10, true).unwrap();
        assert_eq!(found.refused, 1);
        let [line] = found.lines.as_slice() else {
            panic!("{found:?}")
        };
        let at = u64::from(line.page.0) * 4096 + u64::from(line.line) * 64;
        assert_eq!(at, pair.offset() & !63);
        assert_eq!((line.count, line.error, line.others), (1, 0, false));
        let by = |number| *line.stations.iter().find(|s| s.station == number).unwrap();
        let shift = pair.offset() % 64;
        let (refused, wrote) = (by(second.number()), by(first.number()));
        assert_eq!((refused.refused, refused.wrote), (1, 0));
        assert_eq!((wrote.refused, wrote.wrote), (0, 1));
        assert_eq!(wrote.bytes, 0xff << shift);
        assert_eq!(refused.bytes, 0xff << (shift + 8));
        assert_eq!(conflicts(&address, None, 10, false).unwrap().refused, 0);
    }

    #[test]
    fn holders_of_pages_are_told_and_too_much_is_refused() {
        let mut cluster = Cluster::local(2).unwrap();
        let address = cluster.address().clone();
        let station = &mut cluster.stations()[0];
        let value = station.transaction(|tx| tx.alloc(7u64)).unwrap();
        let lives = station.incarnation();
        let page = (value.offset() / 4096) as u32;
        let found = page_holders(&address, None, &[(page, 1), (page + 1000, 2)]).unwrap();
        assert_eq!(
            (found[0].holders.as_slice(), found[0].held_pages),
            (&[lives][..], 1)
        );
        assert!(found[0].version > 0);
        assert_eq!(found[1], RunInsight::default());
        assert!(page_holders(&address, None, &[(0, u32::MAX)]).is_err());
    }

    #[test]
    fn a_checkpoint_holds_all_that_was_committed_before() {
        let mut cluster = Cluster::local(1).unwrap();
        let address = cluster.address().clone();
        let write = |cluster: &mut Cluster| {
            let written = cluster.stations()[0].transaction(|tx| tx.alloc(7u64));
            written.unwrap();
            status(&address, None).unwrap().commit
        };
        let mut numbers = Vec::new();
        for _ in 0..3 {
            let commit = write(&mut cluster);
            let taken = checkpoint(&address, None, ANSWER_MAX).unwrap();
            assert_eq!(taken.commit, commit);
            assert!(taken.pages >= taken.changed && taken.changed > 0);
            // Nothing was committed since.
            assert_eq!(checkpoint(&address, None, ANSWER_MAX).unwrap(), taken);
            numbers.push(taken.id);
        }
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }

    #[test]
    fn after_a_shutdown_nobody_is_there() {
        let cluster = Cluster::local(0).unwrap();
        let address = cluster.address().clone();
        shutdown(&address, None).unwrap();
        cluster.stop().unwrap();
        assert!(matches!(
            status(&address, None).unwrap_err().kind(),
            ErrorKind::Connect(_)
        ));
    }
}
