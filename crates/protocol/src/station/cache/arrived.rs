//! Pages that were served, from their arrival until the queue reaches them: a transaction that misses one
//! does not wait so long.

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Content, Page};
use plurix_wire::{CommitNumber, PageNumber};

use super::super::Install;
use super::Cache;
use super::memory::install;

/// A served page whose place in the queue has not been reached.
#[derive(Debug, Clone, Hash)]
pub(super) struct Arrived {
    pub(super) page: Box<Page>,
    /// It is in memory already, as of this snapshot.
    pub(super) installed: Option<CommitNumber>,
    /// It is part of a finished group.
    pub(super) is_finished: bool,
}

impl Arrived {
    pub(super) fn new(page: Box<Page>) -> Self {
        Self {
            page,
            installed: None,
            is_finished: false,
        }
    }
}

/// Whether a page that was asked for is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Arrival {
    NotYet,
    Installed,
    /// Only a later state than the snapshot can be had, and the snapshot cannot move there before
    /// more has arrived.
    TooEarly,
    /// Only a later state than the snapshot can be had; the next transaction has it.
    TooOld,
}

impl Cache {
    /// Whether `page` has arrived, and installs it for the running transaction if it can be; then its
    /// neighbours, too, which the next transaction would have installed anyway. Counts what it has
    /// `brought`.
    pub(in super::super) fn install_run(
        &mut self,
        page: PageNumber,
        memory: &impl Install,
        brought: &mut usize,
    ) -> Arrival {
        let Some(arrived) = self.arrived.get(&page) else {
            return Arrival::NotYet;
        };
        if arrived.page.base > self.snapshot {
            return match arrived.is_finished {
                true => Arrival::TooOld,
                false => Arrival::TooEarly,
            };
        }
        if arrived.installed.is_none() {
            self.install(page, memory);
            *brought += 1;
        }
        let mut next = page.0.checked_add(1);
        while let Some(neighbour) = next.map(PageNumber)
            && self.is_ready(neighbour)
        {
            self.install(neighbour, memory);
            *brought += 1;
            next = neighbour.0.checked_add(1);
        }
        Arrival::Installed
    }

    /// Whether a page waits that need not be installed again before the queue reaches it.
    fn is_ready(&self, page: PageNumber) -> bool {
        let arrived = self.arrived.get(&page);
        arrived.is_some_and(|arrived| {
            arrived.is_finished && arrived.installed.is_none() && arrived.page.base <= self.snapshot
        })
    }

    fn install(&mut self, page: PageNumber, memory: &impl Install) {
        let arrived = self.arrived.get_mut(&page).expect("the caller has seen it");
        let through = match canary::strikes(Canary::ApplyBeneath) {
            true => arrived.page.held_from,
            false => self.snapshot,
        };
        install(&arrived.page, through, memory);
        arrived.installed = Some(self.snapshot);
        if arrived.is_finished {
            // It will not be installed again: a long transaction must not keep all of it twice.
            let before = page_bytes(&arrived.page);
            arrived.page.content = Content::Zero;
            self.queued_bytes -= before - page_bytes(&arrived.page);
        }
    }

    /// Whether [`install_run`](Self::install_run) has an answer for the running transaction.
    pub(in super::super) fn can_install(&self, page: PageNumber) -> bool {
        let arrived = self.arrived.get(&page);
        arrived.is_some_and(|arrived| arrived.page.base <= self.snapshot || arrived.is_finished)
    }
}

/// Bytes that a served page takes.
pub(super) fn page_bytes(page: &Page) -> usize {
    let content = match &page.content {
        Content::Zero => 0,
        Content::Bytes(bytes) => bytes.len(),
    };
    let since = page.since.iter();
    content
        + since
            .map(|delta| delta.writes.as_bytes().len())
            .sum::<usize>()
}
