//! Both sides of the handshake of [`plurix_wire::handshake`]: who speaks here, which cluster, and
//! does the other side know the secret.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use plurix_memory::Rings;
use plurix_wire::ClusterId;
use plurix_wire::frame::{FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX};
use plurix_wire::handshake::{
    ClientHello, ClientProof, Greeting, MAGIC, Nonce, Rejection, ServerFrame, VERSION,
};

use super::address::Address;
use super::connection::{Connection, NetError};
use super::credentials::Credentials;
use super::secret::{Shared, Side};
use super::tls::{Session, TlsError};
use super::transport::Stream;

/// Why a page server could not be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("no page server answers at {address}: {source}")]
    Unreachable {
        /// The address tried.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// The connection broke during the handshake.
    #[error("the handshake with {address} failed: {source}")]
    Broken {
        /// The address tried.
        address: Address,
        /// What happened.
        source: NetError,
    },
    /// The two sides do not trust each other, or somebody between them interferes.
    #[error("the connection to {address} is not safe: {source}")]
    Tls {
        /// The address tried.
        address: Address,
        /// What is the matter.
        source: TlsError,
    },
    /// The address is another machine's, and there are no keys.
    #[error(
        "{0} is on another machine, and what is said on the way there would not be protected; give this \
         machine's keys (--keys, from plurix keys issue), or allow it (--insecure-plain)"
    )]
    KeysNeeded(Address),
    /// The peer did not finish the handshake in time.
    #[error("{0} accepts connections but does not answer; is it a page server?")]
    Silent(Address),
    /// One side rejects the other.
    #[error("{address}: {why}")]
    Rejected {
        /// The address tried.
        address: Address,
        /// Why.
        why: Rejection,
    },
}

impl ConnectError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(
            self,
            Self::Rejected { .. } | Self::Tls { .. } | Self::KeysNeeded(_)
        )
    }

    /// Whether somebody on the way could have caused it. So it is no reason to give a session up that has
    /// been: the true peer may answer the next time.
    pub(crate) fn may_be_forged(&self) -> bool {
        let unproven = [
            Rejection::NoKeys,
            Rejection::KeysNeeded,
            Rejection::NotPlurix,
        ];
        match self {
            Self::Tls { .. } => true,
            Self::Rejected { why, .. } => unproven.contains(why),
            _ => false,
        }
    }
}

/// Who connects, and what it wants.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    /// With a secret, the server must prove that it knows it too; with keys, that it is who it should be.
    pub(crate) credentials: &'a Credentials,
    /// The only cluster that will do.
    pub(crate) cluster: Option<ClusterId>,
    /// On one host, what is said goes through shared memory, if that can be had.
    pub(crate) shares_memory: bool,
    /// The time for all of it.
    pub(crate) timeout: Duration,
}

