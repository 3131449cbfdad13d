//! What breaks in processes: they die, alone or together, stop, or become slow, and their clocks
//! disagree.

use plurix_protocol::{Span, Time};

use super::Fault;
use crate::queue::Event;
use crate::server;
use crate::world::World;

/// How far a clock may be off while faults last, in thousandths.
const WILD_PERMILLE: std::ops::Range<u64> = 500..2001;

/// How slow a process is: each event at it takes so long.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    span: Span,
    until: Time,
    /// The event under way takes until then.
    busy_until: Time,
}

impl Pace {
    /// When the process can take its next event, if not now.
    pub(crate) fn busy_until(&self) -> Time {
        self.busy_until
    }

    /// The process takes an event.
    pub(crate) fn took(&mut self, now: Time) {
        if now < self.until {
            self.busy_until = now + self.span;
        }
    }
}

impl World {
    pub(super) fn strike_process(&mut self, fault: Fault) {
        let member = self.chance.below(self.members.len() as u64) as usize;
        match fault {
            Fault::CrashOpening => self.traps.openings = self.chance.within(1..4) as u32,
            Fault::CrashLoop => self.crash_loop(member),
            Fault::CrashMany => self.crash_many(),
            Fault::CrashWithLeader => {
                self.crash_many();
                self.end_leader(server::End::Kill);
            }
            Fault::FreezeStation => {
                self.members[member].frozen_until = self.now + self.stop_span();
            }
            Fault::SlowStation => self.members[member].pace = self.slow_pace(5_000),
            Fault::SkewClock => self.skew_clock(member),
            _ => self.crash_member(member),
        }
    }

    /// How long a process is stopped: anything up to twice what silence is borne, or just that.
    pub(super) fn stop_span(&mut self) -> Span {
        let silence = self.plan.leader.silence_max;
        if self.chance.chance(50) {
            return self.chance.around(silence);
        }
        Span(silence.0 / 100 * self.chance.within(95..106))
    }

    pub(super) fn slow_pace(&mut self, most_us: u64) -> Pace {
        Pace {
            span: Span::from_micros(self.chance.log_within(10..most_us)),
            until: self.now + self.chance.around(Span::from_millis(50)),
            busy_until: Time(0),
        }
    }

    fn crash_loop(&mut self, member: usize) {
        let mut at = self.now;
        for _ in 0..self.chance.within(2..8) {
            self.queue.push(at, Event::Crash { member });
            at = at + self.chance.around(Span::from_millis(20));
        }
    }

    fn crash_many(&mut self) {
        let percent = self.chance.pick(&[20, 60, 100]);
        for member in self.some_members(percent) {
            self.crash_member(member);
        }
    }

    /// A session is being opened; if that is what was waited for, one side of it dies soon.
    pub(crate) fn opening(&mut self, member: usize) {
        if self.traps.openings == 0 {
            return;
        }
        self.traps.openings -= 1;
        let at = self.now + self.chance.around(Span::from_millis(1));
        if self.chance.chance(30) {
            self.server.die_after(self.chance.within(1..32));
        } else {
            self.queue.push(at, Event::Crash { member });
        }
    }

    /// A clock runs at another rate from now on, and may leap ahead.
    fn skew_clock(&mut self, member: usize) {
        let now = self.now;
        let permille = self.clocks.within(WILD_PERMILLE);
        let leap = match self.clocks.chance(30) {
            true => self.clocks.around(Span(self.plan.leader.silence_max.0 / 2)),
            false => Span(0),
        };
        let count = self.members.len() as u64 + 1;
        let is_leader = self.clocks.below(count) == 0;
        let clock = match is_leader {
            true => &mut self.server.clock,
            false => &mut self.members[member].clock,
        };
        clock.disturb(now, permille, leap);
        self.look_at_clocks();
        let whose = if is_leader { None } else { Some(member) };
        self.note(format_args!(
            "the clock of {whose:?} runs at {permille} permille after a leap of {} us",
            leap.0 / 1000
        ));
    }

    /// Clocks go on as the plan has them, from what they show.
    pub(super) fn steady_clocks(&mut self) {
        let (now, mild) = (self.now, self.plan.clock_permille.clone());
        let clocks = self.members.iter_mut().map(|member| &mut member.clock);
        for clock in clocks.chain([&mut self.server.clock]) {
            clock.disturb(now, self.clocks.within(mild.clone()), Span(0));
        }
        self.look_at_clocks();
    }

    /// What is due by a clock may be due sooner now.
    fn look_at_clocks(&mut self) {
        for member in 0..self.members.len() {
            self.look_at_clock(member);
        }
        if let Some(process) = &mut self.server.process {
            process.tick_at = None;
            let life = self.server.life;
            self.queue.push(self.now, Event::LeaderTick { life });
        }
    }
}
