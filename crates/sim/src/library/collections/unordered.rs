//! The map without an order, the counter, the text and the bytes that all stations share.

use plurix::collections::{Counter, HeapBytes, HeapMap, HeapString};
use plurix::{Result, Transaction};

use super::{KEYS, Wide, option};
use crate::oracle::collections::Answer;
use crate::oracle::collections::unordered::{LENGTH_MAX, Unordered, sum_of, text_of};
use crate::random::Random;

type Map = HeapMap<u64, Wide>;

pub(super) fn draw(random: &mut Random, value: u64) -> Unordered {
    let key = random.below(KEYS);
    let count = random.log_within(1..60);
    match random.below(30) {
        0..5 => Unordered::Insert(key, value),
        5..7 => Unordered::InsertRun(key, count),
        7 => Unordered::Ensure(key, value),
        8..11 => Unordered::Update(key, count),
        11..13 => Unordered::Remove(key),
        13 => Unordered::RemoveRun(key, count),
        14 if random.chance(30) => Unordered::Retain(1 + count),
        15 if random.chance(20) => Unordered::Clear,
        14..17 => Unordered::Find(key),
        17 if random.chance(30) => Unordered::ReadMap,
        17..22 => Unordered::Add(count.cast_signed() - 20),
        22 => Unordered::Count,
        23 if random.chance(10) => Unordered::Reset,
        23 => Unordered::Write(value),
        24..26 => Unordered::Append(key, count),
        26 => Unordered::Cut(key),
        27 => Unordered::Fill(key as u8, count),
        28 => Unordered::ReadText,
        _ => Unordered::Lengths,
    }
}

pub(super) fn answer(tx: &mut Transaction<'_>, operation: Unordered) -> Result<Answer> {
    match operation {
        Unordered::Add(change) => counter(tx)?.add(tx, change)?,
        Unordered::Count => return Ok(vec![counter(tx)?.get(tx)?.cast_unsigned()]),
        Unordered::Reset => counter(tx)?.reset(tx)?,
        Unordered::Write(number) => text(tx)?.set(tx, &text_of(number))?,
        Unordered::Append(number, times) => {
            let (text, more) = (text(tx)?, text_of(number).repeat(times as usize));
            if text.len(tx)? + more.len() <= LENGTH_MAX {
                text.push_str(tx, &more)?;
            }
        }
        Unordered::Cut(length) => {
            let bytes = bytes(tx)?;
            if bytes.len(tx)? > length as usize {
                bytes.truncate(tx, length as usize)?;
            }
        }
        Unordered::Fill(byte, times) => {
            let bytes = bytes(tx)?;
            if bytes.len(tx)? + times as usize <= LENGTH_MAX {
                bytes.push(tx, &vec![byte; times as usize])?;
            }
        }
        Unordered::ReadText => {
            let (text, bytes) = (text(tx)?, bytes(tx)?);
            let text = sum_of(text.as_str(tx)?.as_bytes());
            return Ok([text, sum_of(bytes.as_bytes(tx)?)].concat());
        }
        Unordered::Lengths => {
            let (map, text, bytes) = (map(tx)?, text(tx)?, bytes(tx)?);
            let lengths = [map.len(tx)?, text.len(tx)?, bytes.len(tx)?];
            return Ok(lengths.map(|length| length as u64).to_vec());
        }
        of_map => return answer_of_map(tx, of_map),
    }
    Ok(Vec::new())
}

fn answer_of_map(tx: &mut Transaction<'_>, operation: Unordered) -> Result<Answer> {
    let (map, wide) = (map(tx)?, |value| [value; 8]);
    let nothing = |()| Vec::new();
    Ok(match operation {
        Unordered::Insert(key, value) => {
            option(map.insert(tx, key, wide(value))?.map(|old| old[0]))
        }
        Unordered::InsertRun(from, count) => {
            let entries = (from..from + count).map(|key| (key, wide(key)));
            map.extend(tx, entries).map(nothing)?
        }
        Unordered::Ensure(key, value) => {
            vec![map.get_or_insert_with(tx, key, || wide(value))?[0]]
        }
        Unordered::Update(key, by) => {
            let updated = map.update(tx, key, |value| *value = [value[0].wrapping_add(by); 8])?;
            vec![updated.is_some().into()]
        }
        Unordered::Remove(key) => option(map.remove(tx, key)?.map(|old| old[0])),
        Unordered::RemoveRun(from, count) => {
            let mut removed = Vec::new();
            for key in from..from + count {
                removed.extend(map.remove(tx, key)?.map(|old| old[0]));
            }
            removed
        }
        Unordered::Retain(divisor) => map
            .retain(tx, |_, key, _| Ok(key % divisor != 0))
            .map(nothing)?,
        Unordered::Find(key) => option(map.get(tx, key)?.map(|value| value[0])),
        Unordered::ReadMap => {
            let entries = map
                .iter(tx)?
                .map(|entry| entry.map(|(key, value)| [*key, value[0]]));
            let mut entries = entries.collect::<Result<Vec<_>>>()?;
            entries.sort_unstable();
            entries.concat()
        }
        _ => map.clear(tx).map(nothing)?,
    })
}

fn map(tx: &mut Transaction<'_>) -> Result<Map> {
    tx.named("hash")
}

fn counter(tx: &mut Transaction<'_>) -> Result<Counter> {
    tx.named("count")
}

fn text(tx: &mut Transaction<'_>) -> Result<HeapString> {
    tx.named("text")
}

fn bytes(tx: &mut Transaction<'_>) -> Result<HeapBytes> {
    tx.named("bytes")
}
