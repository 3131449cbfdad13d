//! Drives checkpoints: takes pages from the leader, hands them to the store, and tells both, and
//! people, what became of it.

use plurix_protocol::leader::Event;
pub use plurix_protocol::leader::Strategy as CheckpointStrategy;
use plurix_protocol::{ConnectionId, Time};
use plurix_wire::message::ToStation;
use plurix_wire::record::Stamp;

use super::notice::Notice;
use super::{PageServer, ServerError, system};
use crate::recovery;

/// Pages taken in one turn of the loop: some 20 µs of work, so that nobody waits for them.
const PAGES_A_TURN: usize = 128;

impl PageServer {
    /// Fails if the leader worked with a page that could not be loaded: nothing that came of it may
    /// leave this process. The next one starts from a checkpoint that is not made of that image.
    pub(super) fn check_images(&mut self) -> Result<(), ServerError> {
        let Some(unreadable) = self.images.take_failure() else {
            return Ok(());
        };
        let condemned = self.store.condemn(unreadable.image);
        condemned.map_err(system("cannot note that an image is damaged"))?;
        Err(unreadable.into())
    }

    pub(super) fn begin_checkpoint(
        &mut self,
        stamp: Stamp,
        state: Vec<u8>,
        strategy: CheckpointStrategy,
    ) {
        let cut = recovery::cut(stamp, state, strategy);
        let id = self.store.begin_checkpoint(cut);
        self.notices.tell(Notice::CheckpointBegun {
            id,
            commit: stamp.number,
        });
        self.blocks = strategy == CheckpointStrategy::Blocking;
    }

    /// Lets the running checkpoint go on. Returns at once, unless everybody is to wait for it.
    pub(super) fn go_on_with_checkpoint(&mut self, now: Time) -> Result<(), ServerError> {
        while self.store.is_checkpointing() {
            let now = now.max(self.now());
            self.collect(now)?;
            if let Some(outcome) = self.store.poll_checkpoint() {
                let event = match &outcome {
                    Ok(_) => Event::Checkpointed,
                    Err(error) => Event::CheckpointFailed {
                        why: error.to_string(),
                    },
                };
                self.notices.checkpoint(outcome);
                self.blocks = false;
                self.leader.handle(now, event);
                continue;
            }
            if !self.blocks && !self.leader.must_wait() {
                return Ok(());
            }
            self.store.drain();
            self.store.sync()?;
        }
        Ok(())
    }

    /// Loads a few more pages before somebody asks for them, if that is wished.
    pub(super) fn go_on_preloading(&mut self) -> Result<(), ServerError> {
        let Some(first) = self.preloads else {
            return Ok(());
        };
        self.preloads = self.leader.preload(first, PAGES_A_TURN);
        self.check_images()?;
        if self.preloads.is_none() {
            self.notices.tell(Notice::Preloaded {
                pages: self.leader.pages_in_memory(),
                took: self.origin.elapsed(),
            });
        }
        Ok(())
    }

    /// Hands the store the pages that it takes and whose time has come.
    fn collect(&mut self, now: Time) -> Result<(), ServerError> {
        let room = self.store.checkpoint_room();
        let most = if self.blocks {
            room
        } else {
            room.min(PAGES_A_TURN)
        };
        self.collects_more = false;
        if most == 0 {
            return Ok(());
        }
        let Some((pages, is_last)) = self.leader.collect(now, most) else {
            return Ok(());
        };
        self.check_images()?;
        self.collects_more = pages.len() == most && most < room;
        if !pages.is_empty() {
            self.store.add_to_checkpoint(pages);
        }
        if is_last {
            self.store.finish_checkpoint()?;
        }
        Ok(())
    }

    /// Answers with the newest checkpoint.
    pub(super) fn send_checkpoint(&mut self, connection: ConnectionId) {
        let newest = self.store.checkpoints().last();
        let newest = newest.expect("the leader has learnt that there is one");
        let answer = ToStation::Checkpointed(Ok(Box::new(newest.status())));
        // A failed connection shows itself when it is read.
        let _ = self.peers.send(connection, &answer);
    }

    /// Takes a last checkpoint, so that the next start has no log to replay.
    pub(super) fn checkpoint_at_end(&mut self, now: Time) -> Result<(), ServerError> {
        self.blocks = true;
        self.leader.hurry_checkpoint();
        self.go_on_with_checkpoint(now)?;
        if self.leader.checkpoint_before_end(now) {
            self.carry_out(now)?;
            self.blocks = true;
            self.go_on_with_checkpoint(now)?;
        }
        Ok(())
    }
}

/// When checkpoints are taken, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointOptions {
    /// How pages are collected.
    pub strategy: CheckpointStrategy,
    /// From one checkpoint to the next.
    pub every: std::time::Duration,
    /// A checkpoint is also due when pages of so many bytes have changed.
    pub changed_bytes: u64,
}

impl CheckpointOptions {
    /// Checkpoints of this strategy, every second or when 1 GiB has changed.
    #[must_use]
    pub fn new(strategy: CheckpointStrategy) -> Self {
        Self {
            strategy,
            every: std::time::Duration::from_secs(1),
            changed_bytes: 1 << 30,
        }
    }
}
