//! The queue of activities in the heap: stripes of linked lists.
//!
//! ```text
//!  stripe (512 bytes):
//!   line 0: pending   head, tail, count     spawners append, claimers take from the head
//!   line 1: claimed   head, count           by whom is in each node
//!   line 2: finished  completed, failed, first failure
//! ```

use plurix_wire::Incarnation;

use super::{Activity, Claim, NAME_BYTES_MAX, Progress, fingerprint, spawned};
use crate::error::{ErrorKind, Result};
use crate::heap::layout::{ACTIVITIES, STRIPE_BYTES, STRIPES};
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// An activity whose claimers died this often is given up: it kills them.
const CLAIMS_MAX: u64 = 64;
/// Bytes kept of the reason of a failure.
const REASON_BYTES: usize = 160;
const LINE: u64 = 64;
/// Stripes are a power of two, so that what lies above them in a number does not name another one.
const SINCE_SHIFT: u32 = 16;

const _: () = assert!(STRIPES.is_power_of_two() && STRIPES <= 1 << SINCE_SHIFT);

#[plain]
pub(super) struct Pending {
    head: Ptr<Node>,
    tail: Ptr<Node>,
    count: u64,
}

#[plain]
pub(super) struct Claimed {
    head: Ptr<Node>,
    count: u64,
}

#[plain]
pub(super) struct Finished {
    completed: u64,
    failed: u64,
    /// The failures, newest first.
    failure: Ptr<Failure>,
}

/// Why an activity failed.
#[plain]
pub(super) struct Failure {
    next: Ptr<Failure>,
    pub(super) name: [u8; NAME_BYTES_MAX],
    pub(super) why: [u8; REASON_BYTES],
}

/// One activity.
#[plain]
pub(super) struct Node {
    next: Ptr<Node>,
    previous: Ptr<Node>,
    /// Who runs it; zero while it is pending.
    incarnation: u64,
    /// In whose stripe it is claimed, and from bit [`SINCE_SHIFT`] on at which commit it was.
    stripe: u64,
    claims: u64,
    pub(super) fingerprint: u64,
    pub(super) argument: Ptr<[u8]>,
    pub(super) result: u64,
    pub(super) name: [u8; NAME_BYTES_MAX],
}

impl Node {
    pub(super) fn next(&self) -> Ptr<Self> {
        self.next
    }

    pub(super) fn claims(&self) -> u64 {
        self.claims
    }

    /// Who runs it, and at which commit that began.
    pub(super) fn claimer(&self) -> Option<(u64, u64)> {
        (self.incarnation != 0).then_some((self.incarnation, self.stripe >> SINCE_SHIFT))
    }
}

impl Failure {
    pub(super) fn next(&self) -> Ptr<Self> {
        self.next
    }
}

/// How many stripes there are.
pub(super) fn stripes() -> usize {
    STRIPES
}

/// The first pending and the first claimed activity of a stripe.
pub(super) fn heads(tx: &Transaction<'_>, index: usize) -> Result<[Ptr<Node>; 2]> {
    Ok([tx.get(pending(index))?.head, tx.get(claimed(index))?.head])
}

/// The newest failure of a stripe.
pub(super) fn first_failure(tx: &Transaction<'_>, index: usize) -> Result<Ptr<Failure>> {
    Ok(tx.get(finished(index))?.failure)
}

fn stripe(index: usize) -> u64 {
    ACTIVITIES + (index % STRIPES) as u64 * STRIPE_BYTES
}

fn pending(index: usize) -> Ptr<Pending> {
    Ptr::at(stripe(index))
}

fn claimed(index: usize) -> Ptr<Claimed> {
    Ptr::at(stripe(index) + LINE)
}

fn finished(index: usize) -> Ptr<Finished> {
    Ptr::at(stripe(index) + 2 * LINE)
}

/// Text in a fixed number of bytes, padded with zeros.
fn fixed<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let length = text.floor_char_boundary(N);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    bytes
}

