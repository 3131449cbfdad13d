//! Which pages a station can best do without: those that no transaction has touched for the longest
//! time, about, by the clock algorithm (Corbató 1968). The list of touched pages tells the clock what
//! was used, at a transaction's end, so that an access pays nothing for it.
//!
//! The hand goes through the pages in the order of their numbers, 64 at a time, so that what it finds
//! are often neighbours, whose memory is given back by one call of the system.

use plurix_wire::PageNumber;

use super::HeapMemory;
use super::table::WORD_BITS;

impl HeapMemory {
    /// At most `most` pages to be evicted, ascending but for a new round of the hand: pages that no
    /// transaction has touched, and that have not come, since the hand passed. Fewer only if fewer are
    /// present.
    ///
    /// # Panics
    /// If a transaction is in progress: what it uses is not known yet.
    pub fn unused(&mut self, most: usize) -> Vec<PageNumber> {
        self.assert_idle();
        let most = most.min(self.present_count());
        let mut pages = Vec::with_capacity(most);
        let words = self.table.words();
        // In the first round the hand may find all of them used, in the second none; what the first
        // round has taken must not be taken again.
        let mut left = 2 * words;
        while pages.len() < most && left > 0 {
            left -= 1;
            let word = *self.table.hand() % words;
            let (present, used) = (self.table.present_word(word), self.table.used_word(word));
            let unused = present & !used.get();
            let room = most - pages.len();
            for bit in bits(unused).take(room) {
                pages.push(PageNumber((word * WORD_BITS + bit) as u32));
            }
            if unused.count_ones() as usize > room {
                break;
            }
            // What was taken is passed over in the second round.
            used.set(if left >= words { unused } else { 0 });
            *self.table.hand() = (word + 1) % words;
        }
        pages
    }
}

/// The positions of ones, ascending.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}
