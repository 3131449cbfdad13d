//! What the page server does with its log: appends each record before anything tells of it, and in
//! durable mode has it on disk before anything that was committed is shown.

use plurix_protocol::leader::{self, Durability};
use plurix_wire::record::{Body, Record};

use super::{End, ORACLE};
use crate::oracle::{Violation, demand};
use crate::queue::Event;
use crate::tally::Mark;
use crate::trace::{Kind, Lane, Life};
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
                let no_room = Kind::Remark(Lane::Leader);
                self.tell(
                    no_room,
                    format_args!("has no room even for control records"),
                );
                self.tally.mark(Mark::NoRoomForControl);
                self.end_leader(End::Exit);
                return Ok(());
            }
            _ => process.store.append(record),
        };
        let number = process.store.last().number;
        let room = process.store.room();
        let now = self.server.clock.at(self.now);
        process.leader.handle(now, leader::Event::Room(room));
        let synced = process.store.synced();
        let dead = self.server.is_dead();
        if appended.is_err() && !dead {
            let failed = Kind::Remark(Lane::Leader);
            self.tell(failed, format_args!("finds that the log has failed"));
            self.tally.mark(Mark::LogFailed);
            self.end_leader(End::Exit);
            return Ok(());
        }
        if record.body == Body::Generation && !dead {
            self.oracles.durability.synced(number);
            if let Some(process) = &mut self.server.process {
                process.leader.handle(now, leader::Event::Durable(synced));
            }
        }
        if record.body != Body::Generation || !dead {
            self.oracles.appended(record)?;
        }
        if let Body::Commit { id, writes, .. } = &record.body {
            self.tally.commits += 1;
            let (generation, number) = (stamp.generation, stamp.number);
            let kind = Kind::Logged {
                generation,
                number,
                id: *id,
            };
            self.tell(kind, format_args!("{writes:?}"));
        } else {
            let logs = Kind::Remark(Lane::Leader);
            match &record.body {
                Body::Joined(member) => {
                    let (station, life) = (member.station, Life(member.incarnation));
                    self.tell(logs, format_args!("logs {life} joined as {station}"));
                }
                Body::Left(incarnation) => {
                    let life = Life(*incarnation);
                    self.tell(logs, format_args!("logs {life} left"));
                }
                other => self.tell(logs, format_args!("logs {other:?}")),
            }
        }
        Ok(())
    }

    /// In durable mode: has the log brought to disk while commits wait for it.
    pub(super) fn sync_later(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.server.process else {
            return Ok(());
        };
        let durable = self.plan.leader.durability == Durability::Durable;
        // In memory mode a sync now and then costs nobody time, and must lose nothing either.
        let wanted = match durable {
            true => process.leader.awaits_log(),
            false => self.disk.chance(self.plan.sync_percent),
        };
        if process.syncing.is_some() || !wanted {
            return Ok(());
        }
        let early = self.disk.chance(50).then(|| process.store.sync());
        let early = match early {
            Some(Ok(through)) => Some(through),
            Some(Err(_)) => return self.log_failed(),
            None => None,
        };
        if let Some(through) = early {
            self.oracles.durability.synced(through);
        }
        process.syncing = Some(early);
        let mut span = self.disk.micros(self.plan.disk.sync_us.clone());
        if let Some(slow) = self.server.slow_sync.take() {
            span = slow;
            if self.disk.chance(50) {
                // The process waits in the system call, as the real page server does.
                self.server.frozen_until = self.server.frozen_until.max(self.now + span);
            }
        }
        let life = self.server.life;
        self.queue.push(self.now + span, Event::Synced { life });
        Ok(())
    }

    /// A sync has failed, and what it should have brought on disk is unknown. The log must take
    /// nothing more, even if the next sync would succeed, as that of Linux does.
    pub(super) fn log_failed(&mut self) -> Result<(), Violation> {
        self.server.machine.fail_syncs(false);
        if let Some(process) = &mut self.server.process {
            demand!(
                process.store.sync().is_err(),
                ORACLE,
                "a sync succeeds after one has failed"
            );
        }
        self.server.machine.fail_syncs(self.disk_fails);
        self.tally.mark(Mark::LogFailed);
        self.end_leader(End::Exit);
        Ok(())
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
            return self.log_failed();
        };
        self.oracles.durability.synced(through);
        if self.plan.leader.durability == Durability::Memory {
            // Whoever syncs may tell, asked or not.
            return self.tell_leader(leader::Event::Durable(through));
        }
        self.tell_leader(leader::Event::Logged(through))
    }

    /// The leader wants to hear when all of the log is on disk, and goes on meanwhile.
    pub(super) fn sync_aside(&mut self) -> Result<(), Violation> {
        let Some(process) = &mut self.server.process else {
            return Ok(());
        };
        if process.store.start_sync().is_err() {
            return self.log_failed();
        }
        self.synced_aside_later();
        Ok(())
    }

    /// The sync under way in the background will have ended.
    pub(super) fn synced_aside_later(&mut self) {
        let slow = self.server.slow_sync.take();
        let span = slow.unwrap_or_else(|| self.disk.micros(self.plan.disk.sync_us.clone()));
        let life = self.server.life;
        self.queue
            .push(self.now + span, Event::SyncedAside { life });
    }

    /// A sync in the background has ended.
    pub(crate) fn leader_synced_aside(&mut self) -> Result<(), Violation> {
        let Some(process) = self.server.process.as_mut() else {
            return Ok(());
        };
        let synced = process.store.poll_sync();
        if process.store.is_syncing() {
            // Asked for while this one was under way, the next one has begun.
            self.synced_aside_later();
        }
        let through = match synced {
            None => return Ok(()),
            Some(Err(_)) => return self.log_failed(),
            Some(Ok(through)) => through,
        };
        self.oracles.durability.synced(through);
        self.tally.mark(Mark::DurableOnRequest);
        self.tell_leader(leader::Event::Durable(through))
    }
}
