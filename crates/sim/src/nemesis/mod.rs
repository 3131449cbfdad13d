//! What breaks: each fault strikes again and again until faults end, and picks its victim when its
//! time has come. Its strokes are beside, by what they hit.

mod disk;
mod network;
mod process;

use plurix_protocol::Time;

use crate::oracle::Violation;
use crate::queue::Event;
use crate::random::{Purpose, Random};
use crate::server;
use crate::trace::{Kind, Lane};
use crate::world::World;
pub(crate) use network::Traps;
pub(crate) use process::Pace;

/// Declares the kinds of faults, each with the name under which the trace shows it.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident = $name:literal,)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Fault {
            $($(#[doc = $doc])+ $fault,)+
        }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$fault),+];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)+
                }
            }
        }
    };
}

faults! {
    /// A connection is lost with all that is under way.
    CutLink = "cut-link",
    /// Nothing arrives in one direction of a connection for a while.
    StallLink = "stall-link",
    /// Nothing passes between some stations and the leader in one direction for a while.
    PartOneWay = "part-one-way",
    /// Nothing passes between some stations and the leader for a while.
    PartBothWays = "part-both-ways",
    /// A connection accepts what is sent and never delivers it.
    BlackHole = "black-hole",
    /// A connection is cut when the answer to a commit is under way.
    LoseAnswer = "lose-answer",
    /// A connection is cut when a request to commit is under way.
    LoseCommit = "lose-commit",
    /// The delays of all links vary widely for a while, so that they overtake each other.
    Squall = "squall",
    /// A station's process is killed; a successor takes its number.
    CrashStation = "crash-station",
    /// A station or the leader dies while a session is opened or resumed.
    CrashOpening = "crash-opening",
    /// A station crashes several times in short order.
    CrashLoop = "crash-loop",
    /// Several stations crash at once.
    CrashMany = "crash-many",
    /// The leader and some stations crash at once.
    CrashWithLeader = "crash-with-leader",
    /// A station stops for a while and knows nothing of it.
    FreezeStation = "freeze-station",
    /// Each event at a station takes some time for a while.
    SlowStation = "slow-station",
    /// The leader's process is killed; what it appended is there for the next one.
    KillLeader = "kill-leader",
    /// The leader's process is killed in the middle of what it writes.
    KillLeaderWriting = "kill-leader-writing",
    /// The leader's machine loses power, and what was not synced.
    PowerCut = "power-cut",
    /// The leader stops for a while and knows nothing of it.
    FreezeLeader = "freeze-leader",
    /// Each event at the leader takes some time for a while.
    SlowLeader = "slow-leader",
    /// The leader is asked to end in order.
    StopLeader = "stop-leader",
    /// An operator ends the leader and takes the heap back to a checkpoint, be it one of what was
    /// abandoned before.
    GoBack = "go-back",
    /// A clock runs too fast or too slow from now on, and may leap ahead.
    SkewClock = "skew-clock",
    /// There is little or no room for further segments of the log for a while.
    DiskFull = "disk-full",
    /// The leader is killed, and its successor finds the disk full.
    DiskFullAtStart = "disk-full-at-start",
    /// Syncs of the log fail for a while.
    SyncError = "sync-error",
    /// No file can be created or replaced for a while.
    WriteError = "write-error",
    /// The next sync of the log takes long.
    SlowSync = "slow-sync",
    /// Bits of the log flip while the leader is down.
    FlipBits = "flip-bits",
    /// Somebody who is no station says to the leader what no station would.
    Stranger = "stranger",
}

impl World {
    /// Schedules the first fault of each kind.
    pub(crate) fn unleash(&mut self) {
        for (fault, mean) in self.plan.faults.clone() {
            let span = self.schedule.around(mean);
            self.queue.push(self.now + span, Event::Fault(fault));
        }
    }

    /// A fault's time has come. When strokes come, and what each draws, does not depend on which
    /// of the others are masked out.
    pub(crate) fn fault(&mut self, fault: Fault) -> Result<(), Violation> {
        if !self.chaos {
            return Ok(());
        }
        let mean = self.plan.faults.iter().find(|(kind, _)| *kind == fault);
        if let Some(&(_, mean)) = mean {
            let span = self.schedule.around(mean);
            self.queue.push(self.now + span, Event::Fault(fault));
        }
        let stroke = self.strokes;
        self.strokes += 1;
        if !self.mask.has_stroke(stroke) {
            return Ok(());
        }
        self.tell(Kind::Fault { stroke }, format_args!("{}", fault.name()));
        self.tally.faults += 1;
        *self.tally.struck.entry(fault.name()).or_default() += 1;
        let own = Random::new(self.seed, Purpose::Stroke(stroke));
        let others = std::mem::replace(&mut self.chance, own);
        let frozen = self.frozen();
        let struck = self.strike(fault);
        self.chance = others;
        for ((lane, before), (_, until)) in frozen.into_iter().zip(self.frozen()) {
            if until > before {
                self.tell(Kind::Frozen { lane, until }, format_args!(""));
            }
        }
        struck
    }

    /// Until when each process is frozen.
    fn frozen(&self) -> Vec<(Lane, Time)> {
        let members = self.members.iter().enumerate();
        members
            .map(|(index, member)| (Lane::Station(index), member.frozen_until))
            .chain([(Lane::Leader, self.server.frozen_until)])
            .collect()
    }

    fn strike(&mut self, fault: Fault) -> Result<(), Violation> {
        match fault {
            Fault::CutLink
            | Fault::StallLink
            | Fault::PartOneWay
            | Fault::PartBothWays
            | Fault::BlackHole
            | Fault::LoseAnswer
            | Fault::LoseCommit
            | Fault::Squall => self.strike_network(fault),
            Fault::CrashStation
            | Fault::CrashOpening
            | Fault::CrashLoop
            | Fault::CrashMany
            | Fault::CrashWithLeader
            | Fault::FreezeStation
            | Fault::SlowStation
            | Fault::SkewClock => self.strike_process(fault),
            Fault::DiskFull
            | Fault::DiskFullAtStart
            | Fault::SyncError
            | Fault::WriteError
            | Fault::SlowSync
            | Fault::FlipBits => self.strike_disk(fault),
            Fault::KillLeader => self.end_leader(server::End::Kill),
            Fault::KillLeaderWriting => {
                let steps = self.chance.log_within(1..256);
                self.server.die_after(steps);
            }
            Fault::PowerCut => self.end_leader(server::End::PowerCut),
            Fault::FreezeLeader => self.server.frozen_until = self.now + self.stop_span(),
            Fault::SlowLeader => self.server.pace = self.slow_pace(500),
            Fault::StopLeader => return self.stop_leader(),
            Fault::GoBack => return self.go_back(),
            Fault::Stranger => return self.stranger_comes(),
        }
        Ok(())
    }

    /// Ends all faults: whatever is down comes back, whatever is slow is quick again.
    pub(crate) fn heal(&mut self) {
        self.chaos = false;
        self.begin_duties();
        self.tell(Kind::Healed, format_args!(""));
        for connection in self.network.calm() {
            self.cut(connection);
        }
        self.traps = Traps::default();
        self.mend_disk();
        self.server.live_on();
        self.restore_file();
        self.server.slow_sync = None;
        self.server.decays = false;
        self.server.goes_back = None;
        self.server.frozen_until = Time(0);
        self.server.pace = Pace::default();
        for member in &mut self.members {
            member.frozen_until = Time(0);
            member.pace = Pace::default();
        }
        self.steady_clocks();
    }
}
