//! A member that a supervisor has started ends with it, also if the supervisor is killed.

use clap::Args;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::diary::Diary;
use crate::timeline::{Lane, TimelineFile};
use crate::told::Voice;

/// Set by `plurix run` for the processes it starts.
#[derive(Debug, Args)]
pub(crate) struct Supervised {
    /// The process to end with.
    #[arg(long, value_name = "PID", hide = true)]
    supervisor: Option<i32>,
}

impl Supervised {
    /// How this process speaks, and where its timeline goes if it keeps one.
    pub(crate) fn voice(
        &self,
        lane: Lane,
        timeline: Option<&TimelineFile>,
    ) -> anyhow::Result<Voice> {
        let diary = timeline.map(|file| Diary::begin(lane, file.clone()));
        Ok(Voice::new(self.supervisor.is_some(), diary.transpose()?))
    }

    /// Asks the kernel for `signal` when the supervisor ends.
    pub(crate) fn end_with_supervisor(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(supervisor) = self.supervisor else {
            return Ok(());
        };
        set_parent_process_death_signal(Some(signal))?;
        // It may have ended before the kernel was asked.
        let parent = getppid().map(|parent| parent.as_raw_nonzero().get());
        anyhow::ensure!(parent == Some(supervisor), "the supervisor has ended");
        Ok(())
    }
}
