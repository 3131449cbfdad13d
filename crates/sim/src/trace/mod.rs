//! What happened, event by event. Every event goes into a hash, so that two runs can be compared;
//! it becomes text only if somebody wants to read it.
//!
//! ```text
//!   World --tell(kind, text)--> Trace --> digest       always: of the kind, and of a frame's bytes
//!                                 |
//!                                 +-----> recorder     if asked for: prints, keeps the last entries
//!                                              |
//!                                              +--> the tail of a failure report, the chart
//! ```

mod digest;

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::hash::{Hash as _, Hasher as _};

use plurix_protocol::Time;
use plurix_wire::{CommitId, CommitNumber, Generation, Incarnation, PageNumber};

use digest::Digest;

/// Who something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    Leader,
    /// The station of this index.
    Station(usize),
    /// Whoever is no station.
    Stranger,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("leader"),
            Self::Station(index) => write!(f, "station {index}"),
            Self::Stranger => f.write_str("stranger"),
        }
    }
}

/// An incarnation as its two halves: the term that gave it, and its count in that.
pub(crate) struct Life(pub(crate) Incarnation);

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}.{}", self.0.0 >> 32, self.0.0 as u32)
    }
}

/// What a message is about, for the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The beginning and the end of sessions.
    Session,
    /// Commits, and their answers.
    Commit,
    /// Pages, asked for and served.
    Page,
    /// What others changed.
    Stream,
    /// A sign of life.
    Beat,
}

/// How one run of a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    Committed(CommitNumber),
    /// A line that it read on this page had been written since.
    Conflict(PageNumber),
    LogFull,
    Aborted,
    ReadOnly,
    TooOld,
    /// The incarnation ended with it.
    Lost,
    /// Nobody can tell; the log has it under this number, or not at all.
    Unknown(Option<CommitNumber>),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed(number) => write!(f, "committed {number}"),
            Self::Conflict(page) => write!(f, "refused, in conflict on {page}"),
            Self::LogFull => f.write_str("refused, the log is full"),
            Self::Aborted => f.write_str("aborted"),
            Self::ReadOnly => f.write_str("only read"),
            Self::TooOld => f.write_str("snapshot too old"),
            Self::Lost => f.write_str("lost with its incarnation"),
            Self::Unknown(Some(number)) => write!(f, "does not know; the log has {number}"),
            Self::Unknown(None) => f.write_str("does not know; the log does not have it"),
        }
    }
}

/// What happened. Everything that tells two runs apart is here or in the bytes of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Nothing that has a kind of its own.
    Note,
    /// The same, and whom it happened to.
    Remark(Lane),
    /// A message left; without a frame, there was no connection that would take it.
    Sent {
        frame: Option<u64>,
        from: Lane,
        to: Lane,
        class: Class,
    },
    /// A message arrived.
    Delivered { frame: u64, to: Lane },
    /// A message that was under way vanished with its connection.
    Vanished { frame: u64 },
    /// A fault struck.
    Fault { stroke: u64 },
    /// The faults are over.
    Healed,
    /// A process began.
    Started(Lane),
    /// A process ended.
    Ended(Lane),
    /// A process notices nothing until then.
    Frozen { lane: Lane, until: Time },
    /// A transaction began at this snapshot.
    Began {
        station: usize,
        generation: Generation,
        snapshot: CommitNumber,
    },
    /// A transaction was over.
    Finished { station: usize, ending: Ending },
    /// The leader appended a commit to its log.
    Logged {
        generation: Generation,
        number: CommitNumber,
        id: CommitId,
    },
}

/// An event that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) time: Time,
    pub(crate) kind: Kind,
    /// What the kind leaves out.
    pub(crate) text: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, ns) = (self.time.0 / 1_000_000, self.time.0 % 1_000_000);
        write!(f, "{ms:6}.{ns:06} ")?;
        let text = &self.text;
        match self.kind {
            Kind::Note => f.write_str(text),
            Kind::Remark(lane) => write!(f, "{lane} {text}"),
            Kind::Sent {
                frame: Some(frame),
                from,
                to,
                ..
            } => write!(f, "{from} -> {to} [{frame}]: {text}"),
            Kind::Sent { from, to, .. } => write!(f, "{from} -> {to} [never left]: {text}"),
            Kind::Delivered { frame, to } => write!(f, "{to} <- [{frame}]"),
            Kind::Vanished { frame } => write!(f, "[{frame}] is lost"),
            Kind::Fault { stroke } => write!(f, "FAULT {stroke}: {text}"),
            Kind::Healed => f.write_str("FAULTS END"),
            Kind::Started(lane) => write!(f, "{lane} starts{text}"),
            Kind::Ended(lane) => write!(f, "{lane} ends{text}"),
            Kind::Frozen { lane, until } => {
                let ms = until.since(self.time).0 as f64 / 1e6;
                write!(f, "{lane} freezes for {ms:.3} ms")
            }
            Kind::Began {
                station,
                generation,
                snapshot,
            } => write!(
                f,
                "station {station} begins {text} at {generation}{snapshot}"
            ),
            Kind::Finished { station, ending } => write!(f, "station {station} {ending}"),
            Kind::Logged {
                generation,
                number,
                id,
            } => {
                let (life, sequence) = (Life(id.incarnation), id.sequence);
                write!(f, "log {generation}{number} {life}{sequence} {text}")
            }
        }
    }
}

/// What to do with the trace beside hashing it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recording {
    /// Print each line as it happens.
    pub(crate) print: bool,
    /// Keep so many entries, the last ones.
    pub(crate) keep: usize,
}

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    digest: Digest,
    recording: Recording,
    kept: VecDeque<Entry>,
    /// Entries so far.
    length: u64,
}

impl Trace {
    pub(crate) fn new(recording: Recording) -> Self {
        Self {
            digest: Digest::new(),
            recording,
            kept: VecDeque::new(),
            length: 0,
        }
    }

    /// Something without a kind of its own happened: the text tells runs apart.
    pub(crate) fn note(&mut self, now: Time, text: fmt::Arguments<'_>) {
        // A digest takes any text.
        let _ = self.digest.write_fmt(text);
        self.tell(now, Kind::Note, text);
    }

    /// Something happened. The text only explains it: it is not part of the hash, and not even put
    /// together unless it is kept.
    pub(crate) fn tell(&mut self, now: Time, kind: Kind, text: fmt::Arguments<'_>) {
        self.digest.write_u64(now.0);
        kind.hash(&mut self.digest);
        self.length += 1;
        if !self.recording.print && self.recording.keep == 0 {
            return;
        }
        let entry = Entry {
            time: now,
            kind,
            text: text.to_string(),
        };
        if self.recording.print {
            println!("{entry}");
        }
        if self.kept.len() >= self.recording.keep {
            self.kept.pop_front();
        }
        if self.recording.keep > 0 {
            self.kept.push_back(entry);
        }
    }

    /// The bytes of a frame, which the text of its message only summarises.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.digest.write(bytes);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.digest.finish()
    }

    /// Events so far, kept or not.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The entries that were kept.
    pub(crate) fn into_kept(self) -> Vec<Entry> {
        self.kept.into()
    }
}
