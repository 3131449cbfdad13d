//! The page server's sockets: listeners, connections that shake hands, and connections that are
//! open.

mod farewell;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use plurix_protocol::ConnectionId;
use plurix_wire::ClusterId;
use plurix_wire::frame::HANDSHAKE_BYTES_MAX;
use plurix_wire::message::{ToLeader, ToStation};
use rustc_hash::FxHashMap;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use tracing::{debug, warn};

use super::{ServerError, ServerOptions, Wakes, system};
use crate::net::handshake::{Progress, ServerHandshake};
use crate::net::{Address, Connection, Credentials, GLANCES, Listener, NetError, Traffic};

/// Strangers at a time; more are turned away.
const STRANGERS_MAX: usize = 256;
/// A stranger that takes longer to shake hands is turned away.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Events taken from the kernel at a time.
const EVENTS: usize = 64;
/// Up to so many sockets are read directly while the loop spins. Of more, epoll tells which have
/// something; it names all of them at once, which is what makes large groups of commits.
const HOT: usize = 4;
/// Turns of spinning between two looks at everything else.
const TURNS_PER_EPOLL: u32 = 64;

const STOP: u64 = u64::MAX;
const SYNCED: u64 = u64::MAX - 1;
const ASKED: u64 = u64::MAX - 2;
const LISTENER: u64 = u64::MAX - 1024;

/// A way to take what a connection has received.
type Receive = fn(&mut Connection) -> Result<bool, NetError>;

/// One connection.
#[derive(Debug)]
struct Peer {
    connection: Connection,
    stage: Stage,
    /// The socket took less than was queued; epoll tells when it takes more.
    blocked: bool,
}

#[derive(Debug)]
enum Stage {
    Stranger {
        handshake: ServerHandshake,
        since: Instant,
    },
    Open,
    /// It gets its last word; see [`farewell`].
    Closing {
        since: Instant,
        /// Everything is sent, and our side is shut down.
        is_said: bool,
        /// It was never let in.
        is_stranger: bool,
    },
}

/// What one connection has to say.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) connection: ConnectionId,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Message(ToLeader),
    /// It has ended.
    Closed {
        /// Whether that proves the death of the process behind it.
        died: bool,
    },
    /// It can take more now.
    Writable,
}

/// All sockets.
pub(super) struct Peers {
    epoll: OwnedFd,
    listeners: Vec<Listener>,
    peers: FxHashMap<ConnectionId, Peer>,
    strangers: usize,
    /// Peers that share memory with this process; the others speak over their sockets.
    sharing: usize,
    /// Those of them with which there is something to do, from look to look.
    ready: Vec<ConnectionId>,
    next: u64,
    /// Peers that said something over their sockets lately, the latest first.
    hot: Vec<ConnectionId>,
    turns: u32,
    cluster: ClusterId,
    credentials: Credentials,
    pub(super) stopped: bool,
    /// A sync in the background may have ended.
    pub(super) synced: bool,
    /// Another thread asks how the server stands.
    pub(super) asked: bool,
}

