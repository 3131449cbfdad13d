//! Decides what the place is where a replay stopped, and makes the log end there.
//!
//! | the kernel lost nothing since (same boot, or ended in order) | whole records behind | verdict |
//! |---|---|---|
//! | yes, and nothing was completed at the end | none | the end |
//! | yes, otherwise | | damage |
//! | no | one knows a missing commit to have been on disk | damage |
//! | no | none that does | torn: cut off here |
//!
//! On the same boot every first word was stored after the rest of its record, so that a record is
//! whole or was never completed; a power cut may have lost any word that was not synced.

use bytes::Bytes;
use plurix_wire::Term;

use crate::disk::{Disk, SegmentFile};
use crate::error::ReplayError;
use crate::replay::{Stop, Torn, Walk};
use crate::segment::{self, SEAL_AT, Seal};

/// What the end of the log is known to be.
pub(crate) struct Verdict {
    pub(crate) torn: Option<Torn>,
    pub(crate) ended_clean: bool,
}

/// Judges where `walk` stopped; `term` is the last leadership's.
pub(crate) fn judge(
    walk: &mut Walk<'_, impl Disk>,
    stop: Stop,
    same_boot: bool,
    term: Term,
) -> Result<Verdict, ReplayError> {
    let ended_clean = walk.ended_clean(term);
    let complete = same_boot || ended_clean;
    let behind = match stop {
        Stop::Fault {
            index,
            at,
            ref what,
        } if complete => {
            return Err(walk.damaged(index, at as usize, what.as_str()));
        }
        _ => walk.survey()?,
    };
    let (index, at, what) = match stop {
        Stop::Fault { index, at, what } => (index, at, what),
        Stop::End if behind.is_none() => {
            return Ok(Verdict {
                torn: None,
                ended_clean,
            });
        }
        Stop::End => (
            walk.index,
            walk.at,
            "nothing is there, but the log goes on behind".into(),
        ),
    };
    if let Some(synced) = behind.filter(|&synced| synced > walk.last.number) {
        let what = format!("{what}; commits up to {synced} were on disk");
        return Err(walk.damaged(index, at as usize, what));
    }
    if complete {
        return Err(walk.damaged(index, at as usize, what));
    }
    let file = walk.disk.path(&segment::name(index));
    Ok(Verdict {
        torn: Some(Torn { file, at, what }),
        ended_clean,
    })
}

/// Where and how a log is made to end.
pub(crate) struct Cut {
    /// The last segment, its length and its bytes, perhaps without zeros at its end, and where its
    /// records end.
    pub(crate) index: u64,
    pub(crate) bytes: u64,
    pub(crate) segment: Bytes,
    pub(crate) at: u64,
    /// Where the last of them stands.
    pub(crate) last_at: u64,
    /// The newest segment there is.
    pub(crate) newest: u64,
    pub(crate) same_boot: bool,
}

/// Clears what stands behind the end, removes later segments, and answers the last one, open.
///
/// The order bears a crash at any moment: once the last segment ends at `at` and is not sealed, the
/// segments behind it say nothing, and they go from the newest down, so that none is ever missing
/// between two others.
pub(crate) fn cut<D: Disk>(disk: &mut D, cut: &Cut) -> Result<D::File, ReplayError> {
    let name = segment::name(cut.index);
    let path = disk.path(&name);
    let io = |doing| ReplayError::io(doing, &path);
    let sealed = segment::seal(&cut.segment, cut.index) != Seal::Open;
    let mut file = disk
        .open(&name, cut.bytes, cut.at, !cut.same_boot)
        .map_err(io("open"))?;
    let mut changed = clear(&mut file, &cut.segment, cut.at as usize);
    if sealed {
        file.publish(SEAL_AT as u64, 0);
        changed = true;
    }
    // On the same boot only a record that was never completed is cleared, and its remains cannot
    // be taken for a whole one; otherwise they may hold whole records of old.
    if changed && (!cut.same_boot || cut.newest > cut.index) {
        file.sync().map_err(io("sync"))?;
    }
    for index in (cut.index + 1..=cut.newest).rev() {
        let name = segment::name(index);
        let path = disk.path(&name);
        disk.remove(&name)
            .map_err(ReplayError::io("remove", &path))?;
    }
    Ok(file)
}

/// Clears the blocks behind `from` that are not zero; answers whether there were any.
fn clear(file: &mut impl SegmentFile, segment: &[u8], from: usize) -> bool {
    const BLOCK_BYTES: usize = 4096;
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let mut changed = false;
    let mut at = from;
    while at < segment.len() {
        let end = (at + 1).next_multiple_of(BLOCK_BYTES).min(segment.len());
        let length = end - at;
        if segment[at..end] != ZEROS[..length] {
            file.write(at as u64, &ZEROS[..length]);
            changed = true;
        }
        at = end;
    }
    changed
}
