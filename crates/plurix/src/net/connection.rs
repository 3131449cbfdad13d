//! One framed connection: buffers, reads and writes that do not block, and waiting.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plurix_memory::Rings;
use plurix_wire::frame::{self, Lent, Message};
use rustix::event::PollFlags;
use serde::de::DeserializeOwned;

use super::tls::{Session, TlsError, begins_tls};
use super::transport::{Stream, Transport, Wait};

/// Bytes read at a time; a page with its frame fits many times.
const READ_BYTES: usize = 64 << 10;
/// An emptied output buffer larger than this is given back.
const KEEP_BYTES: usize = 1 << 20;

/// The byte strings of a frame from this length on stay where they were received; those of a shorter one are
/// copied, as they may live long, and would keep a whole buffer alive.
const SHARED_FRAME_BYTES_MIN: usize = 64 << 10;

/// Buffers that are kept to be used again: about those of the pages that a station has asked for ahead.
const LENT_BUFFERS_MAX: usize = 32;

/// Byte strings from this length on are sent from where they are; a shorter one is copied faster.
const LENT_BYTES_MIN: usize = 1 << 10;
/// Most byte strings of one message that are sent so.
const LENT_MAX: usize = 32;

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
    /// TLS with the peer does not come about, or the connection was tampered with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Memory cannot be shared with the peer, or the peer damaged it.
    #[error(transparent)]
    Memory(#[from] plurix_memory::Error),
}

/// A transport with its buffers.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    input: Vec<u8>,
    /// What of `input` is filled and not yet consumed.
    filled: std::ops::Range<usize>,
    /// The last buffers whose parts messages have kept; each is used again when they are gone. A new one
    /// costs its page faults, which is more than to fill it.
    lent: Vec<Bytes>,
    output: Vec<u8>,
    /// How much of `output` is sent.
    sent: usize,
    /// The longest frame accepted.
    frame_max: usize,
    traffic: Traffic,
}

