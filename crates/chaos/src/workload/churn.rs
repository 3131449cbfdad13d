//! Blocks that are allocated and freed by whoever comes along. Each is filled with a pattern of its
//! own, so that two that overlap, or one that was freed too early, show themselves.

use plurix::{Ptr, Result, Station};

use super::Program;
use super::registers::element;
use crate::history::Purpose;
use crate::recorder::{Recorder, transaction};
use crate::tables::SLOTS;

/// Words of a block whose values the history tells; the rest is only compared with the pattern.
const TOLD: usize = 6;

impl Program {
    /// Frees the block in some slot, or puts one there.
    pub(super) fn churn(&mut self, station: &mut Station) -> Result<()> {
        let slot = element(self.tables.slots, self.chance.index(SLOTS));
        let words = match self.chance.within(0..20) {
            0 => self.chance.within(512..3000),
            1..4 => self.chance.within(40..400),
            _ => self.chance.within(1..24),
        };
        let tag = self.unique();
        transaction(&self.journal, station, Purpose::Churn, None, |tx| {
            let block = tx.get_plain(slot)?;
            if block.is_null() {
                let block = fill(tx, words as usize, tag)?;
                tx.set_plain(slot, block)
            } else {
                check(tx, block)?;
                tx.tx.free(block)?;
                tx.set_plain(slot, Ptr::null())
            }
        })
    }
}

fn fill(tx: &mut Recorder<'_, '_>, words: usize, tag: u64) -> Result<Ptr<[u64]>> {
    let values: Vec<u64> = (0..words as u64).map(|index| pattern(tag, index)).collect();
    let block = tx.tx.alloc_slice_from(&values)?;
    for (index, value) in values.iter().enumerate().take(TOLD) {
        tx.set(element(block, index), *value)?;
    }
    Ok(block)
}

fn check(tx: &Recorder<'_, '_>, block: Ptr<[u64]>) -> Result<()> {
    for index in 0..block.len().min(TOLD) {
        tx.get(element(block, index))?;
    }
    if !is_intact(tx.tx.get(block)?) {
        tx.broken(format!("{block:?} does not hold its pattern"));
    }
    Ok(())
}

/// Whether a block holds what it was filled with.
pub(crate) fn is_intact(words: &[u64]) -> bool {
    let tag = words.first().copied().unwrap_or_default();
    words
        .iter()
        .zip(0..)
        .all(|(word, index)| *word == pattern(tag, index))
}

/// Word `index` of the block of `tag`; the first is the tag.
fn pattern(tag: u64, index: u64) -> u64 {
    tag ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
