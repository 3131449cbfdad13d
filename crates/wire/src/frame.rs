//! How a message becomes bytes on a stream: a little-endian `u32` length, the message in
//! [postcard](https://postcard.jamesmunns.com/wire-format.html), and then the byte strings that it
//! carries: pages and write sets.
//!
//! ```text
//!  0          4                                                        4 + length
//! +----------+------------------+--------------------------------+-----+
//! | length   | postcard message | bytes (varint) | that many     | ... |
//! | u32      |                  |                | bytes         |     |
//! +----------+------------------+--------------------------------+-----+
//! ```
//!
//! The byte strings stand apart because they are most of the traffic: a sender can send them from
//! where they are, and a receiver takes all of a frame into one piece of memory and shares that.

use bytes::{Buf, Bytes};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Bytes before a frame's message.
pub const HEADER_BYTES: usize = 4;
/// The longest frame between members, in bytes; commits and batches stay below it.
pub const FRAME_BYTES_MAX: usize = 32 << 20;
/// The longest frame taken from a peer that has not proved itself yet, in bytes.
pub const HANDSHAKE_BYTES_MAX: usize = 512;

/// What a frame can carry: what serde makes of it, and its byte strings, which serde skips.
pub trait Message: Serialize {
    /// Calls `lend` with each byte string, in the order in which [`attach`](Self::attach) takes
    /// them.
    fn attachments<'a>(&'a self, lend: impl FnMut(&'a [u8])) {
        let _ = lend;
    }

    /// Sets the byte strings, which are empty, to what `take` answers in turn.
    ///
    /// # Errors
    /// The error of `take`; [`Error`] if the bytes are not what the message can carry.
    fn attach(&mut self, take: impl FnMut() -> Result<Bytes, Error>) -> Result<(), Error> {
        let _ = take;
        Ok(())
    }
}

/// Bytes of a message that are sent from where they are.
#[derive(Debug, Clone, Copy)]
pub struct Lent<'a> {
    /// They belong into the output before its byte of this index.
    pub at: usize,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Appends `message` to `out` as one frame.
///
/// # Errors
/// [`Error::FrameTooLong`] if the message exceeds [`FRAME_BYTES_MAX`]; `out` is then as before.
pub fn encode<M: Message>(message: &M, out: &mut Vec<u8>) -> Result<(), Error> {
    encode_lending(message, out, |_| false).map(drop)
}

/// [`encode`] without a copy of those byte strings for which `lends` holds: they are left out of
/// `out`, and the answer tells where they belong.
///
/// # Errors
/// As [`encode`].
pub fn encode_lending<'a, M: Message>(
    message: &'a M,
    out: &mut Vec<u8>,
    mut lends: impl FnMut(&[u8]) -> bool,
) -> Result<Vec<Lent<'a>>, Error> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    if let Err(error) = postcard::serialize_with_flavor(message, Append(out)) {
        out.truncate(start);
        return Err(Error::Message(error));
    }
    let (mut lent, mut elsewhere) = (Vec::new(), 0);
    message.attachments(|bytes| {
        append_length(bytes.len(), out);
        if lends(bytes) {
            let at = out.len();
            lent.push(Lent { at, bytes });
            elsewhere += bytes.len();
        } else {
            out.extend_from_slice(bytes);
        }
    });
    let length = out.len() - start - HEADER_BYTES + elsewhere;
    if length > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(Error::FrameTooLong {
            length,
            limit: FRAME_BYTES_MAX,
        });
    }
    out[start..start + HEADER_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(lent)
}

/// Appends the length of a byte string as postcard does: seven bits a byte, the lowest first.
fn append_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// Serializes to the end of a buffer.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The length of the whole first frame in `bytes`, header included, once its header has arrived.
///
/// # Errors
/// [`Error::FrameTooLong`] as soon as the header announces more than `limit`, so that a stranger
/// cannot make a member buffer it.
pub fn length(bytes: &[u8], limit: usize) -> Result<Option<usize>, Error> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*header) as usize;
    if length > limit {
        return Err(Error::FrameTooLong { length, limit });
    }
    Ok(Some(HEADER_BYTES + length))
}

/// Decodes the message of a whole frame, header included; every byte must belong to it. Its byte
/// strings share one piece of memory.
///
/// # Errors
/// [`Error`] if the bytes are not such a message.
pub fn decode<M: Message + DeserializeOwned>(frame: &[u8]) -> Result<M, Error> {
    let (message, rest) = begin(frame)?;
    attach(message, Bytes::copy_from_slice(rest))
}