/// The text that [`fixed`] packed.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Transaction<'_> {
    /// Makes an activity pending once this transaction commits.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`], and as [`get`](Self::get).
    pub fn spawn<A: Activity>(
        &mut self,
        argument: A::Argument,
    ) -> Result<super::Spawned<A::Output>> {
        const {
            assert!(
                !A::NAME.is_empty() && A::NAME.len() <= NAME_BYTES_MAX,
                "name of an activity"
            );
        }
        let result = spawned::cell::<A::Output>(self)?;
        let argument = self.alloc_slice_from(zerocopy::IntoBytes::as_bytes(&argument))?;
        let node = self.alloc(Node {
            next: Ptr::null(),
            previous: Ptr::null(),
            incarnation: 0,
            stripe: 0,
            claims: 0,
            fingerprint: fingerprint::<A>(),
            argument,
            result: result.offset(),
            name: fixed(A::NAME),
        })?;
        append(self, spread(node), node)?;
        Ok(result)
    }
}

/// Puts a node at the end of a stripe's pending list.
fn append(tx: &mut Transaction<'_>, index: usize, node: Ptr<Node>) -> Result<()> {
    let list = tx.get_mut(pending(index))?;
    let last = std::mem::replace(&mut list.tail, node);
    list.count += 1;
    if last.is_null() {
        list.head = node;
        Ok(())
    } else {
        tx.get_mut(last)?.next = node;
        Ok(())
    }
}

/// A stripe for a new activity. One station may spawn all that the others run, so its own stripe
/// would be everybody's.
fn spread(node: Ptr<Node>) -> usize {
    (node.offset() / LINE) as usize % STRIPES
}

/// The stripes in the order in which station `own` looks for work: neighbours begin far apart, so
/// that they meet late.
fn order(own: usize) -> impl Iterator<Item = usize> {
    const STRIDE: usize = 23;
    (0..STRIPES).map(move |step| (own * STRIDE + step) % STRIPES)
}

/// Where there is something to claim, by a look that changes nothing.
pub(super) enum Found {
    /// This stripe has pending activities.
    Pending(usize),
    /// This stripe has an activity that is claimed by an incarnation that is dead.
    Orphan(usize),
    /// There is nothing to claim now; so many activities are being run.
    Nothing { claimed: u64 },
}

pub(super) fn look(tx: &Transaction<'_>) -> Result<Found> {
    let mut running = 0;
    for index in order(tx.arena) {
        if !tx.get(pending(index))?.head.is_null() {
            return Ok(Found::Pending(index));
        }
        running += tx.get(claimed(index))?.count;
    }
    for index in order(tx.arena) {
        if orphan(tx, index)?.is_some() {
            return Ok(Found::Orphan(index));
        }
    }
    Ok(Found::Nothing { claimed: running })
}

/// The first activity on a stripe's claimed list whose claimer is dead.
fn orphan(tx: &Transaction<'_>, index: usize) -> Result<Option<Ptr<Node>>> {
    let list = *tx.get(claimed(index))?;
    let mut node = list.head;
    for _ in 0..list.count {
        let found = *tx.get(node)?;
        if !tx.is_alive(Incarnation(found.incarnation)) {
            return Ok(Some(node));
        }
        node = found.next;
    }
    Ok(None)
}

/// Takes the first pending activity of a stripe, if there still is one.
pub(super) fn claim(tx: &mut Transaction<'_>, index: usize) -> Result<Option<(Claim, Node)>> {
    let head = tx.get(pending(index))?.head;
    if head.is_null() {
        return Ok(None);
    }
    let next = tx.get(head)?.next;
    let list = tx.get_mut(pending(index))?;
    list.head = next;
    list.count = list.count.saturating_sub(1);
    if next.is_null() {
        list.tail = Ptr::null();
    }
    let (own, incarnation) = (tx.arena % STRIPES, tx.incarnation);
    let since = tx.snapshot().0 << SINCE_SHIFT;
    let list = tx.get_mut(claimed(own))?;
    let next = std::mem::replace(&mut list.head, head);
    list.count += 1;
    if !next.is_null() {
        tx.get_mut(next)?.previous = head;
    }
    let node = tx.get_mut(head)?;
    (node.next, node.previous) = (next, Ptr::null());
    (node.incarnation, node.stripe) = (incarnation.0, own as u64 | since);
    node.claims += 1;
    Ok(Some((
        Claim {
            node: head,
            incarnation,
        },
        *node,
    )))
}

