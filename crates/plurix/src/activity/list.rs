//! Which activities there are, for people.

use plurix_wire::Incarnation;
use serde::Serialize;

use super::queue::{self, Failure, Node};
use crate::error::Result;
use crate::ptr::Ptr;
use crate::station::Station;
use crate::transaction::Transaction;

/// One activity that is not done, or has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listed {
    /// The name of its function.
    pub name: String,
    /// Where it is in the heap, in bytes; of a failure, where the reason is.
    pub offset: u64,
    /// How it stands.
    #[serde(flatten)]
    pub state: ListedState,
}

/// How an activity stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ListedState {
    /// It waits for a station.
    Pending {
        /// How often a station had claimed it and died, or given it back.
        claims: u64,
    },
    /// A station runs it.
    Claimed {
        /// Which life of a station.
        incarnation: u64,
        /// Whether that one lives.
        is_alive: bool,
        /// The commit at which it was claimed; 0 if that is not known.
        since: u64,
        /// How often it was claimed, this time among them.
        claims: u64,
    },
    /// It ended with an error.
    Failed {
        /// Which.
        why: String,
    },
}

impl Station {
    /// The activities that wait, that are being run, and that have failed, as of one snapshot: up to
    /// `limit` of each of the three.
    ///
    /// # Errors
    /// As for any [`transaction`](Self::transaction).
    pub fn list_activities(&mut self, limit: usize) -> Result<Vec<Listed>> {
        self.transaction(|tx| {
            let mut pending = Vec::new();
            let mut claimed = Vec::new();
            let mut failed = Vec::new();
            for stripe in 0..queue::stripes() {
                let [first_pending, first_claimed] = queue::heads(tx, stripe)?;
                nodes(tx, first_pending, limit, &mut pending)?;
                nodes(tx, first_claimed, limit, &mut claimed)?;
                failures(tx, queue::first_failure(tx, stripe)?, limit, &mut failed)?;
            }
            pending.append(&mut claimed);
            pending.append(&mut failed);
            Ok(pending)
        })
    }
}

fn nodes(
    tx: &Transaction<'_>,
    mut at: Ptr<Node>,
    limit: usize,
    listed: &mut Vec<Listed>,
) -> Result<()> {
    while !at.is_null() && listed.len() < limit {
        let node = tx.get(at)?;
        let claims = node.claims();
        let state = match node.claimer() {
            None => ListedState::Pending { claims },
            Some((incarnation, since)) => ListedState::Claimed {
                incarnation,
                is_alive: tx.is_alive(Incarnation(incarnation)),
                since,
                claims,
            },
        };
        listed.push(Listed {
            name: queue::text(&node.name),
            offset: at.offset(),
            state,
        });
        at = node.next();
    }
    Ok(())
}

fn failures(
    tx: &Transaction<'_>,
    mut at: Ptr<Failure>,
    limit: usize,
    listed: &mut Vec<Listed>,
) -> Result<()> {
    while !at.is_null() && listed.len() < limit {
        let failure = tx.get(at)?;
        listed.push(Listed {
            name: queue::text(&failure.name),
            offset: at.offset(),
            state: ListedState::Failed {
                why: queue::text(&failure.why),
            },
        });
        at = failure.next();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Activity, Done, Work};
    use super::*;
    use crate::Cluster;

    struct Fails;

    impl Activity for Fails {
        const NAME: &'static str = "fails";
        type Argument = u64;
        type Output = u64;

        fn run(work: Work<'_, Self>, _: u64) -> Result<Done<Self>> {
            work.complete(|tx| Err(tx.abort("as it should")))
        }
    }

    #[test]
    fn what_waits_what_runs_and_what_failed_is_listed() {
        let mut cluster = Cluster::local(1).unwrap();
        let station = &mut cluster.stations()[0];
        station.register::<Fails>();
        let list = |station: &mut Station| station.list_activities(10).unwrap();
        assert_eq!(list(station), []);
        let spawned = station.transaction(|tx| {
            tx.spawn::<Fails>(1)?;
            tx.spawn::<Fails>(2)
        });
        spawned.unwrap();
        let waiting = ListedState::Pending { claims: 0 };
        let found = list(station);
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .all(|one| one.state == waiting && one.name == "fails")
        );
        assert_eq!(station.list_activities(1).unwrap().len(), 1);

        let before = station.snapshot().0;
        let life = station.incarnation().0;
        let claimed = station.transaction(|tx| {
            for index in 0..queue::stripes() {
                if queue::claim(tx, index)?.is_some() {
                    return Ok(());
                }
            }
            panic!("nothing to claim")
        });
        claimed.unwrap();
        let claimed = list(station).into_iter().map(|one| one.state);
        let claimed: Vec<_> = claimed.filter(|state| *state != waiting).collect();
        let expected = ListedState::Claimed {
            incarnation: life,
            is_alive: true,
            since: before,
            claims: 1,
        };
        assert_eq!(claimed, [expected]);
        assert!(station.run_activity().unwrap());
        let failed = list(station).into_iter().map(|one| one.state);
        let failed: Vec<_> = failed
            .filter(|s| matches!(s, ListedState::Failed { .. }))
            .collect();
        let [ListedState::Failed { why }] = failed.as_slice() else {
            panic!("{failed:?}")
        };
        assert!(why.contains("as it should"), "{why}");
    }
}
