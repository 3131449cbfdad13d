//! Claiming and running activities, and waiting until all are done.

use std::marker::PhantomData;
use std::time::Duration;

use plurix_wire::canary::{self, Canary};
use zerocopy::FromBytes;

use super::queue::{self, Found};
use super::{Activity, Claim, Done, Progress, Registered, Work, fingerprint};
use crate::error::{ErrorKind, Result, is_of_station};
use crate::station::Station;
use crate::team::{Program, Report, TeamOptions};
use crate::transaction::Transaction;

/// A station without work looks again after this long even if it heard nothing.
const IDLE_MAX: Duration = Duration::from_millis(100);

impl<A: Activity> Work<'_, A> {
    /// Runs a transaction of its own, before the final one. What it changes is in the heap even if
    /// the station dies before the activity is completed.
    ///
    /// # Errors
    /// As [`Station::transaction`].
    pub fn transaction<R>(
        &mut self,
        body: impl FnMut(&mut Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        self.station.transaction(body)
    }

    /// Runs a program as one station of a team, each of whose stations runs such an activity.
    ///
    /// # Errors
    /// As [`Station::run_team`].
    pub fn run_team<P: Program>(
        &mut self,
        team: &TeamOptions,
        program: &P,
    ) -> Result<Report<P::Output>> {
        self.station.run_team(team, program)
    }

    /// As [`run_team`](Self::run_team), and leaves in the heap what `finish` writes there.
    ///
    /// # Errors
    /// As [`Station::run_team_to`].
    pub fn run_team_to<P: Program>(
        &mut self,
        team: &TeamOptions,
        program: &P,
        finish: impl FnMut(&mut Transaction<'_>, &Report<P::Output>) -> Result<()>,
    ) -> Result<Report<P::Output>> {
        self.station.run_team_to(team, program, finish)
    }

    /// The number of the station that runs it.
    #[must_use]
    pub fn station(&self) -> u32 {
        self.station.number()
    }

    /// The final transaction: what `body` changes and the end of the activity are in the heap
    /// together, or neither is.
    ///
    /// # Errors
    /// As [`Station::transaction`].
    pub fn complete(
        self,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<A::Output>,
    ) -> Result<Done<A>> {
        let claim = self.claim;
        self.station.transaction(|tx| {
            // After a new life began, the claim belongs to whoever freed it.
            let holds = queue::holds(tx, claim)?;
            if holds || canary::strikes(Canary::RunTwice) {
                let output = body(tx)?;
                if holds {
                    queue::complete::<A>(tx, claim, output)?;
                }
            }
            Ok(Done(PhantomData))
        })
    }
}

impl Station {
    /// Enables this station to run activities of this kind.
    pub fn register<A: Activity>(&mut self) {
        let run = run::<A>;
        self.registry
            .0
            .insert(fingerprint::<A>(), Registered { name: A::NAME, run });
    }

    /// Claims and runs one activity; answers whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] or [`ErrorKind::LayoutDiffers`] if this program cannot run what
    /// is pending; as [`transaction`](Self::transaction). The failure of the activity itself is no
    /// error here: [`wait_all`](Self::wait_all) tells it.
    pub fn run_activity(&mut self) -> Result<bool> {
        Ok(matches!(self.step()?, Step::Ran))
    }

    /// Runs activities until none is pending and none is running anywhere.
    ///
    /// # Errors
    /// [`ErrorKind::ActivityFailed`] if one ended with an error; as
    /// [`run_activity`](Self::run_activity).
    pub fn wait_all(&mut self) -> Result<()> {
        loop {
            match self.step()? {
                Step::Ran => {}
                Step::Idle { claimed: 0 } => break,
                Step::Idle { .. } => drop(self.wait_for_news(IDLE_MAX)?),
            }
        }
        match self.transaction(|tx| queue::failure(tx))? {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Forgets the failures that [`wait_all`](Self::wait_all) tells, so that other activities of
    /// this heap can be waited for; answers how many there were.
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction).
    pub fn forget_failures(&mut self) -> Result<u64> {
        self.transaction(queue::forget_failures)
    }

    /// Runs activities as they come, until `done` answers true; it is asked between activities.
    ///
    /// # Errors
    /// As [`run_activity`](Self::run_activity), and what `done` answers.
    pub fn serve(&mut self, mut done: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        while !done(self)? {
            if !self.run_activity()? {
                self.wait_for_news(IDLE_MAX)?;
            }
        }
        Ok(())
    }

    /// How many activities there are, and how many are done.
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction).
    pub fn activities(&mut self) -> Result<Progress> {
        self.transaction(|tx| queue::progress(tx))
    }

    /// Looks for work and does one thing.
    fn step(&mut self) -> Result<Step> {
        match self.try_step() {
            // A new life has begun. If the old one had claimed something, that is an orphan now.
            Err(error) if matches!(error.kind(), ErrorKind::OutcomeUnknown) => {
                self.shared.driver().check().map(|()| Step::Ran)
            }
            step => step,
        }
    }

    fn try_step(&mut self) -> Result<Step> {
        // An error may have kept it from being given back, such as a full log; nobody else would
        // ever run it while this station lives.
        if let Some(claim) = self.claim {
            self.transaction(|tx| queue::release(tx, claim))?;
            self.claim = None;
        }
        match self.transaction(|tx| queue::look(tx))? {
            Found::Nothing { claimed } => Ok(Step::Idle { claimed }),
            Found::Orphan(stripe) => {
                self.transaction(|tx| queue::free_orphan(tx, stripe))?;
                Ok(Step::Ran)
            }
            Found::Pending(stripe) => {
                let Some((claim, node)) = self.transaction(|tx| queue::claim(tx, stripe))? else {
                    return Ok(Step::Ran);
                };
                self.claim = Some(claim);
                match self.registry.0.get(&node.fingerprint) {
                    Some(registered) => (registered.run)(self, claim)?,
                    None => {
                        self.transaction(|tx| queue::release(tx, claim))?;
                        self.claim = None;
                        return Err(self.unknown(queue::text(&node.name)).into());
                    }
                }
                self.claim = None;
                Ok(Step::Ran)
            }
        }
    }

    /// Why an activity of this name cannot be run here.
    fn unknown(&self, name: String) -> ErrorKind {
        if self
            .registry
            .0
            .values()
            .any(|registered| registered.name == name)
        {
            ErrorKind::LayoutDiffers { name }
        } else {
            ErrorKind::NotRegistered(name)
        }
    }
}

enum Step {
    Ran,
    Idle { claimed: u64 },
}

/// Runs a claimed activity to its end.
fn run<A: Activity>(station: &mut Station, claim: Claim) -> Result<()> {
    let argument = station.transaction(|tx| {
        // If a new life has begun since the claim, the node may be anything by now.
        if !queue::holds(tx, claim)? {
            return Ok(None);
        }
        let node = *tx.get(claim.node)?;
        let bytes = tx.get(node.argument)?;
        let argument = A::Argument::read_from_bytes(bytes).map_err(|_| ErrorKind::Corrupt {
            what: "argument of an activity",
        })?;
        Ok(Some(argument))
    })?;
    let Some(argument) = argument else {
        return Ok(());
    };
    let work = Work {
        station,
        claim,
        activity: PhantomData,
    };
    let Err(error) = A::run(work, argument) else {
        return Ok(());
    };
    if is_of_station(error.kind()) {
        // Not the activity's fault: somebody else, or this station later, runs it again.
        let released = station.transaction(|tx| queue::release(tx, claim));
        return match (error.kind(), released) {
            // A new life has begun; the claim is an orphan now and freed like any other.
            (ErrorKind::OutcomeUnknown, Ok(())) => Ok(()),
            _ => Err(error),
        };
    }
    let why = error.to_string();
    station.transaction(|tx| {
        if queue::holds(tx, claim)? {
            queue::give_up(tx, claim.node, &why)?;
        }
        Ok(())
    })
}
