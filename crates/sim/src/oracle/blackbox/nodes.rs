//! What has a place in the order: transactions that happened, and what the others saw. The first
//! node is the beginning, which wrote zero into every register.

use std::collections::{BTreeMap, BTreeSet};

use super::{Instant, Outcome, Place, Register, Transaction, Value, violation};
use crate::oracle::{Violation, demand};

/// The beginning of the run.
pub(super) const BEGINNING: usize = 0;

/// One place in the order.
#[derive(Debug)]
pub(super) struct Node {
    /// Which transaction of the history it is; `None` for the beginning.
    pub(super) source: Option<usize>,
    pub(super) session: u64,
    pub(super) begin: Instant,
    /// When it surely had its place; `None` if nobody ever learned that.
    pub(super) end: Option<Instant>,
    pub(super) newest_at: Option<Instant>,
    /// The registers it read, each with the node that wrote what it saw; no pair twice.
    pub(super) reads: BTreeSet<(Register, usize)>,
    /// The registers it wrote; none if it changed nothing.
    pub(super) writes: BTreeSet<Register>,
}

impl Node {
    pub(super) fn is_update(&self) -> bool {
        !self.writes.is_empty()
    }
}

/// All places, those of the history in order of their begin.
#[derive(Debug)]
pub(super) struct Nodes(pub(super) Vec<Node>);

/// Who wrote a value.
#[derive(Debug, Clone, Copy)]
struct Writer {
    transaction: usize,
    /// Whether it is what the transaction left in the register.
    last: bool,
}

/// A transaction of the history, and whether the node is for its effect or for what it saw.
type Source = (usize, bool);
type Writers = BTreeMap<(Register, Value), Writer>;

impl Nodes {
    pub(super) fn new(history: &[Transaction]) -> Result<Self, Violation> {
        let writers = writers(history)?;
        let seen = seen(history, &writers)?;
        let mut sources: Vec<Source> = Vec::new();
        for (index, transaction) in history.iter().enumerate() {
            let is_update = match transaction.outcome {
                Outcome::Committed => !transaction.writes.is_empty(),
                Outcome::Unknown => seen.contains(&index),
                Outcome::NotHappened => false,
            };
            let is_known = is_update && transaction.outcome == Outcome::Committed;
            let saw = !transaction.reads.is_empty() && !is_known;
            sources.extend(saw.then_some((index, false)));
            sources.extend(is_update.then_some((index, true)));
        }
        sources.sort_by_key(|&(index, _)| (history[index].begin, history[index].end, index));
        let updates = sources.iter().copied().zip(1..);
        let updates: BTreeMap<usize, usize> = updates
            .filter_map(|((index, is_update), node)| is_update.then_some((index, node)))
            .collect();
        let place = |read: &(Register, Value)| {
            let writer = writers.get(read);
            (
                read.0,
                writer.map_or(BEGINNING, |w| updates[&w.transaction]),
            )
        };
        let mut nodes = vec![beginning(history)];
        nodes.extend(sources.into_iter().map(|(index, is_update)| {
            let transaction = &history[index];
            let written = transaction.writes.iter().filter(|_| is_update);
            let open = is_update && transaction.outcome == Outcome::Unknown;
            Node {
                source: Some(index),
                session: transaction.session,
                begin: transaction.begin,
                end: (!open).then_some(transaction.end),
                newest_at: transaction.newest_at,
                reads: transaction.reads.iter().map(place).collect(),
                writes: written.map(|(register, _)| *register).collect(),
            }
        }));
        Ok(Self(nodes))
    }

    /// The transactions of these nodes.
    pub(super) fn explain(&self, order: &[usize]) -> Vec<Place> {
        let nodes = order.iter().map(|&node| &self.0[node]);
        let places = nodes.filter_map(|node| {
            Some(Place {
                transaction: node.source?,
                took_effect: node.is_update(),
            })
        });
        places.collect()
    }

    /// For each register, who wrote it.
    pub(super) fn writers(&self) -> BTreeMap<Register, Vec<usize>> {
        let mut writers: BTreeMap<Register, Vec<usize>> = BTreeMap::new();
        for (place, node) in self.0.iter().enumerate() {
            for &register in &node.writes {
                writers.entry(register).or_default().push(place);
            }
        }
        writers
    }
}

fn beginning(history: &[Transaction]) -> Node {
    let touched = history
        .iter()
        .flat_map(|transaction| transaction.reads.iter().chain(&transaction.writes));
    Node {
        source: None,
        session: 0,
        begin: 0,
        end: Some(0),
        newest_at: None,
        reads: BTreeSet::new(),
        writes: touched.map(|(register, _)| *register).collect(),
    }
}

fn writers(history: &[Transaction]) -> Result<Writers, Violation> {
    let mut writers = Writers::new();
    for (transaction, what) in history.iter().enumerate() {
        for (at, &(register, value)) in what.writes.iter().enumerate() {
            let last = what.writes[at + 1..].iter().all(|(r, _)| *r != register);
            let before = writers.insert((register, value), Writer { transaction, last });
            if let Some(before) = before {
                return Err(violation(format_args!(
                    "transactions {} and {transaction} both wrote {value:#x} into register \
                     {register:#x}; values must be unique",
                    before.transaction
                )));
            }
            if value == 0 {
                return Err(violation(format_args!(
                    "transaction {transaction} wrote zero, which is there at first"
                )));
            }
        }
    }
    Ok(writers)
}

/// The transactions that somebody read from. Every read counts: also a transaction that did not
/// happen saw the heap as it was.
fn seen(history: &[Transaction], writers: &Writers) -> Result<BTreeSet<usize>, Violation> {
    let mut seen = BTreeSet::new();
    for (reader, transaction) in history.iter().enumerate() {
        for &(register, value) in transaction.reads.iter().filter(|(_, value)| *value != 0) {
            let Some(writer) = writers.get(&(register, value)) else {
                return Err(violation(format_args!(
                    "transaction {reader} read {value:#x} from register {register:#x}, which \
                     nobody wrote there"
                )));
            };
            let from = writer.transaction;
            demand!(
                history[from].outcome != Outcome::NotHappened,
                super::ORACLE,
                "transaction {reader} read {value:#x} from register {register:#x}, written by \
                 transaction {from}, which did not happen"
            );
            demand!(
                writer.last,
                super::ORACLE,
                "transaction {reader} read {value:#x} from register {register:#x}, which \
                 transaction {from} overwrote before its end"
            );
            seen.insert(from);
        }
    }
    Ok(seen)
}
