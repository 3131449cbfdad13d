//! What a leader needs of itself, beside the pages, to go on from a checkpoint: generations, members,
//! and the outcomes that they may still ask about.
//!
//! ```text
//!  version u32 | cuts u32 | (generation u32, number u64) × cuts
//!              | members u32 | member × members
//!  member: station u32 | incarnation u64 | observer u32 | newest u64 | acknowledged u64
//!          | outcomes u32 | (sequence u64, number u64) × outcomes
//!              | lines u32 | (team u64, number u64, bytes u32, bytes) × lines   since version 2
//! ```
//!
//! All integers are little-endian. It lies in an image, which has a checksum; a state that breaks
//! these rules all the same is refused.

use plurix_wire::message::Member;
use plurix_wire::message::recovery_line::RecoveryLine;
use plurix_wire::record::Stamp;
use plurix_wire::{CommitNumber, CommitSequence, Generation, Incarnation, StationId, TeamId};

use super::Leader;
use super::members::{Link, MemberState};
use super::outcomes::{Committed, Outcomes};
use crate::Time;

const VERSION: u32 = 2;

/// Why bytes are no leader's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A newer Plurix wrote it.
    #[error(
        "the leader's state in the checkpoint has version {0}, this program reads {VERSION}; use a newer one"
    )]
    Newer(u32),
    /// It breaks the format.
    #[error("the leader's state in the checkpoint is malformed; go back to an older checkpoint")]
    Malformed,
}

impl Leader {
    /// What goes into a checkpoint beside the pages, for [`start_from`](Self::start_from).
    #[must_use]
    pub fn encode_state(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.cuts.len() as u32).to_le_bytes());
        for (generation, number) in &self.cuts {
            out.extend_from_slice(&generation.0.to_le_bytes());
            out.extend_from_slice(&number.0.to_le_bytes());
        }
        out.extend_from_slice(&(self.members.len() as u32).to_le_bytes());
        for (_, state) in self.members.iter() {
            let Member {
                station,
                incarnation,
                observer,
            } = state.member;
            let committed = state.outcomes.committed();
            out.extend_from_slice(&station.0.to_le_bytes());
            out.extend_from_slice(&incarnation.0.to_le_bytes());
            out.extend_from_slice(&u32::from(observer).to_le_bytes());
            out.extend_from_slice(&committed.newest.0.to_le_bytes());
            out.extend_from_slice(&committed.acknowledged.0.to_le_bytes());
            out.extend_from_slice(&(committed.window.len() as u32).to_le_bytes());
            for (sequence, number) in committed.window {
                out.extend_from_slice(&sequence.0.to_le_bytes());
                out.extend_from_slice(&number.0.to_le_bytes());
            }
        }
        let lines = self.recovery_lines.newest();
        out.extend_from_slice(&(lines.len() as u32).to_le_bytes());
        for (team, number, state) in lines {
            out.extend_from_slice(&team.0.to_le_bytes());
            out.extend_from_slice(&number.0.to_le_bytes());
            out.extend_from_slice(&(state.len() as u32).to_le_bytes());
            out.extend_from_slice(state);
        }
        out
    }

    /// Takes over what [`encode_state`](Self::encode_state) wrote at the cut `stamp`.
    pub(super) fn decode_state(&mut self, stamp: &Stamp, bytes: &[u8]) -> Result<(), StateError> {
        let mut input = Input(bytes);
        let version = input.u32().ok_or(StateError::Malformed)?;
        if version > VERSION {
            return Err(StateError::Newer(version));
        }
        let mut read = self.read_state(&mut input);
        if version > 1 {
            read = read.and_then(|()| self.read_lines(&mut input));
        }
        let read = read.filter(|()| input.0.is_empty());
        read.filter(|()| self.is_before(stamp))
            .ok_or(StateError::Malformed)
    }

    /// Whether nothing in the state is newer than the cut: else an incarnation, or the number of a
    /// commit, would be given a second time.
    fn is_before(&self, stamp: &Stamp) -> bool {
        let ascend = self.cuts.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let newest = self
            .cuts
            .last()
            .map_or(Generation(0), |(newest, _)| *newest);
        let cuts = self.cuts.iter().all(|(_, number)| *number <= stamp.number);
        let members = self.members.iter().all(|(_, state)| {
            let committed = state.outcomes.committed();
            let mut numbers = committed.window.iter().map(|(_, number)| *number);
            state.member.incarnation.0 >> 32 <= stamp.term.0
                && numbers.all(|number| number <= stamp.number)
        });
        let lines = self.recovery_lines.last() <= stamp.number;
        ascend && newest <= stamp.generation && cuts && members && lines
    }

    fn read_lines(&mut self, input: &mut Input<'_>) -> Option<()> {
        for _ in 0..input.u32()? {
            let team = TeamId(input.u64()?);
            let number = CommitNumber(input.u64()?);
            let bytes = input.u32()? as usize;
            let state = input.bytes(bytes)?.to_vec();
            self.recovery_lines
                .insert(team, RecoveryLine { number, state });
        }
        Some(())
    }

    fn read_state(&mut self, input: &mut Input<'_>) -> Option<()> {
        for _ in 0..input.u32()? {
            let generation = Generation(input.u32()?);
            self.cuts.push((generation, CommitNumber(input.u64()?)));
        }
        for _ in 0..input.u32()? {
            let member = Member {
                station: StationId(input.u32()?),
                incarnation: Incarnation(input.u64()?),
                observer: input.u32()? != 0,
            };
            let mut committed = Committed {
                newest: CommitSequence(input.u64()?),
                acknowledged: CommitSequence(input.u64()?),
                window: Vec::new(),
            };
            for _ in 0..input.u32()? {
                let sequence = CommitSequence(input.u64()?);
                committed
                    .window
                    .push((sequence, CommitNumber(input.u64()?)));
            }
            if self.members.of_incarnation(member.incarnation).is_some()
                || self.members.len() >= self.settings.stations_max as usize
            {
                return None;
            }
            let link = Link::Lost { since: Time(0) };
            let mut state = MemberState::new(member, link, Time(0), CommitNumber(0));
            state.outcomes = Outcomes::restored(committed)?;
            self.members.insert(state);
        }
        Some(())
    }
}

