//! What a station knows of its pages: which it holds, which changes wait to be applied, and the
//! snapshot it is at.
//!
//! Batches are queued as they arrive, whoever reads them, and applied between transactions, the
//! whole of a finished group at a time. A transaction therefore sees one snapshot from its first
//! read to its end.
//!
//! ```text
//!  arrive(batch) --> queue: Delta Page Lines Own End | Delta ...     (group not finished)
//!                            applied together ------>|
//!  miss --> page of the queue installed at once, as of the snapshot; what it says of later
//!           commits is applied when the queue reaches it
//! ```
//!
//! **Invariants**: `held` are the pages for which the applied part of the stream made the station
//! a holder; a change to any other page is ignored, so one that was under way when a page was
//! dropped can never reach a copy fetched later. `snapshot` moves only with a finished group, and
//! every page in memory is then as of it.

mod arrived;
mod collapse;
mod memory;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Batch, Commit, Delta, Item, Lines, Member, PageRun};
use plurix_wire::{CommitNumber, CommitSequence, Incarnation, PageNumber};
use rustc_hash::FxHashMap;

use super::pipeline::Pipeline;
use super::{Answer, Pages};
use crate::page_set::PageSet;
pub(super) use arrived::Arrival;
use arrived::{Arrived, page_bytes};
use memory::{apply_held, put_back, settle_page};
use watch::Watch;

/// One entry of the queue.
#[derive(Debug, Clone, Hash)]
enum Entry {
    Delta(Delta),
    /// The page itself waits in `arrived`.
    Page(PageNumber),
    Lines(Box<Lines>),
    Own(CommitSequence, Answer),
    Joined(Member),
    Left(Incarnation),
    /// After a resume: exactly these live.
    Members(Vec<Member>),
    /// A group is finished: complete through this commit.
    End(CommitNumber),
}

/// The pages of one incarnation.
#[derive(Debug, Clone, Default)]
pub(super) struct Cache {
    held: PageSet,
    arrived: FxHashMap<PageNumber, Arrived>,
    /// Those of them whose group is not finished.
    unfinished: Vec<PageNumber>,
    queue: VecDeque<Entry>,
    /// How many entries of `queue` belong to finished groups.
    finished: usize,
    /// Bytes of changes queued.
    queued_bytes: usize,
    /// The queue is collapsed when it grows to this; doubled, until it is empty, if that did not
    /// help.
    collapse_at: usize,
    queue_bytes_max: usize,
    snapshot: CommitNumber,
    /// Pages in memory that no stream keeps up to date: to be evicted between transactions.
    orphans: Vec<PageNumber>,
    members: BTreeMap<Incarnation, Member>,
    latest: Latest,
    /// What the station waits for, between transactions.
    watch: Option<Watch>,
}

/// Questions for the newest snapshot since memory was last brought to one; answered in order.
#[derive(Debug, Clone, Default, Hash)]
struct Latest {
    asked: u32,
    /// Answers received, and those of them in finished groups.
    arrived: u32,
    finished: u32,
}

impl Latest {
    /// What was answered has been applied.
    fn settle(&mut self) {
        // A leader that answers what was not asked has no say in the next question.
        self.asked = self.asked.saturating_sub(self.finished);
        self.arrived = self.arrived.saturating_sub(self.finished).min(self.asked);
        self.finished = 0;
    }

    /// The connection is lost, and with it every question that was not answered.
    fn cut(&mut self) {
        self.asked = if self.finished >= self.asked {
            self.asked
        } else {
            0
        };
        self.arrived = self.asked;
        self.finished = self.asked;
    }
}

impl Cache {
    /// An empty cache at `snapshot`; `orphans` are what an earlier life left in memory.
    pub(super) fn new(
        snapshot: CommitNumber,
        members: &[Member],
        orphans: Vec<PageNumber>,
        queue_bytes_max: usize,
    ) -> Self {
        let mut cache = Self {
            snapshot,
            orphans,
            collapse_at: queue_bytes_max,
            queue_bytes_max,
            ..Self::default()
        };
        cache.set_members(members);
        cache
    }

    pub(super) fn snapshot(&self) -> CommitNumber {
        self.snapshot
    }

    pub(super) fn members(&self) -> &BTreeMap<Incarnation, Member> {
        &self.members
    }

