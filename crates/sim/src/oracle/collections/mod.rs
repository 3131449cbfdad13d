//! Collections in the heap are what those of the standard library are: the operations of all committed
//! transactions, done again one after the other in the order of their commits on the latter, give the
//! answers that programs were given; and a transaction that changed nothing saw what was there at its
//! snapshot. So does, in the end, who reads everything.
//!
//! Source: `plurix::collections`; the check is linearizability with a known order of commits (Herlihy
//! and Wing, "Linearizability: A Correctness Condition for Concurrent Objects", 1990).

pub(crate) mod unordered;

use std::collections::{BTreeMap, VecDeque};

use plurix_wire::CommitId;

use self::unordered::Unordered;
use super::{Model, Moment, Violation, demand};

const ORACLE: &str = "collections";
/// Elements of which each is in exactly one of the collections of the second shelf.
pub(crate) const TOKENS: u64 = 24;

/// Two sets of collections: one for anything, one between whose collections tokens are moved.
pub(crate) const SHELVES: usize = 2;

/// One of the collections of the second shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Vec,
    Map,
    Queue,
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::Vec, Self::Map, Self::Queue];
}

/// What a program does in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Push(u64),
    Pop,
    /// At an index, a value.
    Set(u64, u64),
    Get(u64),
    SwapRemove(u64),
    Truncate(u64),
    /// So many elements from a number on.
    Extend(u64, u64),
    ReadVec,
    Insert(u64, u64),
    InsertBlindly(u64, u64),
    /// So many keys from one on.
    InsertRun(u64, u64),
    Remove(u64),
    RemoveRun(u64, u64),
    Find(u64),
    /// From a key to another, or back.
    Range(u64, u64, bool),
    PopFirst,
    PopLast,
    ClearMap,
    Enqueue(u64),
    EnqueueRun(u64, u64),
    Dequeue,
    DequeueRun(u64),
    Peek,
    ReadQueue,
    /// Replaces the register.
    Swap(u64),
    /// Replaces it unread.
    Store(u64),
    Load,
    Lengths,
    /// Moves a token.
    Move(Place, Place),
    /// All tokens, sorted.
    Tokens,
    /// All that is in the first shelf.
    ReadAll,
    /// What is on no shelf.
    Unordered(Unordered),
}

/// What an operation answers, as words; an option is none or one.
pub(crate) type Answer = Vec<u64>;

/// The operations of one transaction, with their answers.
pub(crate) type Answers = Vec<(Operation, Answer)>;

/// One set of collections, of the standard library.
#[derive(Debug, Default)]
struct Shelf {
    vec: Vec<u64>,
    map: BTreeMap<u64, u64>,
    queue: VecDeque<u64>,
    cell: u64,
    unordered: unordered::Model,
}

/// What programs said that they did.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    /// In transactions that may have been committed.
    asked: BTreeMap<CommitId, Answers>,
    /// In transactions that changed nothing, by their snapshot.
    seen: BTreeMap<Moment, Vec<Answers>>,
}

impl Collections {
    /// An attempt to commit under `id` did this. If it gets no further, the next one has the id.
    pub(crate) fn asked(&mut self, id: CommitId, answers: Answers) {
        self.asked.insert(id, answers);
    }

    /// The attempt with `id` has changed nothing, and saw the heap at a moment.
    pub(crate) fn seen(&mut self, id: CommitId, at: Moment) {
        if let Some(answers) = self.asked.remove(&id) {
            self.seen.entry(at).or_default().push(answers);
        }
    }

