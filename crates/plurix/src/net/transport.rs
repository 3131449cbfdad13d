//! How bytes get to the peer: through a stream socket, or through memory shared with a peer on this
//! host.
//!
//! With shared memory no byte of a message passes the socket, and no system call is made while both
//! sides are awake. The socket is still there for two things: its end is the end of the peer, and a
//! byte on it wakes a side that sleeps on it.
//!
//! Between machines the socket carries TLS, if there are keys.
//!
//! The socket itself is a blocking one; each call says whether it may wait. So a reader that has
//! nothing else to do sleeps in the read that will bring the answer, which saves it a second system
//! call just when it is in a hurry.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use plurix_memory::{Rings, Wish};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recv, recvmsg, send, sendmsg, shutdown,
};

use super::connection::NetError;
use super::tls::Session;

const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// A read that waits answers without anything after so long, for whoever has other duties, too.
/// Set once: the kernel keeps it with the socket.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// The two kinds of stream socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_nonblocking(false)?,
            Self::Tcp(stream) => {
                // Frames are written whole; waiting for more would only delay them.
                stream.set_nodelay(true)?;
                stream.set_nonblocking(false)?;
            }
        }
        Ok(set_socket_timeout(self, Timeout::Recv, Some(WAIT_MAX))?)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// Whether a read may sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Never,
    /// Until there is something, but not for long.
    Short,
}

impl Wait {
    pub(super) fn flags(self) -> RecvFlags {
        match self {
            Self::Never => RecvFlags::DONTWAIT,
            Self::Short => RecvFlags::empty(),
        }
    }
}

/// A stream of bytes in both directions.
#[derive(Debug)]
pub(super) struct Transport {
    stream: Stream,
    /// The memory through which all bytes go, once both sides have it.
    rings: Option<Rings>,
    /// What enciphers all bytes that go through the socket, between machines that have keys.
    tls: Option<Box<Session>>,
    /// The peer has closed the socket; what it said before may still be in the rings.
    has_ended: bool,
}

impl Transport {
    pub(super) fn new(stream: Stream) -> io::Result<Self> {
        stream.prepare()?;
        Ok(Self {
            stream,
            rings: None,
            tls: None,
            has_ended: false,
        })
    }

