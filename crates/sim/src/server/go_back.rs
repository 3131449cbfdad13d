//! An operator takes the heap back to a checkpoint. Whether that has happened is only known when the
//! next page server starts: it may die in the middle of it.

use std::io::ErrorKind;

use plurix_protocol::ConnectionId;
use plurix_store::simulated::SimulatedDisk;
use plurix_store::{Checkpoint, CheckpointError, RestoreError, Store, Strategy};
use plurix_wire::Generation;
use plurix_wire::message::ToStation;

use super::{End, broken};
use crate::library;
use crate::network::Side;
use crate::oracle::{Moment, Violation, demand, strangers};
use crate::tally::Mark;
use crate::world::World;

/// It takes no more steps than this to go back.
const STEPS: std::ops::Range<u64> = 1..40;

impl World {
    /// The page server ends, in order or not, and the next one takes the heap back.
    pub(crate) fn go_back(&mut self) -> Result<(), Violation> {
        if self.plan.library == Some(library::Kind::Outbox) {
            // What was delivered cannot be taken back: who restores a checkpoint answers for that.
            return Ok(());
        }
        self.server.goes_back = Some(self.chance.below(1 << 32));
        if self.chance.chance(50) {
            return self.stop_leader();
        }
        self.end_leader(End::Kill);
        Ok(())
    }

    /// Takes the heap back to a checkpoint; answers whether this process goes on.
    pub(super) fn take_back(
        &mut self,
        store: &mut Store<SimulatedDisk>,
        choice: u64,
    ) -> Result<bool, Violation> {
        self.learn_repetitions(store);
        let count = store.checkpoints().len() as u64;
        let chosen = choice.checked_rem(count).unwrap_or(0);
        let chosen = store.checkpoints().get(chosen as usize);
        let chosen = chosen.map(|checkpoint| checkpoint.id);
        let dies = self.disk.chance(20);
        if dies {
            let steps = self.disk.within(STEPS);
            self.server.machine.kill_after(steps);
        }
        let gone = store.go_back(chosen);
        if self.server.machine.is_dead() {
            self.note(format_args!("dies while the heap goes back to {chosen:?}"));
            self.server.machine.kill();
            return Ok(false);
        }
        self.server.machine.live_on();
        match gone {
            Ok(_) => self.note(format_args!("the heap goes back to {chosen:?}")),
            Err(RestoreError::NoSuch(_)) => {}
            Err(RestoreError::Unusable { .. }) if self.server.flipped.is_some() => {}
            Err(RestoreError::Write(CheckpointError::NoSpace { .. })) => {}
            Err(RestoreError::Identity(failure))
                if failure.cause.kind() == ErrorKind::StorageFull => {}
            Err(_) if self.disk_fails => {}
            Err(error) => return Err(broken(error)),
        }
        Ok(true)
    }

    /// Looks which checkpoints repeat earlier ones: a process that has died may have made them.
    pub(super) fn learn_repetitions(&mut self, store: &Store<SimulatedDisk>) {
        for checkpoint in store.checkpoints() {
            if checkpoint.strategy == Strategy::Restored
                && let Some(earlier) = checkpoint.images.iter().rev().nth(1)
            {
                let durability = &mut self.oracles.durability;
                durability.repeats(*earlier, checkpoint.id);
            }
        }
    }

    /// A page server has started from `base`, and will begin `generation`: tells the oracles if the
    /// heap went back.
    pub(super) fn note_way_back(
        &mut self,
        base: Option<&Checkpoint>,
        generation: Option<Generation>,
    ) -> Result<(), Violation> {
        let Some(base) = base else { return Ok(()) };
        if base.strategy != Strategy::Restored || base.id <= self.server.restored {
            return Ok(());
        }
        let generation = generation.ok_or_else(|| broken("no new generation after going back"))?;
        let cut = Moment {
            generation: base.cut.generation,
            number: base.cut.number,
        };
        self.oracles.went_back(base.id, cut, generation);
        self.server.restored = base.id;
        self.tally.mark(Mark::WentBack);
        Ok(())
    }

    /// Answers whoever asked for a checkpoint.
    pub(super) fn send_checkpoint(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        let Some(process) = &self.server.process else {
            return Ok(());
        };
        let newest = process.store.checkpoints().last();
        let newest = newest.ok_or_else(|| broken("there is no checkpoint to answer with"))?;
        let asked_at = self.strangers.asked_at(connection);
        demand!(
            asked_at.is_none_or(|number| number <= newest.cut.number),
            strangers::ORACLE,
            "who asked for a checkpoint at {asked_at:?} was answered with one of {}",
            newest.cut.number
        );
        let message = ToStation::Checkpointed(Ok(Box::new(newest.status())));
        self.strangers.told(connection, &message);
        self.send(connection, Side::Station, &message);
        Ok(())
    }
}
