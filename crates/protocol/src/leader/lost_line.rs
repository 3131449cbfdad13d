//! Recovery lines that teams have gone on from, and that a page server before this one has lost with its
//! process. A team can compute on without, but has no further lines until it has loaded all of the lost one:
//! whoever looks after the page server is told of that, once for each formation of the team.

use std::collections::{BTreeMap, VecDeque};

use plurix_wire::{CommitNumber, TeamId};

use super::recovery_line::{TEAMS_MAX, keep};

/// A member has offered all that it keeps, and lacks pages of a line that there is not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostLine {
    /// Whose it was.
    pub team: TeamId,
    /// The line.
    pub line: CommitNumber,
    /// The newest one that there is; zero stands for none.
    pub newest: CommitNumber,
}

/// What is to be told of them.
#[derive(Debug, Clone, Default)]
pub(super) struct LostLines {
    /// The formation of each team of which it was noted last.
    noted: BTreeMap<TeamId, u64>,
    untold: VecDeque<LostLine>,
}

impl LostLines {
    pub(super) fn note(&mut self, formation: u64, lost: LostLine) {
        // Nobody needs to listen.
        let has_room = self.untold.len() < TEAMS_MAX;
        if has_room && self.noted.get(&lost.team) != Some(&formation) {
            keep(&mut self.noted, lost.team, formation);
            self.untold.push_back(lost);
        }
    }

    pub(super) fn next(&mut self) -> Option<LostLine> {
        self.untold.pop_front()
    }
}
