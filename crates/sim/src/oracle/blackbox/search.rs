//! Looks for an order of all places, one prefix after the other, and remembers prefixes that lead
//! nowhere.
//!
//! A place may come next if everything that must precede it is there, and if it overwrites no
//! register whose present value somebody else has yet to read. So in every prefix that is reached,
//! whoever is still to come finds its values where it needs them; what may follow depends on which
//! places are in the prefix and not on their order, and each set need be tried once. For the same
//! reason a place that only reads is taken as soon as it may be: it stands in nobody's way.
//!
//! Source: Wing and Gong, "Testing and verifying concurrent objects", JPDC 1993; remembering the
//! sets, Lowe, "Testing for linearizability", CCPE 2017; prefixes of transactions, Biswas and Enea,
//! OOPSLA 2019.

use std::collections::{BTreeMap, BTreeSet};

use super::Register;
use super::nodes::Nodes;
use super::order::{Order, Places};

/// What came of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All places, in an order that explains everything.
    Order(Vec<usize>),
    /// There is no such order.
    Nothing { prefixes: usize },
    /// There may be one.
    GaveUp,
}

/// A prefix that has several continuations.
struct Fork {
    length: usize,
    /// Those not tried yet; the last is tried first.
    choices: Vec<usize>,
}

/// Searches for an order of `nodes` in at most `steps_max` steps.
pub(super) fn search(nodes: &Nodes, order: &Order, steps_max: u64) -> Found {
    let mut prefix = Prefix::new(nodes, order);
    let mut tried: BTreeSet<Places> = BTreeSet::new();
    let mut forks: Vec<Fork> = Vec::new();
    for _ in 0..steps_max {
        prefix.place_readers();
        if prefix.placed.len() == nodes.0.len() {
            return Found::Order(prefix.placed);
        }
        if tried.insert(prefix.set.clone()) {
            forks.push(Fork {
                length: prefix.placed.len(),
                choices: prefix.choices(),
            });
        }
        let next = loop {
            let Some(fork) = forks.last_mut() else {
                let prefixes = tried.len();
                return Found::Nothing { prefixes };
            };
            if let Some(next) = fork.choices.pop() {
                prefix.cut(fork.length);
                break next;
            }
            forks.pop();
        };
        prefix.place(next);
    }
    Found::GaveUp
}

/// The places that have been put in order so far.
struct Prefix<'a> {
    nodes: &'a Nodes,
    order: &'a Order,
    /// How many read what a place wrote into a register.
    readers: BTreeMap<(Register, usize), u32>,
    placed: Vec<usize>,
    set: Places,
    /// Places still to come that read what each register now holds.
    awaited: BTreeMap<Register, u32>,
}

impl<'a> Prefix<'a> {
    fn new(nodes: &'a Nodes, order: &'a Order) -> Self {
        let mut readers = BTreeMap::new();
        for read in nodes.0.iter().flat_map(|node| &node.reads) {
            *readers.entry(*read).or_default() += 1;
        }
        Self {
            nodes,
            order,
            readers,
            placed: Vec::new(),
            set: Places::none(nodes.0.len()),
            awaited: nodes.writers().into_keys().map(|r| (r, 0)).collect(),
        }
    }

    fn may_come(&self, place: usize) -> bool {
        let node = &self.nodes.0[place];
        let reads = |register| node.reads.range((register, 0)..=(register, usize::MAX));
        !self.set.contains(place)
            && self.order.before[place].is_within(&self.set)
            && node
                .writes
                .iter()
                .all(|&register| self.awaited[&register] as usize == reads(register).count())
    }

    /// Takes all that only read and may come.
    fn place_readers(&mut self) {
        for place in 0..self.nodes.0.len() {
            if !self.nodes.0[place].is_update() && self.may_come(place) {
                self.place(place);
            }
        }
    }

    /// What may come next, the one that ended first last.
    fn choices(&self) -> Vec<usize> {
        let places = 0..self.nodes.0.len();
        let mut choices: Vec<usize> = places.filter(|place| self.may_come(*place)).collect();
        let end = |place: &usize| self.nodes.0[*place].end.unwrap_or(u64::MAX);
        choices.sort_by_key(|place| std::cmp::Reverse((end(place), *place)));
        choices
    }

    fn place(&mut self, place: usize) {
        self.count(place, |awaited, read, due| *awaited = *awaited - read + due);
        self.set.insert(place);
        self.placed.push(place);
    }

    /// Takes back all but the first `length` places.
    fn cut(&mut self, length: usize) {
        for place in self.placed.split_off(length).into_iter().rev() {
            self.count(place, |awaited, read, due| *awaited = *awaited + read - due);
            self.set.remove(place);
        }
    }

    /// Changes what is awaited of each register that a place reads or writes, given how many of its
    /// values the place reads and how many will read what it writes.
    fn count(&mut self, place: usize, change: impl Fn(&mut u32, u32, u32)) {
        let node = &self.nodes.0[place];
        for (register, _) in &node.reads {
            change(self.awaited.entry(*register).or_default(), 1, 0);
        }
        for &register in &node.writes {
            let due = self.readers.get(&(register, place)).copied().unwrap_or(0);
            change(self.awaited.entry(register).or_default(), 0, due);
        }
    }
}
