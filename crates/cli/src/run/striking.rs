//! The supervisor's own violence: the kills that the user has planned, those of chaos, and those of
//! successors that are just coming back.

use std::time::Instant;

use rustix::process::Signal;

use super::chaos::StrikeKind;
use super::chaos_report::ChaosReport;
use super::kills::Kill;
use super::plan::Who;
use super::supervisor::Supervisor;

impl Supervisor {
    /// Kills whoever is due.
    pub(super) fn kill_due(&mut self) {
        let now = Instant::now();
        let Some(since) = self.since_set_up(now) else {
            return;
        };
        while let Some(who) = self.plan.take_due(since) {
            self.kill(who, StrikeKind::Planned);
        }
        while let Some(strike) = self.chaos.as_mut().and_then(|chaos| chaos.take_due(since)) {
            for who in &strike.victims {
                self.kill(*who, strike.kind);
            }
            if let (Some(after), Some(first)) = (strike.again_after, strike.victims.first()) {
                self.slots.entry(*first).or_default().again_after = Some(after);
            }
        }
        let is_due = |(at, _): &mut (Instant, Who)| *at <= now;
        let again: Vec<_> = self.successors.extract_if(.., is_due).collect();
        for (_, who) in again {
            self.kill(who, StrikeKind::Again);
        }
        if let Some(probe) = &self.probe {
            probe.set_eager(self.kills.are_healing(now));
        }
    }

    fn kill(&mut self, who: Who, kind: StrikeKind) {
        let at = Instant::now();
        let since = self.since_set_up(at).unwrap_or_default();
        let term = self.server.as_ref().map_or(0, |server| server.term);
        let slot = self.slots.entry(who).or_default();
        let doing = slot.doing(who);
        let Some(process) = &slot.process else {
            return;
        };
        // Who is dying already cannot be killed once more.
        if std::mem::replace(&mut slot.is_killed, true) {
            return;
        }
        process.signal(Signal::KILL);
        let pid = process.pid();
        let kill = Kill::new(at, since.as_secs_f64(), (who, pid), kind, doing, term);
        self.record.killed(at, &kill);
        self.kills.struck(kill);
    }

    /// The next kill, as far as it is known.
    pub(super) fn next_kill(&self, now: Instant) -> Option<std::time::Duration> {
        let since = self.since_set_up(now)?;
        let chaos = self.chaos.as_ref().and_then(super::chaos::Chaos::next);
        let planned = [self.plan.next(), chaos].into_iter().flatten();
        let planned = planned.map(|at| at.saturating_sub(since));
        let again = self.successors.iter();
        let again = again.map(|(at, _)| at.saturating_duration_since(now));
        planned.chain(again).min()
    }

    /// What chaos has come to, if there was any.
    pub(super) fn chaos_report(&self) -> Option<ChaosReport> {
        let chaos = self.chaos.as_ref()?;
        Some(ChaosReport::new(chaos, self.kills.all()))
    }
}