    /// Does again what has been committed and not been taken back; answers how many operations.
    pub(crate) fn replay(&self, model: &Model) -> Result<usize, Violation> {
        let mut shelves: [Shelf; SHELVES] = Default::default();
        shelves[1].queue.extend(0..TOKENS);
        let mut commits = model.ids();
        commits.retain(|(_, id)| self.asked.contains_key(id));
        let mut commits = commits.into_iter().peekable();
        let living = model.newest().generation;
        let seen = self.seen.iter();
        let mut seen: Vec<_> = seen.filter(|(at, _)| model.is_seen(living, **at)).collect();
        seen.sort_by_key(|(at, _)| at.number);
        let mut count = 0;
        for (at, all) in seen {
            while let Some((number, id)) = commits.next_if(|(number, _)| *number <= at.number) {
                count += again(&mut shelves, &self.asked[&id], &format!("commit {number}"))?;
            }
            for answers in all {
                count += again(&mut shelves, answers, &format!("a look at {at}"))?;
            }
        }
        for (number, id) in commits {
            count += again(&mut shelves, &self.asked[&id], &format!("commit {number}"))?;
        }
        Ok(count)
    }
}

fn again(shelves: &mut [Shelf; SHELVES], answers: &Answers, of: &str) -> Result<usize, Violation> {
    for (operation, answer) in answers {
        let expected = shelves.answer(*operation);
        demand!(
            expected == *answer,
            ORACLE,
            "{operation:?} of {of} answered {answer:?}, not {expected:?}"
        );
    }
    Ok(answers.len())
}

trait Shelves {
    fn answer(&mut self, operation: Operation) -> Answer;
}

impl Shelves for [Shelf; SHELVES] {
    fn answer(&mut self, operation: Operation) -> Answer {
        match operation {
            Operation::Move(from, to) => self[1].carry(from, to),
            Operation::Tokens => {
                let mut all = self[1].all();
                all.sort_unstable();
                all
            }
            other => self[0].answer(other),
        }
    }
}

impl Shelf {
    fn answer(&mut self, operation: Operation) -> Answer {
        match operation {
            Operation::Push(_)
            | Operation::Pop
            | Operation::Set(..)
            | Operation::Get(_)
            | Operation::SwapRemove(_)
            | Operation::Truncate(_)
            | Operation::Extend(..)
            | Operation::ReadVec => self.of_vec(operation),
            Operation::Enqueue(_)
            | Operation::EnqueueRun(..)
            | Operation::Dequeue
            | Operation::DequeueRun(_)
            | Operation::Peek
            | Operation::ReadQueue => self.of_queue(operation),
            Operation::Swap(value) => vec![std::mem::replace(&mut self.cell, value)],
            Operation::Store(value) => {
                self.cell = value;
                Vec::new()
            }
            Operation::Load => vec![self.cell],
            Operation::Lengths => {
                let lengths = [self.vec.len(), self.map.len(), self.queue.len()];
                lengths.map(|length| length as u64).to_vec()
            }
            Operation::ReadAll => self.all(),
            Operation::Unordered(operation) => self.unordered.answer(operation),
            Operation::Move(..) | Operation::Tokens => unreachable!("of the other shelf"),
            other => self.of_map(other),
        }
    }

    fn of_vec(&mut self, operation: Operation) -> Answer {
        let vec = &mut self.vec;
        match operation {
            Operation::Push(value) => {
                vec.push(value);
                vec![vec.len() as u64 - 1]
            }
            Operation::Pop => vec.pop().into_iter().collect(),
            Operation::Set(index, value) => {
                let place = vec.get_mut(index as usize);
                vec![place.map(|place| *place = value).is_some().into()]
            }
            Operation::Get(index) => vec.get(index as usize).copied().into_iter().collect(),
            Operation::SwapRemove(index) => {
                let is_there = (index as usize) < vec.len();
                let found = is_there.then(|| vec.swap_remove(index as usize));
                found.into_iter().collect()
            }
            Operation::Truncate(length) => {
                vec.truncate(length as usize);
                Vec::new()
            }
            Operation::Extend(from, count) => {
                vec.extend(from..from + count);
                Vec::new()
            }
            _ => vec.clone(),
        }
    }

