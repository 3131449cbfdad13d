//! What the page server does with its log: appends each record before anything tells of it, and in
//! durable mode has it on disk before anything that was committed is shown.

use plurix_protocol::leader::{self, Durability};
use plurix_wire::record::{Body, Record};

use super::End;
use crate::oracle::Violation;
use crate::queue::Event;
use crate::world::World;

impl World {
    pub(super) fn append(&mut self, record: &Record) -> Result<(), Violation> {
        let Some(process) = &mut self.server.process else {
            return Ok(());
        };
        let stamp = record.stamp;
        let appended = match &record.body {
            // The store wrote these itself, before the leader began and when it closes.
            Body::Term | Body::Clean => return Ok(()),
            Body::Generation => process.store.begin_generation(stamp.number).map(|begun| {
                assert_eq!(begun, stamp.generation, "leader and store count alike");
            }),
            _ if process.store.control_room() < record.encoded_bytes() as u64 => {
                self.note(format_args!("no room even for control records"));
                self.end_leader(End::Exit);
                return Ok(());
            }
            _ => process.store.append(record),
        };
        let number = process.store.last().number;
        let room = process.store.room();
        process.leader.handle(self.now, leader::Event::Room(room));
        let dead = self.server.is_dead();
        if appended.is_err() && !dead {
            self.note(format_args!("the log has failed"));
            self.end_leader(End::Exit);
            return Ok(());
        }
        if record.body == Body::Generation && !dead {
            self.oracles.durability.synced(number);
        }
        if record.body != Body::Generation || !dead {
            self.oracles.appended(record)?;
        }
        if let Body::Commit { id, writes, .. } = &record.body {
            self.tally.commits += 1;
            let (generation, number) = (stamp.generation, stamp.number);
            self.note(format_args!("log {generation}{number} {id} {writes:?}"));
        } else {
            self.note(format_args!("log {:?}", record.body));
        }
        Ok(())
    }

    /// In durable mode: has the log brought to disk while commits wait for it.
    pub(super) fn sync_later(&mut self) {
        let Some(process) = &mut self.server.process else {
            return;
        };
        let durable = self.plan.leader.durability == Durability::Durable;
        // In memory mode a sync now and then costs nobody time, and must lose nothing either.
        let wanted = match durable {
            true => process.leader.awaits_log(),
            false => self.disk.chance(1),
        };
        if process.syncing.is_some() || !wanted {
            return;
        }
        let early = self.disk.chance(50).then(|| process.store.sync());
        let early = match early {
            Some(Ok(through)) => Some(through),
            Some(Err(_)) => return self.end_leader(End::Exit),
            None => None,
        };
        if let Some(through) = early {
            self.oracles.durability.synced(through);
        }
        process.syncing = Some(early);
        let span = self.disk.micros(self.plan.disk.sync_us.clone());
        let life = self.server.life;
        self.queue.push(self.now + span, Event::Synced { life });
        if let Some(through) = self.canary.early_answer(durable, &process.leader) {
            process
                .leader
                .handle(self.now, leader::Event::Logged(through));
        }
    }

    /// The sync returns.
    pub(crate) fn leader_synced(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.server.process else {
            return Ok(());
        };
        let Some(early) = process.syncing.take() else {
            return Ok(());
        };
        let synced = match early {
            Some(through) => Ok(through),
            None => process.store.sync(),
        };
        let Ok(through) = synced else {
            self.end_leader(End::Exit);
            return Ok(());
        };
        self.oracles.durability.synced(through);
        self.tell_leader(leader::Event::Logged(through))
    }
}
