//! Runs in the heap: how an application finds the one that it shall continue, or begins one, in
//! steps that a crash may interrupt anywhere.
//!
//! The record of a run stands under a root. It is made in one transaction, holds a fingerprint of
//! the input, and counts what has been set up so far, so that whoever sets it up after a crash
//! continues exactly there.

use plurix::{ErrorKind, Plain, Ptr, Station, Transaction};
use sha2::{Digest, Sha256};

use crate::app::AppError;

/// Tells one input, with the options that matter to the result, from others.
pub(crate) type Fingerprint = [u8; 32];

/// Bytes written by one transaction of [`fill`]; well below what a commit may carry.
const PIECE_BYTES: usize = 1 << 20;

/// The record of a run, found by a root.
pub(crate) trait Run: Plain {
    /// Names the root; the application's name.
    const NAME: &'static str;

    /// Of what it was begun with.
    fn fingerprint(&self) -> Fingerprint;
}

/// The run that the heap holds, or else the one that `create` makes.
///
/// # Errors
/// [`AppError::OtherRun`] if the heap holds one that was begun with something else.
pub(crate) fn open<R: Run>(
    station: &mut Station,
    fingerprint: Fingerprint,
    create: impl FnMut(&mut Transaction<'_>) -> plurix::Result<R>,
) -> Result<(Ptr<R>, R), AppError> {
    open_named(station, R::NAME, fingerprint, R::fingerprint, create)
}

/// As [`open`], of a record that several applications have; `name` is that of the application.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_named<R: Plain>(
    station: &mut Station,
    name: &'static str,
    fingerprint: Fingerprint,
    fingerprint_of: impl Fn(&R) -> Fingerprint,
    mut create: impl FnMut(&mut Transaction<'_>) -> plurix::Result<R>,
) -> Result<(Ptr<R>, R), AppError> {
    station.latest()?;
    let (ptr, run) = station.transaction(|tx| {
        if let Some(ptr) = tx.find_root::<R>(name)? {
            return Ok((ptr, *tx.get(ptr)?));
        }
        let run = create(tx)?;
        let ptr = tx.alloc(run)?;
        tx.set_root(name, ptr)?;
        Ok((ptr, run))
    })?;
    if fingerprint_of(&run) != fingerprint {
        return Err(AppError::OtherRun { app: name });
    }
    Ok((ptr, run))
}

/// The run that the heap holds.
///
/// # Errors
/// [`ErrorKind::NoSuchRoot`] if none was begun.
pub(crate) fn find<R: Run>(tx: &Transaction<'_>) -> plurix::Result<R> {
    Ok(*tx.get(tx.root::<R>(R::NAME)?)?)
}

/// Writes `values` to `slice`, which is as long, in as many transactions as it takes. To do it again
/// changes nothing.
pub(crate) fn fill<T: Plain>(
    station: &mut Station,
    slice: Ptr<[T]>,
    values: &[T],
) -> plurix::Result<()> {
    let piece_length = (PIECE_BYTES / size_of::<T>()).max(1);
    for (index, piece) in values.chunks(piece_length).enumerate() {
        let start = index * piece_length;
        let Some(place) = slice.range(start..start + piece.len()) else {
            let (expected, found) = (slice.len(), values.len());
            return Err(ErrorKind::LengthDiffers { expected, found }.into());
        };
        station.transaction(|tx| {
            tx.prefetch(place);
            tx.set_slice(place, piece)
        })?;
    }
    Ok(())
}

/// Says why activities failed, once none is left that could still do something.
///
/// # Errors
/// [`ErrorKind::ActivityFailed`] with the reason of one of them.
pub(crate) fn check_failures(station: &mut Station) -> plurix::Result<()> {
    let activities = station.activities()?;
    if activities.failed > 0 && activities.outstanding() == 0 {
        station.wait_all()?;
    }
    Ok(())
}

/// The fingerprint of these pieces in this order. Their lengths count, so that nothing can move
/// from one to the next unseen.
pub(crate) fn fingerprint<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
    let mut digest = Sha256::new();
    for piece in pieces {
        digest.update((piece.len() as u64).to_le_bytes());
        digest.update(piece);
    }
    digest.finalize().into()
}

/// Element `index` of a slice in the heap.
///
/// # Errors
/// [`ErrorKind::OutOfBounds`] beyond its end.
pub(crate) fn element<T: Plain>(slice: Ptr<[T]>, index: usize) -> plurix::Result<Ptr<T>> {
    let length = size_of::<T>() as u64;
    slice.get(index).ok_or_else(|| {
        let offset = slice
            .offset()
            .saturating_add((index as u64).saturating_mul(length));
        ErrorKind::OutOfBounds { offset, length }.into()
    })
}
