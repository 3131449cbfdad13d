//! What breaks on the leader's disk: it is full, fails, is slow, or decays.

use plurix_protocol::Span;

use super::Fault;
use crate::queue::Event;
use crate::server;
use crate::world::World;

impl World {
    pub(super) fn strike_disk(&mut self, fault: Fault) {
        match fault {
            Fault::DiskFull => self.fill_disk(),
            Fault::DiskFullAtStart => {
                self.fill_disk();
                self.end_leader(server::End::Kill);
            }
            Fault::SyncError => {
                self.server.machine.fail_syncs(true);
                self.disk_fails = true;
                self.mend_disk_later();
            }
            Fault::WriteError => {
                self.server.machine.fail_writes(true);
                self.disk_fails = true;
                self.mend_disk_later();
            }
            Fault::SlowSync => {
                let silence = self.plan.leader.silence_max;
                let mean = [Span::from_millis(5), Span::from_millis(50), silence];
                let mean = self.chance.pick(&mean);
                self.server.slow_sync = Some(self.chance.around(mean));
            }
            _ => {
                self.server.decays = true;
                match self.chance.below(4) {
                    0 => {}
                    1 => self.end_leader(server::End::PowerCut),
                    _ => self.end_leader(server::End::Kill),
                }
            }
        }
    }

    /// Leaves room for less than a segment, or for one or two.
    fn fill_disk(&mut self) {
        let segment = self.plan.disk.segment_bytes;
        let half_segments = self.chance.pick(&[0, 0, 1, 2, 5]);
        let free = segment / 2 * half_segments;
        self.server.machine.set_free_bytes(Some(free));
        // Long enough for the log to need the room.
        let span = self.chance.around(Span::from_millis(400));
        self.queue.push(self.now + span, Event::DiskFree);
    }

    fn mend_disk_later(&mut self) {
        let span = self.chance.around(Span::from_millis(100));
        self.queue.push(self.now + span, Event::DiskFree);
    }

    pub(crate) fn mend_disk(&mut self) {
        self.server.machine.set_free_bytes(None);
        self.server.machine.fail_syncs(false);
        self.server.machine.fail_writes(false);
        self.disk_fails = false;
    }
}
