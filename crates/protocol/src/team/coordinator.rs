//! The first rank's part for all: barriers, who has which lock, and counters.

use std::collections::{BTreeMap, VecDeque};

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Arrive, Cut, Home, Release, ToPeer, Written};
use plurix_wire::message::recovery_line::Marks;
use plurix_wire::{Interval, PageNumber, Rank, SyncId};

use super::{Error, regions};

type Answers = Vec<(Rank, ToPeer)>;

/// See the module's text.
#[derive(Debug, Clone)]
pub(super) struct Coordinator {
    interval: Interval,
    arrived: Vec<Option<Arrive>>,
    locks: BTreeMap<SyncId, Lock>,
    flags: BTreeMap<SyncId, Flag>,
    counters: BTreeMap<SyncId, u64>,
    /// What was written since the last barrier, as far as was told by who handed back a lock or raised a
    /// flag, and so is at its homes.
    log: Vec<(Rank, PageRun)>,
    /// How much of it each rank knows.
    known: Vec<usize>,
    /// Cuts so far.
    cuts: u32,
    /// What was known at the last one.
    marks: Marks,
}

/// Who has a lock and who wants it.
#[derive(Debug, Clone, Default)]
struct Lock {
    holder: Option<Rank>,
    queue: VecDeque<Rank>,
}

/// How high a flag is, and who waits for more.
#[derive(Debug, Clone, Default)]
struct Flag {
    value: u64,
    waiting: Vec<(Rank, u64)>,
}

impl Coordinator {
    pub(super) fn new(size: u16) -> Self {
        Self {
            interval: Interval(0),
            arrived: vec![None; usize::from(size)],
            locks: BTreeMap::new(),
            flags: BTreeMap::new(),
            counters: BTreeMap::new(),
            log: Vec::new(),
            known: vec![0; usize::from(size)],
            cuts: 0,
            marks: Marks::default(),
        }
    }

    /// Flags and counters are as they were at a cut of an earlier team.
    pub(super) fn restore(&mut self, marks: Marks) {
        let flag = |value| Flag {
            value,
            waiting: Vec::new(),
        };
        let flags = marks.flags.into_iter();
        self.flags = flags.map(|(id, value)| (id, flag(value))).collect();
        self.counters = marks.counters;
    }

    /// What was known at the last cut.
    pub(super) fn take_marks(&mut self) -> Marks {
        std::mem::take(&mut self.marks)
    }

    /// Whether the barrier that all have come to is a cut. Whoever is released first may raise flags
    /// before this station has been released itself, so what is known is put aside now.
    fn cut(&mut self, arrived: &[Arrive]) -> Option<Cut> {
        let basis = arrived.first().and_then(|arrive| arrive.cut)?;
        if !arrived.iter().all(|arrive| arrive.may_cut) {
            return None;
        }
        self.cuts += 1;
        let flags = self.flags.iter().map(|(id, flag)| (*id, flag.value));
        self.marks = Marks {
            flags: flags.collect(),
            counters: self.counters.clone(),
        };
        let ordinal = self.cuts;
        Some(Cut { ordinal, basis })
    }

    /// A station has come to the barrier.
    pub(super) fn arrive(
        &mut self,
        from: Rank,
        arrive: Arrive,
        out: &mut Answers,
    ) -> Result<(), Error> {
        let place = &mut self.arrived[usize::from(from.0)];
        if arrive.interval != self.interval || place.is_some() {
            return Err(Error::Violation(from, "an arrival out of order"));
        }
        *place = Some(arrive);
        if self.arrived.iter().all(Option::is_some) || canary::strikes(Canary::ReleaseEarly) {
            self.release(out);
        }
        Ok(())
    }

    fn release(&mut self, out: &mut Answers) {
        let arrived: Vec<Arrive> = self
            .arrived
            .iter_mut()
            .map(|arrive| arrive.take().unwrap_or_default())
            .collect();
        let cut = self.cut(&arrived);
        let ranks = || (0..).map(Rank);
        let told = ranks()
            .zip(&arrived)
            .flat_map(|(rank, arrive)| arrive.written.iter().map(move |run| (rank, *run)));
        let written = merge(self.log.drain(..).chain(told));
        let wanted = ranks()
            .zip(&arrived)
            .flat_map(|(rank, arrive)| arrive.wanted.iter().map(move |run| (rank, *run)));
        let moved = moves(&written, wanted);
        self.known.fill(0);
        let brings = |arrive: &Arrive| arrive.brings.clone();
        let brought = match arrived.iter().any(|arrive| arrive.brings.is_some()) {
            true => arrived.iter().map(brings).collect(),
            false => Vec::new(),
        };
        for (at, rank) in (0..arrived.len()).zip(ranks()) {
            let sent = |arrive: &Arrive| arrive.sent.get(at).copied().unwrap_or(0);
            let release = Release {
                interval: self.interval,
                written: written.clone(),
                moved: moved.clone(),
                expected: arrived.iter().map(sent).collect(),
                brought: brought.clone(),
                cut,
            };
            out.push((rank, ToPeer::Release(release)));
        }
        self.interval = self.interval.next();
    }

    /// A station wants a lock.
    pub(super) fn acquire(&mut self, from: Rank, id: SyncId, out: &mut Answers) {
        let lock = self.locks.entry(id).or_default();
        match lock.holder.filter(|_| !canary::strikes(Canary::GrantTwice)) {
            Some(holder) => {
                lock.queue.push_back(from);
                if lock.queue.len() == 1 {
                    out.push((holder, ToPeer::Revoke(id)));
                }
            }
            None => self.grant(from, id, out),
        }
    }

