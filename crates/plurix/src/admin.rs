//! Questions and orders to a page server that need no membership: how it stands, to take a
//! checkpoint, and to end.

use std::time::{Duration, Instant};

pub use plurix_wire::message::{CheckpointStatus, StationStatus, Status};
use plurix_wire::message::{ToLeader, ToStation};

use crate::error::{ErrorKind, Result};
use crate::net::handshake::{Client, ConnectError, connect};
use crate::net::{Address, Connection, NetError, Secret};

/// A page server that takes longer to answer is not there. Marking a log clean waits for the disk.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Asks the page server at `address` how it stands.
///
/// # Errors
/// [`ErrorKind::Connect`] if there is none, or it wants another secret.
pub fn status(address: &Address, secret: Option<&Secret>) -> Result<Status> {
    match ask(address, secret, &ToLeader::Status, ANSWER_MAX)? {
        ToStation::Status(status) => Ok(*status),
        _ => Err(unexpected(address)),
    }
}

/// Asks the page server at `address` to end in order; it has marked its log clean when this
/// answers. Its stations end too.
///
/// # Errors
/// As [`status`].
pub fn shutdown(address: &Address, secret: Option<&Secret>) -> Result<()> {
    match ask(address, secret, &ToLeader::Shutdown, ANSWER_MAX)? {
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
    secret: Option<&Secret>,
    patience: Duration,
) -> Result<CheckpointStatus> {
    match ask(address, secret, &ToLeader::Checkpoint, patience)? {
        ToStation::Checkpointed(Ok(taken)) => Ok(*taken),
        ToStation::Checkpointed(Err(why)) => Err(ErrorKind::NoCheckpoint(why).into()),
        ToStation::Refused(refusal) => Err(ErrorKind::Refused(refusal).into()),
        _ => Err(unexpected(address)),
    }
}

/// Sends one message over a connection of its own and waits for the answer.
fn ask(
    address: &Address,
    secret: Option<&Secret>,
    message: &ToLeader,
    patience: Duration,
) -> Result<ToStation> {
    let deadline = Instant::now() + patience;
    let client = Client {
        secret,
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
