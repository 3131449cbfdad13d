//! An outbox in the heap: a linked list of which pushers and the deliverer touch different lines.
//!
//! ```text
//!  ends, line 0: tail      last node, number of the last entry       pushers
//!  ends, line 1: head      last node removed, its number, claimer    the deliverer
//!
//!  head --> (16) --> [17] --> [18] --> [19] <-- tail
//!         removed    next is written once, by who pushes the next entry
//! ```
//!
//! The node of the last entry removed stays until the next removal, so that there always is a node
//! whose `next` a pusher can write, and the deliverer never needs to write what pushers read (Michael
//! and Scott, "Simple, fast, and practical non-blocking and blocking concurrent queue algorithms",
//! PODC 1996). A removal reads nodes whose `next` is set, which nobody writes any more.

use plurix_wire::{CommitNumber, Incarnation};

use zerocopy::IntoBytes as _;

use super::Entry;
use crate::error::{ErrorKind, Result};
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// Entries that are delivered and removed together: after a failure, so many at most come again.
const BATCH_MAX: usize = 256;
/// A batch ends after the entry that takes it beyond so many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// Words of a line.
const LINE_WORDS: u64 = 8;

/// Both ends; a root stands for it.
#[plain]
struct Ends {
    tail: Tail,
    head: Head,
}

#[plain]
struct Tail {
    last: Ptr<Node>,
    /// Its number, which is how many entries were pushed.
    number: u64,
    unused: [u64; 6],
}

#[plain]
struct Head {
    /// The newest node that was removed.
    removed: Ptr<Node>,
    /// Its number.
    number: u64,
    /// The life that delivers; zero for none.
    claimer: u64,
    unused: [u64; 5],
}

/// What an entry begins with; its content follows.
#[plain]
struct Node {
    next: Ptr<Node>,
    number: u64,
    /// Length of the content.
    bytes: u64,
}

/// What a deliverer has found.
pub(super) struct Batch {
    /// Who delivers.
    pub(super) claimer: Incarnation,
    /// Everything in it was committed by then.
    pub(super) snapshot: CommitNumber,
    /// How many entries were ever pushed.
    pub(super) pushed: u64,
    pub(super) entries: Vec<Entry>,
}

/// An outbox, as a transaction sees it.
#[derive(Debug)]
pub struct Outbox<'t, 's> {
    tx: &'t mut Transaction<'s>,
    ends: Ptr<Ends>,
}

impl<'s> Transaction<'s> {
    /// The outbox that is called `name` (1 to 64 bytes); it is made if there is none. It is a root of
    /// the heap, so its name must be nothing else's.
    ///
    /// # Errors
    /// [`ErrorKind::BadName`], [`ErrorKind::LayoutDiffers`] if the name stands for something else,
    /// [`ErrorKind::OutOfMemory`], and as [`get`](Self::get).
    pub fn outbox<'t>(&'t mut self, name: &str) -> Result<Outbox<'t, 's>> {
        let ends = match self.find_root(name)? {
            Some(ends) => ends,
            None => make(self, name)?,
        };
        Ok(Outbox { tx: self, ends })
    }
}

fn make(tx: &mut Transaction<'_>, name: &str) -> Result<Ptr<Ends>> {
    let first = node(tx, 0, &[])?;
    let tail = Tail {
        last: first,
        number: 0,
        unused: [0; 6],
    };
    let head = Head {
        removed: first,
        number: 0,
        claimer: 0,
        unused: [0; 5],
    };
    let ends = tx.alloc(Ends { tail, head })?;
    tx.set_root(name, ends)?;
    Ok(ends)
}

impl Outbox<'_, '_> {
    /// Adds an entry; answers the number that it has once the transaction has committed.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`], and as [`Transaction::get`].
    pub fn push(&mut self, content: &[u8]) -> Result<u64> {
        let tail = tail(self.ends);
        let number = self.tx.get(tail)?.number + 1;
        let new = node(self.tx, number, content)?;
        let tail = self.tx.get_mut(tail)?;
        let last = std::mem::replace(&mut tail.last, new);
        tail.number = number;
        self.tx.get_mut(last)?.next = new;
        Ok(number)
    }

    /// How many entries were ever pushed, which is the number of the last of them.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn pushed(&self) -> Result<u64> {
        Ok(self.tx.get(tail(self.ends))?.number)
    }

    /// How many of them have been delivered and removed.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn removed(&self) -> Result<u64> {
        Ok(self.tx.get(head(self.ends))?.number)
    }
}