/// Connects to the page server at `address` and shakes hands.
pub(crate) fn connect(
    address: &Address,
    client: &Client<'_>,
) -> Result<(Connection, ClusterId), ConnectError> {
    let deadline = Instant::now() + client.timeout;
    let mut failure = None;
    for candidate in address.candidates() {
        match open(&candidate, client) {
            Ok(connection) => return shake(connection, &candidate, client, deadline),
            Err(error @ ConnectError::Unreachable { .. }) => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failure.expect("an address has at least one candidate"))
}

fn open(address: &Address, client: &Client<'_>) -> Result<Connection, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable {
        address: address.clone(),
        source,
    };
    let text = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(unreachable)?;
            return Connection::new(Stream::Unix(stream), HANDSHAKE_BYTES_MAX).map_err(unreachable);
        }
        Address::Tcp(text) => text,
    };
    let credentials = client.credentials;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for socket in text.to_socket_addrs().map_err(unreachable)? {
        if credentials.keys.is_none() && !credentials.allow_plain(socket.ip()) {
            return Err(ConnectError::KeysNeeded(address.clone()));
        }
        match TcpStream::connect_timeout(&socket, client.timeout) {
            Ok(stream) => {
                let connection = Connection::new(Stream::Tcp(stream), HANDSHAKE_BYTES_MAX);
                return protect(connection.map_err(unreachable)?, address, credentials);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// Begins TLS, if there are keys.
fn protect(
    mut connection: Connection,
    address: &Address,
    credentials: &Credentials,
) -> Result<Connection, ConnectError> {
    if let Some(keys) = &credentials.keys {
        let session = Session::client(keys, address.host()).map_err(NetError::from);
        let begun = session.and_then(|session| connection.protect(session));
        begun.map_err(|source| ConnectError::broken(address, source))?;
    }
    Ok(connection)
}

impl ConnectError {
    fn broken(address: &Address, source: NetError) -> Self {
        let address = address.clone();
        match source {
            NetError::Tls(source) => Self::Tls { address, source },
            source => Self::Broken { address, source },
        }
    }
}

fn shake(
    mut connection: Connection,
    address: &Address,
    client: &Client<'_>,
    deadline: Instant,
) -> Result<(Connection, ClusterId), ConnectError> {
    let Client {
        credentials,
        cluster,
        shares_memory,
        ..
    } = *client;
    let broken = |source| ConnectError::broken(address, source);
    let rejected = |why| ConnectError::Rejected {
        address: address.clone(),
        why,
    };
    let ours = nonce().map_err(|error| broken(error.into()))?;
    let hello = ClientHello {
        magic: MAGIC,
        version: VERSION,
        nonce: ours,
        cluster,
    };
    connection.queue(&hello).map_err(broken)?;
    let (hello, _) = answer(&mut connection, address, deadline)?;
    let (found, theirs, proof) = match hello {
        ServerFrame::Rejected(why) => return Err(rejected(why)),
        ServerFrame::Accepted { .. } => return Err(rejected(Rejection::NotPlurix)),
        ServerFrame::Hello { version, .. } if version != VERSION => {
            return Err(rejected(Rejection::Version {
                ours: version,
                theirs: VERSION,
            }));
        }
        ServerFrame::Hello {
            cluster,
            nonce,
            proof,
            ..
        } => (cluster, nonce, proof),
    };
    let channel = connection.channel().map_err(broken)?;
    let shared = Shared {
        client: &ours,
        server: &theirs,
        cluster: found,
        channel: &channel,
    };
    let secret = credentials.secret.as_ref();
    if let Some(secret) = secret {
        let proven = proof.is_some_and(|proof| secret.verify(Side::Server, shared, &proof));
        if !proven {
            return Err(rejected(Rejection::Secret));
        }
    }
    let proof = secret.map(|secret| secret.proof(Side::Client, shared));
    let proof = ClientProof {
        proof,
        shares_memory,
    };
    connection.queue(&proof).map_err(broken)?;
    let (verdict, passed) = answer(&mut connection, address, deadline)?;
    match (verdict, passed) {
        (ServerFrame::Accepted { shares_memory }, passed) if shares_memory == passed.is_some() => {
            if let Some(memory) = passed {
                connection.take_over(&memory).map_err(broken)?;
            }
            connection.set_frame_max(FRAME_BYTES_MAX);
            Ok((connection, found))
        }
        (ServerFrame::Rejected(why), _) => Err(rejected(why)),
        (ServerFrame::Accepted { .. } | ServerFrame::Hello { .. }, _) => {
            Err(rejected(Rejection::NotPlurix))
        }
    }
}

/// Sends what is queued and waits for the server's next frame, and what is passed with it.
fn answer(
    connection: &mut Connection,
    address: &Address,
    deadline: Instant,
) -> Result<(ServerFrame, Option<OwnedFd>), ConnectError> {
    let broken = |source| ConnectError::broken(address, source);
    let mut memory = None;
    loop {
        // Who has sent a last word takes no more; what it said tells more than that.
        let flushed = connection.flush();
        let received = connection.receive_passed().map(|(_, passed)| {
            memory = passed.or(memory.take());
        });
        if let Err(NetError::Tls(source)) = received {
            // Lets the peer know.
            let _ = connection.flush();
            return Err(match connection.plain_answer() {
                Some(ServerFrame::Rejected(why)) => ConnectError::Rejected {
                    address: address.clone(),
                    why,
                },
                _ => broken(source.into()),
            });
        }
        match connection.next() {
            Ok(Some(frame)) => return Ok((frame, memory)),
            Ok(None) => {}
            // To try again would not make it one.
            Err(NetError::Wire(_)) => {
                return Err(ConnectError::Rejected {
                    address: address.clone(),
                    why: Rejection::NotPlurix,
                });
            }
            Err(error) => return Err(broken(error)),
        }
        received.map_err(broken)?;
        flushed.map_err(broken)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConnectError::Silent(address.clone()));
        }
        connection.wait(left).map_err(broken)?;
    }
}

/// The server's side of one handshake; it never waits.
#[derive(Debug)]
pub(crate) struct ServerHandshake {
    cluster: ClusterId,
    credentials: Credentials,
    state: ServerState,
}

#[derive(Debug)]
enum ServerState {
    New,
    AwaitsHello {
        /// The peer has left out TLS.
        is_bare: bool,
    },
    AwaitsProof {
        client: Nonce,
        server: Nonce,
        channel: Vec<u8>,
    },
}

/// How far a handshake has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The peer has to say more.
    Waiting,
    /// The connection is open.
    Accepted,
    /// It must be closed, once the reason is sent.
    Rejected(Rejection),
}