    /// Whether the peer is on this host.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.stream, Stream::Unix(_))
    }

    /// What carries the bytes, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match (&self.rings, &self.stream) {
            (Some(_), _) => "ring",
            (None, Stream::Unix(_)) => "unix",
            (None, Stream::Tcp(_)) if self.tls.is_some() => "tls",
            (None, Stream::Tcp(_)) => "tcp",
        }
    }

    pub(super) fn shares_memory(&self) -> bool {
        self.rings.is_some()
    }

    /// From here on all bytes go through `rings`.
    pub(super) fn share(&mut self, rings: Rings) {
        self.rings = Some(rings);
    }

    /// From here on all bytes pass through `session`.
    pub(super) fn protect(&mut self, session: Session) {
        self.tls = Some(Box::new(session));
    }

    /// What protects the bytes on their way.
    pub(super) fn tls(&mut self) -> Option<&mut Session> {
        self.tls.as_deref_mut()
    }

    /// Whether it is known without a system call that a read or, if something `is_sending`, a send
    /// would find something to do.
    #[inline]
    pub(super) fn has_news(&self, is_sending: bool) -> bool {
        self.has_ended
            || self
                .rings
                .as_ref()
                .is_some_and(|rings| rings.has_input() || is_sending && rings.has_room())
    }

    /// Takes what is there; zero if that is nothing. Asks the memory alone, if there is some: that
    /// does not tell that the peer has closed.
    pub(super) fn look(&mut self, into: &mut [u8]) -> Result<usize, NetError> {
        match self.rings {
            Some(_) => self.pull(into),
            None => self.receive(into, Wait::Never),
        }
    }

    /// Takes what is there; zero if that is nothing.
    pub(super) fn receive(&mut self, into: &mut [u8], wait: Wait) -> Result<usize, NetError> {
        let Some(rings) = &self.rings else {
            if let Some(tls) = &mut self.tls {
                return tls.receive(self.stream.as_fd(), into, wait);
            }
            // The bare system call: that of the C library is a point of cancellation, which costs
            // a fifth of a look at an empty socket.
            return received(recv(&self.stream, into, wait.flags()).map(|(count, _)| count));
        };
        match wait {
            Wait::Never => self.listen(wait)?,
            Wait::Short if !rings.doze(Wish::Input) => {}
            Wait::Short => {
                let heard = self.listen(wait);
                self.rouse();
                heard?;
            }
        }
        self.pull(into)
    }

    /// Learns from the socket whether the peer has closed, if a look does not tell.
    pub(super) fn notice_end(&mut self) -> Result<(), NetError> {
        match self.rings {
            Some(_) => self.listen(Wait::Never),
            None => Ok(()),
        }
    }

    /// Takes from the socket what was sent to wake this side.
    fn listen(&mut self, wait: Wait) -> Result<(), NetError> {
        match received(recv(&self.stream, &mut [0; 64], wait.flags()).map(|(count, _)| count)) {
            Ok(_) => Ok(()),
            Err(NetError::Closed) => {
                self.has_ended = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn pull(&mut self, into: &mut [u8]) -> Result<usize, NetError> {
        let rings = self.rings.as_mut().expect("only called with memory");
        let count = rings.pull(into)?;
        if count == 0 {
            // What the peer said before it closed was in the rings before it closed.
            return if self.has_ended {
                Err(NetError::Closed)
            } else {
                Ok(0)
            };
        }
        self.wake(Wish::InputOrRoom);
        Ok(count)
    }

    /// Sends `slices` as far as there is room; `None` if there is none.
    pub(super) fn send(&mut self, slices: &[IoSlice<'_>]) -> Result<Option<usize>, NetError> {
        if let Some(rings) = &mut self.rings {
            let count = rings.push(slices.iter().map(|slice| &**slice))?;
            self.wake(Wish::Input);
            return Ok((count > 0).then_some(count));
        }
        if let Some(tls) = &mut self.tls {
            return tls.send(self.stream.as_fd(), slices);
        }
        taken(match slices {
            [slice] => send(&self.stream, slice, SEND_FLAGS),
            _ => {
                let control = &mut SendAncillaryBuffer::default();
                sendmsg(&self.stream, slices, control, SEND_FLAGS)
            }
        })
    }

    /// Sends what was taken before and waits here; answers whether that was all.
    pub(super) fn flush(&mut self) -> Result<bool, NetError> {
        match &mut self.tls {
            Some(tls) => tls.flush(self.stream.as_fd()),
            None => Ok(true),
        }
    }

    /// Whether something that was taken waits here.
    pub(super) fn is_sending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_sending())
    }

    /// Says that nothing follows, and sends no more.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.say_end(self.stream.as_fd());
        }
        Ok(shutdown(&self.stream, Shutdown::Write)?)
    }

    /// Wakes the peer if it sleeps and wants to be woken for what was `done`. A peer that has
    /// closed is noticed by the next read, and one whose socket is full of wake-ups is awake.
    fn wake(&self, done: Wish) {
        if let Some(rings) = &self.rings
            && rings.must_wake(done)
        {
            let _ = send(&self.stream, &[0], SEND_FLAGS);
        }
    }

    /// Sends `bytes` through the socket, and a descriptor with them.
    pub(super) fn pass(&self, bytes: &[u8], descriptor: &OwnedFd) -> Result<(), NetError> {
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let slices = [IoSlice::new(bytes)];
        match taken(sendmsg(&self.stream, &slices, &mut control, SEND_FLAGS))? {
            Some(count) if count == bytes.len() => Ok(()),
            // Never with the few bytes of a handshake, unless the peer has stopped reading.
            _ => Err(NetError::Closed),
        }
    }

    /// Takes from the socket what is there, and a descriptor that came with it.
    pub(super) fn receive_passed(
        &mut self,
        into: &mut [u8],
    ) -> Result<(usize, Option<OwnedFd>), NetError> {
        if let Some(tls) = &mut self.tls {
            // A descriptor cannot leave a machine.
            let count = tls.receive(self.stream.as_fd(), into, Wait::Never)?;
            return Ok((count, None));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(into)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let answer = recvmsg(&self.stream, slices, &mut control, flags);
        let count = received(answer.map(|answer| answer.bytes))?;
        let passed = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok((count, passed))
    }

    /// Says that this side is about to sleep on its socket; answers whether it may.
    pub(super) fn doze(&self, is_sending: bool) -> bool {
        let wish = if is_sending {
            Wish::InputOrRoom
        } else {
            Wish::Input
        };
        !self.has_ended && self.rings.as_ref().is_none_or(|rings| rings.doze(wish))
    }

    /// Says that this side is awake again.
    pub(super) fn rouse(&self) {
        self.rings.iter().for_each(Rings::rouse);
    }

    /// What a side that sleeps on the socket has to wait for.
    pub(super) fn interest(&self, is_sending: bool) -> PollFlags {
        let mut flags = PollFlags::IN;
        // What TLS does not take, it takes after the peer's answer, which is no reason to ask for room.
        let needs_room = match &self.tls {
            Some(tls) => tls.is_sending(),
            None => is_sending && self.rings.is_none(),
        };
        flags.set(PollFlags::OUT, needs_room);
        flags
    }

    /// Sleeps until there is something to read, or to send if something `is_sending`, or for
    /// `timeout`.
    pub(super) fn wait(&mut self, is_sending: bool, timeout: Duration) -> Result<(), NetError> {
        if !self.doze(is_sending) {
            return Ok(());
        }
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        let flags = self.interest(is_sending);
        let woken = poll(&mut [PollFd::new(&self.stream, flags)], Some(&timeout));
        self.rouse();
        match woken {
            Ok(_) | Err(Errno::INTR) => self.notice_end(),
            Err(error) => Err(NetError::Io(error.into())),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// How much a read brought.
pub(super) fn received(count: Result<usize, Errno>) -> Result<usize, NetError> {
    match count {
        Ok(0) | Err(Errno::CONNRESET) => Err(NetError::Closed),
        Ok(count) => Ok(count),
        // Who was interrupted by a signal may have a reason not to wait any more.
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(error) => Err(NetError::Io(error.into())),
    }
}

/// How much the socket took; `None` if it takes nothing now.
fn taken(sent: Result<usize, Errno>) -> Result<Option<usize>, NetError> {
    match sent {
        Ok(0) | Err(Errno::PIPE | Errno::CONNRESET) => Err(NetError::Closed),
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(Errno::INTR) => Ok(Some(0)),
        Err(error) => Err(NetError::Io(error.into())),
    }
}
