//! The sizes of the messages that a commit and a miss take, so that the raw round trip they are
//! compared with carries the same bytes.

use anyhow::Result;
use plurix_wire::frame;
use plurix_wire::message::{
    Batch, Commit, Content, Item, Page, PageLines, PageRun, Request, ToLeader, ToStation,
};
use plurix_wire::{
    CommitNumber, CommitSequence, Generation, Incarnation, LineMask, PAGE_BYTES, PageNumber,
    StreamSequence, Term, WriteSetBuilder,
};

/// Numbers are sent in as few bytes as they need; this is a station's ten-thousandth commit.
const NUMBER: u64 = 10_000;

/// Bytes of a request and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) request: usize,
    pub(crate) reply: usize,
}

/// One line read and another one opened, eight bytes of which change.
pub(crate) fn commit(read: (PageNumber, u32), written: (PageNumber, u32)) -> Result<Sizes> {
    let mut builder = WriteSetBuilder::new();
    builder.push(written.0, written.1 as usize * 64, &[0xab; 8]);
    let lines = |(page, line): (PageNumber, u32)| PageLines {
        page,
        lines: LineMask(1 << line),
    };
    let request = Request::Commit(Commit {
        sequence: CommitSequence(NUMBER),
        acknowledged: CommitSequence(NUMBER - 1),
        snapshot: CommitNumber(NUMBER),
        follows: None,
        reads: vec![lines(read), lines(written)],
        writes: builder.finish(),
    });
    let answer = Item::Committed {
        sequence: CommitSequence(NUMBER),
        number: CommitNumber(NUMBER),
    };
    sizes(request, answer)
}

/// One page of bytes.
pub(crate) fn miss(page: PageNumber) -> Result<Sizes> {
    let run = PageRun {
        first: page,
        count: 1,
    };
    let snapshot = CommitNumber(NUMBER);
    let served = Page {
        page,
        base: snapshot,
        held_from: snapshot,
        content: Content::Bytes(vec![1; PAGE_BYTES].into()),
        since: Vec::new(),
    };
    sizes(
        Request::Fetch { run, snapshot },
        Item::Page(Box::new(served)),
    )
}

fn sizes(request: Request, answer: Item) -> Result<Sizes> {
    let request = ToLeader::Request {
        incarnation: Incarnation::of(Term(1), 1),
        generation: Generation(0),
        request,
    };
    let reply = ToStation::Batch(Batch {
        term: Term(1),
        generation: Generation(0),
        sequence: StreamSequence(NUMBER),
        through: CommitNumber(NUMBER),
        durable: CommitNumber(NUMBER),
        last: true,
        items: vec![answer],
    });
    let (mut out, mut back) = (Vec::new(), Vec::new());
    frame::encode(&request, &mut out)?;
    frame::encode(&reply, &mut back)?;
    Ok(Sizes {
        request: out.len(),
        reply: back.len(),
    })
}