/// [`decode`] whose byte strings are parts of `frame`, which stays in memory as long as they do.
///
/// # Errors
/// As [`decode`].
pub fn decode_shared<M: Message + DeserializeOwned>(frame: &Bytes) -> Result<M, Error> {
    let (message, rest) = begin(frame)?;
    attach(message, frame.slice(frame.len() - rest.len()..))
}

/// The message without its byte strings, and the bytes behind it.
fn begin<M: DeserializeOwned>(frame: &[u8]) -> Result<(M, &[u8]), Error> {
    let body = frame
        .get(HEADER_BYTES..)
        .ok_or(Error::Invalid("frame without header"))?;
    postcard::take_from_bytes::<M>(body).map_err(Error::Message)
}

fn attach<M: Message>(mut message: M, mut rest: Bytes) -> Result<M, Error> {
    message.attach(|| take(&mut rest))?;
    if !rest.is_empty() {
        return Err(Error::Invalid("bytes after the message"));
    }
    Ok(message)
}

/// Takes the next byte string.
fn take(rest: &mut Bytes) -> Result<Bytes, Error> {
    let (length, after) = postcard::take_from_bytes::<u32>(rest).map_err(Error::Message)?;
    let (begin, length) = (rest.len() - after.len(), length as usize);
    if length > after.len() {
        return Err(Error::Invalid("a byte string goes beyond its frame"));
    }
    rest.advance(begin);
    Ok(rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// A message with byte strings.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Parcel(u32, #[serde(skip)] Vec<Bytes>, usize);

    impl Message for Parcel {
        fn attachments<'a>(&'a self, lend: impl FnMut(&'a [u8])) {
            self.1.iter().map(|bytes| &bytes[..]).for_each(lend);
        }

        fn attach(&mut self, mut take: impl FnMut() -> Result<Bytes, Error>) -> Result<(), Error> {
            self.1 = (0..self.2).map(|_| take()).collect::<Result<_, _>>()?;
            Ok(())
        }
    }

    fn parcel(lengths: &[usize]) -> Parcel {
        let contents = (7..).zip(lengths);
        let contents = contents.map(|(value, length)| Bytes::from(vec![value; *length]));
        Parcel(300, contents.collect(), lengths.len())
    }

    fn framed(parcel: &Parcel) -> Vec<u8> {
        let mut frame = Vec::new();
        encode(parcel, &mut frame).unwrap();
        frame
    }

    #[test]
    fn a_frame_is_read_back_and_trailing_bytes_are_refused() {
        for lengths in [&[][..], &[0], &[5], &[4096, 0, 127, 128, 70_000]] {
            let parcel = parcel(lengths);
            let frame = framed(&parcel);
            assert_eq!(length(&frame, 100_000).unwrap(), Some(frame.len()));
            assert_eq!(decode::<Parcel>(&frame).unwrap(), parcel);
            let shared = Bytes::from(frame.clone());
            assert_eq!(decode_shared::<Parcel>(&shared).unwrap(), parcel);
            let longer = Bytes::from([&frame[..], &[0]].concat());
            assert!(decode::<Parcel>(&longer).is_err());
            assert!(decode_shared::<Parcel>(&longer).is_err());
        }
    }

    #[test]
    fn a_frame_that_ends_early_is_refused() {
        let frame = framed(&parcel(&[5, 300]));
        for end in 0..frame.len() {
            assert!(decode::<Parcel>(&frame[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_lent_belongs_where_it_was_left_out() {
        let parcel = parcel(&[300, 10, 200]);
        let mut out = b"before".to_vec();
        let lent = encode_lending(&parcel, &mut out, |bytes| bytes.len() >= 200).unwrap();
        assert_eq!(lent.len(), 2);
        for Lent { at, bytes } in lent.into_iter().rev() {
            out.splice(at..at, bytes.iter().copied());
        }
        assert_eq!(out[6..], framed(&parcel));
    }

    #[test]
    fn what_is_lent_counts_towards_the_limit() {
        let (parcel, mut out) = (parcel(&[FRAME_BYTES_MAX]), Vec::new());
        let encoded = encode_lending(&parcel, &mut out, |_| true);
        assert!(matches!(encoded, Err(Error::FrameTooLong { .. })));
        assert!(out.is_empty());
    }

    #[test]
    fn an_oversized_announcement_is_refused_before_its_bytes_arrive() {
        assert!(length(&u32::MAX.to_le_bytes(), 100).is_err());
        assert_eq!(length(&[1, 0], 100).unwrap(), None);
    }
}
