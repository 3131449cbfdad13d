//! What must come before what: by who read from whom, by real time, by session, and by what follows
//! from these, until nothing more follows. A cycle refutes the history.
//!
//! If R read a register that W wrote, then any other writer X of it comes before W or after R:
//!
//! ```text
//!   W before X  ==>  R before X        X before R  ==>  X before W
//! ```
//!
//! Source: Papadimitriou's polygraphs (JACM 1979); the deduction as in Tan et al., "Cobra: making
//! transactional key-value stores verifiably serializable", OSDI 2020.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::nodes::{BEGINNING, Node, Nodes};
use super::{Register, violation};
use crate::oracle::Violation;

/// A set of places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Places(Vec<u64>);

impl Places {
    pub(super) fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(super) fn insert(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    pub(super) fn remove(&mut self, place: usize) {
        self.0[place / 64] &= !(1 << (place % 64));
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let places = 0..self.0.len() * 64;
        places.filter(|place| self.contains(*place))
    }
}

/// Why one comes before another.
#[derive(Debug, Clone, Copy)]
enum Why {
    Beginning,
    ReadFrom(Register),
    RealTime,
    Newest,
    Session,
    /// It read what the other one overwrote.
    Overwritten(Register),
    /// The other one's value was read when this one's was gone.
    GoneWhenRead(Register),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => write!(f, "is the beginning, before"),
            Self::ReadFrom(register) => write!(f, "wrote {register:#x} as read by"),
            Self::RealTime => write!(f, "ended before the begin of"),
            Self::Newest => write!(f, "was answered before the newest was asked for by"),
            Self::Session => write!(f, "is in its session before"),
            Self::Overwritten(register) => write!(f, "read {register:#x} as it was before"),
            Self::GoneWhenRead(register) => write!(f, "wrote {register:#x} for a reader after"),
        }
    }
}

/// A partial order of all places, closed under what follows from it.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) before: Vec<Places>,
    after: Vec<Places>,
    /// What was found, each with its reason; the rest follows.
    edges: Vec<(usize, usize, Why)>,
}

impl Order {
    /// Everything that is known of the order of `nodes`.
    pub(super) fn deduce(nodes: &Nodes) -> Result<Self, Violation> {
        let count = nodes.0.len();
        let mut order = Self {
            before: vec![Places::none(count); count],
            after: vec![Places::none(count); count],
            edges: Vec::new(),
        };
        for place in 1..count {
            order.demand(nodes, BEGINNING, place, Why::Beginning)?;
        }
        order.by_time(nodes)?;
        for (place, node) in nodes.0.iter().enumerate() {
            for &(register, writer) in &node.reads {
                order.demand(nodes, writer, place, Why::ReadFrom(register))?;
            }
        }
        let writers = nodes.writers();
        while order.follow(nodes, &writers)? {}
        Ok(order)
    }

    /// Real time and sessions. Places are in order of their begin, so only lower ones can be over.
    /// The latest ends come first: what ended earlier often follows.
    fn by_time(&mut self, nodes: &Nodes) -> Result<(), Violation> {
        let mut ended: Vec<usize> = (1..nodes.0.len()).collect();
        ended.retain(|&place| nodes.0[place].end.is_some());
        ended.sort_by_key(|&place| std::cmp::Reverse(nodes.0[place].end));
        for (place, node) in nodes.0.iter().enumerate().skip(1) {
            for &earlier in ended.iter().filter(|earlier| **earlier < place) {
                if let Some(why) = timely(&nodes.0[earlier], node) {
                    self.demand(nodes, earlier, place, why)?;
                }
            }
        }
        Ok(())
    }

    /// One pass over what follows from who read what; answers whether it found anything new.
    fn follow(
        &mut self,
        nodes: &Nodes,
        writers: &BTreeMap<Register, Vec<usize>>,
    ) -> Result<bool, Violation> {
        let known = self.edges.len();
        for (reader, node) in nodes.0.iter().enumerate() {
            for &(register, writer) in &node.reads {
                for &other in &writers[&register] {
                    if other == writer || other == reader {
                        continue;
                    }
                    if self.after[writer].contains(other) {
                        self.demand(nodes, reader, other, Why::Overwritten(register))?;
                    }
                    if self.before[reader].contains(other) {
                        self.demand(nodes, other, writer, Why::GoneWhenRead(register))?;
                    }
                }
            }
        }
        Ok(self.edges.len() > known)
    }

    /// Notes that `first` comes before `second`, and what follows.
    fn demand(
        &mut self,
        nodes: &Nodes,
        first: usize,
        second: usize,
        why: Why,
    ) -> Result<(), Violation> {
        if self.after[first].contains(second) {
            return Ok(());
        }
        self.edges.push((first, second, why));
        if first == second || self.after[second].contains(first) {
            return Err(self.cycle(nodes, first, second));
        }
        let mut earlier = self.before[first].clone();
        earlier.insert(first);
        let mut later = self.after[second].clone();
        later.insert(second);
        for place in earlier.iter() {
            self.after[place].add_all(&later);
        }
        for place in later.iter() {
            self.before[place].add_all(&earlier);
        }
        Ok(())
    }

    /// The contradiction that the newest edge, from `first` to `second`, has closed: the shortest
    /// way from `second` back to `first`, found breadth first.
    fn cycle(&self, nodes: &Nodes, first: usize, second: usize) -> Violation {
        let mut came_by: Vec<Option<usize>> = vec![None; self.before.len()];
        let mut queue = VecDeque::from([second]);
        while let Some(place) = queue.pop_front().filter(|place| *place != first) {
            for (edge, &(from, to, _)) in self.edges.iter().enumerate() {
                if from == place && to != second && came_by[to].is_none() {
                    came_by[to] = Some(edge);
                    queue.push_back(to);
                }
            }
        }
        let name = |place: usize| match nodes.0[place].source {
            Some(source) => format!("transaction {source}"),
            None => "the beginning".to_owned(),
        };
        let mut steps = Vec::new();
        let mut at = first;
        while let Some(edge) = came_by[at].filter(|_| at != second) {
            let (from, _, why) = self.edges[edge];
            steps.push(format!("{} {why}", name(from)));
            at = from;
        }
        steps.reverse();
        let closing = self.edges.last().map_or(Why::Beginning, |edge| edge.2);
        steps.push(format!("{} {closing} {}", name(first), name(second)));
        violation(format_args!("no order is possible: {}", steps.join(" ")))
    }
}

/// Why `earlier`, of which nothing is known but its times and its session, comes before `node`.
fn timely(earlier: &Node, node: &Node) -> Option<Why> {
    let ended_before = |moment| earlier.end.is_some_and(|end| end < moment);
    let follows = earlier.session == node.session && earlier.end.is_some_and(|e| e <= node.begin);
    if follows {
        return Some(Why::Session);
    }
    if node.is_update() && ended_before(node.begin) {
        return Some(Why::RealTime);
    }
    let asked = node.newest_at.is_some_and(ended_before);
    (asked && earlier.is_update()).then_some(Why::Newest)
}