/// Removes a node from the claimed list that it is on.
fn unlink(tx: &mut Transaction<'_>, node: Ptr<Node>) -> Result<Node> {
    let found = *tx.get(node)?;
    let list = claimed(found.stripe as usize);
    if found.previous.is_null() {
        tx.get_mut(list)?.head = found.next;
    } else {
        tx.get_mut(found.previous)?.next = found.next;
    }
    if !found.next.is_null() {
        tx.get_mut(found.next)?.previous = found.previous;
    }
    let list = tx.get_mut(list)?;
    list.count = list.count.saturating_sub(1);
    Ok(found)
}

/// Makes an activity of a stripe whose claimer is dead pending again, or gives it up if too many died
/// of it. It is looked for anew: one that an earlier transaction has found may since have been freed
/// by others, completed, and its memory be something else.
pub(super) fn free_orphan(tx: &mut Transaction<'_>, index: usize) -> Result<()> {
    let Some(node) = orphan(tx, index)? else {
        return Ok(());
    };
    let found = *tx.get(node)?;
    if found.claims >= CLAIMS_MAX {
        let why = format!("{CLAIMS_MAX} stations died while they ran it");
        return give_up(tx, node, &why);
    }
    requeue(tx, node)
}

/// Makes an activity that this station has claimed pending again.
pub(super) fn release(tx: &mut Transaction<'_>, claim: Claim) -> Result<()> {
    if holds(tx, claim)? {
        requeue(tx, claim.node)
    } else {
        Ok(())
    }
}

fn requeue(tx: &mut Transaction<'_>, node: Ptr<Node>) -> Result<()> {
    unlink(tx, node)?;
    let found = tx.get_mut(node)?;
    (found.next, found.previous, found.incarnation) = (Ptr::null(), Ptr::null(), 0);
    append(tx, tx.arena, node)
}

/// Whether the claim is still this life's.
pub(super) fn holds(tx: &Transaction<'_>, claim: Claim) -> Result<bool> {
    Ok(tx.incarnation == claim.incarnation
        && tx.get(claim.node)?.incarnation == claim.incarnation.0)
}

/// Ends a claimed activity with its result.
pub(super) fn complete<A: Activity>(
    tx: &mut Transaction<'_>,
    claim: Claim,
    output: A::Output,
) -> Result<()> {
    let node = unlink(tx, claim.node)?;
    spawned::complete(tx, super::Spawned::at(node.result), output)?;
    tx.get_mut(finished(tx.arena))?.completed += 1;
    tx.free(node.argument)?;
    tx.free(claim.node)
}

/// Ends a claimed activity without a result.
pub(super) fn give_up(tx: &mut Transaction<'_>, node: Ptr<Node>, why: &str) -> Result<()> {
    let found = unlink(tx, node)?;
    spawned::fail(tx, found.result)?;
    let next = tx.get(finished(tx.arena))?.failure;
    let failure = tx.alloc(Failure {
        next,
        name: found.name,
        why: fixed(why),
    })?;
    let list = tx.get_mut(finished(tx.arena))?;
    list.failure = failure;
    list.failed += 1;
    tx.free(found.argument)?;
    tx.free(node)
}

/// The newest failure of any stripe.
pub(super) fn failure(tx: &Transaction<'_>) -> Result<Option<ErrorKind>> {
    for index in 0..STRIPES {
        let failure = tx.get(finished(index))?.failure;
        if !failure.is_null() {
            let failure = tx.get(failure)?;
            let (name, why) = (text(&failure.name), text(&failure.why));
            return Ok(Some(ErrorKind::ActivityFailed { name, why }));
        }
    }
    Ok(None)
}

/// Frees what is kept of failures; the counts stay.
pub(super) fn forget_failures(tx: &mut Transaction<'_>) -> Result<u64> {
    let mut forgotten = 0;
    for index in 0..STRIPES {
        let mut failure = tx.get(finished(index))?.failure;
        if failure.is_null() {
            continue;
        }
        tx.get_mut(finished(index))?.failure = Ptr::null();
        while !failure.is_null() {
            let next = tx.get(failure)?.next;
            tx.free(failure)?;
            failure = next;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

pub(super) fn progress(tx: &Transaction<'_>) -> Result<Progress> {
    let mut progress = Progress::default();
    for index in 0..STRIPES {
        progress.pending += tx.get(pending(index))?.count;
        progress.claimed += tx.get(claimed(index))?.count;
        let finished = tx.get(finished(index))?;
        progress.completed += finished.completed;
        progress.failed += finished.failed;
    }
    Ok(progress)
}
