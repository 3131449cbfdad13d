//! A plan in words, for the first line of a trace.

use std::fmt;

use super::Plan;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mix,
            situation,
            stations,
            observers,
            leader,
            station,
            weather,
            ..
        } = self;
        write!(f, "{}, {stations} stations", mix.name())?;
        if let Some(situation) = situation {
            write!(f, ", {}", situation.name())?;
        }
        if *observers > 0 {
            write!(f, " ({observers} observers)")?;
        }
        write!(f, " of at most {}", leader.stations_max)?;
        write!(f, ", {:?}", leader.durability)?;
        if let Some(checkpoint) = &leader.checkpoint {
            let every = checkpoint.every.0 / 1000;
            write!(
                f,
                ", {:?} checkpoints every {every} us",
                checkpoint.strategy
            )?;
        }
        if leader.resident_pages_max < usize::MAX {
            write!(f, ", {} pages in memory", leader.resident_pages_max)?;
        }
        if let Some(kind) = self.library {
            write!(f, "; library: {kind:?}")?;
        } else {
            write!(f, "; scripts:")?;
            for (kind, weight) in &self.workload.scripts {
                write!(f, " {weight} {}", kind.name())?;
            }
        }
        write!(f, "; faults for {} ms:", self.chaos.as_millis())?;
        for (fault, mean) in &self.faults {
            write!(f, " {} ~{} ms", fault.name(), mean.as_millis())?;
        }
        if self.faults.is_empty() {
            write!(f, " none")?;
        }
        write!(
            f,
            "; history {} B, backlog {} B, batch {} B, outcomes {}, recent pages {}, queue {} B, \
             read ahead {}, cache {}, window {} B, segment {} B",
            leader.history_bytes_max,
            leader.backlog_bytes_max,
            leader.batch_bytes,
            leader.outcomes_max,
            leader.recent_pages,
            station.queue_bytes_max,
            station.read_ahead,
            Cache(station.cache_pages_max),
            weather.window_bytes,
            self.disk.segment_bytes,
        )
    }
}

/// How many pages a station may have.
struct Cache(usize);

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            usize::MAX => f.write_str("unlimited"),
            pages => write!(f, "{pages} pages"),
        }
    }
}
