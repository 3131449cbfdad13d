//! What the page server does with checkpoints: it hands the store the pages as they are collected,
//! and starts again from what is whole.

use std::sync::Arc;

use plurix::recovery::{self, CheckpointedPages};
use plurix_protocol::leader::{self, Leader, Strategy};
use plurix_store::simulated::SimulatedDisk;
use plurix_store::{CheckpointError, Store};
use plurix_wire::record::{Record, Stamp};
use plurix_wire::{CommitNumber, PAGE_BYTES};

use super::{End, ORACLE, Process, broken};
use crate::oracle::{Violation, checkpoints};
use crate::queue::Event;
use crate::tally::Mark;
use crate::trace::{Kind, Lane};
use crate::world::World;

/// More steps than this at one moment mean that a checkpoint never ends.
const STEPS_MAX: u32 = 100_000;

/// A leader that has started from the newest checkpoint, the records up to its cut, and its pages.
pub(super) type Started = (Leader, Vec<Record>, Arc<CheckpointedPages>);

impl World {
    /// Starts a leader from the store's newest checkpoint, and judges what that holds.
    pub(super) fn start_from_checkpoint(
        &mut self,
        store: &mut Store<SimulatedDisk>,
    ) -> Result<Started, Violation> {
        self.learn_repetitions(store);
        let base = store.base().clone();
        for passed in &base.passed_over {
            let (id, why) = (passed.checkpoint, &passed.why);
            self.note(format_args!("{id:?} is passed over: {why}"));
        }
        checkpoints::whole(&base, self.server.flipped.is_some())?;
        let mut before = Vec::new();
        if let Some(checkpoint) = &base.checkpoint {
            let pages = self.plan.leader.heap_bytes / PAGE_BYTES as u64;
            let stored = store.stored_pages();
            checkpoints::restored(&self.oracles.model, checkpoint.cut, pages, &stored)?;
            before = self.oracles.durability.before(checkpoint.id);
            self.tally.mark(Mark::CheckpointRestored);
        }
        let started = recovery::start_leader(store, self.plan.leader.clone());
        let (leader, images) = started.map_err(broken)?;
        Ok((leader, before, images))
    }

    pub(super) fn begin_checkpoint(
        &mut self,
        stamp: Stamp,
        state: Vec<u8>,
        strategy: Strategy,
    ) -> Result<(), Violation> {
        let Some(process) = &mut self.server.process else {
            return Ok(());
        };
        process.blocks = strategy == Strategy::Blocking;
        let cut = recovery::cut(stamp, state, strategy);
        let id = process.store.begin_checkpoint(cut);
        self.oracles.durability.cut(id);
        let begins = Kind::Remark(Lane::Leader);
        self.tell(
            begins,
            format_args!("begins {id} at {}, {strategy:?}", stamp.number),
        );
        Ok(())
    }

    /// Lets the running checkpoint go on: at once to its end, if everybody waits for it.
    pub(super) fn go_on_with_checkpoint(&mut self) -> Result<(), Violation> {
        let now = self.server.clock.at(self.now);
        for _ in 0..STEPS_MAX {
            let Some(process) = &mut self.server.process else {
                return Ok(());
            };
            if !process.store.is_checkpointing() {
                return Ok(());
            }
            let most = match process.blocks {
                true => usize::MAX,
                false => self.plan.disk.pages_a_turn,
            };
            let room = process.store.checkpoint_room().min(most);
            if room > 0
                && let Some((pages, is_last)) = process.leader.collect(now, room)
            {
                self.check_images()?;
                let Some(process) = &mut self.server.process else {
                    return Ok(());
                };
                if !pages.is_empty() {
                    process.store.add_to_checkpoint(pages);
                }
                if is_last {
                    if process.store.finish_checkpoint().is_err() {
                        return self.log_failed();
                    }
                    self.synced_aside_later();
                }
            }
            let Some(process) = &mut self.server.process else {
                return Ok(());
            };
            let waits = process.blocks || process.leader.must_wait();
            let outcome = process.store.poll_checkpoint();
            if self.server.is_dead() {
                self.end_leader(End::Kill);
                return Ok(());
            }
            if let Some(outcome) = outcome {
                self.checkpoint_ended(outcome)?;
            } else if waits {
                self.wait_for_checkpoint()?;
            } else {
                return self.go_on_later();
            }
        }
        Err(broken("a checkpoint never ends"))
    }

