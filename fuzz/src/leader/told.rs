//! What stations may be told: a model of the heap at every commit, and a judge of every batch.

use plurix_wire::message::{Batch, Content, Delta, Item, Page, Welcome};
use plurix_wire::{
    CommitId, CommitNumber, Incarnation, PAGE_BYTES, PageBytes, PageNumber, WriteSet,
};

use super::asked::Asked;

/// A station's end of a connection.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) member: Option<Incarnation>,
    /// It takes no batches now.
    pub(super) is_slow: bool,
    /// Its newest commit request.
    pub(super) sequence: u64,
    batches: u64,
    through: CommitNumber,
}

impl Link {
    pub(super) fn welcome(&mut self, welcome: &Welcome) {
        self.member = Some(welcome.incarnation);
        (self.batches, self.through) = (0, welcome.through);
    }
}

/// All commits, the first one numbered 1.
#[derive(Debug, Default)]
pub(super) struct History {
    commits: Vec<WriteSet>,
    pub(super) asked: Asked,
    /// What may be revealed.
    pub(super) logged: u64,
}

impl History {
    pub(super) fn newest(&self) -> u64 {
        self.commits.len() as u64
    }

    /// Takes the next commit, if it may be the next.
    pub(super) fn commit(&mut self, number: CommitNumber, id: CommitId, writes: &WriteSet) {
        assert_eq!(number.0, self.newest() + 1, "numbers are dense");
        self.asked.commit(id, writes, &self.commits);
        self.commits.push(writes.clone());
    }

    /// Takes a recovery line, which writes pages that no station has.
    pub(super) fn line(&mut self, number: CommitNumber) {
        assert_eq!(number.0, self.newest() + 1, "numbers are dense");
        self.commits.push(WriteSet::default());
    }

    /// The bytes of `page` after commit `number`.
    pub(super) fn image(&self, page: PageNumber, number: u64) -> Box<PageBytes> {
        let mut image = Box::new([0; PAGE_BYTES]);
        for writes in &self.commits[..number as usize] {
            lay(&mut image, page, writes);
        }
        image
    }

    /// Judges the next batch on a connection.
    pub(super) fn check(&mut self, link: &mut Link, batch: &Batch) {
        let member = link.member.expect("only members have a stream");
        link.batches += 1;
        assert_eq!(batch.sequence.0, link.batches, "a stream has no gaps");
        assert!(
            batch.through.0 <= self.logged,
            "nothing above the log is revealed"
        );
        assert!(link.through <= batch.through, "a stream never goes back");
        link.through = batch.through;
        let mut newest = CommitNumber(0);
        for item in &batch.items {
            match item {
                Item::Committed { sequence, number } => {
                    let (incarnation, sequence) = (member, *sequence);
                    let id = CommitId {
                        incarnation,
                        sequence,
                    };
                    self.asked.told_committed(id, *number);
                    assert!(*number <= batch.through);
                }
                Item::Refused { sequence, .. } => {
                    let (incarnation, sequence) = (member, *sequence);
                    let id = CommitId {
                        incarnation,
                        sequence,
                    };
                    self.asked.told_refused(id);
                }
                Item::Delta(delta) => {
                    assert!(newest < delta.number && delta.number <= batch.through);
                    newest = delta.number;
                    self.check_delta(delta);
                }
                Item::Page(page) => {
                    assert!(page.held_from <= batch.through);
                    self.check_page(page);
                }
                Item::Lines(lines) => {
                    assert!(lines.number <= batch.through);
                    for section in lines.writes.sections() {
                        let image = self.image(section.page(), lines.number.0);
                        let mut told = image.clone();
                        lay(&mut told, section.page(), &lines.writes);
                        assert_eq!(told, image, "lines are those of their commit");
                    }
                }
                Item::Latest | Item::Token | Item::Joined(_) | Item::Left(_) => {}
            }
        }
    }

    fn check_delta(&self, delta: &Delta) {
        let commit = &self.commits[delta.number.0 as usize - 1];
        assert!(!delta.writes.is_empty());
        let told: Vec<PageNumber> = delta.writes.sections().map(|s| s.page()).collect();
        let part = commit.restrict(|page| told.contains(&page));
        assert_eq!(delta.writes, part, "a delta is part of its commit");
    }

    /// A page is that of its base, and its changes lead to the commit from which it is held.
    fn check_page(&self, page: &Page) {
        let (base, end) = (page.base.0, page.held_from.0);
        assert!(base <= end);
        let mut told = Box::new(match &page.content {
            Content::Zero => [0; PAGE_BYTES],
            Content::Bytes(bytes) => bytes[..].try_into().expect("a whole page"),
        });
        assert_eq!(told, self.image(page.page, base));
        let mut since = page.since.iter().peekable();
        for number in base + 1..=end {
            if let Some(delta) = since.next_if(|delta| delta.number.0 == number) {
                self.check_delta(delta);
                lay(&mut told, page.page, &delta.writes);
            }
            assert_eq!(told, self.image(page.page, number));
        }
        assert!(since.next().is_none(), "changes ascend within their bounds");
    }
}

/// Lays what `writes` says of `page` over its bytes.
fn lay(image: &mut PageBytes, page: PageNumber, writes: &WriteSet) {
    let sections = writes.sections().filter(|section| section.page() == page);
    sections.for_each(|section| section.apply(image));
}