impl ServerHandshake {
    pub(crate) fn new(cluster: ClusterId, credentials: Credentials) -> Self {
        Self {
            cluster,
            credentials,
            state: ServerState::New,
        }
    }

    /// Goes on with what the connection has received, and queues the answer.
    pub(crate) fn advance(&mut self, connection: &mut Connection) -> Result<Progress, NetError> {
        loop {
            let answer = match &self.state {
                ServerState::New => match self.begin(connection)? {
                    Some(None) => continue,
                    Some(Some(why)) => ServerFrame::Rejected(why),
                    None => return Ok(Progress::Waiting),
                },
                ServerState::AwaitsHello { is_bare } => {
                    match connection.next_by(Greeting::decode) {
                        Ok(None) => return Ok(Progress::Waiting),
                        Ok(Some(Greeting::Hello(_))) if *is_bare => {
                            ServerFrame::Rejected(Rejection::KeysNeeded)
                        }
                        Ok(Some(greeting)) => self.greet(&greeting, connection.channel()?)?,
                        Err(NetError::Wire(_)) => ServerFrame::Rejected(Rejection::NotPlurix),
                        Err(error) => return Err(error),
                    }
                }
                ServerState::AwaitsProof { .. } => {
                    let Some(proof) = connection.next::<ClientProof>()? else {
                        return Ok(Progress::Waiting);
                    };
                    if self.believes(&proof) {
                        accept(connection, proof.shares_memory)?;
                        return Ok(Progress::Accepted);
                    }
                    ServerFrame::Rejected(Rejection::Secret)
                }
            };
            connection.queue(&answer)?;
            if let ServerFrame::Rejected(why) = answer {
                return Ok(Progress::Rejected(why));
            }
        }
    }

    /// Looks whether the peer begins with TLS, and whether it should; answers why not to go on, if it is
    /// known.
    fn begin(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Option<Rejection>>, NetError> {
        let Some(begins_tls) = connection.begins_tls() else {
            return Ok(None);
        };
        let keys = self.credentials.keys.as_ref();
        // Nobody is between the ends of a Unix socket.
        let keys = keys.filter(|_| !connection.end_proves_death());
        let is_bare = keys.is_some() && !begins_tls;
        self.state = ServerState::AwaitsHello { is_bare };
        match keys {
            None if begins_tls => return Ok(Some(Some(Rejection::NoKeys))),
            Some(keys) if begins_tls => connection.protect(Session::server(keys)?)?,
            _ => {}
        }
        Ok(Some(None))
    }

    fn greet(&mut self, greeting: &Greeting, channel: Vec<u8>) -> io::Result<ServerFrame> {
        let hello = match greeting {
            Greeting::Hello(hello) => hello,
            Greeting::OtherVersion(theirs) => {
                return Ok(ServerFrame::Rejected(Rejection::Version {
                    ours: VERSION,
                    theirs: *theirs,
                }));
            }
            Greeting::Foreign => return Ok(ServerFrame::Rejected(Rejection::NotPlurix)),
        };
        if hello.cluster.is_some_and(|cluster| cluster != self.cluster) {
            return Ok(ServerFrame::Rejected(Rejection::WrongCluster(self.cluster)));
        }
        let (client, server, cluster) = (hello.nonce, nonce()?, self.cluster);
        let shared = Shared {
            client: &client,
            server: &server,
            cluster,
            channel: &channel,
        };
        let secret = self.credentials.secret.as_ref();
        let proof = secret.map(|secret| secret.proof(Side::Server, shared));
        self.state = ServerState::AwaitsProof {
            client,
            server,
            channel,
        };
        Ok(ServerFrame::Hello {
            version: VERSION,
            cluster,
            nonce: server,
            proof,
        })
    }

    fn believes(&self, told: &ClientProof) -> bool {
        let ServerState::AwaitsProof {
            client,
            server,
            channel,
        } = &self.state
        else {
            return false;
        };
        let shared = Shared {
            client,
            server,
            cluster: self.cluster,
            channel,
        };
        self.credentials.secret.as_ref().is_none_or(|secret| {
            told.proof
                .is_some_and(|proof| secret.verify(Side::Client, shared, &proof))
        })
    }
}

/// Opens the connection, with shared memory if the client wishes that and the system has some.
fn accept(connection: &mut Connection, shares_memory: bool) -> Result<(), NetError> {
    let memory = if shares_memory && connection.end_proves_death() {
        Rings::host().ok()
    } else {
        None
    };
    connection.queue(&ServerFrame::Accepted {
        shares_memory: memory.is_some(),
    })?;
    if let Some((rings, descriptor)) = memory {
        connection.hand_over(rings, &descriptor)?;
    }
    connection.set_frame_max(FRAME_BYTES_MAX);
    Ok(())
}

fn nonce() -> io::Result<Nonce> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests;