    fn of_map(&mut self, operation: Operation) -> Answer {
        let map = &mut self.map;
        let pair = |entry: Option<(u64, u64)>| {
            let entry = entry.map(<[u64; 2]>::from);
            entry.into_iter().flatten().collect()
        };
        match operation {
            Operation::Insert(key, value) => map.insert(key, value).into_iter().collect(),
            Operation::InsertBlindly(key, value) => {
                vec![map.insert(key, value).is_some().into()]
            }
            Operation::InsertRun(from, count) => {
                map.extend((from..from + count).map(|key| (key, key)));
                Vec::new()
            }
            Operation::Remove(key) => map.remove(&key).into_iter().collect(),
            Operation::RemoveRun(from, count) => {
                let keys = from..from + count;
                keys.filter_map(|key| map.remove(&key)).collect()
            }
            Operation::Find(key) => map.get(&key).copied().into_iter().collect(),
            Operation::Range(from, to, false) => {
                let entries = map.range(from..to.max(from));
                entries.flat_map(|(key, value)| [*key, *value]).collect()
            }
            Operation::Range(from, to, true) => {
                let entries = map.range(from..to.max(from)).rev();
                entries.flat_map(|(key, value)| [*key, *value]).collect()
            }
            Operation::PopFirst => pair(map.pop_first()),
            Operation::PopLast => pair(map.pop_last()),
            _ => {
                map.clear();
                Vec::new()
            }
        }
    }

    fn of_queue(&mut self, operation: Operation) -> Answer {
        let queue = &mut self.queue;
        match operation {
            Operation::Enqueue(value) => {
                queue.push_back(value);
                Vec::new()
            }
            Operation::EnqueueRun(from, count) => {
                queue.extend(from..from + count);
                Vec::new()
            }
            Operation::Dequeue => queue.pop_front().into_iter().collect(),
            Operation::DequeueRun(limit) => {
                let count = queue.len().min(limit as usize);
                queue.drain(..count).collect()
            }
            Operation::Peek => queue.front().copied().into_iter().collect(),
            _ => queue.iter().copied().collect(),
        }
    }

    /// Takes what comes first, and puts it elsewhere.
    fn carry(&mut self, from: Place, to: Place) -> Answer {
        let found = match from {
            Place::Vec => self.vec.pop(),
            Place::Map => self.map.pop_first().map(|(_, value)| value),
            Place::Queue => self.queue.pop_front(),
        };
        if let Some(token) = found {
            match to {
                Place::Vec => self.vec.push(token),
                Place::Map => drop(self.map.insert(token, token)),
                Place::Queue => self.queue.push_back(token),
            }
        }
        found.into_iter().collect()
    }

    fn all(&self) -> Answer {
        let (vec, map, queue) = (self.vec.iter(), self.map.values(), self.queue.iter());
        vec.chain(map).chain(queue).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use plurix_wire::{
        CommitNumber, CommitSequence, Generation, Incarnation, PageNumber, WriteSetBuilder,
    };

    use super::super::testing::objects;
    use super::*;

    /// Two commits, of which the second pushes to the vector, and a look at one of them.
    fn told(pushed_at: u64, seen: &[u64], seen_at: u64) -> Result<usize, Violation> {
        let (mut model, mut told) = (Model::default(), Collections::default());
        let id = |sequence| CommitId {
            incarnation: Incarnation(1),
            sequence: CommitSequence(sequence),
        };
        let at = |number| Moment {
            generation: Generation(0),
            number: CommitNumber(number),
        };
        for number in 1..=2 {
            let mut writes = WriteSetBuilder::new();
            writes.push(PageNumber(0), 8, &[1]);
            model.append(at(number), id(number), writes.finish());
        }
        told.asked(id(1), vec![(Operation::Enqueue(3), Vec::new())]);
        told.asked(id(2), vec![(Operation::Push(7), vec![pushed_at])]);
        told.asked(id(3), vec![(Operation::ReadVec, seen.to_vec())]);
        told.seen(id(3), at(seen_at));
        told.replay(&model)
    }

    #[test]
    fn answers_that_fit_no_place_in_the_order_are_noticed() {
        assert_eq!(told(0, &[7], 2), Ok(3));
        assert_eq!(told(0, &[], 1), Ok(3));
        objects(told(1, &[7], 2), "Push(7) of commit");
        objects(told(0, &[7], 1), "a look at");
        objects(told(0, &[], 2), "a look at");
    }
}
