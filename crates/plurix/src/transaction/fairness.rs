//! A transaction that others were faster than again and again asks the page server for the token, with
//! which it commits before them.

use std::time::Instant;

use plurix_protocol::Span;
use plurix_protocol::station::State;

use crate::error::{ErrorKind, Result};
use crate::station::Station;

/// What a transaction has suffered from faster ones.
#[derive(Debug, Default)]
pub(super) struct Fairness {
    conflicts: u32,
    /// When the present attempt began; measured from the first conflict on.
    began: Option<Instant>,
    /// How long the last attempt took, with its commit.
    took: Span,
    has_token: bool,
    /// How often it had the token and was refused all the same.
    in_vain: u32,
}

impl Station {
    /// Whether the next attempt of the transaction shall have the token.
    pub(super) fn is_to_be_next(&self, fairness: &Fairness) -> bool {
        fairness.conflicts > 0 && fairness.conflicts >= self.shared.driver().options().fair_after
    }

    /// Before an attempt: gets the token if it is time for that.
    pub(super) fn ask_to_be_next(&mut self, fairness: &mut Fairness) -> Result<()> {
        if fairness.conflicts == 0 {
            return Ok(());
        }
        if self.is_to_be_next(fairness) {
            self.take_token(fairness.took)?;
        }
        let driver = self.shared.driver();
        fairness.has_token = driver.machine.has_token();
        fairness.began = Some(driver.host.now());
        Ok(())
    }

    fn take_token(&mut self, attempt: Span) -> Result<()> {
        let mut driver = self.shared.driver();
        loop {
            driver.wait(None, |machine| matches!(machine.state(), State::Active))?;
            driver.machine.ask_token(attempt);
            let waited = driver.wait(None, |machine| {
                machine.has_token() || !matches!(machine.state(), State::Active)
            });
            if waited.is_err() {
                // Nobody shall wait for a station that does nothing any more.
                driver.machine.return_token();
                driver.dispatch();
            }
            waited?;
            // A connection that was lost took the wish with it.
            if driver.machine.has_token() {
                return Ok(());
            }
        }
    }

    /// After an attempt: gives back a token that it has not spent, and counts what went wrong.
    pub(super) fn judge_attempt(
        &mut self,
        fairness: &mut Fairness,
        is_conflict: bool,
    ) -> Result<()> {
        if fairness.began.is_none() && !is_conflict {
            return Ok(());
        }
        let mut driver = self.shared.driver();
        if let Some(began) = fairness.began.take() {
            let took = driver.host.now() - began;
            fairness.took = Span(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
        if driver.machine.has_token() {
            driver.machine.return_token();
            driver.dispatch();
        }
        if !is_conflict {
            return Ok(());
        }
        fairness.conflicts += 1;
        if std::mem::take(&mut fairness.has_token) {
            fairness.in_vain += 1;
            let tries = fairness.in_vain;
            if tries >= driver.options().token_tries {
                let milliseconds = fairness.took.as_millis();
                return Err(ErrorKind::TooLong {
                    milliseconds,
                    tries,
                }
                .into());
            }
        }
        Ok(())
    }
}
