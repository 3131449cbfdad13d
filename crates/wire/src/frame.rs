//! How a message becomes bytes on a stream: a little-endian `u32` length, then that many bytes of
//! [postcard](https://postcard.jamesmunns.com/wire-format.html).
//!
//! ```text
//!  0          4                     4 + length
//! +----------+---------------------+
//! | length   | postcard message    |
//! | u32      |                     |
//! +----------+---------------------+
//! ```

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

/// Appends `message` to `out` as one frame.
///
/// # Errors
/// [`Error::FrameTooLong`] if the message exceeds [`FRAME_BYTES_MAX`]; `out` is then as before.
pub fn encode<M: Serialize>(message: &M, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    if let Err(error) = postcard::serialize_with_flavor(message, Append(out)) {
        out.truncate(start);
        return Err(Error::Message(error));
    }
    let length = out.len() - start - HEADER_BYTES;
    if length > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(Error::FrameTooLong {
            length,
            limit: FRAME_BYTES_MAX,
        });
    }
    out[start..start + HEADER_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(())
}

/// Serializes to the end of a buffer; runs of bytes, such as pages, are copied as a whole.
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

/// Decodes the message of a whole frame, header included; every byte must belong to it.
///
/// # Errors
/// [`Error::Message`] or [`Error::Invalid`] if the bytes are not such a message.
pub fn decode<M: DeserializeOwned>(frame: &[u8]) -> Result<M, Error> {
    let body = frame
        .get(HEADER_BYTES..)
        .ok_or(Error::Invalid("frame without header"))?;
    let (message, rest) = postcard::take_from_bytes(body).map_err(Error::Message)?;
    if !rest.is_empty() {
        return Err(Error::Invalid("bytes after the message"));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_and_trailing_bytes_are_refused() {
        let mut out = b"before".to_vec();
        encode(&(7u32, "text"), &mut out).unwrap();
        let frame = &out[6..];
        assert_eq!(length(frame, 100).unwrap(), Some(frame.len()));
        assert_eq!(
            decode::<(u32, String)>(frame).unwrap(),
            (7, "text".to_owned())
        );
        let longer = [frame, &[0]].concat();
        assert!(decode::<(u32, String)>(&longer).is_err());
    }

    #[test]
    fn an_oversized_announcement_is_refused_before_its_bytes_arrive() {
        assert!(length(&u32::MAX.to_le_bytes(), 100).is_err());
        assert_eq!(length(&[1, 0], 100).unwrap(), None);
    }
}
