//! What the map without an order, the counter, the text and the bytes in the heap are to answer.

use std::collections::BTreeMap;

use super::Answer;

/// Texts and bytes grow no further than this.
pub(crate) const LENGTH_MAX: usize = 3000;

/// What a program does with one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unordered {
    Insert(u64, u64),
    /// So many keys from one on.
    InsertRun(u64, u64),
    /// Inserts a value if there is none for the key; answers which one there is.
    Ensure(u64, u64),
    /// Adds to the value of a key, if there is one.
    Update(u64, u64),
    Remove(u64),
    RemoveRun(u64, u64),
    /// Keeps what a number does not divide.
    Retain(u64),
    Clear,
    Find(u64),
    /// All entries, by their keys.
    ReadMap,
    Add(i64),
    Count,
    Reset,
    /// Replaces the text by a number's.
    Write(u64),
    /// Appends a number's text so often, if there is room.
    Append(u64, u64),
    /// Makes the bytes as long as this, if they are longer.
    Cut(u64),
    /// Appends a byte so often, if there is room.
    Fill(u8, u64),
    /// The sums of text and bytes.
    ReadText,
    Lengths,
}

/// All of them, of the standard library.
#[derive(Debug, Default)]
pub(super) struct Model {
    map: BTreeMap<u64, u64>,
    count: i64,
    text: String,
    bytes: Vec<u8>,
}

/// What text is written for a number, which is of several characters.
pub(crate) fn text_of(number: u64) -> String {
    format!("«{number}» ")
}

/// Bytes as a few words: how many, and their sum by FNV-1a (Fowler, Noll and Vo, 1991).
pub(crate) fn sum_of(bytes: &[u8]) -> [u64; 2] {
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    [bytes.len() as u64, sum]
}

impl Model {
    pub(super) fn answer(&mut self, operation: Unordered) -> Answer {
        match operation {
            Unordered::Add(change) => self.count += change,
            Unordered::Count => return vec![self.count.cast_unsigned()],
            Unordered::Reset => self.count = 0,
            Unordered::Write(number) => self.text = text_of(number),
            Unordered::Append(number, times) => {
                let more = text_of(number).repeat(times as usize);
                if self.text.len() + more.len() <= LENGTH_MAX {
                    self.text.push_str(&more);
                }
            }
            Unordered::Cut(length) => self.bytes.truncate(length as usize),
            Unordered::Fill(byte, times) => {
                let length = self.bytes.len() + times as usize;
                if length <= LENGTH_MAX {
                    self.bytes.resize(length, byte);
                }
            }
            Unordered::ReadText => {
                return [sum_of(self.text.as_bytes()), sum_of(&self.bytes)].concat();
            }
            Unordered::Lengths => {
                let lengths = [self.map.len(), self.text.len(), self.bytes.len()];
                return lengths.map(|length| length as u64).to_vec();
            }
            of_map => return self.of_map(of_map),
        }
        Vec::new()
    }

    fn of_map(&mut self, operation: Unordered) -> Answer {
        let map = &mut self.map;
        match operation {
            Unordered::Insert(key, value) => map.insert(key, value).into_iter().collect(),
            Unordered::InsertRun(from, count) => {
                map.extend((from..from + count).map(|key| (key, key)));
                Vec::new()
            }
            Unordered::Ensure(key, value) => vec![*map.entry(key).or_insert(value)],
            Unordered::Update(key, by) => {
                let value = map.get_mut(&key);
                vec![
                    value
                        .map(|value| *value = value.wrapping_add(by))
                        .is_some()
                        .into(),
                ]
            }
            Unordered::Remove(key) => map.remove(&key).into_iter().collect(),
            Unordered::RemoveRun(from, count) => {
                let keys = from..from + count;
                keys.filter_map(|key| map.remove(&key)).collect()
            }
            Unordered::Retain(divisor) => {
                map.retain(|key, _| key % divisor != 0);
                Vec::new()
            }
            Unordered::Find(key) => map.get(&key).copied().into_iter().collect(),
            Unordered::ReadMap => map.iter().flat_map(|(key, value)| [*key, *value]).collect(),
            _ => {
                map.clear();
                Vec::new()
            }
        }
    }
}