    fn checkpoint_ended(
        &mut self,
        outcome: Result<plurix_store::Checkpoint, CheckpointError>,
    ) -> Result<(), Violation> {
        let now = self.server.clock.at(self.now);
        let ended = Kind::Remark(Lane::Leader);
        let event = match outcome {
            Ok(checkpoint) => {
                let (id, changed, carried) =
                    (checkpoint.id, checkpoint.changed, checkpoint.carried);
                self.tell(
                    ended,
                    format_args!("has {id} on disk: {changed} pages, {carried} carried"),
                );
                self.tally.mark(Mark::CheckpointTaken);
                if carried > 0 {
                    self.tally.mark(Mark::PagesCarried);
                }
                leader::Event::Checkpointed
            }
            Err(error) => {
                self.tell(ended, format_args!("takes no checkpoint: {error}"));
                checkpoints::failed(&error, self.disk_fails || self.server.flipped.is_some())?;
                self.tally.mark(Mark::CheckpointFailed);
                leader::Event::CheckpointFailed {
                    why: error.to_string(),
                }
            }
        };
        if let Some(process) = &mut self.server.process {
            process.blocks = false;
            process.leader.handle(now, event);
        }
        Ok(())
    }

    /// The process does nothing else until the disk has done everything.
    fn wait_for_checkpoint(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.server.process else {
            return Ok(());
        };
        process.store.drain();
        let synced = process.store.sync();
        if self.server.is_dead() {
            self.end_leader(End::Kill);
            return Ok(());
        }
        match synced {
            Ok(through) => self.log_is_synced(through),
            Err(_) => self.log_failed(),
        }
    }

    /// The log is on disk through this commit: a durable leader may show it.
    fn log_is_synced(&mut self, through: CommitNumber) -> Result<(), Violation> {
        self.oracles.durability.synced(through);
        let now = self.server.clock.at(self.now);
        if let Some(process) = &mut self.server.process {
            let event = match self.plan.leader.durability {
                leader::Durability::Memory => leader::Event::Durable(through),
                leader::Durability::Durable => leader::Event::Logged(through),
            };
            process.leader.handle(now, event);
        }
        Ok(())
    }

    /// The disk does its next piece of work after a while.
    fn go_on_later(&mut self) -> Result<(), Violation> {
        let span = self.disk.micros(self.plan.disk.job_us.clone());
        let (life, due) = (self.server.life, self.now + span);
        if let Some(process) = &mut self.server.process
            && !std::mem::replace(&mut process.job_is_due, true)
        {
            self.queue.push(due, Event::LeaderJob { life });
        }
        Ok(())
    }

    /// The disk has done a piece of work.
    pub(crate) fn leader_job(&mut self) -> Result<(), Violation> {
        if let Some(process) = &mut self.server.process {
            process.job_is_due = false;
        }
        self.pump_leader()
    }

    /// Before the log is closed: a last checkpoint, which everybody waits for.
    pub(super) fn checkpoint_at_end(&mut self) -> Result<(), Violation> {
        for begins in [false, true] {
            let now = self.server.clock.at(self.now);
            if let Some(process) = &mut self.server.process
                && begins
                && process.leader.checkpoint_before_end(now)
            {
                let command = process.leader.poll().expect("it begins");
                self.carry_out(command)?;
            }
            if let Some(process) = &mut self.server.process {
                process.blocks = true;
                process.leader.hurry_checkpoint();
            }
            self.go_on_with_checkpoint()?;
        }
        Ok(())
    }

    /// Loads a page before somebody asks for it, if that was drawn.
    pub(super) fn go_on_preloading(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.server.process else {
            return Ok(());
        };
        if let Some(first) = process.preloads {
            process.preloads = process.leader.preload(first, 1);
            self.check_images()?;
        }
        Ok(())
    }

    /// Ends a process whose leader worked with a page that could not be loaded.
    pub(super) fn check_images(&mut self) -> Result<(), Violation> {
        let failure = |process: &Process| process.images.take_failure();
        let Some(failure) = self.server.process.as_ref().and_then(failure) else {
            return Ok(());
        };
        if self.server.is_dead() {
            self.end_leader(End::Kill);
            return Ok(());
        }
        if self.server.flipped.is_none() {
            return Err(Violation {
                oracle: ORACLE,
                what: format!("a page cannot be loaded: {failure}"),
            });
        }
        if let Some(process) = &mut self.server.process {
            // If that fails, too, the next process finds the same page again.
            let _ = process.store.condemn(failure.image);
        }
        self.tally.mark(Mark::ImageCondemned);
        self.end_leader(End::Exit);
        Ok(())
    }
}
