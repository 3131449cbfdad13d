//! A leader that knows what an honest one would say, and says it only sometimes.

use bytes::Bytes;
use plurix_protocol::station::Station;
use plurix_wire::message::{
    Batch, CommitRefusal, Content, Delta, Item, Lines, Member, Page, PageLines, SessionRefusal,
    ToStation, Violation, Welcome,
};
use plurix_wire::{
    CommitNumber, CommitSequence, Generation, Incarnation, PAGE_BYTES, PageNumber, StationId,
    StreamSequence, Term,
};

use super::{LIFE, PAGES};
use crate::input::Input;

/// What it remembers of the conversation.
#[derive(Debug, Default)]
pub(super) struct Hostile {
    /// Pages that the station asked for.
    pub(super) asked: Vec<PageNumber>,
    batches: u64,
    through: u64,
    term: u64,
    welcomed: bool,
}

impl Hostile {
    pub(super) fn begin_connection(&mut self) {
        self.batches = 0;
        self.welcomed = false;
        self.asked.clear();
    }

    pub(super) fn message(&mut self, input: &mut Input<'_>, station: &Station) -> ToStation {
        let kind = input.below(16);
        if !self.welcomed && kind < 14 {
            self.welcomed = true;
            return self.welcome(input, station);
        }
        match kind {
            0..=12 => self.batch(input, station),
            13 => self.welcome(input, station),
            14 => ToStation::Refused(refusal(input)),
            _ if input.rarely(2) => ToStation::Stopping,
            _ if input.rarely(4) => ToStation::Checkpointed(Ok(Box::default())),
            _ => ToStation::Status(Box::default()),
        }
    }

    fn welcome(&mut self, input: &mut Input<'_>, station: &Station) -> ToStation {
        self.term = input.near(self.term);
        let life = station.incarnation().unwrap_or(LIFE);
        ToStation::Welcome(Welcome {
            station: StationId(1),
            incarnation: Incarnation(input.near(life.0)),
            term: Term(self.term),
            generation: generation(input, station),
            through: CommitNumber(input.near(self.through)),
            heap_bytes: input.near(u64::from(PAGES) * PAGE_BYTES as u64),
            silence_ms_max: 2_000,
            in_flight_max: input.near(4) as u32,
            members: (0..input.below(3)).map(|_| member(input)).collect(),
        })
    }

    fn batch(&mut self, input: &mut Input<'_>, station: &Station) -> ToStation {
        let sequence = input.near(self.batches + 1);
        if sequence == self.batches + 1 {
            self.batches += 1;
        }
        let newer = self.through.saturating_add(input.below(3) as u64);
        self.through = input.near(newer);
        ToStation::Batch(Batch {
            term: Term(input.near(self.term)),
            generation: generation(input, station),
            sequence: StreamSequence(sequence),
            through: CommitNumber(self.through),
            durable: CommitNumber(input.near(self.through)),
            last: !input.rarely(4),
            items: (0..input.below(4))
                .map(|_| self.item(input, station))
                .collect(),
        })
    }

    fn item(&self, input: &mut Input<'_>, station: &Station) -> Item {
        let number = CommitNumber(input.near(self.through));
        let sequence = CommitSequence(1 + input.below(4) as u64);
        let pages = PAGES + u32::from(input.rarely(8));
        match input.below(12) {
            0..=1 => Item::Committed { sequence, number },
            2 => Item::Refused {
                sequence,
                why: match input.below(3) {
                    0 => CommitRefusal::LogFull,
                    1 => CommitRefusal::Behind,
                    _ => CommitRefusal::Conflict(PageLines::default()),
                },
            },
            3..=4 => Item::Delta(Delta {
                number,
                writes: input.writes(pages),
            }),
            5..=7 => Item::Page(Box::new(self.page(input, station))),
            8 => Item::Lines(Box::new(Lines {
                number,
                writes: input.writes(PAGES),
            })),
            9 if input.rarely(4) => Item::Token,
            9 => Item::Latest,
            10 => Item::Joined(member(input)),
            _ => Item::Left(Incarnation(input.near(LIFE.0))),
        }
    }

    fn page(&self, input: &mut Input<'_>, station: &Station) -> Page {
        let page = input.pick(&self.asked).unwrap_or_default();
        let length = input.near(PAGE_BYTES as u64).min(2 * PAGE_BYTES as u64) as usize;
        let base = input.near(station.snapshot().0);
        let since = (0..input.below(3)).map(|n| {
            let mut writes = input.writes(PAGES);
            if !input.rarely(8) {
                writes = writes.restrict(|other| other == page);
            }
            Delta {
                number: CommitNumber(base.saturating_add(1 + n as u64)),
                writes,
            }
        });
        let since = since.collect();
        Page {
            page: PageNumber(input.near(u64::from(page.0)) as u32),
            base: CommitNumber(base),
            held_from: CommitNumber(input.near(self.through.max(base))),
            content: match input.below(2) {
                0 => Content::Zero,
                _ => Content::Bytes(Bytes::from(vec![input.byte(); length])),
            },
            since,
        }
    }
}

fn generation(input: &mut Input<'_>, station: &Station) -> Generation {
    Generation(input.near(u64::from(station.generation().unwrap_or_default().0)) as u32)
}

fn member(input: &mut Input<'_>) -> Member {
    Member {
        station: StationId(1 + input.below(3) as u32),
        incarnation: Incarnation(input.near(LIFE.0)),
        observer: false,
    }
}

fn refusal(input: &mut Input<'_>) -> SessionRefusal {
    match input.below(8) {
        0..=2 => SessionRefusal::UnknownIncarnation,
        3 => SessionRefusal::RolledBack {
            generation: Generation(input.near(1) as u32),
            cut: CommitNumber(input.near(0)),
        },
        4..=5 => SessionRefusal::StationTaken(StationId(1)),
        6 => SessionRefusal::Violation(Violation::OutOfOrder),
        _ => SessionRefusal::ShuttingDown,
    }
}
