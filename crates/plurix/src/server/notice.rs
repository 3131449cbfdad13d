//! What a running page server has to say to whoever looks after its machine.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plurix_protocol::leader::{Leader, LostLine};
use plurix_store::{Checkpoint, CheckpointError, Space};
use plurix_wire::{CheckpointId, CommitNumber, Generation};
use tracing::{info, warn};

/// Something that a person should know, though the page server goes on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Notice {
    /// There is no room for the next segment of the log. Commits go on until the present one is
    /// full; then they are refused.
    LogShort {
        /// Where the log is.
        log: PathBuf,
        /// What the file system says.
        why: Arc<io::Error>,
    },
    /// There is room again.
    LogHasRoom {
        /// Where the log is.
        log: PathBuf,
    },
    /// A checkpoint has begun.
    CheckpointBegun {
        /// Its number.
        id: CheckpointId,
        /// Its cut: the newest commit in it.
        commit: CommitNumber,
    },
    /// A checkpoint is on disk.
    CheckpointTaken(Box<Checkpoint>),
    /// The pages of the checkpoint it started from are in memory, or as many as there is room for.
    Preloaded {
        /// How many there are now.
        pages: usize,
        /// The time from when it was ready.
        took: Duration,
    },
    /// A station came back that had seen more of the heap than there is since it went back.
    CommitsLost {
        /// The generation that began then.
        generation: Generation,
        /// The commit that the heap went back to.
        cut: CommitNumber,
        /// How many commits after it that station had seen: as many are lost, at least.
        lost: u64,
    },
    /// A checkpoint could not be taken; it is tried again.
    CheckpointFailed {
        /// Why.
        why: Arc<CheckpointError>,
        /// The one tried before failed, too.
        again: bool,
    },
    /// After failures a checkpoint is on disk.
    CheckpointsGoOn,
    /// A team has no further recovery lines until it has loaded all of the one that it went on from, for
    /// that was lost with a page server before. It is told once whenever the team has formed.
    LineLost {
        /// The line that the team went on from.
        line: CommitNumber,
        /// The one before, to which the team goes back if it loses a station, if there is one.
        newest: Option<CommitNumber>,
    },
}

impl Notice {
    /// Whether a person should be told who did not ask for every step.
    #[must_use]
    pub fn is_unusual(&self) -> bool {
        !matches!(
            self,
            Self::CheckpointBegun { .. }
                | Self::CheckpointTaken(_)
                | Self::CheckpointFailed { again: true, .. }
        )
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogShort { log, why } => write!(
                f,
                "warning: no room for the next segment of the log in {}: {why}; make room there: \
                 when the present segment is full, commits must wait for it",
                log.display()
            ),
            Self::LogHasRoom { log } => write!(f, "the log in {} has room again", log.display()),
            Self::CheckpointBegun { id, commit } => {
                write!(f, "checkpoint {} begins at commit {}", id.0, commit.0)
            }
            Self::CheckpointTaken(checkpoint) => write!(
                f,
                "checkpoint {} of commit {} is on disk: {} of {} pages written",
                checkpoint.id.0,
                checkpoint.cut.number.0,
                checkpoint.changed + checkpoint.carried,
                checkpoint.pages
            ),
            Self::Preloaded { pages, took } => write!(
                f,
                "{pages} pages are in memory, {:.1} s after the start",
                took.as_secs_f64()
            ),
            Self::CommitsLost {
                generation,
                cut,
                lost,
            } => write!(
                f,
                "warning: a station had seen {lost} commits that are lost: generation {} began at \
                 commit {}",
                generation.0, cut.0
            ),
            Self::CheckpointFailed { why, .. } => write!(
                f,
                "warning: no checkpoint was taken: {why}; the ones before it are as they were"
            ),
            Self::CheckpointsGoOn => write!(f, "checkpoints are taken again"),
            Self::LineLost { line, newest } => {
                write!(
                    f,
                    "warning: recovery line {}, which a team went on from, was lost with the page server \
                     before; the team computes on, but has no further lines until its stations have \
                     loaded all of that one. If it loses a station before, it ",
                    line.0
                )?;
                match newest {
                    Some(newest) => write!(f, "goes back to line {}", newest.0)?,
                    None => write!(f, "begins again")?,
                }
                write!(
                    f,
                    "; to have that now, and lines again, restart one of them"
                )
            }
        }
    }
}

/// Tells notices, each once.
#[derive(Default)]
pub(super) struct Notices {
    tell: Option<Box<dyn FnMut(Notice) + Send>>,
    is_short: bool,
    has_failed: bool,
    /// What was told of lost commits.
    lost: u64,
}

