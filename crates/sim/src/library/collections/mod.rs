//! Random operations on collections in the heap, several to a transaction, by all stations at once;
//! and tokens that go from one collection to another, of which none may be lost or doubled at any
//! snapshot.

mod unordered;

use plurix::collections::{HeapBTreeMap, HeapCell, HeapQueue, HeapVec};
use plurix::{Error, Result, Station, Transaction};
use plurix_protocol::Span;

use super::program::{Dice, Program};
use super::report::{Desk, Report};
use crate::oracle::collections::unordered::Unordered;
use crate::oracle::collections::{Answer, Operation, Place, SHELVES, TOKENS};
use crate::random::Random;

const ORACLE: &str = "collections";
/// Keys are below this, so that a map has several levels: its values are large.
const KEYS: u64 = 400;
/// A value of the map, which is its first word in all of them.
type Wide = [u64; 8];

/// The program of one station.
#[derive(Debug)]
pub(super) struct Collections;

/// One set of collections.
#[derive(Debug, Clone, Copy)]
struct Shelf {
    vec: HeapVec<u64>,
    map: HeapBTreeMap<u64, Wide>,
    queue: HeapQueue<u64>,
    cell: HeapCell<u64>,
}

/// Both sets; made by whoever comes first.
fn shelves(tx: &mut Transaction<'_>) -> Result<[Shelf; SHELVES]> {
    let is_new = tx.find_root::<u64>("cell 1")?.is_none();
    let mut shelf = |number| {
        Ok::<_, Error>(Shelf {
            vec: tx.named(&format!("vec {number}"))?,
            map: tx.named(&format!("map {number}"))?,
            queue: tx.named(&format!("queue {number}"))?,
            cell: tx.named(&format!("cell {number}"))?,
        })
    };
    let shelves = [shelf(0)?, shelf(1)?];
    if is_new {
        shelves[1].queue.extend(tx, 0..TOKENS)?;
    }
    Ok(shelves)
}

fn draw(random: &mut Random, value: u64) -> Operation {
    let key = random.below(KEYS);
    let count = random.log_within(1..60);
    let index = random.below(200);
    let [from, to] = [0; 2].map(|_| random.pick(&Place::ALL));
    match random.below(42) {
        0..3 => Operation::Push(value),
        3..5 => Operation::Pop,
        5 => Operation::Set(index, value),
        6 => Operation::Get(index),
        7 => Operation::SwapRemove(index),
        8 => Operation::Truncate(index),
        9 => Operation::Extend(key, count),
        10 => Operation::ReadVec,
        11..14 => Operation::Insert(key, value),
        14..16 => Operation::InsertBlindly(key, value),
        16 => Operation::InsertRun(key, count),
        17..19 => Operation::Remove(key),
        19..21 => Operation::RemoveRun(key, count),
        21..23 => Operation::Find(key),
        23 => Operation::Range(key, key + count, random.chance(50)),
        24 => Operation::PopFirst,
        25 => Operation::PopLast,
        26 if random.chance(20) => Operation::ClearMap,
        26..30 => Operation::Enqueue(value),
        30 => Operation::EnqueueRun(key, count),
        31..34 => Operation::Dequeue,
        34 => Operation::DequeueRun(count),
        35 if random.chance(30) => Operation::ReadQueue,
        35 => Operation::Peek,
        36 => Operation::Swap(value),
        37 => Operation::Store(value),
        38 => Operation::Load,
        39 => Operation::Lengths,
        40 => Operation::Tokens,
        _ => Operation::Move(from, to),
    }
}

