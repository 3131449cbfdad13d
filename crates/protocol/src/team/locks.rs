//! Locks: a token that stays where it was used last, until somebody else wants it.
//!
//! ```text
//!  Away ──acquire──► Asked ──Grant──► Granted ──taken──► Held ──release──► Idle
//!   ▲                                                     ▲ │                │
//!   │                                                     └─┼── acquire ─────┤
//!   └── HandBack ◄── all applied ── Returning ◄─────────────┴── if revoked ──┘
//! ```
//!
//! What was stored under the lock is published when the token leaves, not before: as long as it stays,
//! nobody else could have a right to see it.

use std::collections::BTreeMap;

use plurix_wire::message::PageRun;
use plurix_wire::message::peer::ToPeer;
use plurix_wire::{PageNumber, Rank, SyncId};

use super::publish::Kept;
use super::{COORDINATOR, Error, Member, View};

/// The locks that this station has ever wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Locks(BTreeMap<SyncId, Lock>);

#[derive(Debug, Clone, Copy, Default)]
struct Lock {
    token: Token,
    /// Somebody else wants it.
    is_revoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Token {
    #[default]
    Away,
    Asked,
    /// It has come for a worker that waits.
    Granted,
    Held,
    Idle,
    /// It goes back as soon as all that was published is in its pages.
    Returning,
}

impl Member {
    /// A worker wants a lock; answers whether it has it now. Else it asks again when a message was
    /// [handled](Self::handle), or when another worker of this station has released the lock.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    pub fn acquire(&mut self, id: SyncId, view: &mut impl View) -> Result<bool, Error> {
        let lock = self.locks.0.entry(id).or_default();
        match lock.token {
            Token::Granted | Token::Idle => {
                lock.token = Token::Held;
                return Ok(true);
            }
            Token::Away => {
                lock.token = Token::Asked;
                self.tell(COORDINATOR, ToPeer::Acquire(id));
                self.settle(view)?;
                let lock = self.locks.0.entry(id).or_default();
                if lock.token == Token::Granted {
                    lock.token = Token::Held;
                    return Ok(true);
                }
            }
            Token::Asked | Token::Held | Token::Returning => {}
        }
        Ok(false)
    }

    /// The worker that has a lock needs it no more.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    ///
    /// # Panics
    /// If no worker of this station has it.
    pub fn unlock(&mut self, id: SyncId, view: &mut impl View) -> Result<(), Error> {
        let lock = self.locks.0.entry(id).or_default();
        assert_eq!(lock.token, Token::Held, "no worker has {id}");
        lock.token = Token::Idle;
        if lock.is_revoked {
            self.return_lock(id, view);
        }
        self.settle(view)
    }

    /// Somebody else wants a lock that is here.
    pub(super) fn revoke(
        &mut self,
        from: Rank,
        id: SyncId,
        view: &mut impl View,
    ) -> Result<(), Error> {
        let lock = self.locks.0.entry(id).or_default();
        if from != COORDINATOR || lock.is_revoked {
            return Err(Error::Violation(from, "a lock revoked out of order"));
        }
        match lock.token {
            Token::Idle => self.return_lock(id, view),
            Token::Granted | Token::Held => lock.is_revoked = true,
            Token::Away | Token::Asked | Token::Returning => {
                return Err(Error::Violation(from, "a lock revoked that is not here"));
            }
        }
        Ok(())
    }

    /// A lock has come.
    pub(super) fn grant(
        &mut self,
        from: Rank,
        id: SyncId,
        written: &[PageRun],
        view: &mut impl View,
    ) -> Result<(), Error> {
        let lock = self.locks.0.entry(id).or_default();
        if from != COORDINATOR || lock.token != Token::Asked {
            return Err(Error::Violation(from, "a lock that nobody asked for"));
        }
        lock.token = Token::Granted;
        let pages: Vec<PageNumber> = written.iter().flat_map(|run| run.pages()).collect();
        self.notices += pages.len() as u64;
        self.drop_copies(&pages, view);
        Ok(())
    }

    fn return_lock(&mut self, id: SyncId, view: &mut impl View) {
        let lock = self.locks.0.entry(id).or_default();
        lock.token = Token::Returning;
        lock.is_revoked = false;
        self.publish(Kept::Closed, |_| true, view);
        self.tell_published();
    }

    /// Hands back the locks that wait for it.
    pub(super) fn hand_back(&mut self) {
        let returning = |lock: &Lock| lock.token == Token::Returning;
        let locks = self.locks.0.iter_mut().filter(|(_, lock)| returning(lock));
        let ids: Vec<SyncId> = locks
            .map(|(id, lock)| {
                lock.token = Token::Away;
                *id
            })
            .collect();
        for lock in ids {
            let written = PageRun::compact(self.published.take_told());
            self.tell(COORDINATOR, ToPeer::HandBack { lock, written });
        }
    }
}