fn tail(ends: Ptr<Ends>) -> Ptr<Tail> {
    Ptr::at(ends.offset())
}

fn head(ends: Ptr<Ends>) -> Ptr<Head> {
    Ptr::at(ends.offset().saturating_add(size_of::<Tail>() as u64))
}

/// Words of the block that a node with so many bytes of content takes: whole lines, or a pusher that
/// writes one node would be in the way of the deliverer that reads its neighbour.
fn words(bytes: u64) -> u64 {
    let all = (size_of::<Node>() as u64).saturating_add(bytes);
    all.div_ceil(8).next_multiple_of(LINE_WORDS)
}

fn content(node: Ptr<Node>, bytes: u64) -> Ptr<[u8]> {
    let at = node.offset().saturating_add(size_of::<Node>() as u64);
    Ptr::slice_at(at, bytes)
}

fn node(tx: &mut Transaction<'_>, number: u64, bytes: &[u8]) -> Result<Ptr<Node>> {
    let node = Node {
        next: Ptr::null(),
        number,
        bytes: bytes.len() as u64,
    };
    let mut block = vec![0u64; words(node.bytes) as usize];
    let (start, rest) = block.as_mut_bytes().split_at_mut(size_of::<Node>());
    start.copy_from_slice(node.as_bytes());
    rest[..bytes.len()].copy_from_slice(bytes);
    Ok(Ptr::at(tx.alloc_slice_from(&block)?.offset()))
}

/// The outbox's next entries for this station, which claims it unless somebody alive has it: then
/// `None`. An outbox that nobody has made is empty.
pub(super) fn claim(tx: &mut Transaction<'_>, name: &str) -> Result<Option<Batch>> {
    let mut batch = Batch {
        claimer: tx.incarnation,
        snapshot: tx.snapshot(),
        pushed: 0,
        entries: Vec::new(),
    };
    let Some(ends) = tx.find_root::<Ends>(name)? else {
        return Ok(Some(batch));
    };
    let found = *tx.get(head(ends))?;
    let mut next = tx.get(found.removed)?.next;
    if next.is_null() {
        return Ok(Some(batch));
    }
    if found.claimer != tx.incarnation.0 {
        if found.claimer != 0 && tx.is_alive(Incarnation(found.claimer)) {
            return Ok(None);
        }
        tx.get_mut(head(ends))?.claimer = tx.incarnation.0;
    }
    batch.pushed = tx.get(tail(ends))?.number;
    let mut bytes = 0;
    while !next.is_null() && batch.entries.len() < BATCH_MAX && bytes < BATCH_BYTES {
        let node = *tx.get(next)?;
        let number = found.number + batch.entries.len() as u64 + 1;
        if node.number != number {
            return Err(ErrorKind::Corrupt { what: "outbox" }.into());
        }
        let content = tx.get(content(next, node.bytes))?.to_vec();
        bytes += content.len();
        batch.entries.push(Entry { number, content });
        next = node.next;
    }
    Ok(Some(batch))
}

/// Removes the entries up to number `through`, which have been delivered; answers whether the claim
/// of `claimer` still held.
pub(super) fn remove(
    tx: &mut Transaction<'_>,
    name: &str,
    claimer: Incarnation,
    through: u64,
) -> Result<bool> {
    let ends = tx.root::<Ends>(name)?;
    let Head {
        mut removed,
        number,
        claimer: holds,
        ..
    } = *tx.get(head(ends))?;
    if holds != claimer.0 || tx.incarnation != claimer {
        return Ok(false);
    }
    for _ in number..through {
        let old = *tx.get(removed)?;
        tx.free(Ptr::<[u64]>::slice_at(removed.offset(), words(old.bytes)))?;
        removed = old.next;
    }
    let head = tx.get_mut(head(ends))?;
    head.removed = removed;
    head.number = head.number.max(through);
    Ok(true)
}

/// Gives the claim back, if this station has it.
pub(super) fn release(tx: &mut Transaction<'_>, name: &str) -> Result<()> {
    let Some(ends) = tx.find_root::<Ends>(name)? else {
        return Ok(());
    };
    if tx.get(head(ends))?.claimer == tx.incarnation.0 {
        tx.get_mut(head(ends))?.claimer = 0;
    }
    Ok(())
}
