//! Bytes with room to grow: what [`HeapBytes`](super::HeapBytes) and [`HeapString`](super::HeapString)
//! have in common.
//!
//! ```text
//!  header (32 bytes)                          block, as long as the capacity
//!   fingerprint │ at │ capacity │ length ────► H e l l o . . .
//! ```

use super::{check_fingerprint, corrupt, or_corrupt};
use crate::error::Result;
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// The smallest block.
const CAPACITY_MIN: u64 = 16;
/// The name for what is damaged.
const WHAT: &str = "string";

#[plain]
pub(super) struct Header {
    fingerprint: u64,
    at: u64,
    capacity: u64,
    length: u64,
}

impl Header {
    fn contents(&self) -> Result<Ptr<[u8]>> {
        if self.length > self.capacity {
            return Err(corrupt(WHAT));
        }
        Ok(Ptr::slice_at(self.at, self.length))
    }

    fn block(&self) -> Ptr<[u8]> {
        Ptr::slice_at(self.at, self.capacity)
    }

    fn read<'t>(&self, tx: &'t Transaction<'_>) -> Result<&'t [u8]> {
        if self.length == 0 {
            return Ok(&[]);
        }
        tx.get(self.contents()?)
            .map_err(|error| or_corrupt(error, WHAT))
    }
}

/// Where the header is, and what it must begin with.
#[derive(Clone, Copy)]
pub(super) struct Buffer {
    pub(super) at: Ptr<Header>,
    pub(super) fingerprint: u64,
}

impl Buffer {
    pub(super) fn create(tx: &mut Transaction<'_>, fingerprint: u64) -> Result<Ptr<Header>> {
        tx.alloc(Header {
            fingerprint,
            at: 0,
            capacity: 0,
            length: 0,
        })
    }

    pub(super) fn read<'t>(self, tx: &'t Transaction<'_>) -> Result<&'t [u8]> {
        self.header(tx)?.read(tx)
    }

    pub(super) fn open<'t>(self, tx: &'t mut Transaction<'_>) -> Result<&'t mut [u8]> {
        let contents = self.header(tx)?.contents()?;
        if contents.is_empty() {
            return Ok(&mut []);
        }
        tx.get_mut(contents)
            .map_err(|error| or_corrupt(error, WHAT))
    }

    pub(super) fn len(self, tx: &Transaction<'_>) -> Result<usize> {
        Ok(self.header(tx)?.contents()?.len())
    }

    pub(super) fn capacity(self, tx: &Transaction<'_>) -> Result<usize> {
        Ok(self.header(tx)?.capacity as usize)
    }

    pub(super) fn truncate(self, tx: &mut Transaction<'_>, length: usize) -> Result<()> {
        let kept = (length as u64).min(self.header(tx)?.length);
        tx.get_mut(self.at)?.length = kept;
        Ok(())
    }

    pub(super) fn push(self, tx: &mut Transaction<'_>, bytes: &[u8]) -> Result<()> {
        let length = self.len(tx)?;
        self.write(tx, length, bytes)
    }

    /// Keeps the first `kept` bytes and puts `bytes` behind them.
    pub(super) fn write(self, tx: &mut Transaction<'_>, kept: usize, bytes: &[u8]) -> Result<()> {
        let mut header = self.header(tx)?;
        header.length = kept as u64;
        let length = header.length.saturating_add(bytes.len() as u64);
        if length > header.capacity {
            header = grown(tx, header, length)?;
        }
        if !bytes.is_empty() {
            let behind = Ptr::slice_at(header.at.wrapping_add(kept as u64), bytes.len() as u64);
            tx.set_slice(behind, bytes)
                .map_err(|error| or_corrupt(error, WHAT))?;
        }
        header.length = length;
        *tx.get_mut(self.at)? = header;
        Ok(())
    }

    pub(super) fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        let header = self.header(tx)?;
        if header.capacity > 0 {
            tx.free(header.block())
                .map_err(|error| or_corrupt(error, WHAT))?;
        }
        tx.get_mut(self.at)?.fingerprint = 0;
        tx.free(self.at)
    }

    fn header(self, tx: &Transaction<'_>) -> Result<Header> {
        let header = *tx.get(self.at)?;
        check_fingerprint(header.fingerprint, self.fingerprint, WHAT)?;
        Ok(header)
    }
}

/// The contents in a block that has room for `length`, and at least twice the room of before.
fn grown(tx: &mut Transaction<'_>, header: Header, length: u64) -> Result<Header> {
    let contents = header.read(tx)?.to_vec();
    let capacity = length.max(header.capacity.saturating_mul(2));
    let block = tx.alloc_slice_unset::<u8>(capacity.max(CAPACITY_MIN) as usize)?;
    if let Some(kept) = block.range(0..contents.len()) {
        tx.set_slice(kept, &contents)?;
    }
    if header.capacity > 0 {
        tx.free(header.block())
            .map_err(|error| or_corrupt(error, WHAT))?;
    }
    Ok(Header {
        at: block.offset(),
        capacity: block.len() as u64,
        ..header
    })
}
