//! What breaks: picks a victim for each fault when its time has come.

use plurix_protocol::{Span, Time};

use crate::network::Side;
use crate::oracle::Violation;
use crate::queue::Event;
use crate::server;
use crate::world::World;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    /// A connection is lost with all that is under way.
    CutLink,
    /// Nothing arrives in one direction for a while.
    StallLink,
    /// A station's process is killed; a successor takes its number.
    CrashStation,
    /// A station stops for a while and knows nothing of it.
    FreezeStation,
    /// The leader's process is killed; what it appended is there for the next one.
    KillLeader,
    /// The leader's process is killed in the middle of what it writes.
    KillLeaderWriting,
    /// The leader's machine loses power, and what was not synced.
    PowerCut,
    /// The leader stops for a while and knows nothing of it.
    FreezeLeader,
    /// The leader is asked to end in order.
    StopLeader,
    /// There is no room for another segment of the log for a while.
    DiskFull,
    /// The next sync of the log fails.
    SyncError,
}

impl Fault {
    pub(crate) const ALL: [Self; 11] = [
        Self::CutLink,
        Self::StallLink,
        Self::CrashStation,
        Self::FreezeStation,
        Self::KillLeader,
        Self::KillLeaderWriting,
        Self::PowerCut,
        Self::FreezeLeader,
        Self::StopLeader,
        Self::DiskFull,
        Self::SyncError,
    ];
}

impl World {
    /// Schedules the first fault of each kind.
    pub(crate) fn unleash(&mut self) {
        for (fault, mean) in self.plan.faults.clone() {
            let span = self.chance.around(mean);
            self.queue.push(self.now + span, Event::Fault(fault));
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) -> Result<(), Violation> {
        if !self.chaos {
            return Ok(());
        }
        self.note(format_args!("fault {fault:?}"));
        self.tally.faults += 1;
        self.strike(fault)?;
        let mean = self.plan.faults.iter().find(|(kind, _)| *kind == fault);
        if let Some(&(_, mean)) = mean {
            let span = self.chance.around(mean);
            self.queue.push(self.now + span, Event::Fault(fault));
        }
        Ok(())
    }

    fn strike(&mut self, fault: Fault) -> Result<(), Violation> {
        let member = self.chance.below(self.members.len() as u64) as usize;
        match fault {
            Fault::CutLink => self.cut_link(),
            Fault::StallLink => self.stall_link(),
            Fault::CrashStation => self.crash_member(member),
            Fault::FreezeStation => {
                let silence = self.plan.leader.silence_max;
                self.members[member].frozen_until = self.now + self.chance.around(silence);
            }
            Fault::KillLeader => self.end_leader(server::End::Kill),
            Fault::KillLeaderWriting => {
                let steps = self.chance.log_within(1..256);
                self.server.die_after(steps);
            }
            Fault::PowerCut => self.end_leader(server::End::PowerCut),
            Fault::FreezeLeader => {
                let silence = self.plan.leader.silence_max;
                self.server.frozen_until = self.now + self.chance.around(silence);
            }
            Fault::StopLeader => return self.stop_leader(),
            Fault::DiskFull => {
                self.server.machine.set_free_bytes(Some(0));
                let span = self.chance.around(Span::from_millis(100));
                self.queue.push(self.now + span, Event::DiskFree);
            }
            Fault::SyncError => {
                self.server.machine.fail_syncs(true);
                self.disk_fails = true;
                let span = self.chance.around(Span::from_millis(100));
                self.queue.push(self.now + span, Event::DiskFree);
            }
        }
        Ok(())
    }

    fn cut_link(&mut self) {
        let open = self.network.open(Side::Station);
        if open.is_empty() {
            return;
        }
        let connection = self.chance.pick(&open);
        if let Some([leader, station]) = self.network.cut(self.now, connection) {
            self.queue
                .push(leader, Event::Closed(connection, Side::Leader));
            self.queue
                .push(station, Event::Closed(connection, Side::Station));
        }
    }

    fn stall_link(&mut self) {
        let open = self.network.open(Side::Station);
        if open.is_empty() {
            return;
        }
        let connection = self.chance.pick(&open);
        let side = self.chance.pick(&[Side::Leader, Side::Station]);
        let until = self.now + self.chance.around(self.plan.leader.silence_max);
        self.network.stall(connection, side, until);
    }

    pub(crate) fn mend_disk(&mut self) {
        self.server.machine.set_free_bytes(None);
        self.server.machine.fail_syncs(false);
        self.disk_fails = false;
    }

    /// Ends all faults: whatever is down comes back, whatever is slow is quick again.
    pub(crate) fn heal(&mut self) {
        self.chaos = false;
        self.note(format_args!("faults end"));
        self.network.calm();
        self.mend_disk();
        self.server.frozen_until = Time(0);
        for member in &mut self.members {
            member.frozen_until = Time(0);
        }
    }
}