    /// The stream goes on with these members; takes its turn behind what is queued.
    pub(super) fn resume_members(&mut self, members: Vec<Member>) {
        self.queue.push_back(Entry::Members(members));
    }

    fn set_members(&mut self, members: &[Member]) {
        self.members = members
            .iter()
            .map(|member| (member.incarnation, *member))
            .collect();
    }

    pub(super) fn held(&self) -> usize {
        self.held.len() as usize
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn pages_arrived(&self) -> usize {
        self.arrived.len()
    }

    /// Whether there is anything to apply.
    pub(super) fn is_idle(&self) -> bool {
        self.finished == 0 && self.orphans.is_empty()
    }

    /// Every page that may be in memory; the cache is of no use afterwards.
    pub(super) fn abandon(&mut self) -> Vec<PageNumber> {
        let mut pages: Vec<_> = std::mem::take(&mut self.orphans);
        pages.extend(std::mem::take(&mut self.held).iter());
        let installed = self
            .arrived
            .drain()
            .filter(|(_, arrived)| arrived.installed.is_some());
        pages.extend(installed.map(|(page, _)| page));
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    /// Takes what an earlier life left for what this one holds; a planted bug does that.
    pub(super) fn keep_orphans(&mut self) {
        for page in self.orphans.drain(..) {
            self.held.insert(page);
        }
    }

    /// Queues a batch.
    pub(super) fn arrive(&mut self, batch: Batch) {
        for item in batch.items {
            self.queued_bytes += bytes_of(&item);
            let entry = match item {
                Item::Committed { sequence, number } => Entry::Own(sequence, Ok(number)),
                Item::Refused { sequence, why } => Entry::Own(sequence, Err(why)),
                Item::Delta(delta) => Entry::Delta(delta),
                Item::Page(page) => {
                    let number = page.page;
                    self.arrived.insert(number, Arrived::new(page));
                    self.unfinished.push(number);
                    Entry::Page(number)
                }
                Item::Lines(lines) => Entry::Lines(self.merge(lines)),
                Item::Latest => {
                    self.latest.arrived += 1;
                    continue;
                }
                // The session looks at it.
                Item::Token => continue,
                Item::Joined(member) => Entry::Joined(member),
                Item::Left(incarnation) => Entry::Left(incarnation),
            };
            self.queue.push_back(entry);
        }
        if batch.last {
            self.queue.push_back(Entry::End(batch.through));
            self.finish_group();
            self.latest.finished = self.latest.arrived;
            self.notice();
            if self.queued_bytes > self.collapse_at {
                self.collapse();
            }
        } else if canary::strikes(Canary::ApplyUnfinished) {
            self.finish_group();
        }
    }

    fn finish_group(&mut self) {
        self.finished = self.queue.len();
        for page in self.unfinished.drain(..) {
            if let Some(arrived) = self.arrived.get_mut(&page) {
                arrived.is_finished = true;
            }
        }
    }

    /// A question for the newest snapshot is under way.
    pub(super) fn ask_latest(&mut self) {
        self.latest.asked += 1;
    }

    /// Whether the newest question is answered in a finished group that waits to be applied. The
    /// answer to an older one says nothing of what was committed since.
    pub(super) fn has_latest(&self) -> bool {
        let Latest {
            asked, finished, ..
        } = self.latest;
        asked > 0 && (finished >= asked || finished > 0 && canary::strikes(Canary::StaleLatest))
    }

    /// The answer to `sequence`, if it is in a finished group.
    pub(super) fn answer(&self, sequence: CommitSequence) -> Option<Answer> {
        // An answer arrives in the newest group, so the search from the end is short.
        self.queue
            .range(..self.finished)
            .rev()
            .find_map(|entry| match entry {
                Entry::Own(own, answer) if *own == sequence => Some(*answer),
                _ => None,
            })
    }

    /// Whether a finished group holds an answer.
    pub(super) fn has_answers(&self) -> bool {
        let mut finished = self.queue.range(..self.finished);
        finished.any(|entry| matches!(entry, Entry::Own(..)))
    }

    pub(super) fn has_arrived(&self, page: PageNumber) -> bool {
        self.arrived.contains_key(&page)
    }

    pub(super) fn holds(&self, page: PageNumber) -> bool {
        self.held.contains(page)
    }

    /// The station gives up a page that it holds and that no queued fetch has brought; answers whether
    /// there is one.
    pub(super) fn release(&mut self, page: PageNumber) -> bool {
        let held = !self.arrived.contains_key(&page) && self.held.remove(page);
        if held {
            self.lose_sight(page);
        }
        held
    }

    /// Applies every finished group. `own` are the bytes of the station's commit in flight, which
    /// are not in memory now; they are put back at their place in the order. Answers what became of
    /// it.
    pub(super) fn apply(
        &mut self,
        memory: &mut impl Pages,
        own: Option<&Commit>,
    ) -> Option<Answer> {
        self.evict_orphans(memory);
        self.latest.settle();
        self.unwatch();
        let mut answer = None;
        // Only own bytes ask for it.
        let mut refreshed: FxHashMap<PageNumber, CommitNumber> = FxHashMap::default();
        let finished = std::mem::take(&mut self.finished);
        for entry in self.queue.drain(..finished) {
            match entry {
                Entry::Delta(delta) => apply_held(&self.held, &delta.writes, memory),
                Entry::Page(number) => {
                    let arrived = self.arrived.remove(&number).expect("queued with its page");
                    if own.is_some() {
                        refreshed.insert(number, arrived.page.held_from);
                    }
                    self.held.insert(number);
                    settle_page(arrived, memory);
                }
                Entry::Lines(lines) => {
                    if own.is_some() {
                        refreshed.extend(lines.writes.sections().map(|s| (s.page(), lines.number)));
                    }
                    apply_held(&self.held, &lines.writes, memory);
                }
                // That to a request that followed a refused one is of no interest.
                Entry::Own(sequence, result) => {
                    if let Some(own) = own.filter(|own| own.sequence == sequence) {
                        if let Ok(number) = result {
                            put_back(&self.held, &refreshed, number, &own.writes, memory);
                        }
                        answer = Some(result);
                    }
                }
                Entry::Joined(_) | Entry::Left(_) | Entry::Members(_) => {
                    change_members(&mut self.members, entry);
                }
                Entry::End(through) => {
                    assert!(self.snapshot <= through, "a snapshot never goes back");
                    self.snapshot = through;
                }
            }
        }
        self.applied(memory);
        answer
    }

    /// Applies every finished group beneath what is in flight, and settles what they answer of that.
    pub(super) fn apply_beneath(&mut self, memory: &mut impl Pages, pipeline: &mut Pipeline) {
        if self.evict_orphans(memory) {
            pipeline.note_gone();
        }
        self.latest.settle();
        self.unwatch();
        let finished = std::mem::take(&mut self.finished);
        for entry in self.queue.drain(..finished) {
            match entry {
                Entry::Delta(delta) => {
                    pipeline.note(&delta.writes);
                    apply_held(&self.held, &delta.writes, memory);
                }
                Entry::Page(number) => {
                    let arrived = self.arrived.remove(&number).expect("queued with its page");
                    pipeline.note_page(&arrived.page, arrived.installed);
                    self.held.insert(number);
                    settle_page(arrived, memory);
                }
                Entry::Lines(lines) => {
                    pipeline.note_lines(&lines.writes, lines.number);
                    apply_held(&self.held, &lines.writes, memory);
                }
                Entry::Own(sequence, answer) => {
                    pipeline.answer(sequence, answer, &self.held, memory);
                }
                Entry::Joined(_) | Entry::Left(_) | Entry::Members(_) => {
                    change_members(&mut self.members, entry);
                }
                Entry::End(through) => {
                    assert!(self.snapshot <= through, "a snapshot never goes back");
                    self.snapshot = through;
                }
            }
        }
        if self.applied(memory) {
            pipeline.note_gone();
        }
    }

    /// The queue has been applied; answers whether pages have left memory for that.
    fn applied(&mut self, memory: &mut impl Pages) -> bool {
        self.queued_bytes = self.count();
        if self.queue.is_empty() {
            self.collapse_at = self.queue_bytes_max;
        }
        self.uninstall(memory)
    }

    /// Answers whether there were any.
    fn evict_orphans(&mut self, memory: &mut impl Pages) -> bool {
        let any = !self.orphans.is_empty();
        for run in PageRun::compact(self.orphans.drain(..)) {
            memory.evict_run(run);
        }
        any
    }

    /// Pages of a group that is not finished were installed as of the snapshot that has passed:
    /// they are installed anew when the next transaction misses them. Answers whether there were any.
    fn uninstall(&mut self, memory: &mut impl Pages) -> bool {
        let mut any = false;
        for (page, arrived) in &mut self.arrived {
            if arrived.installed.take().is_some() {
                memory.evict(*page);
                any = true;
            }
        }
        any
    }

    /// If nothing of others waits beside the answer, there is nothing to put beneath own bytes:
    /// takes the answer and moves the snapshot.
    pub(super) fn answer_alone(&mut self) -> Option<Answer> {
        let &mut [Entry::Own(_, answer), Entry::End(through)] = self.queue.make_contiguous() else {
            return None;
        };
        if !self.orphans.is_empty() {
            return None;
        }
        assert!(self.snapshot <= through, "a snapshot never goes back");
        self.snapshot = through;
        self.finished = 0;
        self.latest.settle();
        self.queue.clear();
        Some(answer)
    }

    /// The connection is lost: forgets what is not finished. Answers where the station stands once
    /// it has applied the rest, and the pages that it then holds.
    pub(super) fn cut(&mut self) -> (CommitNumber, Vec<PageNumber>) {
        self.latest.cut();
        self.unfinished.clear();
        let orphans = self.orphans.len();
        for entry in self.queue.drain(self.finished..) {
            if let Entry::Page(page) = entry
                && let Some(Arrived {
                    installed: Some(_), ..
                }) = self.arrived.remove(&page)
            {
                self.orphans.push(page);
            }
        }
        for orphan in orphans..self.orphans.len() {
            self.lose_sight(self.orphans[orphan]);
        }
        self.queued_bytes = self.count();
        let mut held: Vec<PageNumber> = self.held.iter().collect();
        held.extend(self.arrived.keys());
        held.sort_unstable();
        held.dedup();
        (self.through(), held)
    }

    /// The snapshot once every finished group is applied.
    pub(super) fn through(&self) -> CommitNumber {
        let end = self.queue.iter().rev().find_map(|entry| match entry {
            Entry::End(through) => Some(*through),
            _ => None,
        });
        end.unwrap_or(self.snapshot)
    }

    /// The bytes of all that is queued.
    fn count(&self) -> usize {
        let bytes = self.queue.iter().map(|entry| match entry {
            Entry::Delta(delta) => delta.writes.as_bytes().len(),
            Entry::Lines(lines) => lines.writes.as_bytes().len(),
            Entry::Page(page) => page_bytes(&self.arrived[page].page),
            Entry::Own(..)
            | Entry::Joined(_)
            | Entry::Left(_)
            | Entry::Members(_)
            | Entry::End(_) => 0,
        });
        bytes.sum()
    }
}

fn change_members(members: &mut BTreeMap<Incarnation, Member>, entry: Entry) {
    match entry {
        Entry::Joined(member) => {
            members.insert(member.incarnation, member);
        }
        Entry::Left(incarnation) => {
            members.remove(&incarnation);
        }
        Entry::Members(all) => {
            *members = all.into_iter().map(|m| (m.incarnation, m)).collect();
        }
        _ => unreachable!("called for these alone"),
    }
}

/// All of it, in an order that does not depend on how it came about.
impl Hash for Cache {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            held,
            arrived,
            unfinished,
            queue,
            finished,
            queued_bytes,
            collapse_at,
            queue_bytes_max,
            snapshot,
            orphans,
            members,
            latest,
            watch,
        } = self;
        held.iter().for_each(|page| page.hash(state));
        unfinished.hash(state);
        arrived.iter().collect::<BTreeMap<_, _>>().hash(state);
        (queue, finished, queued_bytes, collapse_at, queue_bytes_max).hash(state);
        (snapshot, orphans, members, latest, watch).hash(state);
    }
}

fn bytes_of(item: &Item) -> usize {
    match item {
        Item::Delta(delta) => delta.writes.as_bytes().len(),
        Item::Lines(lines) => lines.writes.as_bytes().len(),
        Item::Page(page) => page_bytes(page),
        Item::Committed { .. }
        | Item::Refused { .. }
        | Item::Latest
        | Item::Token
        | Item::Joined(_)
        | Item::Left(_) => 0,
    }
}