/// What is left to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leader::{Durability, Settings};
    use plurix_wire::Term;

    const STAMP: Stamp = Stamp {
        generation: Generation(2),
        term: Term(3),
        number: CommitNumber(40),
    };

    fn leader() -> Leader {
        Leader::new(Settings::new(1 << 20, Durability::Memory))
    }

    fn sample() -> Leader {
        let mut leader = leader();
        leader.cuts.push((Generation(2), CommitNumber(40)));
        for name in 1..4 {
            let member = Member {
                station: StationId(name),
                incarnation: Incarnation(u64::from(name) << 32),
                observer: name == 2,
            };
            let link = Link::Lost { since: Time(0) };
            let mut state = MemberState::new(member, link, Time(0), CommitNumber(0));
            for n in 1..=u64::from(name) {
                let (sequence, number) = (CommitSequence(n), CommitNumber(n * 10));
                state
                    .outcomes
                    .replay(sequence, CommitSequence(n / 2), number);
            }
            leader.members.insert(state);
        }
        for team in 1..3 {
            let line = RecoveryLine {
                number: CommitNumber(30 + team),
                state: vec![7; team as usize],
            };
            leader.recovery_lines.insert(TeamId(team << 13), line);
        }
        leader
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = sample().encode_state();
        let mut read = leader();
        assert_eq!(read.decode_state(&STAMP, &bytes), Ok(()));
        assert_eq!(read.encode_state(), bytes);
        assert_eq!((read.members.len(), read.cuts.len()), (3, 1));
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        let mut old = leader().encode_state();
        old[0] = 1;
        old.truncate(old.len() - 4);
        assert_eq!(leader().decode_state(&STAMP, &old), Ok(()));
    }

    #[test]
    fn each_truncation_is_refused() {
        let bytes = sample().encode_state();
        for length in 0..bytes.len() {
            let found = leader().decode_state(&STAMP, &bytes[..length]);
            assert_eq!(found, Err(StateError::Malformed), "{length} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(
            leader().decode_state(&STAMP, &longer),
            Err(StateError::Malformed)
        );
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = sample().encode_state();
        bytes[0] = 7;
        assert_eq!(
            leader().decode_state(&STAMP, &bytes),
            Err(StateError::Newer(7))
        );
    }

    #[test]
    fn what_is_newer_than_the_cut_is_refused() {
        let bytes = sample().encode_state();
        for (generation, term, number) in [(1, 3, 40), (2, 2, 40), (2, 3, 39)] {
            let earlier = Stamp {
                generation: Generation(generation),
                term: Term(term),
                number: CommitNumber(number),
            };
            let found = leader().decode_state(&earlier, &bytes);
            assert_eq!(found, Err(StateError::Malformed), "{earlier:?}");
        }
    }
}
