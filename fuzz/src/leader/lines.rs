//! What members say of recovery lines, in any order and on any connection.

use bytes::Bytes;
use plurix_wire::message::peer::Pages;
use plurix_wire::message::recovery_line::{Basis, LineAnswer, LineRequest, Offer};
use plurix_wire::message::{PageRun, ToLeader};
use plurix_wire::{CommitNumber, Generation, PAGE_BYTES, PageNumber, Rank, TeamId};

use super::told::Link;
use super::{PAGES, WEAK, World};
use crate::input::Input;

impl World {
    pub(super) fn line(&self, input: &mut Input<'_>, link: &Link) -> ToLeader {
        let team = TeamId(input.below(2) as u64);
        let newest = self.history.newest();
        let request = match input.below(8) {
            0 => LineRequest::Ask(team),
            1 => LineRequest::Load {
                team,
                line: CommitNumber(input.near(newest)),
                run: weak(input),
            },
            2 => LineRequest::Withdraw(self.offer(team, input)),
            3 | 4 => LineRequest::Offer(self.offer(team, input)),
            5 | 6 => {
                let run = weak(input);
                let bytes = match input.rarely(4) || run.count > WEAK {
                    true => Bytes::new(),
                    false => vec![input.byte(); run.count as usize * PAGE_BYTES].into(),
                };
                LineRequest::Pages(Pages { run, bytes })
            }
            _ => LineRequest::Complete {
                state: vec![input.byte()],
            },
        };
        ToLeader::RecoveryLine {
            incarnation: self.life(input, link),
            generation: Generation(input.near(u64::from(self.generation.0)) as u32),
            request,
        }
    }

    fn offer(&self, team: TeamId, input: &mut Input<'_>) -> Offer {
        let line = CommitNumber(input.near(self.history.newest()));
        Offer {
            team,
            formation: input.near(self.formation),
            cut: input.below(3) as u32,
            basis: match input.below(2) {
                0 => Basis::All(CommitNumber(0)),
                _ => Basis::Changed(line),
            },
            rank: Rank(input.below(3) as u16),
            size: 1 + input.below(2) as u16,
        }
    }

    pub(super) fn hear_of_line(&mut self, answer: &LineAnswer) {
        let newest = CommitNumber(self.history.newest());
        match answer {
            LineAnswer::Newest { formation, line } => {
                self.formation = *formation;
                assert!(line.as_ref().is_none_or(|line| line.number <= newest));
            }
            LineAnswer::Pages(pages) => {
                let end = u64::from(pages.run.first.0) + u64::from(pages.run.count);
                assert!(end <= u64::from(PAGES + WEAK), "pages of the heap");
            }
            LineAnswer::Taken(number) => assert!(*number <= newest, "it is in the log"),
            LineAnswer::Refused(_) | LineAnswer::Lost(_) => {}
        }
    }
}

/// Weak pages, or some beyond the heap.
fn weak(input: &mut Input<'_>) -> PageRun {
    let first = u64::from(PAGES) + input.below(WEAK as usize) as u64;
    let first = input.near(first) as u32;
    let count = input.near(1) as u32;
    PageRun::new(PageNumber(first.max(PAGES)), count)
}
