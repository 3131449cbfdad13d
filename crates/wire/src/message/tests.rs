//! Messages keep what they carry through the codec, and what is malformed is refused.

use super::*;
use crate::frame;
use crate::write_set::WriteSetBuilder;

fn writes(page: u32) -> WriteSet {
    let mut builder = WriteSetBuilder::new();
    builder.push(PageNumber(page), page as usize, &[page as u8; 30]);
    builder.finish()
}

fn delta(page: u32) -> Delta {
    Delta {
        number: CommitNumber(u64::from(page)),
        writes: writes(page),
    }
}

fn page(page: u32, content: Content, since: Vec<Delta>) -> Item {
    Item::Page(Box::new(Page {
        page: PageNumber(page),
        base: CommitNumber(1),
        held_from: CommitNumber(2),
        content,
        since,
    }))
}

fn batch(items: Vec<Item>) -> ToStation {
    ToStation::Batch(Batch {
        term: Term(1),
        generation: Generation(2),
        sequence: StreamSequence(3),
        through: CommitNumber(4),
        durable: CommitNumber(3),
        last: true,
        items,
    })
}

/// Each byte string must come back where it was, or a page would get another's bytes.
#[test]
fn every_byte_string_comes_back_to_its_place() {
    let batch = batch(vec![
        Item::Delta(delta(1)),
        page(2, Content::Zero, vec![delta(3)]),
        Item::Latest,
        Item::Token,
        page(
            4,
            Content::Bytes(vec![4; 4096].into()),
            vec![delta(5), delta(6)],
        ),
        Item::Lines(Box::new(Lines {
            number: CommitNumber(7),
            writes: writes(7),
        })),
        Item::Delta(Delta {
            number: CommitNumber(8),
            writes: WriteSet::default(),
        }),
        page(9, Content::Bytes(vec![9; 4096].into()), Vec::new()),
    ]);
    let commit = ToLeader::Request {
        incarnation: Incarnation(1),
        generation: Generation(2),
        request: Request::Commit(Commit {
            sequence: CommitSequence(3),
            acknowledged: CommitSequence(2),
            snapshot: CommitNumber(4),
            follows: None,
            reads: Vec::new(),
            writes: writes(5),
        }),
    };
    let (mut down, mut up) = (Vec::new(), Vec::new());
    frame::encode(&batch, &mut down).unwrap();
    frame::encode(&commit, &mut up).unwrap();
    assert_eq!(frame::decode::<ToStation>(&down).unwrap(), batch);
    assert_eq!(frame::decode::<ToLeader>(&up).unwrap(), commit);
}

#[test]
fn a_malformed_write_set_is_refused() {
    let mut frame = Vec::new();
    frame::encode(&batch(vec![Item::Delta(delta(1))]), &mut frame).unwrap();
    // The number of runs of its only section.
    let at = frame.len() - 30 - 4 - 4;
    frame[at] = 0;
    let decoded = frame::decode::<ToStation>(&frame);
    assert!(
        matches!(decoded, Err(Error::WriteSet { .. })),
        "{decoded:?}"
    );
}
