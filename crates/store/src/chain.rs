//! Which record may follow which: checked before a record is written and after it is read, so that
//! neither a wrong caller nor a stale record makes the log tell two stories.

use plurix_wire::record::{Body, Record, Stamp};

/// Checks that `record` may follow one with the stamp `last`.
///
/// # Errors
/// The rule broken.
pub(crate) fn check(last: &Stamp, record: &Record) -> Result<(), &'static str> {
    let Stamp {
        generation,
        term,
        number,
    } = record.stamp;
    let rules = match record.body {
        Body::Generation => [
            (generation > last.generation, "the generation does not rise"),
            (term == last.term, "the term is not the one begun"),
            (
                number <= last.number,
                "the generation begins after the newest commit",
            ),
        ],
        Body::Term => [
            (
                generation == last.generation,
                "the generation is not the one begun",
            ),
            (term > last.term, "the term does not rise"),
            (
                number == last.number,
                "the number is not that of the newest commit",
            ),
        ],
        Body::Commit { .. } | Body::RecoveryLine(_) => [
            (
                generation == last.generation,
                "the generation is not the one begun",
            ),
            (term == last.term, "the term is not the one begun"),
            (
                Some(number.0) == last.number.0.checked_add(1),
                "the number is not the next one",
            ),
        ],
        Body::Joined(_) | Body::Left(_) | Body::Clean => [
            (
                generation == last.generation,
                "the generation is not the one begun",
            ),
            (term == last.term, "the term is not the one begun"),
            (
                number == last.number,
                "the number is not that of the newest commit",
            ),
        ],
    };
    rules
        .into_iter()
        .find(|(kept, _)| !kept)
        .map_or(Ok(()), |(_, rule)| Err(rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_wire::{CommitNumber, Generation, Incarnation, Term, WriteSet};

    fn record(generation: u32, term: u64, number: u64, body: Body) -> Record {
        let stamp = Stamp {
            generation: Generation(generation),
            term: Term(term),
            number: CommitNumber(number),
        };
        Record { stamp, body }
    }

    #[test]
    fn only_what_the_order_allows_may_follow() {
        let last = record(2, 5, 9, Body::Clean).stamp;
        let commit = Body::Commit {
            id: Default::default(),
            acknowledged: Default::default(),
            writes: WriteSet::default(),
        };
        let left = Body::Left(Incarnation(1));
        for (allowed, record) in [
            (true, record(2, 5, 10, commit.clone())),
            (false, record(2, 5, 9, commit.clone())),
            (false, record(2, 5, 11, commit.clone())),
            (false, record(3, 5, 10, commit.clone())),
            (false, record(2, 6, 10, commit)),
            (true, record(2, 5, 9, left.clone())),
            (false, record(2, 5, 10, left)),
            (true, record(2, 6, 9, Body::Term)),
            (false, record(2, 5, 9, Body::Term)),
            (true, record(3, 5, 4, Body::Generation)),
            (false, record(2, 5, 9, Body::Generation)),
            (false, record(3, 5, 10, Body::Generation)),
        ] {
            assert_eq!(check(&last, &record).is_ok(), allowed, "{record:?}");
        }
    }
}