/// What a transaction is about.
fn program(random: &mut Random, dice: impl Fn(u64) -> u64) -> Vec<Operation> {
    let count = random.log_within(1..6);
    if random.chance(30) {
        let mut carried = || [0; 2].map(|_| random.pick(&Place::ALL));
        let moves = (0..count)
            .map(|_| carried())
            .map(|[from, to]| Operation::Move(from, to));
        return moves.collect();
    }
    // Some are about what lies on the shelves, some about the rest, a few about both.
    let loose = random.pick(&[0, 0, 50, 100]);
    let mut one = |step| match random.chance(loose) {
        true => Operation::Unordered(unordered::draw(random, dice(step))),
        false => draw(random, dice(step)),
    };
    (0..count).map(&mut one).collect()
}

fn option(value: Option<u64>) -> Answer {
    value.into_iter().collect()
}

fn entry(entry: Option<(u64, Wide)>) -> Answer {
    entry.map_or_else(Vec::new, |(key, value)| vec![key, value[0]])
}

impl Shelf {
    fn answer(self, tx: &mut Transaction<'_>, operation: Operation) -> Result<Answer> {
        let Self {
            vec,
            map,
            queue,
            cell,
        } = self;
        let nothing = |()| Vec::new();
        let wide = |value| [value; 8];
        Ok(match operation {
            Operation::Push(value) => vec![vec.push(tx, value)?],
            Operation::Pop => option(vec.pop(tx)?),
            Operation::Set(index, value) => vec![vec.set(tx, index, value)?.into()],
            Operation::Get(index) => option(vec.get(tx, index)?.copied()),
            Operation::SwapRemove(index) => option(vec.swap_remove(tx, index)?),
            Operation::Truncate(length) => vec.truncate(tx, length).map(nothing)?,
            Operation::Extend(from, count) => vec.extend(tx, from..from + count).map(nothing)?,
            Operation::ReadVec => vec.to_vec(tx)?,
            Operation::Insert(key, value) => {
                option(map.insert(tx, key, wide(value))?.map(|old| old[0]))
            }
            Operation::InsertBlindly(key, value) => vec![map.set(tx, key, wide(value))?.into()],
            Operation::InsertRun(from, count) => {
                let keys = from..from + count;
                map.extend(tx, keys.map(|key| (key, wide(key))))
                    .map(nothing)?
            }
            Operation::Remove(key) => option(map.remove(tx, key)?.map(|old| old[0])),
            Operation::RemoveRun(from, count) => {
                let mut removed = Vec::new();
                for key in from..from + count {
                    removed.extend(map.remove(tx, key)?.map(|old| old[0]));
                }
                removed
            }
            Operation::Find(key) => option(map.get(tx, key)?.map(|value| value[0])),
            Operation::Range(from, to, false) => pairs(map.range(tx, from..to)?)?,
            Operation::Range(from, to, true) => pairs(map.range(tx, from..to)?.rev())?,
            Operation::PopFirst => entry(map.pop_first(tx)?),
            Operation::PopLast => entry(map.pop_last(tx)?),
            Operation::ClearMap => map.clear(tx).map(nothing)?,
            Operation::Enqueue(value) => queue.push(tx, value).map(nothing)?,
            Operation::EnqueueRun(from, count) => {
                queue.extend(tx, from..from + count).map(nothing)?
            }
            Operation::Dequeue => option(queue.pop(tx)?),
            Operation::DequeueRun(limit) => queue.drain(tx, limit as usize)?,
            Operation::Peek => option(queue.peek(tx)?.copied()),
            Operation::ReadQueue => queue
                .iter(tx)?
                .map(|value| value.copied())
                .collect::<Result<_>>()?,
            Operation::Swap(value) => vec![cell.swap(tx, value)?],
            Operation::Store(value) => cell.set(tx, value).map(nothing)?,
            Operation::Load => vec![cell.get(tx)?],
            Operation::Lengths => vec![vec.len(tx)?, map.len(tx)?, queue.len(tx)?],
            Operation::Move(from, to) => option(self.carry(tx, from, to)?),
            Operation::Tokens => {
                let mut all = self.all(tx)?;
                all.sort_unstable();
                all
            }
            Operation::ReadAll => self.all(tx)?,
            Operation::Unordered(_) => unreachable!("on no shelf"),
        })
    }

