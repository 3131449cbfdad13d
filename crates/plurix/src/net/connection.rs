//! One framed connection: buffers, reads and writes that do not block, and waiting.
//!
//! The socket itself is a blocking one; each call says whether it may wait. So a reader that has
//! nothing else to do sleeps in the read that will bring the answer, which saves it a second system
//! call just when it is in a hurry.

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use plurix_wire::frame::{self, Lent, Message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use serde::de::DeserializeOwned;

/// Bytes read at a time; a page with its frame fits many times.
const READ_BYTES: usize = 64 << 10;
/// An emptied output buffer larger than this is given back.
const KEEP_BYTES: usize = 1 << 20;

/// Byte strings from this length on are sent from where they are; a shorter one is copied faster.
const LENT_BYTES_MIN: usize = 1 << 10;
/// Most byte strings of one message that are sent so.
const LENT_MAX: usize = 32;
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// A read that waits answers without anything after so long, for whoever has other duties, too.
/// Set once: the kernel keeps it with the socket.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// What can go wrong with a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The other side closed it.
    #[error("the peer closed the connection")]
    Closed,
    /// The system reports an error.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The peer sent what cannot be decoded.
    #[error(transparent)]
    Wire(#[from] plurix_wire::Error),
}

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

/// A stream socket with its buffers.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    input: Vec<u8>,
    /// What of `input` is filled and not yet consumed.
    filled: std::ops::Range<usize>,
    output: Vec<u8>,
    /// How much of `output` is sent.
    sent: usize,
    /// The longest frame accepted.
    frame_max: usize,
}

impl Connection {
    pub(crate) fn new(stream: Stream, frame_max: usize) -> io::Result<Self> {
        stream.prepare()?;
        let input = vec![0; READ_BYTES];
        Ok(Self {
            stream,
            input,
            filled: 0..0,
            output: Vec::new(),
            sent: 0,
            frame_max,
        })
    }

    /// Whether the end of this connection proves the end of the process behind it: so it is with a
    /// Unix socket; a TCP connection can break on its way.
    pub(crate) fn end_proves_death(&self) -> bool {
        matches!(self.stream, Stream::Unix(_))
    }

    /// From here on the peer is trusted with frames of up to `frame_max` bytes.
    pub(crate) fn set_frame_max(&mut self, frame_max: usize) {
        self.frame_max = frame_max;
    }

    /// Reads what is there; answers whether there was anything. Never blocks.
    pub(crate) fn receive(&mut self) -> Result<bool, NetError> {
        self.read(RecvFlags::DONTWAIT)
    }

    /// Sleeps until there is something to read, or for 20 ms, and reads it; answers whether there
    /// was anything.
    pub(crate) fn receive_waiting(&mut self) -> Result<bool, NetError> {
        self.read(RecvFlags::empty())
    }