impl Notices {
    pub(super) fn set(&mut self, tell: impl FnMut(Notice) + Send + 'static) {
        self.tell = Some(Box::new(tell));
    }

    /// Tells when room becomes short, and when it is there again. In between the store tries again
    /// and again.
    pub(super) fn space(&mut self, space: &Space, log: &Path) {
        let notice = match space {
            Space::Short(why) if !self.is_short => Notice::LogShort {
                log: log.to_owned(),
                why: Arc::clone(why),
            },
            Space::Ample if self.is_short => Notice::LogHasRoom {
                log: log.to_owned(),
            },
            Space::Ample | Space::Preparing | Space::Short(_) => return,
        };
        self.is_short = !self.is_short;
        self.tell(notice);
    }

    /// Tells what became of a checkpoint.
    pub(super) fn checkpoint(&mut self, outcome: Result<Checkpoint, CheckpointError>) {
        let had_failed = std::mem::replace(&mut self.has_failed, outcome.is_err());
        match outcome {
            Ok(checkpoint) => self.tell(Notice::CheckpointTaken(Box::new(checkpoint))),
            Err(error) => self.tell(Notice::CheckpointFailed {
                why: Arc::new(error),
                again: had_failed,
            }),
        }
        if had_failed && !self.has_failed {
            self.tell(Notice::CheckpointsGoOn);
        }
    }

    /// Tells when more commits turn out to be lost.
    pub(super) fn lost(&mut self, leader: &Leader) {
        let lost = leader.lost();
        if lost > self.lost {
            self.lost = lost;
            self.tell(Notice::CommitsLost {
                generation: leader.generation(),
                cut: leader.cut(),
                lost,
            });
        }
    }

    /// Tells which teams have no further recovery lines.
    pub(super) fn lines(&mut self, leader: &mut Leader) {
        while let Some(LostLine { line, newest, .. }) = leader.lost_line() {
            let newest = Some(newest).filter(|newest| *newest != CommitNumber(0));
            self.tell(Notice::LineLost { line, newest });
        }
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        if notice.is_unusual() {
            warn!(target: "plurix::server", "{notice}");
        } else {
            info!(target: "plurix::server", "{notice}");
        }
        if let Some(tell) = &mut self.tell {
            tell(notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use plurix_wire::message::recovery_line::{Basis, LineAnswer, LineRefusal, LineRequest, Offer};
    use plurix_wire::message::{ToLeader, ToStation};
    use plurix_wire::{Rank, TeamId};

    use super::*;
    use crate::admin::exchange;
    use crate::net::Address;
    use crate::net::handshake::{Client, connect};
    use crate::server::{PageServer, ServerOptions};
    use crate::station::Station;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_person_hears_once_that_a_team_has_no_further_lines() {
        let dir = tempfile::tempdir().unwrap();
        let address = Address::Unix(dir.path().join("socket"));
        let options = ServerOptions::new(dir.path().join("heap"), address.clone());
        let mut server = PageServer::open(options).unwrap();
        let (tell, told) = mpsc::channel();
        server.on_notice(move |notice| tell.send(notice).unwrap());
        let stop = server.stop_handle();
        let server = std::thread::spawn(move || server.run());
        let station = Station::join(&address, crate::Options::default()).unwrap();
        let client = Client {
            credentials: &crate::net::Credentials::default(),
            cluster: None,
            shares_memory: false,
            timeout: PATIENCE,
        };
        let (mut connection, _) = connect(&address, &client).unwrap();
        for cut in [1, 2] {
            // A line that this page server knows nothing of.
            let offer = LineRequest::Offer(Offer {
                team: TeamId(64),
                formation: 1,
                cut,
                basis: Basis::All(CommitNumber(7)),
                rank: Rank(0),
                size: 1,
            });
            let offer = ToLeader::RecoveryLine {
                incarnation: station.incarnation(),
                generation: station.generation(),
                request: offer,
            };
            let answer = exchange(&mut connection, &offer, Instant::now() + PATIENCE).unwrap();
            let refusal = LineAnswer::Refused(LineRefusal::OtherLine(CommitNumber(0)));
            assert_eq!(answer, Some(ToStation::RecoveryLine(refusal)));
        }
        drop(station);
        stop.stop();
        server.join().unwrap().unwrap();
        let told: Vec<Notice> = told.into_iter().collect();
        let [Notice::LineLost { line, newest: None }] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(*line, CommitNumber(7));
        assert!(told[0].is_unusual());
    }
}
