//! Questions of people about the heap. They need no session, and change nothing that stations see.

use std::collections::BTreeSet;

use plurix_wire::Incarnation;
use plurix_wire::message::insight::{
    ASKED_PAGES_MAX, ASKED_RUNS_MAX, Insight, Question, RunInsight,
};
use plurix_wire::message::{PageRun, ToStation};

use super::Leader;
use crate::{ConnectionId, Time};

impl Leader {
    /// Answers a question.
    pub(super) fn ask(&mut self, now: Time, connection: ConnectionId, question: &Question) {
        let insight = match question {
            Question::Conflicts { limit, reset } => {
                Insight::Conflicts(self.conflicts(now, *limit, *reset))
            }
            Question::Pages(runs) => {
                let pages = runs.iter().map(|run| u64::from(run.count)).sum::<u64>();
                if runs.len() > ASKED_RUNS_MAX || pages > ASKED_PAGES_MAX {
                    Insight::Refused
                } else {
                    Insight::Pages(runs.iter().map(|run| self.run_insight(*run)).collect())
                }
            }
        };
        self.send(connection, ToStation::Insight(Box::new(insight)));
    }

    fn run_insight(&self, run: PageRun) -> RunInsight {
        let mut insight = RunInsight::default();
        let mut holders = BTreeSet::new();
        for page in run.pages() {
            // What is not logged yet must not be told.
            let version = self.pages.version(page).min(self.logged);
            insight.version = insight.version.max(version.0);
            let Some(entry) = self.pages.get(page) else {
                continue;
            };
            insight.held_pages += u64::from(!entry.holders.is_empty());
            holders.extend(entry.holders.iter().copied());
        }
        let lives = holders
            .into_iter()
            .filter(|slot| self.members.is_living(*slot));
        let lives = lives.map(|slot| self.members.get(slot).member.incarnation);
        insight.holders = lives
            .collect::<BTreeSet<Incarnation>>()
            .into_iter()
            .collect();
        insight
    }

    /// The connection of a member, if it has one. For drivers, who know more of connections.
    #[must_use]
    pub fn connection_of(&self, incarnation: Incarnation) -> Option<ConnectionId> {
        let slot = self.members.of_incarnation(incarnation)?;
        self.members.get(slot).connection()
    }
}