    fn read(&mut self, flags: RecvFlags) -> Result<bool, NetError> {
        self.make_room()?;
        // The bare system call: that of the C library is a point of cancellation, which costs a
        // fifth of a look at an empty socket.
        match recv(&self.stream, &mut self.input[self.filled.end..], flags) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(NetError::Closed),
            Ok((count, _)) => {
                self.filled.end += count;
                Ok(true)
            }
            // Who was interrupted by a signal may have a reason not to wait any more.
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(NetError::Io(error.into())),
        }
    }

    /// The next whole message that was received.
    pub(crate) fn next<M: Message + DeserializeOwned>(&mut self) -> Result<Option<M>, NetError> {
        self.next_by(frame::decode)
    }

    /// The next whole frame that was received, as `decode` reads it.
    pub(crate) fn next_by<M>(
        &mut self,
        decode: impl FnOnce(&[u8]) -> Result<M, plurix_wire::Error>,
    ) -> Result<Option<M>, NetError> {
        let waiting = &self.input[self.filled.clone()];
        let Some(length) = frame::length(waiting, self.frame_max)? else {
            return Ok(None);
        };
        let Some(bytes) = waiting.get(..length) else {
            return Ok(None);
        };
        let message = decode(bytes)?;
        self.filled.start += length;
        if self.filled.is_empty() {
            self.filled = 0..0;
        }
        Ok(Some(message))
    }

    /// Queues a message; [`flush`](Self::flush) sends it.
    pub(crate) fn queue<M: Message>(&mut self, message: &M) -> Result<(), NetError> {
        Ok(frame::encode(message, &mut self.output)?)
    }

    /// Sends what is queued and then `message`, as [`flush`](Self::flush) does. Its long byte
    /// strings are copied only if the socket does not take them at once.
    pub(crate) fn send<M: Message>(&mut self, message: &M) -> Result<bool, NetError> {
        let mut left = LENT_MAX;
        let lent = frame::encode_lending(message, &mut self.output, |bytes| {
            let lends = bytes.len() >= LENT_BYTES_MIN && left > 0;
            left -= usize::from(lends);
            lends
        })?;
        if !lent.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2 * LENT_MAX + 1];
            let (mut count, mut from) = (0, self.sent);
            for Lent { at, bytes } in &lent {
                slices[count] = IoSlice::new(&self.output[from..*at]);
                slices[count + 1] = IoSlice::new(bytes);
                (count, from) = (count + 2, *at);
            }
            slices[count] = IoSlice::new(&self.output[from..]);
            let mut slices = &mut slices[..=count];
            let control = &mut SendAncillaryBuffer::default();
            let sent = taken(sendmsg(&self.stream, slices, control, SEND_FLAGS));
            let count = sent.as_ref().map_or(0, |count| count.unwrap_or(0));
            IoSlice::advance_slices(&mut slices, count);
            // The message does not stay; what the socket has not taken of it is kept here.
            let rest: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
            match rest.concat() {
                rest if rest.is_empty() => self.output.clear(),
                rest => self.output = rest,
            }
            self.sent = 0;
            sent?;
        }
        self.flush()
    }

    /// Sends what is queued, as far as the socket takes it; answers whether that was all.
    pub(crate) fn flush(&mut self) -> Result<bool, NetError> {
        while self.sent < self.output.len() {
            match taken(send(&self.stream, &self.output[self.sent..], SEND_FLAGS))? {
                Some(count) => self.sent += count,
                None => return Ok(false),
            }
        }
        self.output.clear();
        self.output.shrink_to(KEEP_BYTES);
        self.sent = 0;
        Ok(true)
    }

    /// Whether something waits to be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Blocks until there is something to read, what is queued can be sent, or `timeout` is over.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<()> {
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, self.is_sending());
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        match poll(&mut [PollFd::new(self, flags)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sees to it that a read has room: for the rest of the frame that has begun, at least.
    fn make_room(&mut self) -> Result<(), NetError> {
        let waiting = &self.input[self.filled.clone()];
        let frame = frame::length(waiting, self.frame_max)?.unwrap_or(0);
        if self.filled.end + READ_BYTES / 2 <= self.input.len()
            && self.filled.start + frame <= self.input.len()
        {
            return Ok(());
        }
        self.input.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        // Grows with what has arrived, not with what is announced: an announcement is free.
        let wanted = frame
            .min(4 * self.filled.len())
            .max(self.filled.len() + READ_BYTES);
        self.input.resize(wanted.max(READ_BYTES), 0);
        Ok(())
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

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use plurix_wire::message::{Batch, Content, Item, Page, ToStation};
    use plurix_wire::{CommitNumber, Generation, PAGE_BYTES, PageNumber, StreamSequence, Term};
    use serde::{Deserialize, Serialize};

    /// Whatever somebody may say.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(in crate::net) struct Anything<T>(pub(in crate::net) T);

    impl<T: Serialize> Message for Anything<T> {}

    fn pair(frame_max: usize) -> (Connection, Connection) {
        let (a, b) = UnixStream::pair().unwrap();
        let connection = |stream| Connection::new(Stream::Unix(stream), frame_max).unwrap();
        (connection(a), connection(b))
    }

    fn pump(from: &mut Connection, to: &mut Connection) -> Vec<Anything<Vec<u8>>> {
        let mut messages = Vec::new();
        loop {
            let sent = from.flush().unwrap();
            let received = to.receive().unwrap();
            while let Some(message) = to.next().unwrap() {
                messages.push(message);
            }
            if sent && !received {
                break;
            }
        }
        messages
    }

    #[test]
    fn messages_of_all_sizes_arrive_whole_and_in_order() {
        let (mut from, mut to) = pair(10 << 20);
        let sizes = [0, 1, 100, 4096, READ_BYTES, 3 * READ_BYTES, 5 << 20, 7];
        let sent: Vec<_> = (0u8..)
            .zip(sizes)
            .map(|(value, size)| Anything(vec![value; size]))
            .collect();
        sent.iter().for_each(|message| from.queue(message).unwrap());
        assert_eq!(pump(&mut from, &mut to), sent);
    }

    #[test]
    fn pages_sent_from_where_they_are_arrive_whole_however_full_the_socket() {
        let (mut from, mut to) = pair(10 << 20);
        let batch = |first: u32| {
            let pages = (first..first + 3 * LENT_MAX as u32).map(|page| {
                Item::Page(Box::new(Page {
                    page: PageNumber(page),
                    base: CommitNumber(1),
                    held_from: CommitNumber(1),
                    content: Content::Bytes(vec![page as u8; PAGE_BYTES].into()),
                    since: Vec::new(),
                }))
            });
            ToStation::Batch(Batch {
                term: Term(1),
                generation: Generation(0),
                sequence: StreamSequence(u64::from(first)),
                through: CommitNumber(1),
                last: true,
                items: pages.collect(),
            })
        };
        let mut received = 0;
        for first in 0..20 {
            from.send(&batch(first)).unwrap();
            // The reader lags, so that later messages find the socket full.
            if first % 4 == 3 {
                while received <= first {
                    from.flush().unwrap();
                    to.receive().unwrap();
                    while let Some(message) = to.next::<ToStation>().unwrap() {
                        assert_eq!(message, batch(received));
                        received += 1;
                    }
                }
            }
        }
        assert!(from.flush().unwrap() && received == 20);
    }

    #[test]
    fn an_oversized_frame_is_refused() {
        let (mut from, mut to) = pair(1000);
        from.queue(&Anything(vec![0u8; 5000])).unwrap();
        from.flush().unwrap();
        to.receive().unwrap();
        assert!(matches!(
            to.next::<Anything<Vec<u8>>>(),
            Err(NetError::Wire(plurix_wire::Error::FrameTooLong { .. }))
        ));
    }

    #[test]
    fn the_end_of_the_peer_is_noticed() {
        let (from, mut to) = pair(1000);
        drop(from);
        assert!(matches!(to.receive(), Err(NetError::Closed)));
    }
}
