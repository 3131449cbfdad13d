//! Bugs planted on purpose, one at a time, to see that the oracles notice. They sit between the
//! machines, where the real bug would show, and leave the protocol's code alone.

use plurix_protocol::leader::Leader;
use plurix_wire::message::{Batch, Commit, Content, Item, ToStation};
use plurix_wire::{CommitNumber, LineMask};

use crate::random::Random;

/// Opportunities are taken once in so many.
const ONE_IN: u64 = 20;

/// A bug to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Canary {
    /// A change is left out of a batch: the leader forgot a holder.
    DropDelta,
    /// A commit is answered with a number that is not its own.
    WrongNumber,
    /// One line read is left out of the validation.
    SkipRead,
    /// A page is served newer than the snapshot it is said to be at.
    NewerPage,
    /// The tail of a batch is lost.
    DropTail,
    /// A collapsed backlog loses a line.
    LoseLines,
    /// A batch promises more than it brings.
    EarlyThrough,
    /// A commit is answered before the log is on disk.
    EarlyAnswer,
    /// A refused commit is answered as if it were in the heap.
    AcceptRefused,
}

/// Plants the bug, if there is one to plant.
#[derive(Debug)]
pub(crate) struct Planter {
    canary: Option<Canary>,
    random: Random,
}

impl Planter {
    pub(crate) fn new(canary: Option<Canary>, random: Random) -> Self {
        Self { canary, random }
    }

    fn strikes(&mut self, canary: Canary) -> bool {
        self.canary == Some(canary) && self.random.below(ONE_IN) == 0
    }

    /// Changes what the leader says.
    pub(crate) fn spoil_batch(&mut self, message: &mut ToStation) {
        let (Some(canary), ToStation::Batch(batch)) = (self.canary, message) else {
            return;
        };
        let is_target = |item: &Item| match canary {
            Canary::DropDelta => matches!(item, Item::Delta(_)),
            Canary::WrongNumber => matches!(item, Item::Committed { .. }),
            Canary::NewerPage => matches!(item, Item::Page(page) if !page.since.is_empty()),
            Canary::DropTail => !matches!(item, Item::Page(_)),
            Canary::LoseLines => matches!(item, Item::Lines(_)),
            Canary::AcceptRefused => matches!(item, Item::Refused { .. }),
            Canary::EarlyThrough => batch.last,
            Canary::SkipRead | Canary::EarlyAnswer => false,
        };
        if canary == Canary::EarlyThrough {
            if batch.last && self.strikes(canary) {
                batch.through = batch.through.next();
            }
            return;
        }
        let Some(at) = batch.items.iter().position(is_target) else {
            return;
        };
        if self.strikes(canary) {
            spoil_item(canary, batch, at);
        }
    }

    /// Changes what a station says.
    pub(crate) fn spoil_commit(&mut self, commit: &mut Commit) {
        if !commit.reads.is_empty() && self.strikes(Canary::SkipRead) {
            let read = &mut commit.reads[0];
            read.lines = LineMask(read.lines.0 & (read.lines.0 - 1));
            if read.lines.0 == 0 {
                commit.reads.remove(0);
            }
        }
    }

    /// What to report as logged although it is not.
    pub(crate) fn early_answer(&mut self, durable: bool, leader: &Leader) -> Option<CommitNumber> {
        (durable && self.strikes(Canary::EarlyAnswer)).then(|| leader.number())
    }
}

fn spoil_item(canary: Canary, batch: &mut Batch, at: usize) {
    match (canary, &mut batch.items[at]) {
        (Canary::WrongNumber, Item::Committed { number, .. }) => {
            *number = CommitNumber(number.0.saturating_sub(1));
        }
        (Canary::AcceptRefused, item) => {
            if let Item::Refused { sequence, .. } = *item {
                let number = batch.through;
                *item = Item::Committed { sequence, number };
            }
        }
        (Canary::NewerPage, Item::Page(page)) => {
            let mut bytes = match &page.content {
                Content::Zero => vec![0; plurix_wire::PAGE_BYTES],
                Content::Bytes(bytes) => bytes.to_vec(),
            };
            let deltas = page.since.iter().flat_map(|delta| delta.writes.sections());
            for run in deltas.flat_map(|section| section.runs()) {
                bytes[usize::from(run.offset)..][..run.bytes.len()].copy_from_slice(run.bytes);
            }
            page.content = Content::Bytes(bytes.into());
        }
        (Canary::DropTail, _) => {
            // A lost page is asked for again; whatever else is lost stays so.
            let tail = batch.items.split_off(at);
            let pages = tail
                .into_iter()
                .filter(|item| matches!(item, Item::Page(_)));
            batch.items.extend(pages);
        }
        _ => {
            batch.items.remove(at);
        }
    }
}