impl Peers {
    pub(super) fn listen(
        options: &ServerOptions,
        cluster: ClusterId,
        wakes: &Wakes,
    ) -> Result<Self, ServerError> {
        let mut listeners = Vec::new();
        for address in &options.listen {
            let listener = Listener::bind(address)?;
            listeners.extend(listener.beside());
            listeners.push(listener);
        }
        let watch = || -> io::Result<OwnedFd> {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            let stop = EventData::new_u64(STOP);
            epoll::add(&epoll, &wakes.stop, stop, EventFlags::IN)?;
            // Told once each time, so that nobody needs to take back what it says.
            let edge = EventFlags::IN | EventFlags::ET;
            epoll::add(&epoll, &wakes.synced, EventData::new_u64(SYNCED), edge)?;
            epoll::add(&epoll, &wakes.asked, EventData::new_u64(ASKED), edge)?;
            for (index, listener) in listeners.iter().enumerate() {
                let data = EventData::new_u64(LISTENER + index as u64);
                epoll::add(&epoll, listener, data, EventFlags::IN)?;
            }
            Ok(epoll)
        };
        Ok(Self {
            epoll: watch().map_err(system("cannot watch sockets"))?,
            listeners,
            peers: FxHashMap::default(),
            strangers: 0,
            sharing: 0,
            ready: Vec::new(),
            next: 1,
            hot: Vec::new(),
            turns: 0,
            cluster,
            credentials: options.credentials(),
            stopped: false,
            synced: false,
            asked: false,
        })
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.address().ok())
            .collect()
    }

    /// Looks at shared memory, at the sockets that were busy lately, and now and then at all. Never
    /// waits.
    pub(super) fn look(&mut self, heard: &mut Vec<Heard>) -> Result<(), ServerError> {
        self.turns += 1;
        self.look_at_memory(heard);
        let sockets = self.peers.len() - self.sharing;
        let unknown = sockets > 0 && self.hot.is_empty();
        if sockets > HOT || unknown || self.turns.is_multiple_of(TURNS_PER_EPOLL * self.glances()) {
            return self.ask(Duration::ZERO, heard);
        }
        // A read reorders the list, and removes a connection that has ended.
        let mut hot = [ConnectionId(0); HOT];
        let count = self.hot.len();
        hot[..count].copy_from_slice(&self.hot);
        for id in &hot[..count] {
            self.read(*id, Connection::look, heard);
        }
        Ok(())
    }

    /// How many looks take as long as one look at a socket.
    pub(super) fn glances(&self) -> u32 {
        if self.peers.len() == self.sharing {
            GLANCES
        } else {
            1
        }
    }

    /// Waits until something happens on any connection, or `timeout` is over.
    pub(super) fn wait(
        &mut self,
        timeout: Duration,
        heard: &mut Vec<Heard>,
    ) -> Result<(), ServerError> {
        let timeout = if doze(self.peers.values()) {
            timeout
        } else {
            Duration::ZERO
        };
        let asked = self.ask(timeout, heard);
        rouse(self.peers.values());
        self.look_at_memory(heard);
        asked
    }

    /// Does what there is to do with peers that share memory.
    fn look_at_memory(&mut self, heard: &mut Vec<Heard>) {
        if self.sharing == 0 {
            return;
        }
        let mut ready = std::mem::take(&mut self.ready);
        let news = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.connection.has_news());
        ready.extend(news.map(|(id, _)| *id));
        if ready.is_empty() {
            // For the other thread of this processor's core, if there is one.
            std::hint::spin_loop();
        }
        for id in ready.drain(..) {
            self.go_on(id, Connection::look, heard);
        }
        self.ready = ready;
    }

    /// Asks the kernel what has happened, for up to `timeout`.
    fn ask(&mut self, timeout: Duration, heard: &mut Vec<Heard>) -> Result<(), ServerError> {
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; EVENTS];
        let limit = Timespec::try_from(timeout).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        let count = match epoll::wait(&self.epoll, &mut events[..], Some(&limit)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(system("cannot wait for sockets")(error.into())),
        };
        for event in &events[..count] {
            match event.data.u64() {
                STOP => self.stopped = true,
                SYNCED => self.synced = true,
                ASKED => self.asked = true,
                data @ LISTENER.. => self.accept((data - LISTENER) as usize)?,
                data => self.go_on(ConnectionId(data), Connection::receive, heard),
            }
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> Result<(), ServerError> {
        // A connection that failed before it was accepted, or a lack of descriptors, concerns only
        // the one who connects.
        while let Ok(Some(connection)) = self.listeners[index].accept(HANDSHAKE_BYTES_MAX) {
            if self.strangers >= STRANGERS_MAX {
                continue; // Turned away: it is closed here.
            }
            let id = ConnectionId(self.next);
            self.next += 1;
            debug!(target: "plurix::server", connection = id.0, "accepted");
            let data = EventData::new_u64(id.0);
            epoll::add(&self.epoll, &connection, data, EventFlags::IN)
                .map_err(|error| system("cannot watch a connection")(error.into()))?;
            let handshake = ServerHandshake::new(self.cluster, self.credentials.clone());
            let stage = Stage::Stranger {
                handshake,
                since: Instant::now(),
            };
            self.peers.insert(
                id,
                Peer {
                    connection,
                    stage,
                    blocked: false,
                },
            );
            self.strangers += 1;
        }
        Ok(())
    }

    /// Goes on with a connection to which something has happened.
    fn go_on(&mut self, id: ConnectionId, receive: Receive, heard: &mut Vec<Heard>) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if matches!(peer.stage, Stage::Closing { .. }) {
            return self.part(id);
        }
        if peer.blocked && self.flush(id) == Ok(true) {
            let what = What::Writable;
            heard.push(Heard {
                connection: id,
                what,
            });
        }
        self.read(id, receive, heard);
    }

    /// Takes what one connection has received.
    fn read(&mut self, id: ConnectionId, receive: Receive, heard: &mut Vec<Heard>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let (before, was_stranger) = (heard.len(), peer.is_stranger());
        let read = peer.read(receive, |message| {
            let what = What::Message(message);
            heard.push(Heard {
                connection: id,
                what,
            });
        });
        let shares = peer.connection.shares_memory();
        if was_stranger && !peer.is_stranger() {
            self.strangers -= 1;
            self.sharing += usize::from(shares);
        }
        match read {
            Ok(()) => {
                if !shares && heard.len() > before && self.hot.first() != Some(&id) {
                    self.hot.retain(|hot| *hot != id);
                    self.hot.insert(0, id);
                    self.hot.truncate(HOT);
                }
            }
            // It hears why.
            Err(()) if peer.refuse() => {
                warn!(target: "plurix::server", connection = id.0, "refused");
                self.part(id);
            }
            Err(()) => {
                debug!(target: "plurix::server", connection = id.0, "closed");
                let died = peer.connection.end_proves_death();
                self.remove(id);
                let what = What::Closed { died };
                heard.push(Heard {
                    connection: id,
                    what,
                });
            }
        }
    }

    /// Queues and sends a message; answers whether the connection can take another.
    pub(super) fn send(&mut self, id: ConnectionId, message: &ToStation) -> Result<bool, ()> {
        let peer = self.peers.get_mut(&id).ok_or(())?;
        let sent = peer.connection.send(message);
        Self::watch(&self.epoll, id, peer, sent)
    }

    /// How a connection carries its bytes, and how many it did.
    pub(super) fn traffic(&self, id: ConnectionId) -> Option<(&'static str, Traffic)> {
        let connection = &self.peers.get(&id)?.connection;
        Some((connection.kind(), connection.traffic()))
    }

    /// Whether the connection can take a message now.
    pub(super) fn is_ready(&self, id: ConnectionId) -> bool {
        self.peers.get(&id).is_some_and(|peer| !peer.blocked)
    }

    fn flush(&mut self, id: ConnectionId) -> Result<bool, ()> {
        let peer = self.peers.get_mut(&id).ok_or(())?;
        let sent = peer.connection.flush();
        Self::watch(&self.epoll, id, peer, sent)
    }

    /// Sees to it that epoll tells when a connection that did not take everything takes more.
    fn watch(
        epoll: &OwnedFd,
        id: ConnectionId,
        peer: &mut Peer,
        sent: Result<bool, NetError>,
    ) -> Result<bool, ()> {
        let sent = sent.map_err(drop)?;
        if sent == peer.blocked {
            peer.blocked = !sent;
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, peer.blocked);
            // A peer that shares memory tells itself that it has taken something.
            if !peer.connection.shares_memory() {
                let data = EventData::new_u64(id.0);
                epoll::modify(epoll, &peer.connection, data, flags).map_err(drop)?;
            }
        }
        Ok(sent)
    }

    /// Turns away who takes too long to shake hands or to take a last message.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let expired: BTreeMap<ConnectionId, ()> = self
            .peers
            .iter()
            .filter(|(_, peer)| match peer.stage {
                Stage::Stranger { since, .. } | Stage::Closing { since, .. } => {
                    now.duration_since(since) > HANDSHAKE_MAX
                }
                Stage::Open => false,
            })
            .map(|(id, _)| (*id, ()))
            .collect();
        expired.into_keys().for_each(|id| self.remove(id));
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.remove(&id) {
            self.strangers -= usize::from(peer.is_stranger());
            self.sharing -= usize::from(peer.connection.shares_memory());
            // Closing the descriptor would do it too; a failure here changes nothing.
            let _ = epoll::delete(&self.epoll, peer.connection.as_fd());
        }
        self.hot.retain(|hot| *hot != id);
    }
}