/// Bytes that went through a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Connection {
    pub(crate) fn new(stream: Stream, frame_max: usize) -> io::Result<Self> {
        Ok(Self {
            transport: Transport::new(stream)?,
            input: vec![0; READ_BYTES],
            filled: 0..0,
            lent: Vec::new(),
            output: Vec::new(),
            sent: 0,
            frame_max,
            traffic: Traffic::default(),
        })
    }

    /// Whether the end of this connection proves the end of the process behind it: so it is with a
    /// peer on this host; a TCP connection can break on its way.
    pub(crate) fn end_proves_death(&self) -> bool {
        self.transport.is_local()
    }

    /// From here on all that is said is enciphered by `session`, and all that was received and not yet
    /// read was.
    pub(super) fn protect(&mut self, mut session: Session) -> Result<(), NetError> {
        let received = self.input[self.filled.clone()].to_vec();
        let taken = session.take(&received, &mut self.input);
        // It may have something to say even if that was wrong.
        self.transport.protect(session);
        self.filled = 0..taken?;
        Ok(())
    }

    /// What a peer has answered in plain words, where TLS was expected.
    pub(super) fn plain_answer<M: Message + DeserializeOwned>(&mut self) -> Option<M> {
        let plain = self.transport.tls()?.plain();
        let length = frame::length(plain, self.frame_max).ok()??;
        frame::decode(plain.get(..length)?).ok()
    }

    /// What only the two ends of this connection know; nothing without TLS.
    pub(super) fn channel(&mut self) -> Result<Vec<u8>, NetError> {
        let channel = self.transport.tls().map(|tls| tls.channel()).transpose()?;
        Ok(channel.map_or_else(Vec::new, Vec::from))
    }

    /// Whether the peer begins with TLS; `None` if that is not known yet.
    pub(super) fn begins_tls(&self) -> Option<bool> {
        begins_tls(&self.input[self.filled.clone()])
    }

    /// Says that nothing follows what was sent, and sends no more.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.transport.end()
    }

    /// Ends a connection to a peer that is refused, so that it hears why if it listens; waits for that up
    /// to `limit`.
    pub(crate) fn refuse(&mut self, limit: Duration) {
        let begin = Instant::now();
        let mut is_open = self.flush().is_ok() && self.end().is_ok();
        while is_open {
            let left = limit.saturating_sub(begin.elapsed());
            is_open = !left.is_zero() && self.wait(left).is_ok() && self.discard().is_ok();
        }
    }

    /// From here on the peer is trusted with frames of up to `frame_max` bytes.
    pub(crate) fn set_frame_max(&mut self, frame_max: usize) {
        self.frame_max = frame_max;
    }

    /// How bytes get to the peer, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        self.transport.kind()
    }

    /// What went through it so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Whether what is said goes through memory that both sides share.
    pub(crate) fn shares_memory(&self) -> bool {
        self.transport.shares_memory()
    }

    /// Sends what is queued, and with it the descriptor by which the peer finds the other side of
    /// `rings`. They carry everything after that.
    pub(super) fn hand_over(&mut self, rings: Rings, descriptor: &OwnedFd) -> Result<(), NetError> {
        self.transport.pass(&self.output[self.sent..], descriptor)?;
        self.output.clear();
        self.sent = 0;
        self.transport.share(rings);
        Ok(())
    }

    /// [`receive`](Self::receive), and what the peer [`hand_over`](Self::hand_over)s.
    pub(super) fn receive_passed(&mut self) -> Result<(bool, Option<OwnedFd>), NetError> {
        self.make_room()?;
        let into = &mut self.input[self.filled.end..];
        let (count, passed) = self.transport.receive_passed(into)?;
        self.filled.end += count;
        Ok((count > 0, passed))
    }

    /// Goes on through the memory that the peer has handed over.
    pub(super) fn take_over(&mut self, descriptor: &OwnedFd) -> Result<(), NetError> {
        if !self.filled.is_empty() {
            return Err(plurix_wire::Error::Invalid("bytes after the handshake").into());
        }
        self.transport.share(Rings::open(descriptor)?);
        Ok(())
    }

    /// Whether it is known without a system call that there is something to read or to send.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.transport.has_news(self.is_sending())
    }

    /// Reads what is there; answers whether there was anything. Asks shared memory alone, if there
    /// is some, which does not tell that the peer has closed. Never blocks.
    pub(crate) fn look(&mut self) -> Result<bool, NetError> {
        if self.shares_memory() && !self.has_news() {
            // For the other thread of this processor's core, if there is one.
            std::hint::spin_loop();
            return Ok(false);
        }
        self.read(Transport::look)
    }

    /// Reads what is there; answers whether there was anything. Never blocks.
    pub(crate) fn receive(&mut self) -> Result<bool, NetError> {
        self.read(|transport, into| transport.receive(into, Wait::Never))
    }

    /// Reads what is there and forgets it and what was received before; answers whether there was
    /// anything. No message can be read after that. Never blocks.
    pub(crate) fn discard(&mut self) -> Result<bool, NetError> {
        self.filled = 0..0;
        let received = self.receive();
        self.filled = 0..0;
        received
    }

    /// Sleeps until there is something to read, or for 20 ms, and reads it; answers whether there
    /// was anything.
    pub(crate) fn receive_waiting(&mut self) -> Result<bool, NetError> {
        self.read(|transport, into| transport.receive(into, Wait::Short))
    }

    /// Sees to it that [`look`](Self::look) tells, from here on, that the peer has closed.
    pub(crate) fn notice_end(&mut self) -> Result<(), NetError> {
        self.transport.notice_end()
    }

    fn read(
        &mut self,
        read: impl FnOnce(&mut Transport, &mut [u8]) -> Result<usize, NetError>,
    ) -> Result<bool, NetError> {
        self.make_room()?;
        let count = read(&mut self.transport, &mut self.input[self.filled.end..])?;
        self.filled.end += count;
        self.traffic.received += count as u64;
        Ok(count > 0)
    }

    /// The next whole message that was received.
    pub(crate) fn next<M: Message + DeserializeOwned>(&mut self) -> Result<Option<M>, NetError> {
        let waiting = &self.input[self.filled.clone()];
        let length = frame::length(waiting, self.frame_max)?.unwrap_or(0);
        // Of a buffer that is much longer, too much would stay with it.
        let least = SHARED_FRAME_BYTES_MIN.max(self.input.len() / 4);
        if (least..=waiting.len()).contains(&length) {
            let frame = self.take_frame(length);
            return Ok(Some(frame::decode_shared(&frame)?));
        }
        self.next_by(frame::decode)
    }

    /// The first frame received, which has so many bytes, as a part of the buffer where it is.
    fn take_frame(&mut self, length: usize) -> Bytes {
        let frame = self.filled.start..self.filled.start + length;
        let rest = &self.input[frame.end..self.filled.end];
        let size = self.input.len();
        let mut lent = self.lent.iter();
        let spare = lent.position(|buffer| buffer.is_unique() && buffer.len() >= size);
        let mut input = match spare {
            Some(spare) => Vec::from(self.lent.swap_remove(spare)),
            None => vec![0; size],
        };
        input[..rest.len()].copy_from_slice(rest);
        self.filled = 0..rest.len();
        let whole = Bytes::from(std::mem::replace(&mut self.input, input));
        let frame = whole.slice(frame);
        if self.lent.len() == LENT_BUFFERS_MAX {
            self.lent.remove(0);
        }
        self.lent.push(whole);
        frame
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
        if self.is_sending() {
            // The socket was full, and takes hardly all of both: what waits is copied once.
            self.queue(message)?;
            return self.flush();
        }
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
            if from < self.output.len() {
                slices[count] = IoSlice::new(&self.output[from..]);
                count += 1;
            }
            let mut slices = &mut slices[..count];
            let sent = self.transport.send(slices);
            let count = sent.as_ref().map_or(0, |count| count.unwrap_or(0));
            self.traffic.sent += count as u64;
            IoSlice::advance_slices(&mut slices, count);
            // The message does not stay; what the socket has not taken of it is kept here.
            if slices.is_empty() {
                self.output.clear();
            } else {
                let rest: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
                self.output = rest.concat();
            }
            self.sent = 0;
            sent?;
        }
        self.flush()
    }

    /// Sends what is queued, as far as the socket takes it; answers whether that was all.
    pub(crate) fn flush(&mut self) -> Result<bool, NetError> {
        while self.sent < self.output.len() {
            let rest = IoSlice::new(&self.output[self.sent..]);
            match self.transport.send(&[rest])? {
                Some(count) => {
                    self.sent += count;
                    self.traffic.sent += count as u64;
                }
                None => return Ok(false),
            }
        }
        self.output.clear();
        self.output.shrink_to(KEEP_BYTES);
        self.sent = 0;
        self.transport.flush()
    }

    /// Whether something waits to be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.sent < self.output.len() || self.transport.is_sending()
    }

    /// Says that this side is about to sleep on its socket; answers whether it may. If so, whoever
    /// sleeps says afterwards that it is awake: [`rouse`](Self::rouse).
    pub(crate) fn doze(&self) -> bool {
        self.transport.doze(self.is_sending())
    }

    /// Says that this side is awake.
    pub(crate) fn rouse(&self) {
        self.transport.rouse();
    }

    /// What a side that sleeps on its socket waits for there.
    pub(crate) fn interest(&self) -> PollFlags {
        self.transport.interest(self.is_sending())
    }

    /// Blocks until there is something to read, what is queued can be sent, or `timeout` is over.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<(), NetError> {
        self.transport.wait(self.is_sending(), timeout)
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
        if self.input.len() < wanted.max(READ_BYTES) {
            self.input.resize(wanted.max(READ_BYTES), 0);
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

#[cfg(test)]
pub(super) mod tests;