    fn carry(self, tx: &mut Transaction<'_>, from: Place, to: Place) -> Result<Option<u64>> {
        let found = match from {
            Place::Vec => self.vec.pop(tx)?,
            Place::Map => self.map.pop_first(tx)?.map(|(_, value)| value[0]),
            Place::Queue => self.queue.pop(tx)?,
        };
        let Some(token) = found else {
            return Ok(None);
        };
        match to {
            Place::Vec => drop(self.vec.push(tx, token)?),
            Place::Map => drop(self.map.insert(tx, token, [token; 8])?),
            Place::Queue => self.queue.push(tx, token)?,
        }
        Ok(Some(token))
    }

    fn all(self, tx: &Transaction<'_>) -> Result<Answer> {
        let mut all = self.vec.to_vec(tx)?;
        for entry in self.map.iter(tx)? {
            all.push(entry?.1[0]);
        }
        for value in self.queue.iter(tx)? {
            all.push(*value?);
        }
        Ok(all)
    }
}

fn pairs<'t>(entries: impl Iterator<Item = Result<(&'t u64, &'t Wide)>>) -> Result<Answer> {
    let mut all = Vec::new();
    for entry in entries {
        let (key, value) = entry?;
        all.extend([*key, value[0]]);
    }
    Ok(all)
}

/// What a program does beside its operations.
#[derive(Debug, Default)]
struct Whims {
    /// It has changed its mind.
    gives_up: bool,
    /// It computes between the operations.
    think: Option<Span>,
    /// It counts the tokens.
    counts: bool,
}

/// Does the operations in one transaction, and says what they answered.
fn act(station: &mut Station, desk: &Desk, operations: &[Operation], whims: &Whims) -> Result<()> {
    desk.transaction(station, |record| {
        let shelves = shelves(record.tx)?;
        let mut answers = Vec::with_capacity(operations.len());
        for operation in operations {
            let shelf = match operation {
                Operation::Move(..) | Operation::Tokens => shelves[1],
                _ => shelves[0],
            };
            let answer = match operation {
                Operation::Unordered(operation) => unordered::answer(record.tx, *operation),
                _ => shelf.answer(record.tx, *operation),
            };
            answers.push((*operation, answer?));
            if let Some(span) = whims.think {
                desk.think(span);
            }
        }
        // Whatever becomes of the attempt, no token is missing at its snapshot.
        if whims.counts {
            let tokens = shelves[1].answer(record.tx, Operation::Tokens)?;
            if !tokens.iter().copied().eq(0..TOKENS) {
                let at = record.tx.snapshot();
                desk.broken(ORACLE, format!("the tokens at {at} are {tokens:?}"));
            }
        }
        if whims.gives_up {
            return Err(record.abort("the program has changed its mind"));
        }
        desk.report(Report::Answered(answers));
        Ok(())
    })
}

impl Program for Collections {
    fn open(&mut self, _: &mut Station) {}

    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        let unique = dice.unique();
        let operations = program(&mut dice.random, |step| unique ^ step << 56);
        let whims = Whims {
            gives_up: dice.random.chance(5),
            think: dice.random.chance(20).then(|| dice.think()),
            counts: dice.random.chance(10),
        };
        act(station, desk, &operations, &whims)
    }

    fn finish(&mut self, _: &mut Station, _: &Desk) -> Result<()> {
        Ok(())
    }

    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        let rest = [
            Unordered::ReadMap,
            Unordered::Count,
            Unordered::ReadText,
            Unordered::Lengths,
        ];
        let mut all = vec![Operation::ReadAll, Operation::Lengths, Operation::Tokens];
        all.extend(rest.map(Operation::Unordered));
        act(station, desk, &all, &Whims::default())?;
        desk.report(Report::Replay);
        Ok(())
    }
}