/// Lets all `peers` know that this process is about to sleep; answers whether it may. If not, they
/// know that it is awake.
fn doze<'a>(peers: impl Iterator<Item = &'a Peer> + Clone) -> bool {
    let may_sleep = peers.clone().all(|peer| peer.connection.doze());
    if !may_sleep {
        rouse(peers);
    }
    may_sleep
}

/// Lets all `peers` know that this process is awake.
fn rouse<'a>(peers: impl Iterator<Item = &'a Peer>) {
    peers.for_each(|peer| peer.connection.rouse());
}

impl Peer {
    fn is_stranger(&self) -> bool {
        match self.stage {
            Stage::Stranger { .. } => true,
            Stage::Closing { is_stranger, .. } => is_stranger,
            Stage::Open => false,
        }
    }

    /// Takes what `receive` brings.
    fn read(&mut self, receive: Receive, mut hear: impl FnMut(ToLeader)) -> Result<(), ()> {
        let received = receive(&mut self.connection);
        if let Stage::Stranger { handshake, .. } = &mut self.stage {
            let progress = handshake.advance(&mut self.connection);
            // A stranger that does not read its answer is not worth waiting for.
            let _ = self.connection.flush();
            match progress.map_err(drop)? {
                Progress::Waiting => {}
                Progress::Accepted => self.stage = Stage::Open,
                Progress::Rejected(_) => return Err(()),
            }
        }
        if matches!(self.stage, Stage::Open) {
            while let Some(message) = self.connection.next().map_err(drop::<NetError>)? {
                hear(message);
            }
        }
        received.map(drop).map_err(drop)
    }
}
