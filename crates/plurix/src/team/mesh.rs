//! How the stations of a team find each other: each listens, says where in the heap, and connects to
//! those before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plurix_wire::frame::HANDSHAKE_BYTES_MAX;
use plurix_wire::message::peer::{Acknowledgement, Introduction};
use plurix_wire::{ClusterId, Rank};

use super::TeamError;
use crate::error::Result;
use crate::net::handshake::{Client, Progress, ServerHandshake, connect};
use crate::net::{Address, Connection, Credentials, Listener, NetError};
use crate::station::HANDSHAKE_MAX;

/// A stranger on the port may hold up a member for so long.
const STRANGER_MAX: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Connections to the members of a team, by rank; there is none to oneself.
pub(super) type Links = Vec<Option<Connection>>;

/// What a member must know to meet the others.
pub(super) struct Meeting<'a> {
    pub(super) listener: &'a Listener,
    pub(super) cluster: ClusterId,
    pub(super) credentials: &'a Credentials,
    /// On one host, members speak through memory that both map.
    pub(super) shares_memory: bool,
    /// Names the team: the same at all its members, and at nobody else.
    pub(super) team: u64,
    pub(super) rank: Rank,
    /// Where each member listens, by rank.
    pub(super) addresses: &'a [Address],
    /// Until then all must have come.
    pub(super) deadline: Instant,
}

impl Meeting<'_> {
    /// Connects to all others; the answer has a connection at each rank but its own. `None` if the team
    /// is another one by now, as one of them, or `is_current`, tells.
    ///
    /// # Errors
    /// [`TeamError`] if somebody does not come in time; that of `is_current`.
    pub(super) fn meet(
        &self,
        mut is_current: impl FnMut() -> Result<bool>,
    ) -> Result<Option<Links>> {
        let size = self.addresses.len();
        let mut links = Links::new();
        links.resize_with(size, || None);
        let own = usize::from(self.rank.0);
        for (rank, address) in self.addresses.iter().enumerate().take(own) {
            match self.join(address, &mut is_current)? {
                Some(link) => links[rank] = Some(link),
                None => return Ok(None),
            }
        }
        while links[own + 1..].iter().any(Option::is_none) {
            if Instant::now() > self.deadline {
                let missing = links[own + 1..].iter().position(Option::is_none);
                let rank = Rank((own + 1 + missing.unwrap_or(0)) as u16);
                return Err(TeamError::Absent(rank).into());
            }
            match self.listener.accept(HANDSHAKE_BYTES_MAX) {
                // Whoever fails to say who it is, is none of the team.
                Ok(Some(connection)) => {
                    if let Ok(Some((rank, link))) = self.welcome(connection) {
                        links[rank] = Some(link);
                    }
                }
                Ok(None) if !is_current()? => return Ok(None),
                Ok(None) => std::thread::sleep(LOOK_AGAIN),
                Err(source) => return Err(TeamError::from(source).into()),
            }
        }
        Ok(Some(links))
    }

    /// Connects to a member before this one.
    fn join(
        &self,
        address: &Address,
        is_current: &mut impl FnMut() -> Result<bool>,
    ) -> Result<Option<Connection>> {
        let client = Client {
            credentials: self.credentials,
            cluster: Some(self.cluster),
            shares_memory: self.shares_memory,
            timeout: HANDSHAKE_MAX,
        };
        let mut link = loop {
            match connect(address, &client) {
                Ok((link, _)) => break link,
                Err(error) if error.is_passing() && Instant::now() < self.deadline => {
                    if !is_current()? {
                        return Ok(None);
                    }
                    std::thread::sleep(LOOK_AGAIN);
                }
                Err(error) => return Err(TeamError::Connect(Arc::new(error)).into()),
            }
        };
        let introduction = Introduction {
            team: self.team,
            rank: self.rank,
        };
        let answer = link.queue(&introduction).and_then(|()| {
            hear(
                &mut link,
                self.deadline,
                Connection::next::<Acknowledgement>,
            )
        });
        Ok(match answer {
            Ok(Some(Acknowledgement(true))) => Some(link),
            _ => None,
        })
    }

    /// Shakes hands with who has connected; `None` if it belongs to another team.
    fn welcome(&self, mut link: Connection) -> Result<Option<(usize, Connection)>, NetError> {
        let deadline = (Instant::now() + STRANGER_MAX).min(self.deadline);
        let mut handshake = ServerHandshake::new(self.cluster, self.credentials.clone());
        let accepted = hear(&mut link, deadline, |link| {
            Ok(match handshake.advance(link)? {
                Progress::Waiting => None,
                Progress::Accepted => Some(true),
                Progress::Rejected(_) => Some(false),
            })
        });
        if !matches!(accepted, Ok(Some(true))) {
            link.refuse(deadline.saturating_duration_since(Instant::now()));
            return Ok(None);
        }
        let introduction = hear(&mut link, deadline, Connection::next::<Introduction>)?;
        let Some(Introduction { team, rank }) = introduction else {
            return Ok(None);
        };
        let rank = usize::from(rank.0);
        let is_ours =
            team == self.team && rank > usize::from(self.rank.0) && rank < self.addresses.len();
        link.queue(&Acknowledgement(is_ours))?;
        while !link.flush()? {
            link.wait(LOOK_AGAIN)?;
        }
        Ok(is_ours.then_some((rank, link)))
    }
}

/// Sends what is queued and waits until `ask` answers something, or the deadline.
fn hear<T>(
    link: &mut Connection,
    deadline: Instant,
    mut ask: impl FnMut(&mut Connection) -> Result<Option<T>, NetError>,
) -> Result<Option<T>, NetError> {
    loop {
        if let Some(answer) = ask(link)? {
            return Ok(Some(answer));
        }
        link.flush()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        if !link.receive()? {
            link.wait(left)?;
        }
    }
}
