//! What the world outside was told by way of an outbox: in order, without gaps, nothing of it taken
//! back, and in the end all of it. An entry may come again.
//!
//! Who was taken for dead may deliver beside its successor for a moment. So what is told again need
//! not follow what was told last; but nothing comes before all that precedes it.
//!
//! Source: `plurix::outbox`, "What is promised".

use super::{Violation, demand};

const ORACLE: &str = "outbox";

/// What was told, by the numbers of the entries, from 1.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Vec<u64>);

impl Outbox {
    /// An entry is delivered, which stands for `value` and no other does.
    pub(crate) fn delivered(&mut self, number: u64, value: u64) -> Result<(), Violation> {
        let told = self.0.len() as u64;
        demand!(
            (1..=told + 1).contains(&number),
            ORACLE,
            "entry {number} was delivered when {told} had been"
        );
        if number > told {
            self.0.push(value);
        }
        let before = self.0[number as usize - 1];
        demand!(
            before == value,
            ORACLE,
            "entry {number} was delivered as {before:#x}, and again as {value:#x}"
        );
        Ok(())
    }

    /// In the end, these are the entries that were pushed, as the heap has it.
    pub(crate) fn complete(&self, pushed: &[u64]) -> Result<(), Violation> {
        let (told, count) = (self.0.len(), pushed.len());
        let differs = self.0.iter().zip(pushed).position(|(a, b)| a != b);
        demand!(
            differs.is_none(),
            ORACLE,
            "entry {} was delivered and taken back",
            differs.unwrap_or(0) + 1
        );
        demand!(
            told == count,
            ORACLE,
            "{told} entries were delivered, and {count} were pushed in the end"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::objects;
    use super::*;

    fn told(entries: &[(u64, u64)]) -> Result<Outbox, Violation> {
        let mut outbox = Outbox::default();
        let mut entries = entries.iter();
        entries.try_for_each(|(number, value)| outbox.delivered(*number, *value))?;
        Ok(outbox)
    }

    #[test]
    fn what_comes_out_of_order_is_noticed() {
        assert!(told(&[(1, 7), (2, 8), (1, 7), (2, 8), (3, 9)]).is_ok());
        objects(told(&[(2, 8)]), "was delivered when 0");
        objects(told(&[(1, 7), (3, 9)]), "was delivered when 1");
        objects(told(&[(0, 7)]), "was delivered when 0");
    }

    #[test]
    fn what_was_taken_back_is_noticed() {
        objects(told(&[(1, 7), (1, 8)]), "and again as");
        let outbox = told(&[(1, 7), (2, 8)]).expect("in order");
        assert_eq!(outbox.complete(&[7, 8]), Ok(()));
        objects(outbox.complete(&[7, 9]), "taken back");
        objects(outbox.complete(&[7]), "were pushed");
    }

    #[test]
    fn what_is_never_delivered_is_noticed() {
        let outbox = told(&[(1, 7)]).expect("in order");
        objects(outbox.complete(&[7, 8]), "were pushed");
    }
}
