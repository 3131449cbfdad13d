//! Allocates blocks of all sizes, fills each with a pattern of its own, looks at it later and frees
//! it. A block that two have is found by its pattern; a block that nobody has, by the count of the
//! allocator.

use plurix::{Ptr, Result, Station, plain};

use super::program::{Dice, Program};
use super::report::Desk;

const ORACLE: &str = "allocator";
/// Blocks that one station has at most.
const BLOCKS: usize = 24;
/// The longest block, in words: four pages.
const WORDS_MAX: u64 = 2048;

/// One block, if there is one, and the word that it is full of.
#[plain]
#[derive(Default)]
struct Slot {
    block: Ptr<[u64]>,
    pattern: u64,
}

/// The program of one station.
#[derive(Debug)]
pub(super) struct Churn {
    root: String,
}

impl Churn {
    pub(super) fn new(index: usize) -> Self {
        Self {
            root: format!("blocks of {index}"),
        }
    }
}

/// A block that is not as its station left it.
fn differs(block: &[u64], pattern: u64) -> Option<usize> {
    block.iter().position(|word| *word != pattern)
}

impl Program for Churn {
    fn open(&mut self, _: &mut Station) {}

    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        let index = dice.random.below(BLOCKS as u64) as usize;
        let words = dice.random.log_within(1..WORDS_MAX) as usize;
        let pattern = dice.unique();
        let think = dice.random.chance(20).then(|| dice.think());
        let found = desk.transaction(station, |record| {
            let tx = &mut *record.tx;
            let slots = match tx.find_root::<[Slot]>(&self.root)? {
                Some(slots) => slots,
                None => {
                    let slots = tx.alloc_slice::<Slot>(BLOCKS)?;
                    tx.set_root(&self.root, slots)?;
                    slots
                }
            };
            let slot = slots.get(index).expect("an index below the length");
            let Slot {
                block,
                pattern: old,
            } = *tx.get(slot)?;
            let mut found = None;
            if block.is_null() {
                let block = tx.alloc_slice::<u64>(words)?;
                tx.get_mut(block)?.fill(pattern);
                tx.set(slot, Slot { block, pattern })?;
            } else {
                found = differs(tx.get(block)?, old).map(|word| (block.offset(), word, old));
                tx.free(block)?;
                tx.set(slot, Slot::default())?;
            }
            if let Some(span) = think {
                desk.think(span);
            }
            Ok(found)
        })?;
        if let Some((block, word, pattern)) = found {
            desk.broken(
                ORACLE,
                format!("word {word} of the block at {block:#x} is not {pattern:#x} any more"),
            );
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Station, _: &Desk) -> Result<()> {
        Ok(())
    }

    /// Every block is somebody's, and as it was left: each root has a block of its own, beside what
    /// it stands for.
    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let roots = station.roots()?;
        let (mut blocks, mut broken) = (0u64, None);
        for root in &roots {
            blocks += 2;
            let live = station.transaction(|tx| {
                let Ok(slots) = tx.root::<[Slot]>(&root.name) else {
                    return Ok(0);
                };
                let slots = tx.get(slots)?.to_vec();
                let mut live = 0;
                for slot in slots.iter().filter(|slot| !slot.block.is_null()) {
                    live += 1;
                    if let Some(word) = differs(tx.get(slot.block)?, slot.pattern) {
                        broken = Some((slot.block.offset(), word));
                    }
                }
                Ok(live)
            })?;
            blocks += live;
        }
        if let Some((block, word)) = broken {
            desk.broken(
                ORACLE,
                format!("word {word} of the block at {block:#x} has changed"),
            );
        }
        let usage = station.usage()?;
        if usage.blocks != blocks {
            desk.broken(
                ORACLE,
                format!("{blocks} blocks are known, {} are allocated", usage.blocks),
            );
        }
        Ok(())
    }
}