    /// A lock comes back.
    pub(super) fn hand_back(
        &mut self,
        from: Rank,
        id: SyncId,
        written: &[PageRun],
        out: &mut Answers,
    ) -> Result<(), Error> {
        let lock = self.locks.entry(id).or_default();
        if lock.holder != Some(from) {
            return Err(Error::Violation(from, "a lock that it does not have"));
        }
        lock.holder = None;
        let next = lock.queue.pop_front();
        self.note(from, written);
        if let Some(next) = next {
            self.grant(next, id, out);
        }
        Ok(())
    }

    fn grant(&mut self, to: Rank, id: SyncId, out: &mut Answers) {
        let written = self.news(to);
        out.push((to, ToPeer::Grant { lock: id, written }));
        let lock = self.locks.entry(id).or_default();
        lock.holder = Some(to);
        if !lock.queue.is_empty() {
            out.push((to, ToPeer::Revoke(id)));
        }
    }

    /// Notes what a station has written, and is at its homes.
    fn note(&mut self, from: Rank, written: &[PageRun]) {
        // What it told when it came to the barrier is there as well by now, and was not before: whoever
        // had dropped a copy then could have fetched the old bytes again.
        let place = self.arrived[usize::from(from.0)].as_mut();
        let earlier = place.map(|arrive| std::mem::take(&mut arrive.written));
        let all = earlier.iter().flatten().chain(written);
        self.log.extend(all.map(|run| (from, *run)));
    }

    /// What others have written since `to` was last told.
    fn news(&mut self, to: Rank) -> Vec<PageRun> {
        let known = std::mem::replace(&mut self.known[usize::from(to.0)], self.log.len());
        let others = self.log[known..].iter().filter(|(rank, _)| *rank != to);
        let mut pages: Vec<PageNumber> = others.flat_map(|(_, run)| run.pages()).collect();
        pages.sort_unstable();
        pages.dedup();
        PageRun::compact(pages)
    }

    /// Raises a flag.
    pub(super) fn raise(
        &mut self,
        from: Rank,
        id: SyncId,
        value: u64,
        written: &[PageRun],
        out: &mut Answers,
    ) {
        self.note(from, written);
        let flag = self.flags.entry(id).or_default();
        flag.value = flag.value.max(value);
        let value = flag.value;
        let reached = |waiting: &mut (Rank, u64)| waiting.1 <= value;
        let reached: Vec<_> = flag.waiting.extract_if(.., reached).collect();
        for (rank, _) in reached {
            self.tell_raised(rank, id, value, out);
        }
    }

    /// A station waits for a flag.
    pub(super) fn wait_for(&mut self, from: Rank, id: SyncId, least: u64, out: &mut Answers) {
        let flag = self.flags.entry(id).or_default();
        let value = flag.value;
        if value >= least {
            self.tell_raised(from, id, value, out);
        } else {
            flag.waiting.push((from, least));
        }
    }

    fn tell_raised(&mut self, to: Rank, flag: SyncId, value: u64, out: &mut Answers) {
        let written = self.news(to);
        let message = ToPeer::Raised {
            flag,
            value,
            written,
        };
        out.push((to, message));
    }

    /// Adds to a counter.
    pub(super) fn add(&mut self, from: Rank, counter: SyncId, value: u64, out: &mut Answers) {
        let total = self.counters.entry(counter).or_default();
        let before = *total;
        *total = total.wrapping_add(value);
        out.push((from, ToPeer::Added { counter, before }));
    }
}

/// Who wrote which pages, ascending; those of several writers have no sole one.
fn merge(written: impl Iterator<Item = (Rank, PageRun)>) -> Vec<Written> {
    let mut pages: Vec<(PageNumber, Rank)> = written
        .flat_map(|(rank, run)| run.pages().map(move |page| (page, rank)))
        .collect();
    pages.sort_unstable();
    let mut merged: Vec<Written> = Vec::new();
    for writers in pages.chunk_by(|one, other| one.0 == other.0) {
        let (page, rank) = writers[0];
        let sole = writers
            .iter()
            .all(|writer| writer.1 == rank)
            .then_some(rank);
        match merged.last_mut() {
            Some(last) if last.sole == sole && last.run.first.0 + last.run.count == page.0 => {
                last.run.count += 1;
            }
            _ => merged.push(Written {
                run: PageRun {
                    first: page,
                    count: 1,
                },
                sole,
            }),
        }
    }
    merged
}

/// The pages that their sole writer wants to keep.
fn moves(written: &[Written], wanted: impl Iterator<Item = (Rank, PageRun)>) -> Vec<Home> {
    let mut moved: Vec<(PageNumber, Rank)> = Vec::new();
    for (rank, run) in wanted {
        for page in run.pages() {
            let after = written.partition_point(|written| written.run.first <= page);
            let writer = after.checked_sub(1).map(|at| written[at]);
            let is_sole = writer.is_some_and(|writer| {
                page.0 - writer.run.first.0 < writer.run.count && writer.sole == Some(rank)
            });
            if is_sole {
                moved.push((page, rank));
            }
        }
    }
    moved.sort_unstable();
    regions::homes(moved)
}
