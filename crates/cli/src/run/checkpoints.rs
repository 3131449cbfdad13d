//! The checkpoints of a run, counted as the page server tells of them.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::told::MemberEvent;
use crate::units::{show_bytes, show_duration};

/// How many were taken, and what they took.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Checkpoints {
    pub(super) taken: u64,
    /// For want of room, mostly; each was tried again.
    pub(super) failed: u64,
    pub(super) pages_written: u64,
    pub(super) bytes_written: u64,
    /// From the cut to the disk.
    pub(super) p50_ms: f64,
    pub(super) max_ms: f64,
    #[serde(skip)]
    times_ms: Vec<f64>,
}

impl Checkpoints {
    /// The page server told of something; counts it if it is the end of a checkpoint.
    pub(super) fn told(&mut self, event: &MemberEvent) {
        let Some(end) = event.checkpoint_end() else {
            return;
        };
        let Some(taken) = end else {
            self.failed += 1;
            return;
        };
        self.taken += 1;
        self.pages_written += taken.pages_written;
        self.bytes_written += taken.bytes;
        let at = self.times_ms.partition_point(|time| *time < taken.took_ms);
        self.times_ms.insert(at, taken.took_ms);
        self.p50_ms = self.times_ms[self.times_ms.len() / 2];
        self.max_ms = *self.times_ms.last().expect("pushed above");
    }

    /// Whether there is anything to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.taken + self.failed == 0
    }
}

impl fmt::Display for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: f64| show_duration(Duration::from_secs_f64(time / 1e3));
        write!(
            f,
            "{} taken, {} written, median {}, longest {}",
            self.taken,
            show_bytes(self.bytes_written),
            ms(self.p50_ms),
            ms(self.max_ms)
        )?;
        if self.failed > 0 {
            write!(f, "; {} failed and were tried again", self.failed)?;
        }
        Ok(())
    }
}
